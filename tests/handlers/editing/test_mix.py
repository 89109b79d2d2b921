import numpy as np
import pytest

from handlers.artifacts import BLOCK_FRAMES, Blocks
from handlers.editing.mix import Track, mix
from handlers.errors import BadParameter, CannotProcess, UnreadableInput
from tests.sounds import as_blocks, level_db, noise, silence, tone


def track(audio, block=1000, **settings):
    return Track(**settings).opened(as_blocks(audio, block))


@pytest.mark.parametrize("block", [1, 999, BLOCK_FRAMES, BLOCK_FRAMES + 1])
def test_it_is_the_plain_sum_with_each_gain(block):
    one, other = noise(1, seconds=1.7, rate=22050), noise(2, seconds=0.9, rate=22050)
    result = mix([track(one, block, gain_db=-6), track(other, 512, gain_db=3)])
    whole = result.sound.whole()

    expected = one.samples * 10 ** (-6 / 20)
    expected[:, : other.frames] += other.samples * 10 ** (3 / 20)
    assert whole.samples == pytest.approx(expected, abs=1e-6)
    assert result.track_count == 2


def test_the_sum_is_not_renormalised():
    loud = tone(peak_db=-1)
    whole = mix([track(loud)] * 3).sound.whole()
    assert np.abs(whole.samples).max() == pytest.approx(3 * 10 ** (-1 / 20), rel=1e-4)


def test_highest_rate_most_channels_and_longest_track_win():
    voice = tone(440, seconds=1, rate=22050)
    bed = silence(seconds=0.5, rate=48000, channels=2)
    whole = mix([track(voice), track(bed)]).sound.whole()

    assert (whole.rate, whole.channels, whole.frames) == (48000, 2, 48000)
    assert level_db(whole, at=(0.1, 0.9)) == pytest.approx(level_db(voice, at=(0.1, 0.9)), abs=0.01)


def test_it_can_be_read_twice():
    sound = mix([track(noise(1)), track(noise(2))]).sound
    assert np.array_equal(sound.whole().samples, sound.whole().samples)


def test_one_track_is_no_mix():
    with pytest.raises(BadParameter, match="at least 2 tracks; got 1"):
        mix([track(tone())])


def test_a_gain_that_no_sample_can_hold_is_refused_by_number():
    with pytest.raises(BadParameter, match="track 1: gain_db = 1000"):
        mix([track(tone()), track(tone(), gain_db=1000)])


def test_a_track_that_breaks_off_is_named():
    def broken():
        yield tone(seconds=0.1).samples
        raise UnreadableInput("the data is damaged after 0.1 s")

    bad = Track().opened(Blocks(broken, rate=48000, channels=1, frames=48000))
    mixed = mix([track(tone()), bad])
    with pytest.raises(UnreadableInput, match="track 1: the data is damaged"):
        mixed.sound.whole()


def test_channels_that_cannot_be_matched_name_their_track():
    with pytest.raises(CannotProcess, match="track 0: 2 channels cannot be made 6"):
        mix([track(tone(channels=2)), track(tone(channels=6))])
