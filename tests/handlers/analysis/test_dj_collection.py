from urllib.parse import unquote
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from handlers.analysis.dj_collection import DjCollection, Track, address, dj_collection
from handlers.codecs.reader import open_sound
from tests.sounds import as_blocks, groove, silence, write_wav


def collected(*sounds, **asked):
    tracks = [Track().opened(sound) for sound in sounds]
    told = dj_collection(tracks, DjCollection(**asked))
    return told, ET.fromstring(told.collection.data)


def test_even_beats_have_one_tempo_on_a_beat_of_the_sound():
    audio, beats = groove(126, seconds=16, rate=44100, start=0.31, chords=True)
    told, root = collected(as_blocks(audio, 5000))

    (tempo,) = root.findall("COLLECTION/TRACK/TEMPO")
    assert float(tempo.get("Bpm")) == pytest.approx(126, abs=0.05)
    assert np.abs(beats - float(tempo.get("Inizio"))).min() < 0.02
    # The grid says which beat of the bar that is: beats were made from the first of a bar on.
    nearest = int(np.abs(beats - float(tempo.get("Inizio"))).argmin())
    assert (int(tempo.get("Battito")) - 1, tempo.get("Metro")) == (nearest % 4, "4/4")
    assert told.tracks[0].tempos == 1


def test_a_tempo_that_drifts_has_a_grid_that_follows_it():
    audio, beats = groove(110, seconds=40, rate=22050, drift=0.12, chords=True)
    _, root = collected(as_blocks(audio, 5000))

    tempos = root.findall("COLLECTION/TRACK/TEMPO")
    assert len(tempos) > 8
    placed = np.array([float(tempo.get("Inizio")) for tempo in tempos])
    assert np.median(np.abs(placed[:, None] - beats).min(axis=1)) < 0.03
    bpm = [float(tempo.get("Bpm")) for tempo in tempos]
    assert np.mean(bpm[-4:]) - np.mean(bpm[:4]) == pytest.approx(110 * 0.12 * 0.85, rel=0.4)


def test_tags_and_names_survive_xml(tmp_path):
    audio, _ = groove(120, seconds=8, rate=22050)
    path = write_wav(audio, tmp_path / "R&B <live> – ä.wav")
    _, root = collected(open_sound(path), folder="C:\\Music & more", playlist="\x00new\x1b")

    (track,) = root.findall("COLLECTION/TRACK")
    assert track.get("Name") == "R&B <live> – ä"
    location = track.get("Location")
    assert unquote(location) == f"file://localhost/C:/Music & more/{path.name}"
    assert location.isascii()
    assert (track.get("Kind"), track.get("TotalTime")) == ("WAV File", "8")
    assert int(track.get("Size")) == path.stat().st_size
    assert root.find("PLAYLISTS//NODE[@Type='1']").get("Name") == "new"


def test_a_track_may_lie_elsewhere_and_one_without_a_pulse_has_no_grid():
    told = dj_collection(
        [Track(location="/Volumes/Stick/a.wav").opened(as_blocks(silence(seconds=3), 999))],
        DjCollection(keys="classical"),
    )
    root = ET.fromstring(told.collection.data)
    (track,) = root.findall("COLLECTION/TRACK")
    assert track.get("Location") == "file://localhost/Volumes/Stick/a.wav"
    assert (track.get("AverageBpm"), track.get("Tonality")) == ("0.00", "")
    assert track.findall("TEMPO") == []
    assert (told.tracks[0].bpm, told.tracks[0].key) == (None, None)


@pytest.mark.parametrize("path", ["D:/New/a b.wav", "D:\\New\\a b.wav"])
def test_paths_of_windows_are_addresses_too(path):
    assert address(path) == "file://localhost/D:/New/a%20b.wav"
