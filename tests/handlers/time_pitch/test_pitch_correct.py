import numpy as np
import pytest

from handlers.hearing import Heard
from handlers.time_pitch.pitch_correct import PitchCorrect, pitch_correct
from tests.sounds import (
    RATE,
    as_blocks,
    cents_off,
    difference_db,
    level_db,
    noise,
    one_after_another,
    played,
    silence,
    sound,
)

PITCHES = (57, 60, 64, 45, 69, 76)


def tune(cents, rate=RATE, channels=1, gap=0.1):
    notes = [(i * 0.7, i * 0.7 + 0.7 - gap, p + cents / 100) for i, p in enumerate(PITCHES)]
    return played(notes, seconds=0.7 * len(PITCHES), rate=rate, channels=channels)


def corrected(audio, strength=1.0, block=5000):
    made = pitch_correct(Heard(as_blocks(audio, block)), PitchCorrect(strength=strength))
    assert made.strength == strength
    return made.sound.whole()


def errors(audio):
    return [cents_off(audio, (i * 0.7 + 0.1, i * 0.7 + 0.5), p) for i, p in enumerate(PITCHES)]


@pytest.mark.parametrize(("cents", "strength", "left"), [
    (30, 1.0, 0), (30, 0.5, 15), (-40, 1.0, 0), (-40, 0.25, -30), (0, 1.0, 0),
])  # fmt: skip
def test_every_note_comes_nearer_to_its_semitone_by_the_strength(cents, strength, left):
    audio = tune(cents)
    assert errors(audio) == pytest.approx([cents] * len(PITCHES), abs=1)
    result = corrected(audio, strength)
    assert errors(result) == pytest.approx([left] * len(PITCHES), abs=2)
    assert result.samples.shape == audio.samples.shape


def test_notes_that_are_wrong_each_in_its_own_way_all_come_right():
    off = (35, -20, 10, -40, 25, -5)
    notes = [
        (i * 0.7, i * 0.7 + 0.7, p + c / 100)
        for i, (p, c) in enumerate(zip(PITCHES, off, strict=True))
    ]
    result = corrected(played(notes, rate=44100))
    assert errors(result) == pytest.approx([0] * len(PITCHES), abs=4)


def test_at_strength_0_the_samples_are_the_same():
    audio = tune(30, channels=2)
    assert np.array_equal(corrected(audio, 0.0).samples, audio.samples)


def test_only_the_pitch_changes_no_other_tone_comes_in():
    # A comb filter, as a mix of the old and the new voice makes it, would leave both pitches.
    result = corrected(tune(30), 0.5).samples[0]
    piece = result[round(0.15 * RATE) : round(0.5 * RATE)].astype(float)
    sizes = np.abs(np.fft.rfft(piece * np.blackman(piece.size), 2**18))
    hertz = np.fft.rfftfreq(2**18, 1 / RATE)
    pitch = 220 * 2 ** (15 / 1200)
    near = np.abs(hertz / pitch - np.rint(hertz / pitch)) * pitch < 12
    beside = sizes[~near & (hertz > 100) & (hertz < 2500)].max()
    assert 20 * np.log10(beside / sizes.max()) < -45


def test_formants_stay_where_they_are():
    # Pulses through one resonance at 1500 Hz, 40 cents flat.
    t = np.arange(2 * RATE) / RATE
    pitch = 150 * 2 ** (-40 / 1200) * 440 / 440
    nearest = round(69 + 12 * np.log2(pitch / 440))
    voice = sum(
        np.sin(2 * np.pi * k * pitch * t) / (1 + ((k * pitch - 1500) / 200) ** 2)
        for k in range(1, 60)
    )
    audio = sound(0.05 * voice)
    result = corrected(audio)
    assert cents_off(result, (0.5, 1.5), nearest + 40) is not None

    def center(of):
        sizes = np.abs(np.fft.rfft(of.samples[0, RATE // 2 : 3 * RATE // 2])) ** 2
        hertz = np.fft.rfftfreq(RATE, 1 / RATE)
        return (sizes * hertz).sum() / sizes.sum()

    assert center(result) == pytest.approx(center(audio), rel=0.01)


def test_what_has_no_pitch_passes_untouched():
    hiss = noise(seconds=1, peak_db=-20)
    audio = one_after_another(hiss, tune(30), silence(seconds=0.5))
    result = corrected(audio)
    frames = round(0.95 * RATE)
    assert np.array_equal(result.samples[:, :frames], audio.samples[:, :frames])
    assert not result.samples[:, -round(0.45 * RATE) :].any()
    assert np.array_equal(corrected(hiss).samples, hiss.samples)


def test_the_level_stays():
    audio = tune(35)
    assert level_db(corrected(audio)) == pytest.approx(level_db(audio), abs=0.2)


def test_channels_move_alike():
    mono = tune(30)
    wide = mono.like(np.stack([mono.samples[0], 0.5 * mono.samples[0]]))
    result = corrected(wide).samples
    assert np.abs(result[0] - 2 * result[1]).max() < 1e-6


def test_blocks_are_not_heard():
    audio = tune(30, rate=22050)
    assert difference_db(corrected(audio, block=191), corrected(audio, block=10**6)) == -np.inf


def test_vibrato_stays():
    t = np.arange(2 * RATE) / RATE
    swing = 0.3 + 0.4 * np.sin(2 * np.pi * 5 * t)  # semitones about a pitch 30 cents sharp
    turns = 2 * np.pi * np.cumsum(440 * 2 ** (swing / 12)) / RATE
    audio = sound(0.1 * sum(np.sin(k * turns) / k for k in range(1, 8)))
    from handlers.listening.pitch import FRAME_S, single

    found = Heard(corrected(audio).blocks())[single()]
    middle = slice(round(0.3 / FRAME_S), round(1.7 / FRAME_S))
    semitones = 12 * np.log2(found.hertz[middle] / 440)
    assert np.median(semitones) == pytest.approx(0, abs=0.06)
    assert np.ptp(semitones) == pytest.approx(0.8, abs=0.2)
