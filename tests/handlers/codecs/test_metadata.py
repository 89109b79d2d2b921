"""Tags, covers and production chunks through a conversion, judged by ffprobe and mutagen."""

import struct

import mutagen
import numpy as np
import pytest

from handlers.artifacts import Metadata
from handlers.codecs.formats import encoding
from handlers.codecs.reader import open_sound
from handlers.codecs.resample import resampled
from handlers.codecs.writer import write_sound
from tests.handlers.codecs.tools import all_of, by_ffmpeg, music, probe
from tests.sounds import write_wav

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
TAGS = {
    "title": ("Größe & Glück 音",),
    "artist": ("One", "Two"),
    "album": ("An album",),
    "date": ("2024-05-06",),
    "genre": ("Ambient",),
    "tracknumber": ("3",),
    "tracktotal": ("12",),
    "comment": ("said in passing",),
    "isrc": ("DEABC2400001",),
    "my_own_field": ("kept",),
}
FULL = Metadata(TAGS, (("image/png", 3, "front", PNG),))
HOLDS_TAGS = ["wav", "mp3", "flac", "opus", "m4a", "ogg", "aiff"]


@pytest.mark.parametrize("name", HOLDS_TAGS)
def test_tags_and_cover_come_back_from_every_format_that_holds_them(tmp_path, name):
    path = tmp_path / f"x.{name}"
    write_sound(music().blocks(), path, encoding(name), metadata=FULL)

    found = open_sound(path).facts.metadata

    assert dict(found.tags) == TAGS
    assert [(mime, data) for mime, _, _, data in found.pictures] == [("image/png", PNG)]


@pytest.mark.parametrize("name", HOLDS_TAGS)
def test_ffprobe_reads_the_same_tags(tmp_path, name):
    path = tmp_path / f"x.{name}"
    write_sound(music().blocks(), path, encoding(name), metadata=FULL)

    facts = probe(path)
    said = {
        k.lower(): v
        for k, v in {**facts["format"].get("tags", {}), **facts.get("tags", {})}.items()
    }
    assert said["title"] == TAGS["title"][0]
    assert said["album"] == "An album"
    assert said.get("date", said.get("year")) == "2024-05-06"


@pytest.mark.parametrize("name", HOLDS_TAGS)
def test_tags_change_no_sample_and_no_length(tmp_path, name):
    given = music()
    write_sound(given.blocks(), tmp_path / f"plain.{name}", encoding(name), metadata=Metadata())
    write_sound(given.blocks(), tmp_path / f"tagged.{name}", encoding(name), metadata=FULL)
    np.testing.assert_array_equal(
        all_of(open_sound(tmp_path / f"tagged.{name}")),
        all_of(open_sound(tmp_path / f"plain.{name}")),
    )


@pytest.mark.parametrize(
    "source", ["x.mp3", "x.flac", "x.m4a", "x.ogg", "x.opus", "x.wav", "x.mka", "x.wv"]
)
def test_the_tags_of_a_file_of_ffmpegs_are_carried_over_by_themselves(tmp_path, source):
    made = by_ffmpeg(
        write_wav(music(), tmp_path / "s.wav"),
        tmp_path / source,
        *("-metadata", "title=A title", "-metadata", "artist=Somebody", "-metadata", "track=2/9"),
    )
    write_sound(open_sound(made), tmp_path / "y.flac", encoding("flac"))

    tags = mutagen.File(tmp_path / "y.flac").tags
    assert tags["title"] == ["A title"]
    assert tags["artist"] == ["Somebody"]
    assert tags["tracknumber"] == ["2"]
    assert "encoder" not in tags


def test_measurements_of_the_old_samples_are_left_behind(tmp_path):
    old = {
        "title": ("x",),
        "replaygain_track_gain": ("-3 dB",),
        "r128_track_gain": ("256",),
        "iTunSMPB": ("0",),
    }
    path = tmp_path / "x.flac"
    write_sound(music().blocks(), path, encoding("flac"), metadata=Metadata(old))
    assert dict(open_sound(path).facts.metadata.tags) == {"title": ("x",)}


