import numpy as np
import pytest

from handlers.kernels.dynamics import Compressor, TransientShaper
from tests.sounds import clicks, noise, silence, sound, tone

RATE = 48000


def reduction_db(gains):
    return -20 * np.log10(gains.astype(np.float64))


def by_the_paper(samples, rate, threshold, ratio, attack_ms, release_ms):
    """Giannoulis, Massberg and Reiss, sample by sample as their figures draw it."""
    attack, release = (np.exp(-1 / (ms / 1000 * rate)) for ms in (attack_ms, release_ms))
    level = 20 * np.log10(np.maximum(np.abs(samples).max(axis=0).astype(np.float64), 1e-30))
    over = np.maximum(level - threshold, 0) * (1 - 1 / ratio)
    first = second = 0.0
    smooth = np.empty_like(over)
    for i, wanted in enumerate(over):
        first = max(wanted, release * first + (1 - release) * wanted)
        second = attack * second + (1 - attack) * first
        smooth[i] = second
    return smooth


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("ratio", [1.5, 4, 1000])
def test_the_compressor_is_the_one_of_the_paper(channels, ratio):
    audio = noise(seconds=0.5, channels=channels, peak_db=0)
    expected = by_the_paper(audio.samples, RATE, -30, ratio, 3, 50)
    gains = Compressor(RATE, -30, ratio, 3, 50).gains(audio.samples)
    np.testing.assert_allclose(reduction_db(gains), expected, atol=2e-4)


@pytest.mark.parametrize(
    ("peak_db", "expected_db"),
    [
        pytest.param(-8, 9, id="12 dB over at 4:1"),
        pytest.param(-19, 0.75, id="1 dB over"),
        pytest.param(-20.1, 0, id="just below"),
        pytest.param(12, 24, id="above full scale"),
    ],
)
def test_a_steady_tone_takes_its_share(peak_db, expected_db):
    steady = tone(1000, peak_db=peak_db, seconds=2)
    gains = Compressor(RATE, -20, 4, 10, 200).gains(steady.samples)
    assert reduction_db(gains[RATE:]).mean() == pytest.approx(expected_db, abs=0.15)


def test_attack_and_release_are_63_percent_there_after_their_time():
    loud = sound(np.concatenate([np.full(RATE, 0.5), np.zeros(RATE)]))
    reduction = reduction_db(Compressor(RATE, -26.0206, 2, 20, 300).gains(loud.samples))
    there = 10.0  # 20 dB over at 2:1
    assert reduction[round(0.020 * RATE)] == pytest.approx(there * (1 - 1 / np.e), rel=0.01)
    assert reduction[RATE - 1] == pytest.approx(there, rel=0.001)
    # Behind the release stands the attack filter, so letting go takes a little longer.
    assert reduction[RATE + round(0.3 * RATE)] == pytest.approx(there / np.e, rel=0.08)


def test_a_ratio_of_one_and_a_sound_below_the_threshold_give_exactly_one():
    audio = noise(peak_db=-1)
    assert (Compressor(RATE, -60, 1, 1, 10).gains(audio.samples) == 1).all()
    assert (Compressor(RATE, 0, 20, 1, 10).gains(audio.samples) == 1).all()
    assert (Compressor(RATE, -60, 20, 0, 0).gains(silence().samples) == 1).all()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Compressor(RATE, -30, 8, 5, 80), id="compressor"),
        pytest.param(lambda: TransientShaper(RATE, 6, -9), id="transient shaper"),
    ],
)
@pytest.mark.parametrize("size", [1, 333, 4096])
def test_the_block_size_is_never_heard(make, size):
    audio = noise(seconds=0.2, channels=2, peak_db=0)
    whole, pieces = make().gains(audio.samples), make()
    parts = [
        pieces.gains(np.ascontiguousarray(audio.samples[:, at : at + size]))
        for at in range(0, audio.frames, size)
    ]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-6)


def test_a_very_loud_click_gives_a_finite_gain():
    gains = Compressor(RATE, -60, 100, 0, 50).gains(clicks(peak_db=300).samples)
    assert np.isfinite(gains).all()
    assert gains.min() > 0
