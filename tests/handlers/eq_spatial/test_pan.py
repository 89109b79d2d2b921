import numpy as np
import pytest

from handlers.declare import registered
from handlers.eq_spatial.pan import Pan, pan
from handlers.errors import BadParameter, CannotProcess
from tests.sounds import as_blocks, noise, tone


def panned(audio, position, size=32768):
    return pan(as_blocks(audio, size), Pan(position=position)).whole()


def test_the_centre_leaves_a_stereo_sound_as_it_is():
    audio = noise(channels=2)
    np.testing.assert_array_equal(panned(audio, 0).samples, audio.samples)


def test_a_mono_sound_in_the_centre_is_as_loud_on_each_side_as_it_was():
    audio = noise()
    out = panned(audio, 0)
    np.testing.assert_array_equal(out.samples, np.tile(audio.samples, (2, 1)))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("position", "near", "far"), [(-1, 0, 1), (1, 1, 0)])
def test_hard_pan_silences_the_far_side_and_does_not_clip_the_near_one(
    channels, position, near, far
):
    audio = tone(channels=channels, peak_db=0)
    out = panned(audio, position)
    np.testing.assert_array_equal(out.samples[near], audio.samples[min(near, channels - 1)])
    assert not out.samples[far].any()


@pytest.mark.parametrize("position", [-0.75, -0.5, -0.1, 0.25, 0.5, 0.9])
def test_between_the_sides_differ_as_the_sine_cosine_law_says(position):
    out = panned(tone(peak_db=0), position)
    left, right = np.abs(out.samples).max(axis=1)
    angle = (position + 1) * np.pi / 4
    assert left / right == pytest.approx(np.cos(angle) / np.sin(angle), rel=1e-5)
    assert max(left, right) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("size", [1, 333, 4096])
def test_the_block_size_is_never_heard(size):
    audio = noise(channels=2, seconds=0.1)
    np.testing.assert_array_equal(panned(audio, 0.3, size).samples, panned(audio, 0.3).samples)


def test_surround_and_positions_outside_are_refused():
    with pytest.raises(CannotProcess, match="6 channels"):
        panned(noise(channels=6, seconds=0.1), 0)
    with pytest.raises(BadParameter, match=r"position = 1\.5"):
        registered()["pan"].read_params({"position": 1.5})
