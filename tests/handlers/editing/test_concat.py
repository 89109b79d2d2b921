import numpy as np
import pytest

from handlers.editing.concat import Concat, Piece, concat
from handlers.errors import BadParameter, CannotProcess
from tests.sounds import as_blocks, change_db, noise, silence, sound, tone


def strung(*sounds, size=32768, **params):
    pieces = [Piece().opened(as_blocks(audio, size)) for audio in sounds]
    return concat(pieces, Concat(**params))


@pytest.mark.parametrize("size", [1, 333, 4096])
def test_sounds_of_one_kind_are_joined_sample_by_sample(size):
    one, other = noise(1, channels=2, seconds=0.1), noise(2, channels=2, seconds=0.07)
    out = strung(one, other, one, size=size)
    assert out.descriptor() == {"file_count": 3}
    assert out.sound.stated_frames == 2 * one.frames + other.frames
    np.testing.assert_array_equal(
        out.sound.whole().samples, np.hstack([one.samples, other.samples, one.samples])
    )


def test_rates_and_channels_are_matched_to_the_highest():
    low, high = tone(440, rate=22050, seconds=1), tone(880, rate=48000, channels=2, seconds=1)
    out = strung(low, high).sound.whole()
    assert (out.rate, out.samples.shape) == (48000, (2, 96000))
    # The mono tone is at its level on both sides, still at 440 Hz.
    expected = tone(440, rate=48000, seconds=1).samples[0]
    for channel in out.samples[:, :48000]:
        np.testing.assert_allclose(channel[100:-100], expected[100:-100], atol=1e-4)
    np.testing.assert_array_equal(out.samples[:, 48000:], high.samples)


def test_a_crossfade_overlaps_and_keeps_the_power():
    one, other = noise(1, seconds=1), noise(2, seconds=1)
    out = strung(one, other, crossfade_sec=0.5).sound.whole()
    assert out.duration == 1.5
    assert change_db(one, sound(out.samples[:, :48000]), at=(0.5, 1)) == pytest.approx(0, abs=0.3)


def test_one_file_is_not_enough():
    with pytest.raises(BadParameter, match="at least 2 files; got 1"):
        strung(tone())


def test_a_refusal_names_the_file():
    with pytest.raises(CannotProcess, match="file 0: 2 channels cannot be made 6"):
        strung(silence(channels=2), silence(channels=6))
    with pytest.raises(CannotProcess, match=r"file 1 lasts 0\.1 s: too short"):
        strung(tone(), tone(seconds=0.1), crossfade_sec=0.5)
