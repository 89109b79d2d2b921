import numpy as np
import pytest

from handlers.editing.beat_slice import beat_slice, quiet_before
from handlers.errors import CannotProcess
from handlers.hearing import Heard
from tests.sounds import as_blocks, groove, silence, sound

AUDIO, BEATS = groove(126, seconds=12, rate=44100, channels=2, start=0.3)


def slices(audio, size=5000):
    return beat_slice(Heard(as_blocks(audio, size)))


def test_there_is_a_part_for_every_beat_and_together_they_are_the_sound():
    said = slices(AUDIO)
    assert said.beat_count == len(said.sounds) == pytest.approx(len(BEATS), abs=1)
    assert list(said.sounds)[:2] == ["beat_001", "beat_002"]
    joined = np.concatenate([part.whole().samples for part in said.sounds.values()], axis=1)
    first = round(said.beats[0] * 44100)
    assert np.array_equal(joined, AUDIO.samples[:, first:])


def test_cuts_lie_right_before_the_attacks():
    said = slices(AUDIO)
    for cut in said.beats:
        early = BEATS[np.abs(BEATS - cut).argmin()] - cut
        assert -0.0005 <= early <= 0.006


def test_no_part_begins_or_ends_with_a_step():
    # On a loud bass note, a cut at the beat itself would click.
    t = np.arange(AUDIO.frames) / 44100
    loud = AUDIO.like((AUDIO.samples + 0.3 * np.sin(2 * np.pi * 180 * t)).astype(np.float32))
    said = slices(loud)
    ends = [part.whole().samples[:, [0, -1]] for part in said.sounds.values()]
    # One sample of a 180 Hz wave of this height moves it by 0.008.
    assert np.median([np.abs(end).max() for end in ends[:-1]]) < 0.02


def test_the_last_part_runs_to_the_end():
    *_, last = slices(AUDIO).sounds.values()
    assert np.array_equal(last.whole().samples[:, -100:], AUDIO.samples[:, -100:])


def test_a_sound_without_beats_is_refused():
    with pytest.raises(CannotProcess, match="no beats found"):
        slices(silence(seconds=3))


def test_the_quietest_place_is_found_and_none_after_the_beat():
    wave = np.full(4800, 0.5)
    wave[1000 - 90 : 1000 - 88] = 0.001
    wave[1001:1003] = 0
    assert quiet_before(sound(wave).blocks(), np.array([1000])) == [1000 - 89]


def test_cuts_never_meet():
    wave = sound(np.zeros(1000))
    assert quiet_before(wave.blocks(), np.array([0, 1, 1])) == [0, 1, 2]
