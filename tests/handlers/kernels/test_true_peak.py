import numpy as np
import pytest

from handlers.kernels.true_peak import TruePeak
from tests.sounds import as_blocks, noise, silence, sound, speech, tone


def true_peak_db(audio, block=4096):
    meter = TruePeak(audio.rate, audio.channels)
    for piece in as_blocks(audio, block):
        meter.add(piece)
    return 20 * np.log10(meter.peak)


def ideal_peak_db(audio, times=16):
    """By the Fourier transform: exact for what is silent at both ends."""
    spectrum = np.fft.rfft(audio.samples.astype(np.float64))
    padded = np.zeros((audio.channels, audio.frames * times // 2 + 1), complex)
    padded[:, : spectrum.shape[1]] = spectrum
    return 20 * np.log10(np.abs(np.fft.irfft(padded, audio.frames * times)).max() * times)


@pytest.mark.parametrize(
    ("divisor", "degrees", "amplitude", "expected"),
    [
        pytest.param(4, 0, 0.5, -6.0, id="case 15"),
        pytest.param(4, 45, 0.5, -6.0, id="case 16"),
        pytest.param(6, 60, 0.5, -6.0, id="case 17"),
        pytest.param(8, 67.5, 0.5, -6.0, id="case 18"),
        pytest.param(4, 45, 1.41, 3.0, id="case 19"),
    ],
)
@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_the_steady_cases_of_ebu_tech_3341(rate, divisor, degrees, amplitude, expected):
    audio = tone(
        rate / divisor,
        rate=rate,
        channels=2,
        peak_db=20 * np.log10(amplitude),
        phase=np.radians(degrees),
    )
    fade = np.minimum(1, np.minimum(np.arange(rate), np.arange(rate)[::-1]) / 2000)
    audio = audio.like((audio.samples * fade).astype(np.float32))

    assert expected - 0.4 <= true_peak_db(audio) <= expected + 0.2


@pytest.mark.parametrize(
    "audio",
    [
        pytest.param(speech(seconds=2, rate=44100, channels=2), id="speech"),
        pytest.param(tone(9800, rate=44100, phase=0.4), id="a high tone"),
        pytest.param(tone(15000, rate=32000, phase=0.7), id="close to half the rate"),
        pytest.param(noise(seconds=0.5, channels=3, rate=96000), id="noise"),
    ],
)
def test_it_finds_what_the_fourier_transform_finds(audio):
    fade = np.hanning(audio.frames)
    audio = audio.like((audio.samples * fade).astype(np.float32))
    assert true_peak_db(audio) == pytest.approx(ideal_peak_db(audio), abs=0.4)


def test_a_peak_between_samples_is_seen_in_any_channel_and_at_the_very_end():
    # Two equal samples amid a step make a bump above both; the sound ends right after.
    samples = np.zeros((8, 1000))
    samples[6, -2:] = 0.5
    assert true_peak_db(sound(samples)) > 20 * np.log10(0.5) + 1.5


@pytest.mark.parametrize("block", [1, 5, 333])
def test_the_block_size_does_not_matter(block):
    audio = noise(seconds=0.1, channels=2, peak_db=-1)
    assert true_peak_db(audio, block) == pytest.approx(true_peak_db(audio, 10**6), abs=1e-4)


def test_soft_passages_are_left_out_without_missing_a_peak():
    # Loud first, so that nearly everything after it is passed over, then louder between samples.
    loud = tone(1000, seconds=0.2, peak_db=-6).samples[0]
    last = tone(12000, seconds=0.2, peak_db=-4, phase=np.pi / 4).samples[0]
    soft = tone(500, seconds=0.2, peak_db=-40).samples[0]
    parts = [part * np.hanning(part.size) for part in (loud, soft, last, soft)]
    assert true_peak_db(sound(np.concatenate(parts))) == pytest.approx(-4, abs=0.1)


def test_at_192_khz_samples_are_dense_enough():
    audio = tone(20000, rate=192000, seconds=0.1, phase=0.3)
    assert true_peak_db(audio) == pytest.approx(
        20 * np.log10(np.abs(audio.samples).max()), abs=1e-6
    )


def test_silence_has_no_peak():
    meter = TruePeak(48000, 2)
    meter.add(silence(channels=2).samples)
    assert meter.peak == 0
