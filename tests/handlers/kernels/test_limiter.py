import numpy as np
import pytest

from handlers.kernels.limiter import Limiter
from tests.sounds import (
    as_blocks,
    clicks,
    difference_db,
    ffmpeg_loudness,
    noise,
    one_after_another,
    peak_db,
    speech,
    tone,
    write_wav,
)


def limited(audio, ceiling_dbtp=-1.0, gain_db=0.0, block=4096):
    limiter = Limiter(audio.rate, audio.channels, ceiling_dbtp=ceiling_dbtp, gain_db=gain_db)
    pieces = [limiter.limited(piece) for piece in as_blocks(audio, block)]
    result = audio.like(np.concatenate([*pieces, limiter.rest()], axis=1))
    assert result.frames == audio.frames
    return result, limiter.reduction_db


def faded(audio):
    """Without the edges of a tone that is cut off, where meters ring each in its own way."""
    edge = np.minimum(1, np.arange(audio.frames) / 1000)
    return audio.like((audio.samples * edge * edge[::-1]).astype(np.float32))


def within_20_khz(audio):
    """Without what lies next to half the rate, where meters differ."""
    spectrum = np.fft.rfft(audio.samples)
    spectrum[:, np.fft.rfftfreq(audio.frames, 1 / audio.rate) > 20000] = 0
    return audio.like(np.fft.irfft(spectrum, audio.frames).astype(np.float32))


@pytest.mark.parametrize(
    "audio",
    [
        pytest.param(speech(seconds=3, channels=2, peak_db=8), id="speech"),
        pytest.param(
            within_20_khz(noise(seconds=2, channels=2, rate=44100, peak_db=6)), id="noise"
        ),
        pytest.param(
            faded(tone(11999, seconds=1, phase=0.7, peak_db=3)), id="peaks between samples"
        ),
        pytest.param(clicks(seconds=1, peak_db=12), id="clicks"),
        pytest.param(tone(50, seconds=1, rate=96000, peak_db=20), id="deep and far too loud"),
        pytest.param(speech(seconds=2, rate=8000, peak_db=6), id="8 kHz"),
    ],
)
def test_the_ceiling_holds_by_ffmpegs_meter(audio, tmp_path):
    result, reduction = limited(audio)
    assert ffmpeg_loudness(write_wav(result, tmp_path / "x.wav")).true_peak <= -1.0
    # It takes what is needed and not much more.
    assert peak_db(result) > -2.5
    assert reduction > 3


def test_what_stays_below_the_ceiling_passes_bit_for_bit():
    audio = speech(seconds=2, channels=2, peak_db=-3)
    result, reduction = limited(audio)
    assert np.array_equal(result.samples, audio.samples)
    assert reduction == 0


def test_nothing_moves_in_time_and_only_the_neighbourhood_of_a_peak_is_touched():
    quiet = tone(300, seconds=1, peak_db=-12)
    loud = tone(300, seconds=0.1, peak_db=6)
    audio = one_after_another(quiet, loud, quiet)
    result, _ = limited(audio)

    before = slice(0, round(0.99 * 48000))
    after = slice(round(1.9 * 48000), None)
    assert np.array_equal(result.samples[:, before], audio.samples[:, before])
    assert np.array_equal(result.samples[:, after], audio.samples[:, after])


def test_the_gain_is_below_one_before_the_peak_and_has_no_steps():
    audio = one_after_another(
        tone(1000, seconds=0.2, peak_db=-6), tone(1000, seconds=0.2, peak_db=9)
    )
    result, _ = limited(audio)
    loud = np.abs(audio.samples[0]) > 0.05
    gain = result.samples[0][loud] / audio.samples[0][loud]
    assert np.abs(np.diff(gain)).max() < 0.05
    assert gain.max() <= 1 + 1e-6


def test_all_channels_move_together():
    audio = noise(seconds=1, channels=3, peak_db=-12)
    audio.samples[1] *= 10
    result, _ = limited(audio)
    gain = result.samples.astype(np.float64) / audio.samples
    assert np.abs(gain[0] - gain[1]).max() < 1e-5
    assert np.abs(gain[0] - gain[2]).max() < 1e-5
    assert gain.min() < 0.6


@pytest.mark.parametrize("block", [1, 333, 20000])
def test_the_block_size_is_not_heard(block):
    audio = speech(seconds=1, rate=16000, channels=2, peak_db=6)
    assert difference_db(limited(audio, block=block)[0], limited(audio)[0]) < -120


@pytest.mark.parametrize("frames", [1, 10, 400])
def test_sounds_shorter_than_its_delay_keep_their_length(frames):
    audio = tone(1000, peak_db=6)
    result, _ = limited(audio.like(audio.samples[:, 10 : 10 + frames]))
    assert peak_db(result) <= -1


def test_gain_comes_first():
    audio = tone(100, peak_db=-20)
    assert peak_db(limited(audio, gain_db=6)[0]) == pytest.approx(-14, abs=0.001)
