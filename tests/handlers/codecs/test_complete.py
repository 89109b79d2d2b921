import os
import random
import struct
import subprocess

import pytest

from handlers.codecs.complete import completeness

#: Name, ffmpeg's or SoX's arguments for a second of stereo, and whether cutting it is certain
#: to be seen (else the container may just say that it does not know).
_ENCODED = {
    "wav": (["-c:a", "pcm_s16le"], True),
    "wav 24 bit": (["-c:a", "pcm_s24le"], True),
    "rf64": (["-rf64", "always", "-f", "wav"], True),
    "w64": (["-f", "w64"], True),
    "aiff": (["-f", "aiff"], True),
    "caf": (["-f", "caf"], True),
    "au": (["-f", "au"], True),
    "flac": (["-f", "flac"], True),
    "flac with picture room": (["-f", "flac", "-metadata", "comment=" + "x" * 5000], True),
    "m4a": (["-c:a", "aac", "-f", "ipod"], True),
    "m4a, index first": (["-c:a", "aac", "-f", "ipod", "-movflags", "faststart"], True),
    "mov": (["-c:a", "pcm_s16be", "-f", "mov"], True),
    "ogg": (["-c:a", "libvorbis", "-f", "ogg"], True),
    "opus": (["-c:a", "libopus", "-f", "ogg"], True),
    "matroska": (["-c:a", "flac", "-f", "matroska"], True),
    "webm": (["-c:a", "libopus", "-f", "webm"], True),
    "mp3": (["-c:a", "libmp3lame"], False),
    "mp3 with tag": (["-c:a", "libmp3lame", "-metadata", "title=x", "-id3v2_version", "3"], False),
}
_EXTENSIONS = {"mp3": ".mp3", "mp3 with tag": ".mp3", "wav": ".wav", "wav 24 bit": ".wav"}


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """Each container once, written by ffmpeg from a second of noise."""
    folder = tmp_path_factory.mktemp("containers")
    noise = [
        "-f",
        "lavfi",
        "-i",
        "anoisesrc=d=1:c=pink:r=48000:seed=1,aformat=channel_layouts=stereo",
    ]
    made = {}
    for name, (arguments, _) in _ENCODED.items():
        path = folder / (name.replace(" ", "_") + _EXTENSIONS.get(name, ".bin"))
        subprocess.run(["ffmpeg", "-v", "error", "-y", *noise, *arguments, path], check=True)
        made[name] = path.read_bytes()
    return made


