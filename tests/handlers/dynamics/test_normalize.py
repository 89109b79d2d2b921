import numpy as np
import pytest

from handlers.dynamics.normalize import Normalize, normalize
from handlers.errors import BadParameter, CannotProcess, MistypedParameter
from handlers.registry import find
from tests.sounds import (
    as_blocks,
    clicks,
    ffmpeg_loudness,
    noise,
    one_after_another,
    silence,
    speech,
    tone,
    write_wav,
)


def normalized(audio, **params):
    return normalize(as_blocks(audio, 4096), None, Normalize(**params))


TALK = speech(seconds=12, channels=2, peak_db=-12)


@pytest.mark.parametrize(
    ("audio", "target", "limited"),
    [
        pytest.param(TALK, -30, False, id="softer"),
        pytest.param(TALK, -20, False, id="louder, with room"),
        pytest.param(TALK, -14, True, id="louder than the peaks allow"),
        pytest.param(TALK, -11, True, id="much louder than the peaks allow"),
        pytest.param(noise(seconds=5, rate=44100), -10, True, id="mono noise"),
        pytest.param(speech(seconds=8, rate=8000), -16, True, id="a telephone call"),
        pytest.param(speech(seconds=4, rate=96000, channels=6), -6, True, id="5.1 at 96 kHz"),
    ],
)
def test_ffmpeg_finds_the_target_and_the_ceiling(audio, target, limited, tmp_path):
    result = normalized(audio, target_lufs=target)
    whole = result.sound.whole()
    before = ffmpeg_loudness(write_wav(audio, tmp_path / "before.wav"))
    after = ffmpeg_loudness(write_wav(whole, tmp_path / "after.wav"))

    assert whole.samples.shape == audio.samples.shape
    # FFmpeg prints one digit.
    assert after.integrated == pytest.approx(target, abs=0.1)
    assert after.true_peak <= -1.0
    assert result.measured_lufs == pytest.approx(before.integrated, abs=0.1)
    assert result.loudness_lufs == pytest.approx(target, abs=0.05)
    assert result.target_reached
    assert (result.limited_db > 0.1) == limited


def test_without_the_limiter_it_is_one_gain():
    result = normalized(TALK, target_lufs=-23)
    factor = result.sound.whole().samples[0, 5000] / TALK.samples[0, 5000]
    assert 20 * np.log10(factor) == pytest.approx(result.gain_db, abs=0.01)
    assert np.abs(result.sound.whole().samples - TALK.samples * factor).max() < 1e-6


@pytest.mark.parametrize("off", [None, "off", "None"])
def test_with_the_ceiling_off_peaks_go_where_the_gain_takes_them(off):
    result = normalized(tone(997, seconds=3), target_lufs=-2, true_peak_dbtp=off)
    # A sine in one channel reads 3.01 LU below its peak: the peak comes out at +1.
    whole = result.sound.whole()
    assert 20 * np.log10(np.abs(whole.samples).max()) == pytest.approx(1.0, abs=0.1)
    assert result.limited_db == 0
    assert result.target_reached


def test_what_the_ceiling_does_not_allow_is_said():
    # Clicks at full scale are soft: most of the time there is nothing.
    audio = clicks(np.arange(0.1, 5, 0.5), seconds=5, peak_db=-1)
    result = normalized(audio, target_lufs=-14)
    assert not result.target_reached
    assert result.loudness_lufs < -20
    whole = result.sound.whole()
    assert 20 * np.log10(np.abs(whole.samples).max()) <= -1


def test_the_headers_carry_measured_and_target():
    assert find("normalize").headers == {
        "target_lufs": "X-Target-LUFS",
        "measured_lufs": "X-Loudness-LUFS",
    }


@pytest.mark.parametrize(
    "audio",
    [
        pytest.param(silence(seconds=3, channels=2), id="silence"),
        pytest.param(tone(seconds=3, peak_db=-90), id="below -70 LUFS"),
        pytest.param(silence(seconds=0), id="no sample"),
    ],
)
def test_what_is_too_quiet_to_measure_is_refused(audio):
    with pytest.raises(CannotProcess, match="too quiet"):
        normalized(audio, target_lufs=-14)


def test_a_single_drum_hit_can_be_normalized():
    hit = noise(seconds=0.15, channels=2)
    hit = hit.like((hit.samples * np.exp(-np.arange(7200) / 900)).astype(np.float32))
    assert normalized(hit, target_lufs=-30).sound.whole().frames == hit.frames


def test_it_reads_the_sound_once_when_nothing_has_to_be_limited():
    passes = []
    blocks = as_blocks(TALK, 4096)

    def counted():
        passes.append(1)
        return iter(blocks)

    sound = normalize(blocks.like(counted), None, Normalize(target_lufs=-23)).sound
    assert len(passes) == 1
    sound.whole()
    assert len(passes) == 2


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        pytest.param({}, MistypedParameter, id="no target"),
        pytest.param({"target_lufs": "loud"}, MistypedParameter, id="a word"),
        pytest.param({"target_lufs": "0"}, BadParameter, id="above -0.1"),
        pytest.param({"target_lufs": "-71"}, BadParameter, id="below -70"),
        pytest.param({"target_lufs": "-14", "true_peak_dbtp": "3"}, BadParameter, id="over 0 dBTP"),
    ],
)
def test_it_refuses(raw, error):
    with pytest.raises(error):
        find("normalize").read_params(raw)


def test_a_loud_part_does_not_pull_up_the_gate_of_the_rest():
    audio = one_after_another(speech(seconds=6, peak_db=-30), speech(seconds=6, peak_db=-10))
    result = normalized(audio, target_lufs=-16)
    assert result.target_reached
