import librosa
import numpy as np
import pytest

from handlers.analysis.analyze import ALL, Analyze, analyze
from handlers.errors import BadParameter
from handlers.hearing import Heard
from handlers.listening import chords, rhythm
from handlers.registry import operations
from tests.sounds import as_blocks, ffmpeg_loudness, groove, silence, write_wav

AUDIO, _ = groove(120, seconds=12, rate=44100, channels=2, chords=True)


def report(audio, **params):
    return analyze(Heard(as_blocks(audio, 5000)), Analyze(**params)).descriptor()


def test_brightness_level_and_crossings_are_those_of_librosa():
    told = report(AUDIO, features=["spectral_centroid", "rms", "zcr"])
    mono = librosa.resample(AUDIO.samples.mean(axis=0), orig_sr=44100, target_sr=22050)
    theirs = librosa.feature
    centroid = theirs.spectral_centroid(y=mono).mean()
    assert told["spectral_centroid"] == pytest.approx(centroid, rel=0.03)
    assert told["rms"] == pytest.approx(theirs.rms(y=mono).mean(), rel=0.01)
    assert told["zcr"] == pytest.approx(theirs.zero_crossing_rate(mono).mean(), rel=0.03)


def test_loudness_is_that_of_ffmpeg_and_tempo_that_of_the_drums(tmp_path):
    told = report(AUDIO)
    measured = ffmpeg_loudness(write_wav(AUDIO, tmp_path / "a.wav"))
    assert told["loudness_lufs"] == pytest.approx(measured.integrated, abs=0.1)
    assert told["bpm"] == pytest.approx(120, abs=0.3)
    assert told["beats"] == pytest.approx(24, abs=1)
    assert told["duration"] == 12
    assert told["key"].split()[1] in ("major", "minor")
    assert 0 <= told["key_confidence"] <= 1


def test_only_what_is_asked_for_is_computed(monkeypatch):
    def refuse(*_):
        raise AssertionError("nobody asked for this")

    monkeypatch.setattr(rhythm, "pulse_of", refuse)
    monkeypatch.setattr(chords, "_decoded", refuse)
    told = report(AUDIO, features=["rms"])
    assert told["rms"] > 0
    absent = {"bpm", "key", "loudness_lufs", "spectral_centroid", "zcr", "beats", "camelot"}
    assert all(told[name] is None for name in absent)
    assert told["duration"] == 12
    assert report(AUDIO, features=["duration"])["rms"] is None
    with pytest.raises(AssertionError):
        report(AUDIO, features=["key"])


def test_all_is_the_default_and_may_be_said():
    read = operations()["analyze"].read_params
    assert read({}).features == read({"features": ["all"]}).features == list(ALL)
    assert read({"features": "all"}, strict=True).features == list(ALL)
    with pytest.raises(BadParameter, match="tempo"):
        read({"features": ["tempo"]})


def test_silence_has_no_tempo_key_loudness_or_brightness():
    told = report(silence(seconds=2))
    assert {n for n, v in told.items() if v is not None} <= {
        *("duration", "rms", "zcr", "beats", "bpm_confidence"),
    }
    assert told["rms"] == told["zcr"] == 0
    assert np.isfinite(told["duration"])
