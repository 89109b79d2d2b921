import csv
import io
import subprocess

import numpy as np
import pytest

from handlers.hearing import Heard
from handlers.restoration.clip_detect import ClipDetect, clip_detect
from tests.sounds import as_blocks, noise, silence, sound, tone, write_wav

RATE = 48000


def found(audio, size=4096, **params):
    return clip_detect(Heard(as_blocks(audio, size)), ClipDetect(**params))


def clipped_tone(drive_db=6.0, rate=RATE):
    """A tone in the left channel, driven into the ceiling for its second half."""
    audio = tone(440, seconds=1, rate=rate, channels=2, peak_db=-1)
    audio.samples[1] *= 0.5
    audio.samples[0, rate // 2 :] *= 10 ** (drive_db / 20)
    np.clip(audio.samples, -1, 1, out=audio.samples)
    return audio


def test_what_is_counted_is_what_the_contract_counts():
    audio = clipped_tone()
    report = found(audio)
    over = np.abs(audio.samples) >= 0.999
    assert report.clipped
    assert report.clip_count == over.sum()
    assert report.clip_ratio == round(over.sum() / audio.samples.size, 6)
    assert report.peak_db == 0
    assert (report.duration_sec, report.sample_rate, report.channels) == (1, RATE, 2)
    assert [c.clip_count for c in report.per_channel] == [over[0].sum(), 0]
    assert report.per_channel[0].clip_ratio == round(over[0].mean(), 6)
    assert report.per_channel[1].peak_db == pytest.approx(-1 - 6.02, abs=0.01)


@pytest.mark.parametrize("value", [0.9989, 0.9991])
def test_the_limit_is_0_999(value):
    report = found(sound(np.array([0.0, value, -value, 0.0])))
    assert report.clip_count == (2 if value > 0.999 else 0)


@pytest.mark.parametrize("audio", [silence(channels=2), sound(np.zeros(0))])
def test_silence_has_a_peak_of_minus_96(audio):
    report = found(audio)
    assert not report.clipped
    assert (report.clip_count, report.clip_ratio, report.peak_db) == (0, 0, -96)
    assert report.true_peak_dbtp == -96
    assert (report.clips, report.overs) == ([], [])


@pytest.mark.parametrize("size", [1, 333, 48_000])
def test_runs_closer_than_10_ms_are_one_place(size):
    samples = np.zeros((2, 4800))
    samples[0, [100, 101, 102, 300, 1000]] = [1, 1, 1, -1, 1]
    samples[0, 1482] = 1  # 481 frames without, after 1000: more than 10 ms
    samples[1, 4799] = 0.9995
    report = found(sound(samples), size)
    shown = [
        (clip.channel, clip.start_sec * RATE, clip.end_sec * RATE, clip.samples, clip.longest_run)
        for clip in report.clips
    ]
    assert shown == [
        (1, 100, 301, 4, 3),
        (1, 1000, 1001, 1, 1),
        (1, 1482, 1483, 1, 1),
        (2, 4799, 4800, 1, 1),
    ]
    assert report.clip_places == 4


@pytest.mark.parametrize("size", [1, 333, 48_000])
def test_peaks_between_samples_are_found_where_they_are(size):
    # A quarter of the rate, sampled 45 degrees off its peaks: 3 dB above every sample.
    quiet, hot = 0.1, 10 ** (-1 / 20)
    wave = np.sin(np.pi / 2 * np.arange(9600) + np.pi / 4) * np.where(
        (np.arange(9600) >= 4000) & (np.arange(9600) < 5000), hot, quiet
    )
    report = found(sound(np.stack([wave * 0.5, wave]) * np.sqrt(2)), size)
    assert report.over_places == 1
    (over,) = report.overs
    assert over.channel == 2
    assert over.start_sec * RATE == pytest.approx(4000, abs=4)
    assert over.end_sec * RATE == pytest.approx(5000, abs=4)
    assert over.true_peak_dbtp == pytest.approx(2.01, abs=0.3)
    assert not report.clipped or report.clip_count < 4


def test_full_scale_alone_is_no_over():
    report = found(sound(np.array([0.0, 0.0, 1.0, 0.0, 0.0])))
    assert report.clip_count == 1
    assert report.overs == []


def test_ffmpeg_measures_the_same_peaks(tmp_path):
    audio = noise(seconds=2, channels=1, peak_db=2)
    said = subprocess.run(
        ["ffmpeg", "-hide_banner", "-i", write_wav(audio, tmp_path / "x.wav"), "-af",
         "ebur128=peak=true+sample", "-f", "null", "-"],
        capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    peaks = [float(line.split()[1]) for line in said.splitlines() if "Peak:" in line]
    report = found(audio)
    assert report.peak_db == pytest.approx(peaks[0], abs=0.06)
    assert report.true_peak_dbtp == pytest.approx(peaks[1], abs=0.2)


def test_of_very_many_places_those_with_most_samples_are_told(monkeypatch):
    monkeypatch.setattr("handlers.listening.clipping.MOST", 5)
    samples = np.zeros(100_000)
    for number, at in enumerate(range(0, 100_000, 1000)):
        samples[at : at + number % 30 + 1] = 1
    report = found(sound(samples))
    assert report.clip_places == 100
    assert [clip.samples for clip in report.clips] == [29, 30, 29, 30, 30]
    starts = [round(clip.start_sec * RATE) for clip in report.clips]
    assert starts == [28_000, 29_000, 58_000, 59_000, 89_000]


def test_places_are_markers_and_a_picture():
    report = found(clipped_tone(), markers="csv", plot=True)
    rows = list(csv.DictReader(io.StringIO(report.marker_file.data.decode(), newline="")))
    assert {row["kind"] for row in rows} == {"clip", "over"}
    assert float(rows[0]["start_sec"]) == pytest.approx(0.5, abs=0.01)
    assert rows[0]["channel"] == "1"
    assert "Clipped, ch. 1" in report.plot.data.decode()
