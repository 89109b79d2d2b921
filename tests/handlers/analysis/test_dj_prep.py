import pytest

from handlers.analysis.dj_prep import dj_prep
from handlers.hearing import Heard
from tests.sounds import as_blocks, ffmpeg_loudness, groove, played, silence, write_wav


def report(audio):
    return dj_prep(Heard(as_blocks(audio, 5000)))


def test_tempo_key_and_loudness_of_a_track(tmp_path):
    drums, _ = groove(126, seconds=16, rate=44100)
    cadence = [(0, (57, 60, 64)), (2, (50, 53, 57)), (4, (52, 56, 59)), (6, (57, 60, 64))]
    notes = [
        (t + at, t + at + 2, p) for t in (0, 8) for at, ps in cadence for p in (*ps, ps[0] - 12)
    ]
    tones = played(notes, seconds=16, rate=44100, peak_db=-8)
    track = drums.like(drums.samples + tones.samples)
    told = report(track)
    assert told.bpm == pytest.approx(126, abs=0.3)
    assert (told.key, told.camelot) == ("A minor", "8A")
    assert told.mixes_with == ["8A", "8B", "7A", "9A"]
    assert told.beats == pytest.approx(126 / 60 * 16, abs=1.5)
    measured = ffmpeg_loudness(write_wav(track, tmp_path / "t.wav")).integrated
    assert told.integrated_lufs == pytest.approx(measured, abs=0.1)
    assert told.gain_to_minus_14_lufs == pytest.approx(-14 - measured, abs=0.1)
    assert 1 <= told.energy <= 10


def test_silence_has_none_of_them():
    told = report(silence(seconds=2))
    assert told.bpm is told.key is told.camelot is told.integrated_lufs is told.energy is None
    assert told.mixes_with == []
