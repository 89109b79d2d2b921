import numpy as np
import pytest

from handlers.declare import registered
from handlers.eq_spatial.stereo_width import StereoWidth, stereo_width
from handlers.errors import BadParameter, CannotProcess
from tests.sounds import as_blocks, noise


def widened(audio, width, size=32768):
    return stereo_width(as_blocks(audio, size), StereoWidth(width=width)).whole()


def test_one_changes_no_sample():
    audio = noise(channels=2)
    np.testing.assert_array_equal(widened(audio, 1).samples, audio.samples)


@pytest.mark.parametrize("width", [0, 0.5, 1.5, 3])
def test_the_middle_stays_and_the_side_is_multiplied(width):
    audio = noise(channels=2)
    out = widened(audio, width).samples.astype(np.float64)
    np.testing.assert_allclose(out.sum(axis=0), audio.samples.sum(axis=0), atol=1e-6)
    side = (audio.samples[0] - audio.samples[1]).astype(np.float64)
    np.testing.assert_allclose(out[0] - out[1], width * side, atol=1e-6)


def test_zero_is_mono_on_both_sides():
    audio = noise(channels=2)
    left, right = widened(audio, 0).samples
    np.testing.assert_array_equal(left, right)
    np.testing.assert_allclose(left, audio.samples.mean(axis=0), atol=1e-7)


def test_a_mono_sound_is_the_same_on_both_sides_at_its_level():
    audio = noise()
    np.testing.assert_array_equal(widened(audio, 3).samples, np.tile(audio.samples, (2, 1)))


@pytest.mark.parametrize("size", [1, 333, 4096])
def test_the_block_size_is_never_heard(size):
    audio = noise(channels=2, seconds=0.1)
    np.testing.assert_array_equal(widened(audio, 2, size).samples, widened(audio, 2).samples)


def test_surround_and_widths_outside_are_refused():
    with pytest.raises(CannotProcess, match="3 channels"):
        widened(noise(channels=3, seconds=0.1), 1)
    with pytest.raises(BadParameter, match=r"width = 3\.1"):
        registered()["stereo_width"].read_params({"width": 3.1})
