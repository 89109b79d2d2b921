import subprocess
from dataclasses import asdict

import numpy as np
import pytest

from handlers.analysis.loudness_curve import LoudnessCurve, loudness_curve
from handlers.artifacts import Blocks
from handlers.declare import registered
from handlers.errors import BadParameter
from handlers.hearing import Heard
from tests.sounds import as_blocks, noise, one_after_another, silence, speech, tone, write_wav


def curve_of(audio, size=1000, **params):
    return loudness_curve(Heard(as_blocks(audio, size)), LoudnessCurve(**params))


@pytest.mark.parametrize("size", [1, 333, 100_000])
@pytest.mark.parametrize(("rate", "hop"), [(44100, 512), (8000, 64), (11025, 8192)])
def test_each_point_is_the_rms_of_its_hop(size, rate, hop):
    audio = noise(seconds=0.31 if size == 1 else 2.3, rate=rate, channels=2)
    report = curve_of(audio, size, hop_length=hop)
    pieces = np.split(audio.samples.astype(np.float64), range(hop, audio.frames, hop), axis=1)
    expected = [20 * np.log10(np.sqrt(np.mean(piece**2))) for piece in pieces]
    assert report.points == len(report.curve) == len(expected)
    assert [p.rms_db for p in report.curve] == pytest.approx(expected, abs=0.0051)
    times = [i * hop / rate for i in range(len(expected))]
    assert [p.time_sec for p in report.curve] == pytest.approx(times, abs=5e-7)


def test_ffmpeg_measures_the_same_levels(tmp_path):
    audio = speech(seconds=3, rate=8000)
    path = write_wav(audio, tmp_path / "x.wav")
    stats = "astats=metadata=1:reset=1,ametadata=print:key=lavfi.astats.Overall.RMS_level:file=-"
    said = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", path, "-af", f"asetnsamples=800:p=0,{stats}", "-f", "null",
         "-"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    theirs = [float(line.split("=")[1]) for line in said.splitlines() if "RMS_level" in line]
    ours = [max(p.rms_db, -180) for p in curve_of(audio, hop_length=800).curve]
    assert ours == pytest.approx([max(db, -180) for db in theirs], abs=0.02)


def test_silence_is_at_minus_200_and_a_tone_3_db_below_its_peak():
    audio = one_after_another(silence(seconds=1), tone(1000, seconds=1, peak_db=-6))
    levels = [p.rms_db for p in curve_of(audio, hop_length=4800).curve]
    assert levels == pytest.approx([-200] * 10 + [-9.01] * 10, abs=0.005)


def test_the_report_has_the_fields_of_the_contract():
    report = curve_of(noise(seconds=0.1)).descriptor()
    assert report.keys() == {"curve", "duration", "sample_rate", "points", "hop_length"}
    assert report["curve"][1].keys() == {"time_sec", "rms_db"}
    assert (report["duration"], report["sample_rate"], report["points"]) == (0.1, 48000, 10)


@pytest.mark.parametrize("hop", [63, 8193])
def test_other_hops_are_refused(hop):
    with pytest.raises(BadParameter, match=f"hop_length = {hop}"):
        registered()["loudness_curve"].read_params({"hop_length": hop})


def test_more_points_than_json_can_bear_are_refused_before_anything_is_read():
    def never():
        pytest.fail("the sound was read")
        yield

    sound = Blocks(never, rate=96000, channels=2, frames=6 * 3600 * 96000)
    with pytest.raises(BadParameter, match="1728 or more") as refused:
        loudness_curve(Heard(sound), LoudnessCurve())
    assert refused.value.field == "hop_length"


def test_the_drawing_shows_level_loudness_and_target():
    report = curve_of(speech(seconds=4, rate=16000), plot=True, profile="podcast-apple")
    drawing = report.plot.data.decode()
    for text in ("dBFS", "LUFS", "Apple Podcasts", "Short-term"):
        assert text in drawing
    assert asdict(report.curve[0]).keys() == {"time_sec", "rms_db"}
