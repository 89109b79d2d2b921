import json

import pytest

from handlers.analysis.loudness import loudness
from tests.sounds import as_blocks, ffmpeg_loudness, silence, speech, tone, write_wav


def measured(audio):
    return loudness(as_blocks(audio, 1000))


def test_a_stereo_tone_at_minus_23_measures_minus_23():
    # EBU Tech 3341, case 1.
    report = measured(tone(1000, seconds=5, channels=2, peak_db=-23))
    assert report.loudness_lufs == pytest.approx(-23, abs=0.1)
    assert report.momentary_max == pytest.approx(-23, abs=0.1)
    assert report.short_term_max == pytest.approx(-23, abs=0.1)
    assert report.loudness_range == pytest.approx(0, abs=0.1)
    assert report.true_peak_dbtp == pytest.approx(-23, abs=0.1)
    assert report.sample_peak_dbfs == pytest.approx(-23, abs=0.01)


def test_ffmpeg_agrees_about_speech(tmp_path):
    audio = speech(seconds=10, rate=44100, channels=2)
    report, ffmpeg = measured(audio), ffmpeg_loudness(write_wav(audio, tmp_path / "x.wav"))
    assert report.loudness_lufs == pytest.approx(ffmpeg.integrated, abs=0.1)
    assert report.true_peak_dbtp == pytest.approx(ffmpeg.true_peak, abs=0.2)


def test_silence_is_null_in_valid_json():
    report = measured(silence(seconds=4, channels=2)).descriptor()
    assert set(report.values()) == {None}
    json.dumps(report, allow_nan=False)


def test_a_sound_shorter_than_the_window_has_no_value_for_it():
    report = measured(tone(seconds=1))
    assert report.short_term_max is None
    assert report.loudness_range is None
    assert report.momentary_max is not None
