import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from handlers.kernels.crossover import split
from tests.sounds import as_blocks, clicks, noise, silence, sound, tone

RATE = 48000


def bands_of(audio, crossovers, size=32768):
    stretches = split(as_blocks(audio, size), crossovers)
    return [np.concatenate(parts, axis=1) for parts in zip(*stretches, strict=True)]


@pytest.mark.parametrize("crossovers", [[1000], [200, 3000], [30, 120, 500, 2000, 8000, 23000]])
@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_the_bands_add_up_to_the_sound(crossovers, channels):
    audio = noise(channels=channels, seconds=1.5)
    total = sum(bands_of(audio, crossovers))
    assert total.shape == audio.samples.shape
    np.testing.assert_allclose(total, audio.samples, atol=3e-7)


def test_a_band_is_a_butterworth_filter_there_and_back():
    audio = noise(seconds=1.5)
    low, high = bands_of(audio, [300])
    sections = butter(2, 300, fs=RATE, output="sos")
    padded = np.pad(audio.samples[0].astype(float), (0, RATE))
    expected = sosfilt(sections, sosfilt(sections, padded)[::-1])[::-1][: audio.frames]
    np.testing.assert_allclose(low[0], expected, atol=1e-6)
    np.testing.assert_allclose(high[0], audio.samples[0] - expected, atol=1e-6)


def test_bands_have_the_magnitude_of_linkwitz_and_riley_and_no_phase():
    impulse = clicks([0.5], peak_db=0)
    freqs = np.fft.rfftfreq(RATE, 1 / RATE)
    # Where the impulse lies is time 0, so a real spectrum has no phase.
    low, high = (np.fft.rfft(np.roll(band[0], -RATE // 2)) for band in bands_of(impulse, [2000]))
    # The bilinear transform bends the frequency axis; it is right at the crossover.
    bent = np.tan(np.pi * freqs / RATE) / np.tan(np.pi * 2000 / RATE)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(low, 1 / (1 + bent**4), atol=1e-5)
    np.testing.assert_allclose(high, 1 - 1 / (1 + bent**4), atol=1e-5)


def test_neighbours_fall_at_24_db_per_octave_to_either_side():
    for freq, dbs in {50: (0, -48.2), 200: (-6.02, -6.02), 800: (-48.2, -0.1)}.items():
        heard = tone(freq, seconds=2)
        low, middle, _ = bands_of(heard, [200, 3000])
        for band, db in zip((low, middle), dbs, strict=True):
            steady = band[0, RATE // 2 : -RATE // 2]
            peak = 20 * np.log10(np.abs(steady).max() / np.abs(heard.samples).max())
            assert peak == pytest.approx(db, abs=0.1)


@pytest.mark.parametrize("size", [1, 333, 4096])
def test_the_block_size_is_never_heard(size):
    audio = noise(seconds=0.2, channels=2)
    for one, other in zip(
        bands_of(audio, [100, 3000], size), bands_of(audio, [100, 3000]), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("seconds", [0.0, 1 / RATE, 0.01, 3.0])
def test_every_length_is_kept(seconds):
    audio = noise(seconds=seconds) if seconds else sound(np.zeros(0))
    assert sum(b[0].shape[1] for b in split(audio.blocks(), [50])) == audio.frames


def test_silence_stays_silent_and_channels_stay_apart():
    assert all(not band.any() for band in bands_of(silence(channels=2), [500]))
    one_sided = sound(np.stack([noise().samples[0], np.zeros(RATE), np.zeros(RATE)]))
    for band in bands_of(one_sided, [500]):
        assert band[0].any()
        assert not band[1:].any()
