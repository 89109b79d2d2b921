from itertools import pairwise

import numpy as np
import pytest
from scipy import signal

from handlers.errors import AudiollaError, BadParameter, CannotProcess, MissingInput
from handlers.mastering.master import Master, master
from handlers.registry import find
from tests.sounds import (
    as_blocks,
    ffmpeg_loudness,
    noise,
    silence,
    sound,
    speech,
    tone,
    write_wav,
)

RATE = 44100


def coloured(seed, tilt, seconds=6, peak_db=-6.0, rate=RATE):
    """Noise whose spectrum falls or climbs by `tilt` dB per octave, swelling once a second."""
    white = np.random.default_rng(seed).standard_normal((2, round(seconds * rate)))
    spectrum = np.fft.rfft(white)
    freqs = np.maximum(np.fft.rfftfreq(white.shape[1], 1 / rate), 20)
    shaped = np.fft.irfft(spectrum * (freqs / 1000) ** (tilt / 6.02), white.shape[1])
    shaped *= 0.6 + 0.4 * np.sin(2 * np.pi * np.arange(white.shape[1]) / rate)
    return sound(shaped / np.abs(shaped).max() * 10 ** (peak_db / 20), rate)


DULL, BRIGHT = coloured(1, -6), coloured(2, -1.5)


def mastered(audio, reference=None, block=4096, **params):
    other = None if reference is None else as_blocks(reference, 5000)
    return master(as_blocks(audio, block), other, Master(**params))


def octaves_db(audio):
    """Power by octaves, 125 Hz to 8 kHz, of the mid signal, against their mean."""
    freqs, power = signal.welch(audio.samples.mean(axis=0), audio.rate, nperseg=8192)
    edges = 88.4 * 2.0 ** np.arange(8)
    bands = [power[(freqs >= a) & (freqs < b)].mean() for a, b in pairwise(edges)]
    levels = 10 * np.log10(np.array(bands))
    return levels - levels.mean()


@pytest.mark.parametrize(
    ("params", "lufs", "ceiling"),
    [
        pytest.param({"preset": "transparent"}, -14, -1, id="transparent"),
        pytest.param({"preset": "loud", "mode": "chain"}, -8, -1, id="loud"),
        pytest.param({"preset": "loud", "target_lufs": -11}, -11, -1, id="a number"),
        pytest.param({"preset": "transparent", "profile": "amazon"}, -14, -2, id="a profile"),
        pytest.param(
            {"preset": "transparent", "true_peak_dbtp": -3.0}, -14, -3, id="a lower ceiling"
        ),
    ],
)
def test_ffmpeg_finds_the_target_and_the_ceiling(params, lufs, ceiling, tmp_path):
    music = "loud" in params.values()
    audio = BRIGHT if music else speech(seconds=10, channels=2, peak_db=-18)

    result = mastered(audio, **params)

    whole = result.sound.whole()
    after = ffmpeg_loudness(write_wav(whole, tmp_path / "after.wav"))
    assert whole.samples.shape == audio.samples.shape
    assert after.integrated == pytest.approx(lufs, abs=0.1)
    assert after.true_peak <= ceiling
    assert (result.engine, result.mode) == ("pedalboard-chain", "chain")
    assert result.target_reached


