import numpy as np
import pytest

from handlers.declare import registered
from handlers.dynamics.deess import Deess, deess
from handlers.errors import BadParameter
from tests.sounds import as_blocks, change_db, clicks, difference_db, noise, sound, speech, tone


def deessed(audio, size=32768, **params):
    return deess(as_blocks(audio, size), Deess(**params)).whole()


@pytest.mark.parametrize(
    ("freq", "expected_db"),
    [
        pytest.param(300, 0, id="a vowel passes"),
        pytest.param(2500, 0, id="presence passes"),
        # 14 dB over in the band (-6 dBFS), less 1 % of the band at 18 kHz: three quarters go.
        pytest.param(18000, -10.4, id="14 dB over at 4:1"),
    ],
)
def test_only_what_hisses_is_turned_down(freq, expected_db):
    heard = tone(freq, seconds=2, peak_db=-6)
    out = deessed(heard, threshold_db=-20, frequency_hz=6000, ratio=4)
    assert change_db(heard, out, at=(1, 1.9)) == pytest.approx(expected_db, abs=0.25)


@pytest.mark.parametrize("frequency_hz", [2000, 6000, 15000])
@pytest.mark.parametrize("ratio", [1.5, 4, 20])
def test_no_frequency_is_ever_boosted(frequency_hz, ratio):
    heard = noise(seconds=3, rate=44100, peak_db=0)
    out = deessed(heard, threshold_db=-40, frequency_hz=frequency_hz, ratio=ratio)
    before, after = (
        np.abs(np.fft.rfft(a.samples[0, 22050:110250].reshape(-1, 882) * np.hanning(882))).mean(0)
        for a in (heard, out)
    )
    assert 20 * np.log10((after / before).max()) < 0.05
    # At the split, where a phase shift would show, half the amplitude is compressed.
    assert (after / before)[round(frequency_hz / 50)] < 1


def test_a_soft_voice_is_not_touched():
    voice = speech(peak_db=-30)
    assert difference_db(voice, deessed(voice, threshold_db=-20)) < -120


def test_a_ratio_of_one_does_nothing():
    assert difference_db(noise(), deessed(noise(), threshold_db=-60, ratio=1)) < -120


def test_both_sides_move_together_and_nothing_is_late():
    hiss = noise(peak_db=-3).samples[0] * np.hanning(48000)
    spread = sound(np.stack([hiss, 0.1 * hiss]))
    out = deessed(spread, threshold_db=-40)
    np.testing.assert_allclose(out.samples[1], out.samples[0] * 0.1, atol=1e-6)
    impulse = deessed(clicks([0.5], peak_db=0), threshold_db=-40)
    assert int(np.abs(impulse.samples[0]).argmax()) == 24000


@pytest.mark.parametrize("size", [1, 333, 4096])
def test_the_block_size_is_never_heard(size):
    audio = noise(seconds=0.15, channels=2, peak_db=0)
    whole = deessed(audio, threshold_db=-40)
    np.testing.assert_array_equal(deessed(audio, size, threshold_db=-40).samples, whole.samples)


@pytest.mark.parametrize(
    "params",
    [{"ratio": 100}, {"ratio": 0.9}, {"frequency_hz": 100}, {"frequency_hz": 16001},
     {"threshold_db": 1}],
    ids=str,
)  # fmt: skip
def test_out_of_range_is_refused(params):
    with pytest.raises(BadParameter, match=next(iter(params))):
        registered()["deess"].read_params(params)


def test_a_sound_with_nothing_above_the_split_passes_unchanged():
    telephone = noise(rate=8000, peak_db=0)
    assert difference_db(telephone, deessed(telephone, threshold_db=-60)) == -np.inf
