import numpy as np
import pytest

from handlers.eq_spatial.stereo_field import StereoFieldOf, stereo_field
from handlers.hearing import Heard
from tests.sounds import as_blocks, noise, one_after_another, silence, sound, tone


def measured(audio, size=4096, **params):
    return stereo_field(Heard(as_blocks(audio, size)), StereoFieldOf(**params))


def mixed(together, *, seconds=2.0, offset=0.0):
    """Noise whose sides are `together` (1) or apart (0), with a constant offset."""
    rng = np.random.default_rng(4)
    common, left, right = rng.standard_normal((3, round(seconds * 48000))) * 0.1
    apart = np.sqrt(1 - together)
    share = np.sqrt(together)
    return sound(np.stack([share * common + apart * left, share * common + apart * right]) + offset)


@pytest.mark.parametrize("size", [1000, 96_000])
@pytest.mark.parametrize("offset", [0.0, 0.5])
@pytest.mark.parametrize("together", [0.0, 0.3, 0.9])
def test_correlation_is_pearsons(together, offset, size):
    audio = mixed(together, offset=offset)
    report = measured(audio, size)
    left, right = audio.samples.astype(np.float64)
    assert report.correlation == pytest.approx(np.corrcoef(left, right)[0, 1], abs=5.1e-5)
    assert report.mono_compatible == (together >= 0.5)


def test_levels_width_and_balance_are_those_of_the_definitions():
    audio = mixed(0.5)
    audio.samples[1] *= 0.5
    report = measured(audio)
    left, right = audio.samples.astype(np.float64)

    def rms(x):
        return np.sqrt(np.mean(x**2))

    mid, side = rms((left + right) / 2), rms((left - right) / 2)
    assert report.width == pytest.approx(side / mid, abs=5.1e-5)
    assert report.balance_db == pytest.approx(20 * np.log10(rms(left) / rms(right)), abs=0.0051)
    assert report.mid_level_db == pytest.approx(20 * np.log10(mid), abs=0.0051)
    assert report.side_level_db == pytest.approx(20 * np.log10(side), abs=0.0051)
    assert (report.channels, report.sample_rate, report.duration) == (2, 48000, 2)


def test_mono_is_as_the_contract_has_it():
    report = measured(tone(seconds=1, peak_db=-6)).descriptor()
    assert report == {
        "correlation": 1.0,
        "width": 0.0,
        "balance_db": 0.0,
        "mono_compatible": True,
        "mid_level_db": -9.01,
        "side_level_db": -96.0,
        "phase_issues": False,
        "channels": 1,
        "sample_rate": 48000,
        "duration": 1.0,
        "correlation_min": None,
        "correlation_min_sec": None,
    }


def test_opposite_sides_have_no_mid_and_a_finite_width():
    wave = tone(seconds=1, peak_db=-6).samples[0]
    report = measured(sound(np.stack([wave, -wave])))
    assert report.correlation == -1
    assert report.phase_issues
    assert not report.mono_compatible
    assert (report.mid_level_db, report.side_level_db) == (-96, -9.01)
    assert report.width == pytest.approx(10 ** (96 / 20), rel=1e-6)


@pytest.mark.parametrize(
    ("left", "right", "balance_db", "correlation"),
    [
        pytest.param(1, 0, 96, 0, id="left only"),
        pytest.param(0, 1, -96, 0, id="right only"),
        pytest.param(0, 0, 0, 1, id="silence"),
        pytest.param(1, 1, 0, 1, id="the same"),
        pytest.param(1, 0.5, 6.02, 1, id="the same, half as loud"),
    ],
)
def test_silent_and_equal_sides_have_numbers(left, right, balance_db, correlation):
    wave = tone(seconds=1).samples[0]
    report = measured(sound(np.stack([wave * left, wave * right])))
    assert (report.balance_db, report.correlation) == (balance_db, correlation)


def test_of_surround_the_front_pair_is_measured():
    front = mixed(0.5)
    rest = noise(seconds=2, channels=4)
    audio = sound(np.concatenate([front.samples, rest.samples]))
    assert measured(audio).correlation == measured(front).correlation
    assert measured(audio).channels == 6


def test_the_worst_moment_is_found():
    wave = tone(seconds=3, peak_db=-12).samples[0]
    flip = np.where((np.arange(wave.size) >= 72000) & (np.arange(wave.size) < 96000), -1, 1)
    report = measured(sound(np.stack([wave, wave * flip])))
    assert report.correlation > 0.5
    assert report.correlation_min == -1
    assert report.correlation_min_sec == pytest.approx(1.55, abs=0.06)


def test_where_nothing_sounds_there_is_no_worst_moment():
    audio = one_after_another(silence(seconds=1, channels=2), mixed(0.5))
    assert measured(audio).correlation_min == pytest.approx(0.5, abs=0.2)
    assert measured(silence(seconds=1, channels=2)).correlation_min is None


def test_the_drawing_shows_correlation_over_time():
    drawing = measured(mixed(0.5), plot=True).plot.data.decode()
    assert "Correlation" in drawing
    assert "mono compatible" in drawing
