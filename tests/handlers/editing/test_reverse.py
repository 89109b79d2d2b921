import numpy as np
import pytest

from handlers.artifacts import BLOCK_FRAMES
from handlers.editing.reverse import reverse
from tests.sounds import noise


@pytest.mark.parametrize("frames", [1, 1000, BLOCK_FRAMES, 2 * BLOCK_FRAMES + 5])
def test_the_last_sample_comes_first(frames):
    audio = noise(seconds=frames / 8000, rate=8000, channels=2)
    back = reverse(audio).whole()

    assert np.array_equal(back.samples, audio.samples[:, ::-1])
    assert np.array_equal(reverse(back).whole().samples, audio.samples)
