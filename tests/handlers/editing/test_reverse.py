import numpy as np
import pytest

from handlers.artifacts import BLOCK_FRAMES, Audio, Metadata, SourceFacts
from handlers.editing.reverse import reverse
from tests.sounds import noise


@pytest.mark.parametrize("frames", [1, 1000, BLOCK_FRAMES, 2 * BLOCK_FRAMES + 5])
def test_the_last_sample_comes_first(frames):
    audio = noise(seconds=frames / 8000, rate=8000, channels=2)
    back = reverse(audio).whole()

    assert np.array_equal(back.samples, audio.samples[:, ::-1])
    assert np.array_equal(reverse(back).whole().samples, audio.samples)


def test_positions_of_the_source_do_not_come_along():
    audio = noise(seconds=0.1)
    metadata = Metadata(tags={"title": ("x",)}, chunks={"cue ": b"..."}, span=(48000, 4800))
    facts = SourceFacts("x.wav", 1, "wav", "pcm_s16le", "s16", metadata=metadata)
    back = reverse(Audio(audio.samples, audio.rate, facts))

    assert back.facts.metadata.span is None
    assert back.facts.metadata.tags == {"title": ("x",)}
