import json

import pytest

from handlers.analysis.loudness import LoudnessOf, loudness
from handlers.hearing import Heard
from handlers.loudness_profiles import profiles
from tests.sounds import as_blocks, ffmpeg_loudness, silence, speech, tone, write_wav


def measured(audio, **params):
    return loudness(Heard(as_blocks(audio, 1000)), LoudnessOf(**params))


def test_a_stereo_tone_at_minus_23_measures_minus_23():
    # EBU Tech 3341, case 1.
    report = measured(tone(1000, seconds=5, channels=2, peak_db=-23))
    assert report.loudness_lufs == pytest.approx(-23, abs=0.1)
    assert report.momentary_max == pytest.approx(-23, abs=0.1)
    assert report.short_term_max == pytest.approx(-23, abs=0.1)
    assert report.loudness_range == pytest.approx(0, abs=0.1)
    assert report.true_peak_dbtp == pytest.approx(-23, abs=0.1)
    assert report.sample_peak_dbfs == pytest.approx(-23, abs=0.01)
    assert (report.target_lufs, report.normalized) == (None, False)


def test_ffmpeg_agrees_about_speech(tmp_path):
    audio = speech(seconds=10, rate=44100, channels=2)
    report, ffmpeg = measured(audio), ffmpeg_loudness(write_wav(audio, tmp_path / "x.wav"))
    assert report.loudness_lufs == pytest.approx(ffmpeg.integrated, abs=0.1)
    assert report.true_peak_dbtp == pytest.approx(ffmpeg.true_peak, abs=0.2)


def test_the_loudest_moment_is_where_it_was_put():
    audio = tone(1000, seconds=12, rate=16000, peak_db=-40)
    audio.samples[:, round(7.13 * 16000) : round(7.53 * 16000)] *= 10
    report = measured(audio)
    assert report.momentary_max_sec == pytest.approx(7.13, abs=0.01)
    # Every 3 s that hold the burst are as loud.
    assert 4.53 - 0.01 <= report.short_term_max_sec <= 7.13 + 0.01


def test_silence_is_null_in_valid_json():
    report = measured(silence(seconds=4, channels=2)).descriptor()
    assert report.pop("normalized") is False
    assert set(report.values()) == {None}
    json.dumps(report, allow_nan=False)


def test_a_sound_shorter_than_the_window_has_no_value_for_it():
    report = measured(tone(seconds=1))
    assert report.short_term_max is None
    assert report.short_term_max_sec is None
    assert report.loudness_range is None
    assert report.momentary_max is not None


@pytest.mark.parametrize(
    ("profile", "peak_db", "within", "peak_ok"),
    [
        pytest.param("ebu-r128", -23.0, True, True, id="as asked"),
        pytest.param("ebu-r128", -0.5, False, False, id="too loud, and too high a peak"),
        pytest.param("spotify", -14.0, None, True, id="a profile without tolerance"),
    ],
)
def test_a_profile_says_how_far_it_is(profile, peak_db, within, peak_ok):
    # A stereo tone of 1 kHz is as loud in LUFS as its peak in dBFS.
    report = measured(tone(1000, seconds=4, channels=2, peak_db=peak_db), profile=profile)
    target = profiles()[profile].target_lufs
    assert report.target_lufs == target
    assert report.off_target_lu == pytest.approx(peak_db - target, abs=0.1)
    assert (report.within_tolerance, report.true_peak_ok) == (within, peak_ok)


def test_the_drawing_has_the_target_of_the_profile():
    audio = speech(seconds=5, rate=16000)
    drawing = measured(audio, profile="podcast-apple", plot=True).plot.data.decode()
    for text in ("Loudness", "LUFS", "Apple Podcasts", "integrated"):
        assert text in drawing
    assert measured(audio).plot is None
