import math

import mir_eval
import numpy as np
import pytest

from handlers.hearing import Heard
from handlers.listening.color import CHROMA
from handlers.listening.flux import FLUX
from handlers.listening.onsets import ONSETS
from handlers.listening.rhythm import PULSE, pulse_of
from tests.sounds import (
    as_blocks,
    clicks,
    groove,
    noise,
    one_after_another,
    silence,
    sound,
    speech,
    tone,
)


def pulse(audio):
    return Heard(audio.blocks(), (FLUX, CHROMA))[PULSE]


def f_measure(truth, found):
    return mir_eval.beat.f_measure(np.asarray(truth), np.asarray(found))


@pytest.mark.parametrize("bpm", [66, 81, 97.3, 120, 143, 174])
def test_a_groove_has_its_tempo_and_its_beats(bpm):
    # The slower the music, the smaller the notes that fill its beats.
    audio, beats = groove(bpm, hats=(0, 0.25, 0.5, 0.75) if bpm < 80 else (0, 0.5))
    found = pulse(audio)
    assert found.tempo == pytest.approx(bpm, rel=0.002)
    assert f_measure(beats, found.beats) > 0.95


def test_hats_between_the_beats_are_not_taken_for_beats():
    audio, beats = groove(128, hats=(0.5,), seconds=16)
    found = pulse(audio)
    assert found.tempo == pytest.approx(128, rel=0.002)
    assert f_measure(beats, found.beats) > 0.95


def test_beats_lie_on_the_attacks_to_the_millisecond_without_a_bias():
    audio, beats = groove(110, rate=44100, seconds=20)
    found = pulse(audio).beats
    pairs = mir_eval.util.match_events(beats, found, 0.02)
    apart = np.array([found[j] - beats[i] for i, j in pairs])
    assert len(apart) > 0.95 * len(beats)
    assert np.abs(apart).max() < 0.002
    assert abs(apart.mean()) < 0.0005


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 96000])
def test_clicks_are_found_to_a_few_samples(rate):
    times = np.arange(20) * 0.5 + 0.21
    onsets = Heard(clicks(times, seconds=10.5, rate=rate).blocks())[ONSETS]
    assert onsets.times == pytest.approx(np.rint(times * rate) / rate, abs=max(1.25e-4, 4 / rate))
    assert onsets.strengths.max() == 1
    assert onsets.strengths.min() > 0.5


def test_a_tempo_that_rises_is_followed():
    audio, beats = groove(100, seconds=40, drift=0.3)
    assert f_measure(beats, pulse(audio).beats) > 0.95


def test_the_second_song_has_its_own_tempo():
    first, one = groove(92, seconds=90, rate=22050)
    second, other = groove(139, seconds=90, rate=22050)
    found = pulse(one_after_another(first, second)).beats
    assert f_measure(one, found[found < 90]) > 0.9
    assert f_measure(other, found[found >= 90] - 90) > 0.9


@pytest.mark.parametrize("bar", [3, 4])
def test_bars_begin_where_the_harmony_changes(bar):
    audio, beats = groove(104, seconds=30, bar=bar, chords=True)
    found = pulse(audio)
    assert found.beats_per_bar == bar
    assert f_measure(beats[::bar], found.downbeats) > 0.9
    assert found.downbeats_confidence > 0.5


def test_a_hint_decides_between_the_levels():
    audio, _ = groove(70, seconds=16)
    heard = Heard(audio.blocks(), (FLUX, CHROMA))
    for hint in (70, 140):
        assert pulse_of(heard[FLUX], heard[CHROMA], hint).tempo == pytest.approx(hint, rel=0.01)


@pytest.mark.parametrize("gain_db", [-60, 0, 12])
def test_loudness_does_not_matter(gain_db):
    audio, _ = groove(117)
    found = pulse(audio.like(audio.samples * np.float32(10 ** (gain_db / 20))))
    assert found.tempo == pytest.approx(117, rel=0.002)


@pytest.mark.parametrize(
    "audio",
    [
        silence(seconds=4),
        tone(seconds=8),
        sound(np.zeros(0)),
        sound(np.array([0.5])),
        clicks([0.5]),
    ],
    ids=["silence", "a steady tone", "nothing", "one sample", "one click"],
)
def test_what_has_no_pulse_gets_none(audio):
    found = pulse(audio)
    assert found.tempo is None
    assert not len(found.beats)
    assert found.tempo_confidence == 0


@pytest.mark.parametrize("audio", [noise(seconds=20, rate=22050), speech(seconds=20, rate=22050)])
def test_nobody_is_sure_of_the_tempo_of_noise_or_speech(audio):
    assert pulse(audio).tempo_confidence < 0.2
    assert pulse(groove(120, seconds=20, rate=22050)[0]).tempo_confidence > 0.6


def test_all_channels_are_heard():
    audio, _ = groove(126, channels=1)
    aside = sound(np.vstack((np.zeros(audio.frames), audio.samples[0])), audio.rate)
    assert pulse(aside).tempo == pytest.approx(126, rel=0.002)


@pytest.mark.parametrize("size", [1000, 44100])
def test_blocks_make_no_difference(size):
    audio, _ = groove(133, seconds=6, rate=44100, channels=2)
    whole, pieces = (Heard(as_blocks(audio, n), (FLUX, CHROMA)) for n in (audio.frames, size))
    assert np.array_equal(whole[FLUX].rises, pieces[FLUX].rises)
    assert np.array_equal(whole[FLUX].energy, pieces[FLUX].energy)
    assert np.array_equal(whole[CHROMA], pieces[CHROMA])
    assert np.array_equal(whole[PULSE].beats, pieces[PULSE].beats)


def test_vibrato_is_no_onset():
    rate = 22050
    t = np.arange(6 * rate) / rate
    hertz = 440 * 2 ** (0.25 / 12 * np.sin(2 * math.pi * 6 * t))
    turns = 2 * math.pi * np.cumsum(hertz) / rate
    voice = sum(np.sin(k * turns) / k for k in range(1, 12)) * (t > 1) * 0.2
    found = Heard(sound(voice, rate).blocks())[ONSETS]
    assert found.times[0] == pytest.approx(1, abs=0.01)
    assert len(found.times) <= 2
