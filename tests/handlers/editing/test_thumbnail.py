import numpy as np
import pytest

from handlers.editing.thumbnail import Thumbnail, thumbnail
from handlers.errors import AudiollaError
from handlers.hearing import Heard
from handlers.registry import operations
from tests.sounds import as_blocks, clicks, silence


def cut(audio, **params):
    return thumbnail(Heard(as_blocks(audio, 5000)), Thumbnail(**params))


#: A click a second, and six a second from 20 to 25.
LIVELY = np.concatenate((np.arange(1, 20), np.arange(20, 25, 1 / 6), np.arange(25, 40)))
AUDIO = clicks(LIVELY, seconds=40, rate=22050, channels=2)


def test_the_part_in_which_most_happens_is_kept():
    kept = cut(AUDIO, duration_sec=5)
    assert kept.start_sec == pytest.approx(20, abs=0.2)
    assert kept.duration_sec == 5
    assert kept.end_sec == pytest.approx(kept.start_sec + 5)


def test_its_samples_are_those_of_the_sound():
    kept = cut(AUDIO, duration_sec=5)
    start = round(kept.start_sec * 22050)
    whole = kept.sound.whole()
    assert np.array_equal(whole.samples, AUDIO.samples[:, start : start + 5 * 22050])
    assert whole.rate == 22050


def test_it_begins_right_before_an_onset():
    kept = cut(AUDIO, duration_sec=5)
    first = np.flatnonzero(kept.sound.whole().samples[0])[0]
    assert 0 < first / 22050 <= 0.011


@pytest.mark.parametrize("audio", [clicks(seconds=1.5), silence(seconds=1.5)])
def test_a_shorter_sound_is_kept_whole(audio):
    kept = cut(audio, duration_sec=30)
    assert (kept.start_sec, kept.end_sec) == (0, 1.5)
    assert np.array_equal(kept.sound.whole().samples, audio.samples)


def test_what_is_all_the_same_is_kept_from_its_beginning():
    assert cut(silence(seconds=3), duration_sec=1).start_sec == 0


def test_a_lively_end_is_kept_to_the_end():
    late = clicks(np.arange(36, 40, 0.1), seconds=40, rate=22050)
    kept = cut(late, duration_sec=10)
    assert kept.end_sec == 40
    assert kept.sound.whole().frames == 10 * 22050


@pytest.mark.parametrize("seconds", ["0.5", "301"])
def test_durations_outside_of_the_range_are_refused(seconds):
    with pytest.raises(AudiollaError, match="duration_sec"):
        operations()["thumbnail"].read_params({"duration_sec": seconds})
