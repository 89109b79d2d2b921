"""Rates and channels."""

import numpy as np
import pytest
import soxr

from handlers.codecs.channels import remixed
from handlers.codecs.resample import resampled
from handlers.errors import CannotProcess
from tests.handlers.codecs.tools import all_of, clicks_in_silence, shift_of
from tests.sounds import as_blocks, level_db, noise, sound, sweep, tone

PAIRS = [
    (44100, 48000),
    (48000, 44100),
    (96000, 44100),
    (8000, 48000),
    (48000, 8000),
    (44100, 192000),
]


@pytest.mark.parametrize(("old", "new"), PAIRS)
@pytest.mark.parametrize("frames", [1, 100, 33333, 100_003])
def test_the_length_is_the_rounded_one(old, new, frames):
    given = noise(seconds=frames / old, rate=old)
    assert given.frames == frames
    other = resampled(given.blocks(), new)
    expected = int(np.floor(frames * new / old + 0.5))
    assert other.frames == expected
    assert other.rate == new
    if expected:
        assert all_of(other).shape == (1, expected)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_streaming_equals_soxr_on_the_whole(old, new):
    given = noise(seconds=1.2, rate=old, channels=2)
    heard = all_of(resampled(as_blocks(given, 1000), new))
    whole = soxr.resample(given.samples.T, old, new, quality="HQ").T
    frames = min(heard.shape[1], whole.shape[1]) - 8
    np.testing.assert_allclose(heard[:, :frames], whole[:, :frames], atol=2e-6)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_tone_keeps_its_level_and_a_click_its_place(old, new):
    given = tone(1000, seconds=1, rate=old, peak_db=-6)
    heard = sound(all_of(resampled(given.blocks(), new)), new)
    assert level_db(heard, (0.2, 0.8)) == pytest.approx(level_db(given, (0.2, 0.8)), abs=0.01)

    clicks = clicks_in_silence(old)
    moved = all_of(resampled(clicks.blocks(), new))
    centre = np.sum(np.arange(moved.shape[1]) * moved[0] ** 2) / np.sum(moved[0] ** 2)
    assert centre == pytest.approx(clicks.frames // 2 * new / old, abs=0.6 * max(1, new / old))


def test_nothing_above_the_new_nyquist_frequency_is_left():
    given = tone(30000, seconds=0.5, rate=96000)
    heard = sound(all_of(resampled(given.blocks(), 44100)), 44100)
    assert level_db(heard, (0.1, 0.4)) < -100


def test_the_same_rate_is_the_same_sound():
    given = sweep().blocks()
    assert resampled(given, given.rate) is given
    assert remixed(given, given.channels) is given


def test_blocks_can_be_cut_anywhere():
    given = noise(seconds=1, rate=44100, channels=2)
    one, other = (all_of(resampled(as_blocks(given, size), 48000)) for size in (333, 44100))
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert shift_of(one, other) == 0


def test_mono_becomes_stereo_without_loss():
    given = noise(channels=1)
    np.testing.assert_array_equal(
        all_of(remixed(given.blocks(), 2)), np.tile(given.samples, (2, 1))
    )


def test_stereo_becomes_mono_as_the_mean():
    given = noise(channels=2)
    np.testing.assert_allclose(
        all_of(remixed(given.blocks(), 1))[0], given.samples.mean(axis=0), atol=1e-7
    )


@pytest.mark.parametrize(("channels", "target"), [(6, 2), (6, 1), (8, 2), (3, 1), (16, 1)])
def test_full_scale_everywhere_is_full_scale_still(channels, target):
    given = sound(np.ones((channels, 100)))
    np.testing.assert_allclose(all_of(remixed(given.blocks(), target)), 1, atol=0.2)
    assert all_of(remixed(given.blocks(), target)).max() <= 1 + 1e-6


def test_5_1_comes_down_as_bs_775_says():
    """Left 1, right 0, centre and left surround 3 dB lower, no LFE; gains sum to 1."""
    gains = all_of(remixed(sound(np.eye(6)).blocks(), 2))
    wanted = np.array([[1, 0, 0.5**0.5, 0, 0.5**0.5, 0], [0, 1, 0.5**0.5, 0, 0, 0.5**0.5]])
    np.testing.assert_allclose(gains, wanted / (1 + 2**0.5), atol=1e-6)


@pytest.mark.parametrize(("old", "new"), [(2, 6), (16, 2), (6, 3)])
def test_a_change_that_nobody_could_agree_on_is_refused(old, new):
    with pytest.raises(CannotProcess, match=f"{old} channels cannot be made {new}"):
        remixed(noise(channels=old).blocks(), new)