def verdict(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    return completeness(tmp_path / "x")


@pytest.mark.parametrize("name", _ENCODED)
def test_a_whole_file_is_known_to_be_whole(encoded, tmp_path, name):
    assert verdict(tmp_path, encoded[name]).verdict == "whole"


@pytest.mark.parametrize("name", _ENCODED)
def test_a_cut_file_is_never_whole(encoded, tmp_path, name):
    data = encoded[name]
    cuts = {
        1,
        2,
        3,
        50,
        len(data) // 3,
        len(data) - 100,
        *random.Random(1).sample(range(len(data)), 60),
    }
    for cut in sorted(cuts - {0}):
        found = verdict(tmp_path, data[: len(data) - cut])
        # The last byte may be padding, which a whole file need not have.
        if not (cut == 1 and found.verdict == "whole" and data[-1] == 0):
            assert found.verdict != "whole", (cut, found)
        if _ENCODED[name][1] and len(data) - cut > 5000:
            assert found.verdict == "short", (cut, found)


@pytest.mark.parametrize("name", ["flac", "m4a", "mov", "ogg", "opus"])
def test_room_that_a_copy_has_made_but_not_filled_is_seen(encoded, tmp_path, name):
    data = encoded[name]
    half = data[: len(data) // 2]
    assert verdict(tmp_path, half + bytes(len(data) - len(half))).verdict == "short"


def test_the_numbers_are_told(encoded, tmp_path):
    data = encoded["wav"]
    found = verdict(tmp_path, data[:10_000])
    assert (found.have, found.need, found.unit) == (10_000, len(data), "bytes")
    assert str(found) == f"the wav file has 10000 of the {len(data)} bytes that it announces"

    found = verdict(tmp_path, encoded["flac"][:-1])
    assert (found.need, found.unit) == (48000, "samples")
    assert 0 < found.have < 48000


def _piped(*arguments):
    noise = ["-f", "lavfi", "-i", "anoisesrc=d=0.2:seed=1"]
    command = ["ffmpeg", "-v", "error", *noise, *arguments, "pipe:1"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["-f", "wav"],
        ["-f", "w64"],
        ["-f", "au"],
        ["-f", "flac"],
        ["-f", "matroska"],
        ["-f", "mp4", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov+skip_trailer"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_stream_that_never_knew_its_length_is_open(tmp_path, arguments):
    assert verdict(tmp_path, _piped(*arguments)).verdict == "open"


def test_a_recording_in_progress_is_open():
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, 48000, 192000, 4, 16)
    for size in (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000):
        head = (
            b"RIFF" + struct.pack("<I", size) + b"WAVE" + form + b"data" + struct.pack("<I", size)
        )
        handle = os.memfd_create("recording")
        os.write(handle, head + bytes(1000))
        assert completeness(handle).verdict == "open", size
        os.close(handle)


def test_chunks_behind_the_sound_belong_to_the_file(tmp_path, encoded):
    data = bytearray(encoded["wav"])
    extra = b"LIST" + struct.pack("<I", 400) + bytes(400)
    data[4:8] = struct.pack("<I", len(data) - 8 + len(extra))

    assert verdict(tmp_path, bytes(data)).verdict == "short"
    assert verdict(tmp_path, bytes(data) + extra[:200]).verdict == "short"
    assert verdict(tmp_path, bytes(data) + extra).verdict == "whole"


def test_a_form_that_counts_its_own_header_is_whole(tmp_path, encoded):
    data = bytearray(encoded["wav"])
    data[4:8] = struct.pack("<I", len(data))
    assert verdict(tmp_path, bytes(data)).verdict == "whole"


def test_sox_and_its_pipes_agree(tmp_path):
    path = tmp_path / "sox.wav"
    subprocess.run(["sox", "-n", path, "synth", "1", "sine", "440"], check=True)
    assert completeness(path).verdict == "whole"
    piped = subprocess.run(
        ["sox", "-n", "-t", "wav", "-", "synth", "1", "sine", "440"],
        check=True,
        capture_output=True,
    ).stdout
    assert verdict(tmp_path, piped).verdict in ("open", "whole")


def test_a_flac_whose_last_frame_is_damaged_is_not_whole(tmp_path, encoded):
    data = bytearray(encoded["flac"])
    data[-200] ^= 0xFF
    assert verdict(tmp_path, bytes(data)).verdict == "short"


def test_a_flac_with_tags_around_it_is_whole(tmp_path, encoded):
    id3v2 = b"ID3\x04\x00\x00" + bytes([0, 0, 2, 0]) + bytes(256)
    id3v1 = b"TAG" + bytes(125)
    assert verdict(tmp_path, id3v2 + encoded["flac"] + id3v1).verdict == "whole"


def test_a_midi_file_counts_its_tracks(tmp_path):
    track = b"MTrk" + struct.pack(">I", 4) + b"\x00\xff\x2f\x00"
    head = b"MThd" + struct.pack(">IHHH", 6, 1, 2, 480)
    assert verdict(tmp_path, head + track + track).verdict == "whole"
    assert verdict(tmp_path, head + track).verdict == "short"
    assert verdict(tmp_path, head + track + track[:-1]).verdict == "short"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"hello world" * 100,
        bytes(1000),
        b"#EXTM3U\n/etc/passwd\n",
        b"\xff\xfb\x90\x64" * 9,
    ],
    ids=["empty", "one byte", "text", "zeros", "playlist", "mp3 frames"],
)
def test_what_has_no_length_is_unknown(tmp_path, data):
    assert verdict(tmp_path, data).verdict == "unknown"


@pytest.mark.parametrize("name", _ENCODED)
def test_no_nonsense_in_a_header_raises_or_costs_much(encoded, tmp_path, monkeypatch, name):
    """Mutated headers: a verdict each time, and never a read beyond the bound."""
    reads = []
    real = os.pread

    def counted(handle, count, offset):
        reads.append(count)
        return real(handle, count, offset)

    monkeypatch.setattr(os, "pread", counted)
    chance = random.Random(7)
    for _ in range(40):
        data = bytearray(encoded[name])
        for _ in range(chance.randint(1, 6)):
            at = chance.choice([chance.randrange(120), chance.randrange(len(data))])
            at = min(at, len(data) - 8)
            width = chance.choice([1, 4, 8])
            value = chance.choice([bytes(width), b"\xff" * width, chance.randbytes(width)])
            data[at : at + width] = value
        reads.clear()
        assert verdict(tmp_path, bytes(data)).verdict in ("whole", "short", "open", "unknown")
        assert max(reads) <= 1 << 20
        assert len(reads) < 5000


def test_a_pipe_neither_hangs_nor_is_followed_through_a_link(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert completeness(tmp_path / "pipe").verdict == "unknown"
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic"):
        completeness(tmp_path / "link")
