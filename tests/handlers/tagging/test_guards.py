"""Tags that would cost minutes or gigabytes: refused at once, and never in the sound's way."""

import struct
import time
import zlib

import pytest

from handlers.codecs.formats import encoding
from handlers.codecs.reader import open_sound
from handlers.codecs.writer import write_sound
from handlers.errors import UnreadableInput
from tests.handlers.codecs.tools import music
from tests.handlers.tagging.making import chunk, frame, id3, metadata, with_chunks
from tests.sounds import write_wav

AT_ONCE = 2.5
"""Seconds, on a machine that does other things too."""


def packed(size: int, flags: int, version: int) -> bytes:
    """A frame of zeros, compressed."""
    plain = size.to_bytes(4, "big") if version == 3 else b"\0\0\0\0"
    return frame(b"TXXX", plain + zlib.compress(bytes(size)), flags=flags, version=version)


def nested(depth: int) -> bytes:
    body = frame(b"TIT2", b"\3x")
    for number in range(depth):
        body = frame(b"CHAP", b"%d\0" % number + bytes(16) + body)
    return body


TAGS = {
    "a frame that unpacks to 128 MB": lambda: id3(packed(128 << 20, 0x80, 3), version=3),
    "the same in version 2.4": lambda: id3(packed(128 << 20, 0x08 | 0x01, 4)),
    "many frames that unpack": lambda: id3(*[packed(8 << 20, 0x80, 3)] * 100, version=3),
    "a million empty frames": lambda: id3(b"TIT2\0\0\0\0\0\0" * 1_000_000),
    "a million frames of a byte": lambda: id3(frame(b"TIT2", b"\3") * 1_000_000),
    "a million of them in a chapter": lambda: id3(
        frame(b"CHAP", b"a\0" + bytes(16) + frame(b"TIT2", b"\3") * 1_000_000)
    ),
    "a chapter that unpacks to them": lambda: id3(
        frame(
            b"CHAP",
            b"\0\0\0\1" + zlib.compress(b"a\0" + bytes(16) + frame(b"TIT2", b"\3") * 1_000_000),
            flags=0x09,
        )
    ),
    "chapters in chapters": lambda: id3(nested(300)),
    "more than 32 MB": lambda: id3(frame(b"PRIV", bytes(33 << 20))),
}


@pytest.fixture(scope="module")
def mp3(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "x.mp3"
    write_sound(music().blocks(), path, encoding("mp3"))
    return path.read_bytes()


def refused_at_once(path, message):
    began = time.process_time()
    with pytest.raises(UnreadableInput, match=message):
        metadata(path)
    sound = open_sound(path)
    assert time.process_time() - began < 2 * AT_ONCE
    # FFmpeg, asked where libsndfile gives up, may have read the one text that is there.
    assert set(sound.facts.metadata.tags) <= {"a"}
    assert sound.frames > 50_000


@pytest.mark.parametrize("kind", TAGS)
def test_an_id3_tag_that_is_too_much_is_refused_at_once(tmp_path, mp3, kind):
    path = tmp_path / "x.mp3"
    path.write_bytes(TAGS[kind]() + mp3)
    refused_at_once(path, "has tags that cannot be read: its .*(ID3|compressed)")


def test_it_is_no_better_in_the_chunk_of_a_wav(tmp_path):
    path = write_wav(music(), tmp_path / "x.wav", "PCM_16")
    with_chunks(path, chunk(b"id3 ", TAGS["a million frames of a byte"]()))
    refused_at_once(path, "too many frames")


def comments(count: int, *texts: bytes) -> bytes:
    body = struct.pack("<II", 0, count)
    return body + b"".join(struct.pack("<I", len(t)) + t for t in texts)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(comments(2**32 - 1, b"a=b"), "states 4294967295 comments", id="count"),
        pytest.param(comments(9000, b"a=b"), "its comments state", id="beyond the block"),
        pytest.param(
            struct.pack("<III", 0, 1, 2**31) + b"a=b", "its comments state", id="a long one"
        ),
    ],
)
def test_comments_that_are_not_there_are_not_looked_for_in_the_sound(tmp_path, body, message):
    path = tmp_path / "x.flac"
    write_sound(music().blocks(), path, encoding("flac"))
    raw = path.read_bytes()
    at = 42
    while not raw[at] & 0x80:
        at += 4 + int.from_bytes(raw[at + 1 : at + 4], "big")
    at += 4 + int.from_bytes(raw[at + 1 : at + 4], "big")
    block = bytes([0x84]) + len(body).to_bytes(3, "big") + body
    path.write_bytes(raw[:4] + bytes([raw[4] & 0x7F]) + raw[5:42] + block + raw[at:])
    refused_at_once(path, message)


def test_an_ape_tag_whose_names_do_not_end_is_refused_at_once(tmp_path, mp3):
    body = struct.pack("<II", 4, 0) + b"a" * (8 << 20)
    footer = b"APETAGEX" + struct.pack("<IIII", 2000, len(body) + 32, 1, 0) + bytes(8)
    path = tmp_path / "x.mp3"
    path.write_bytes(mp3 + body + footer)
    refused_at_once(path, "name does not end")


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def deep(levels: int) -> bytes:
    body = b""
    for _ in range(levels):
        body = box(b"udta", body)
    return body


@pytest.mark.parametrize(
    ("more", "message"),
    [
        pytest.param(lambda: box(b"moov", deep(400)), "too deep", id="deep"),
        pytest.param(lambda: box(b"free", b"") * 260_000, "more than 250000 boxes", id="many"),
        pytest.param(
            lambda: box(
                b"moov", box(b"udta", box(b"meta", bytes(4) + box(b"ilst", bytes(33 << 20))))
            ),
            "its tags have",
            id="large",
        ),
    ],
)
def test_an_mp4_with_boxes_beyond_reason_is_refused_at_once(tmp_path, more, message):
    path = tmp_path / "x.m4a"
    write_sound(music().blocks(), path, encoding("m4a"))
    path.write_bytes(path.read_bytes() + more())
    began = time.process_time()
    with pytest.raises(UnreadableInput, match=message):
        metadata(path)
    assert time.process_time() - began < 2 * AT_ONCE


@pytest.mark.parametrize("ext", ["mp3", "flac", "opus", "ogg", "m4a", "wav", "aiff"])
def test_a_file_cut_anywhere_in_its_tags_is_read_or_refused_by_name(tmp_path, ext):
    source = tmp_path / f"s.{ext}"
    write_sound(music(seconds=0.3).blocks(), source, encoding(ext))
    raw = metadata(source, tags={"title": "Größe", "comment": "x" * 300}).tagged.path.read_bytes()
    at = raw.index("Größe".encode())
    for cut in range(at - 40, at + 340, 41):
        path = tmp_path / f"x.{ext}"
        path.write_bytes(raw[:cut])
        # Where the tags lie behind the sound, that is still all there.
        try:
            found = metadata(path, tags={"artist": "y"})
        except UnreadableInput as refused:
            assert refused.detail.startswith("x.")
        else:
            assert found.artist == "y"