# -- chunks ---------------------------------------------------------------------------------------
CUE = struct.pack("<I", 1) + struct.pack("<II4sIII", 1, 500, b"data", 0, 0, 500)
SMPL = bytes(28) + struct.pack("<II", 1, 0) + struct.pack("<IIIIII", 0, 0, 100, 900, 0, 0)
ADTL = b"labl" + struct.pack("<I", 8) + struct.pack("<I", 1) + b"hit\0"
BEXT = (
    b"a scene".ljust(256, b"\0")
    + b"recorder".ljust(32, b"\0")
    + b"ref".ljust(32, b"\0")
    + b"2024-05-06"
    + b"10:11:12"
    + struct.pack("<QH", 123456789, 2)
    + bytes(64)
    + struct.pack("<5h", -2300, 700, -100, -2000, -2100)
    + bytes(180)
)
IXML = (
    b"<BWFXML><SCENE>12A</SCENE><SPEED><FILE_SAMPLE_RATE>44100</FILE_SAMPLE_RATE></SPEED></BWFXML>"
)


def _with_chunks(path, sound):
    write_wav(sound, path, "PCM_16")
    raw = path.read_bytes()
    for kind, body in (
        (b"cue ", CUE),
        (b"smpl", SMPL),
        (b"LIST", b"adtl" + ADTL),
        (b"bext", BEXT),
        (b"iXML", IXML),
    ):
        raw += kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)
    path.write_bytes(raw[:4] + struct.pack("<I", len(raw) - 8) + raw[8:])
    return path


def test_chunks_with_positions_survive_where_the_length_does(tmp_path):
    source = open_sound(_with_chunks(tmp_path / "s.wav", music()))
    write_sound(source, tmp_path / "x.wav", encoding("wav", bit_depth="24"))

    found = open_sound(tmp_path / "x.wav").facts.metadata.chunks

    assert found["cue "] == CUE
    assert found["smpl"] == SMPL
    assert found["adtl"] == ADTL
    assert found["iXML"] == IXML
    assert found["bext"][:412] == BEXT[:412]
    # Loudness in bext is that of the old samples: 0x7FFF means that none is stated.
    assert found["bext"][412:422] == b"\xff\x7f" * 5


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda s: s.like(lambda: iter([next(iter(s))[:, :1000].copy()]), frames=1000),
            id="trimmed",
        ),
        pytest.param(
            lambda s: resampled(s, 48000),
            id="resampled",
        ),
    ],
)
def test_positions_that_would_lie_are_left_out(tmp_path, change):
    source = open_sound(_with_chunks(tmp_path / "s.wav", music()))
    write_sound(change(source), tmp_path / "x.wav", encoding("wav"))

    found = open_sound(tmp_path / "x.wav").facts.metadata.chunks

    assert set(found) == {"bext", "iXML"}
    assert found["bext"][:338] == BEXT[:338]
    assert found["bext"][338:346] == bytes(8)
    assert b"12A" in found["iXML"]
    assert b"44100" not in found["iXML"]


def test_info_text_of_old_programs_is_read(tmp_path):
    path = write_wav(music(), tmp_path / "x.wav", "PCM_16")
    info = (
        b"INFO"
        b"INAM" + struct.pack("<I", 6) + b"Caf\xe9\0\0" + b"ITRK" + struct.pack("<I", 2) + b"7\0"
    )
    raw = path.read_bytes() + b"LIST" + struct.pack("<I", len(info)) + info
    path.write_bytes(raw)
    assert dict(open_sound(path).facts.metadata.tags) == {"title": ("Café",), "tracknumber": ("7",)}


@pytest.mark.parametrize("name", ["x.mp3", "x.flac", "x.m4a", "x.wav", "x.aiff"])
def test_damaged_tags_never_stop_the_sound(tmp_path, name):
    path = tmp_path / name
    write_sound(music().blocks(), path, encoding(name[2:]), metadata=FULL)
    raw = path.read_bytes()
    at = raw.index("Größe".encode())
    expected = all_of(open_sound(path))
    rng = np.random.default_rng(5)
    for _ in range(10):
        broken = bytearray(raw)
        for place in rng.integers(at, at + 60, 6):
            broken[place] = rng.integers(0, 256)
        path.write_bytes(broken)
        np.testing.assert_array_equal(all_of(open_sound(path)), expected)
