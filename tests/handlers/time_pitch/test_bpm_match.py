import numpy as np
import pytest

from handlers.errors import AudiollaError, CannotProcess
from handlers.hearing import Heard
from handlers.listening.rhythm import PULSE
from handlers.registry import operations
from handlers.time_pitch.bpm_match import BpmMatch, bpm_match
from tests.sounds import as_blocks, groove, silence

AUDIO, BEATS = groove(104, seconds=16, rate=22050, channels=2)


def matched(audio, **params):
    return bpm_match(Heard(as_blocks(audio, 5000)), BpmMatch(**params))


def test_the_result_has_the_tempo_that_was_asked_for():
    made = matched(AUDIO, target_bpm=118)
    assert made.source_bpm == pytest.approx(104, abs=0.15)
    assert made.tempo_factor == round(118 / made.source_bpm, 4)
    whole = made.sound.whole()
    assert whole.frames == round(AUDIO.frames / (118 / made.source_bpm))
    assert Heard(whole.blocks())[PULSE].tempo == pytest.approx(118, abs=0.3)


def test_beats_come_when_they_should():
    made = matched(AUDIO, target_bpm=90)
    found = Heard(made.sound.whole().blocks())[PULSE].beats
    wanted = BEATS * 104 / 90
    nearest = np.abs(found[:, None] - wanted).min(axis=1)
    assert np.median(nearest) < 0.01


def test_the_tempo_that_it_has_leaves_the_samples_alone():
    tempo = matched(AUDIO, target_bpm=100).source_bpm
    same = matched(AUDIO, target_bpm=tempo)
    assert same.tempo_factor == 1
    assert np.array_equal(same.sound.whole().samples, AUDIO.samples)


def test_what_was_done_is_said_in_headers():
    assert operations()["bpm_match"].headers == {
        "source_bpm": "X-Source-BPM",
        "target_bpm": "X-Target-BPM",
        "tempo_factor": "X-Tempo-Factor",
    }


def test_a_sound_without_tempo_is_refused():
    with pytest.raises(CannotProcess, match="no tempo can be detected"):
        matched(silence(seconds=3), target_bpm=120)


@pytest.mark.parametrize("bpm", ["0", "-4"])
def test_a_tempo_must_be_above_zero(bpm):
    with pytest.raises(AudiollaError, match="target_bpm"):
        operations()["bpm_match"].read_params({"target_bpm": bpm})
