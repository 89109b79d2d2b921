import numpy as np
import pytest

from handlers.hearing import Heard
from handlers.listening.color import CHROMA, CHROMA_RATE, TIMBRE, TIMBRE_RATE
from tests.sounds import as_blocks, noise, one_after_another, tone


def band(hertz):
    """Which of sixteen bands, evenly spaced on a logarithmic axis from 50 Hz to 10 kHz."""
    return int(16 * np.log(hertz / 50) / np.log(10000 / 50))


@pytest.mark.parametrize("hertz", [80, 440, 3000, 6000, 9000])
def test_timbre_tells_where_in_the_spectrum_a_tone_lies_up_to_10_khz(hertz):
    timbre = Heard(tone(hertz, seconds=2, rate=44100).blocks())[TIMBRE]
    assert timbre[5:-5].mean(axis=0).argmax() == band(hertz)


def test_timbre_changes_when_the_sound_does():
    audio = one_after_another(tone(200, seconds=2, rate=44100), tone(7000, seconds=2, rate=44100))
    loudest = Heard(audio.blocks())[TIMBRE].argmax(axis=1)
    change = int(np.flatnonzero(loudest == band(7000))[0])
    assert change / TIMBRE_RATE == pytest.approx(2, abs=0.06)


def test_chroma_tells_the_pitch_class():
    chroma = Heard(tone(466.16, seconds=2, rate=44100).blocks())[CHROMA]
    assert len(chroma) == pytest.approx(2 * CHROMA_RATE, abs=1)
    assert (chroma[3:-3].argmax(axis=1) == 10).all()


@pytest.mark.parametrize("size", [1000, 4097])
def test_pieces_are_not_heard(size):
    audio = noise(seconds=3)
    whole, pieces = (Heard(as_blocks(audio, n), (CHROMA, TIMBRE)) for n in (audio.frames, size))
    assert np.array_equal(whole[CHROMA], pieces[CHROMA])
    assert np.array_equal(whole[TIMBRE], pieces[TIMBRE])