def test_loud_is_denser_than_transparent_and_does_not_hear_the_input_level():
    audio = speech(seconds=8, rate=RATE, channels=2, peak_db=-12)
    quiet = audio.like(audio.samples * np.float32(0.05))

    def spread(preset, audio):
        out = mastered(audio, preset=preset, target_lufs=-30).sound.whole()
        short = out.samples[0, : RATE * 7].reshape(-1, RATE // 5).std(axis=1)
        loud = short[short > short.max() * 0.1]
        return 20 * np.log10(loud.max() / loud.mean())

    assert spread("loud", audio) < spread("transparent", audio) - 0.5
    one, other = (mastered(a, preset="loud").sound.whole().samples for a in (audio, quiet))
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_transparent_leaves_tone_and_image():
    left = tone(1000, seconds=4, rate=RATE, peak_db=-20).samples[0]
    audio = sound(np.stack([left, 0.25 * left]), RATE)

    out = mastered(audio, preset="transparent", target_lufs=-24).sound.whole().samples

    np.testing.assert_allclose(out[1, RATE:], 0.25 * out[0, RATE:], atol=1e-4)
    before, after = (np.abs(np.fft.rfft(x[RATE : 3 * RATE])) for x in (audio.samples[0], out[0]))
    distortion = np.delete(after, range(1990, 2011)).max() / after.max()
    assert 20 * np.log10(distortion) < -60
    assert before.argmax() == after.argmax()


def test_a_reference_lends_its_spectrum_and_its_loudness(tmp_path):
    far = np.abs(octaves_db(DULL) - octaves_db(BRIGHT)).mean()

    result = mastered(DULL, BRIGHT)

    whole = result.sound.whole()
    assert np.abs(octaves_db(whole) - octaves_db(BRIGHT)).mean() < 0.15 * far
    wanted = ffmpeg_loudness(write_wav(BRIGHT, tmp_path / "reference.wav"))
    after = ffmpeg_loudness(write_wav(whole, tmp_path / "after.wav"))
    assert after.integrated == pytest.approx(wanted.integrated, abs=0.2)
    assert after.true_peak <= -1
    assert (result.engine, result.mode) == ("matchering", "reference")


def test_a_match_is_what_matchering_itself_makes_of_it():
    from matchering import Config
    from matchering import stages as helpers

    from handlers.matched import matched

    config = Config()
    theirs = helpers.main(
        DULL.samples.T.astype(float),
        BRIGHT.samples.T.astype(float),
        config,
        need_default=False,
        need_no_limiter=True,
    )[1].T

    ours = matched(DULL, BRIGHT).samples

    # Its filters' middle is half a tap off: it is one sample late.
    assert np.abs(ours[:, :-1] - theirs[:, 1:]).max() < 1e-3 * np.abs(theirs).max()


def test_a_match_is_not_delayed():
    from handlers.matched import matched

    out = matched(DULL, BRIGHT).samples[0].astype(float)

    spectrum = np.fft.rfft(out) * np.conj(np.fft.rfft(DULL.samples[0].astype(float)))
    assert np.fft.irfft(spectrum).argmax() == 0


@pytest.mark.parametrize(
    ("audio", "reference"),
    [
        pytest.param(coloured(1, -6, rate=48000), BRIGHT, id="another rate"),
        pytest.param(coloured(1, -6, rate=96000), BRIGHT, id="twice the rate"),
        pytest.param(sound(DULL.samples[:1], RATE), BRIGHT, id="mono like stereo"),
        pytest.param(DULL, sound(BRIGHT.samples[:1], RATE), id="stereo like mono"),
    ],
)
def test_other_rates_and_channels_are_matched_and_kept(audio, reference):
    out = mastered(audio, reference).sound.whole()

    assert (out.samples.shape, out.rate) == (audio.samples.shape, audio.rate)
    assert np.abs(octaves_db(out) - octaves_db(BRIGHT)).mean() < 1.5
    if audio.channels == 2:
        # A mono reference says nothing about the side: it must not vanish.
        assert np.std(out.samples[0] - out.samples[1]) > 0.1 * np.std(out.samples[0])


@pytest.mark.parametrize(
    ("params", "reference", "error", "says"),
    [
        pytest.param({}, None, MissingInput, "a reference .* or a preset", id="neither"),
        pytest.param({"mode": "reference"}, None, MissingInput, "reference", id="no reference"),
        pytest.param({"preset": "loud"}, BRIGHT, BadParameter, "not both", id="both"),
        pytest.param({}, silence(seconds=3), CannotProcess, "reference is silent", id="silent"),
        pytest.param({}, noise(seconds=1), CannotProcess, "lasts 1.0 s", id="too short"),
        pytest.param({}, noise(seconds=3, channels=6), CannotProcess, "6 channels", id="surround"),
    ],
)
def test_what_cannot_be_is_refused(params, reference, error, says):
    with pytest.raises(error, match=says):
        mastered(DULL, reference, **params)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        pytest.param({"mode": "chain"}, "needs a preset", id="chain without preset"),
        pytest.param({"preset": "brutal"}, "preset", id="unknown preset"),
        pytest.param({"mode": "magic"}, "mode", id="unknown mode"),
        pytest.param({"preset": "loud", "target_lufs": 0}, "target_lufs", id="target out of range"),
        pytest.param({"mode": "reference", "preset": "loud"}, "mode chain", id="contradiction"),
        pytest.param({"preset": "loud", "profile": "acx"}, "no loudness target", id="rms profile"),
    ],
)
def test_wrong_parameters_are_refused(params, says):
    with pytest.raises(BadParameter, match=says):
        find("master").read_params(params)


def test_silence_is_refused():
    with pytest.raises(AudiollaError, match="silent"):
        mastered(silence(seconds=3), preset="loud")
