import numpy as np
import pytest

from handlers.editing.convert import Convert, convert
from handlers.errors import BadParameter, CannotProcess, MistypedParameter
from handlers.registry import find
from tests.sounds import as_blocks, level_db, noise, sound, tone


def converted(audio, **params):
    return convert(as_blocks(audio, 1000), Convert(**params))


@pytest.mark.parametrize(("old", "new"), [(44100, 48000), (48000, 44100), (96000, 8000)])
def test_a_tone_keeps_its_pitch_and_level_at_another_rate(old, new):
    result = converted(tone(1000, rate=old, channels=2), sample_rate=new)
    whole = result.sound.whole()

    assert (whole.rate, whole.channels, whole.frames) == (new, 2, new)
    assert level_db(whole, at=(0.1, 0.9)) == pytest.approx(-6 - 3.01, abs=0.01)
    spectrum = np.abs(np.fft.rfft(whole.samples[0] * np.hanning(new)))
    assert np.argmax(spectrum) == 1000


def test_mono_goes_to_both_sides_at_its_level():
    audio = noise(seconds=0.1)
    result = converted(audio, channels=2).sound.whole()
    assert np.array_equal(result.samples, np.repeat(audio.samples, 2, axis=0))


def test_two_sides_become_their_mean():
    audio = noise(seconds=0.1, channels=2)
    result = converted(audio, channels=1).sound.whole()
    assert result.samples[0] == pytest.approx(audio.samples.mean(axis=0), abs=1e-7)


def test_both_at_once_and_what_was_asked_is_said():
    result = converted(noise(seconds=1, channels=2, rate=48000), sample_rate=16000, channels=1)
    whole = result.sound.whole()
    assert whole.samples.shape == (1, 16000)
    assert result.descriptor() == {"sample_rate": 16000, "channels": 1}


def test_without_parameters_the_samples_stay():
    audio = noise(seconds=0.1, channels=6)
    result = converted(audio)
    assert np.array_equal(result.sound.whole().samples, audio.samples)
    assert result.descriptor() == {"sample_rate": None, "channels": None}


def test_what_nobody_can_mix_down_is_refused_at_the_call():
    with pytest.raises(CannotProcess, match="12 channels"):
        converted(sound(np.zeros((12, 10))), channels=2)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        pytest.param({"sample_rate": "0"}, BadParameter, id="no rate"),
        pytest.param({"channels": "3"}, BadParameter, id="three channels"),
        pytest.param({"channels": "0"}, BadParameter, id="no channel"),
        pytest.param({"channels": "two"}, MistypedParameter, id="a word"),
    ],
)
def test_it_refuses(raw, error):
    with pytest.raises(error):
        find("convert").read_params(raw)
