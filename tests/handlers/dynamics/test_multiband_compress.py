import numpy as np
import pytest

from handlers.declare import registered
from handlers.dynamics.multiband_compress import MultibandCompress, multiband_compress
from handlers.errors import AudiollaError, BadParameter
from tests.sounds import as_blocks, change_db, clicks, difference_db, noise, sound, sweep, tone

NONE = {"threshold_db": -40, "ratio": 1}
HARD = {"threshold_db": -30, "ratio": 4}


def compressed(audio, size=32768, **params):
    p = MultibandCompress.model_validate(params)
    return multiband_compress(as_blocks(audio, size), p).sound.whole()


def three(low, middle, high):
    return {"crossovers_hz": [200, 3000], "bands": [low, middle, high]}


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_bands_that_are_not_compressed_add_up_to_the_input(rate, channels):
    audio = noise(seconds=0.7, rate=rate, channels=channels, peak_db=-1)
    assert difference_db(audio, compressed(audio, **three(NONE, NONE, NONE))) < -120


def test_the_sum_is_flat_from_end_to_end_of_a_sweep():
    heard = sweep(seconds=4)
    flat = compressed(heard, **three(NONE, NONE, NONE))
    for second in np.arange(0, 4, 0.25):
        assert abs(change_db(heard, flat, at=(second, second + 0.25))) < 0.01


@pytest.mark.parametrize(
    ("freq", "expected_db"),
    [
        pytest.param(60, 0, id="low band at ratio 1"),
        # -15 dB is 0.178; 0.4 % of the tone is in the low band, 0.5 % (made up: 0.7) in the high.
        pytest.param(800, -14.5, id="20 dB over in the middle at 4:1"),
        pytest.param(12000, 3, id="makeup in the high band"),
    ],
)
def test_each_band_does_its_own(freq, expected_db):
    heard = tone(freq, seconds=2, peak_db=-10)
    out = compressed(heard, **three(NONE, HARD, {**NONE, "makeup_db": 3}))
    assert change_db(heard, out, at=(1, 1.9)) == pytest.approx(expected_db, abs=0.2)


def test_a_loud_bass_does_not_turn_the_treble_down():
    both = sound(tone(60, peak_db=-6).samples + tone(8000, peak_db=-40).samples)
    out = compressed(both, **three(HARD, NONE, NONE))
    spectra = [np.abs(np.fft.rfft(a.samples[0])) for a in (both, out)]
    assert 20 * np.log10(spectra[1][8000] / spectra[0][8000]) == pytest.approx(0, abs=0.05)
    assert 20 * np.log10(spectra[1][60] / spectra[0][60]) < -15


def test_channels_move_together():
    left_loud = sound(np.stack([tone(peak_db=-6).samples[0], tone(peak_db=-50).samples[0]]))
    out = compressed(left_loud, **three(NONE, HARD, NONE))
    gains = out.samples[:, 24000:] / np.where(left_loud.samples[:, 24000:], 1, np.inf)
    assert gains.shape[0] == 2
    for channel in (0, 1):
        one = sound(left_loud.samples[channel])
        assert change_db(one, sound(out.samples[channel]), at=(0.5, 0.9)) < -15


def test_an_impulse_stays_where_it_was():
    impulse = clicks([0.5], peak_db=-60)
    out = compressed(impulse, **three(HARD, HARD, HARD))
    assert int(np.abs(out.samples[0]).argmax()) == 24000
    assert out.frames == impulse.frames


@pytest.mark.parametrize("size", [1, 333, 4096])
def test_the_block_size_is_never_heard(size):
    audio = noise(seconds=0.15, channels=2, peak_db=0)
    params = three(HARD, HARD, HARD)
    whole = compressed(audio, **params)
    np.testing.assert_array_equal(compressed(audio, size, **params).samples, whole.samples)


def test_the_descriptor_says_what_was_done():
    out = multiband_compress(
        noise(seconds=0.1).blocks(), MultibandCompress.model_validate(three(NONE, HARD, NONE))
    )
    told = out.descriptor()
    assert told["crossovers_hz"] == [200, 3000]
    assert told["bands"][1] == {**HARD, "attack_ms": 10, "release_ms": 100, "makeup_db": 0}


@pytest.mark.parametrize(
    ("crossovers", "bands", "says"),
    [
        pytest.param([], [NONE], "crossovers_hz", id="no crossover"),
        pytest.param([0], [NONE, NONE], "above 0", id="at 0 Hz"),
        pytest.param([500, 500], [NONE] * 3, "ascend", id="twice the same"),
        pytest.param([500], [NONE] * 3, "make 2 bands; bands has 3", id="too many bands"),
        pytest.param([500], [NONE, {"ratio": 2}], r"bands\[1\].threshold_db", id="no threshold"),
        pytest.param([500], [NONE, {"threshold_db": -9}], r"bands\[1\].ratio", id="no ratio"),
        pytest.param([500], [NONE, {**NONE, "ratio": 0.5}], "ratio = 0.5", id="ratio below 1"),
        pytest.param("5,", [NONE, NONE], "not valid JSON", id="not JSON"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(crossovers, bands, says):
    op = registered()["multiband_compress"]
    with pytest.raises(BadParameter, match=says):
        op.read_params({"crossovers_hz": crossovers, "bands": bands})


def test_a_crossover_beyond_the_sound_is_refused():
    with pytest.raises(AudiollaError, match=r"crossovers_hz\[1\] = 4000 Hz is too high for 8000"):
        compressed(noise(rate=8000), crossovers_hz=[500, 4000], bands=[NONE] * 3)
