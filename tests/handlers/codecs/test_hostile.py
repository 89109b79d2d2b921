"""Files that lie, are damaged, or would have other files opened."""

import os
import resource
import struct
import subprocess
import sys

import numpy as np
import pytest

from handlers.codecs.reader import Caps, open_sound
from handlers.codecs.sniff import sniff
from handlers.errors import AudiollaError, TooLarge, UnreadableInput
from tests.handlers.codecs.tools import all_of, by_ffmpeg, music, run
from tests.sounds import silence, sound, tone, write_wav

PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{canary}\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile {name}\n",
    "pls": "[playlist]\nFile1={canary}\nNumberOfEntries=1\n",
    "m3u": "{canary}\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
    "<Period><AdaptationSet><Representation id='1' mimeType='audio/mp4'>"
    "<BaseURL>{canary}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "sdp": "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\n",
    "command": "|touch {canary}.ran\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("extension", ["wav", "mp3", "m3u8", "flac"])
def test_a_playlist_is_refused_and_the_file_it_names_is_not_opened(tmp_path, kind, extension):
    canary = by_ffmpeg(write_wav(tone(), tmp_path / "source.wav"), tmp_path / "canary.mp3")
    before = os.stat(canary).st_atime_ns
    os.utime(canary, ns=(0, 0))  # any read would move the access time on
    path = tmp_path / f"list.{extension}"
    path.write_text(PLAYLISTS[kind].format(canary=canary, name=canary.name))

    with pytest.raises(UnreadableInput):
        open_sound(path)

    assert before
    assert os.stat(canary).st_atime_ns == 0
    assert not (tmp_path / "canary.mp3.ran").exists()


def test_the_message_says_that_it_is_a_playlist(tmp_path):
    path = tmp_path / "song.wav"
    path.write_text("#EXTM3U\nother.mp3\n")
    with pytest.raises(UnreadableInput, match=r"song\.wav: this is a playlist"):
        open_sound(path)


@pytest.mark.parametrize(
    ("head", "container"),
    [
        pytest.param(b"RIFF\0\0\0\0WAVE", "wav", id="riff"),
        pytest.param(b"RF64\0\0\0\0WAVE", "wav", id="rf64"),
        pytest.param(b"BW64\0\0\0\0WAVE", "wav", id="bw64"),
        pytest.param(b"FORM\0\0\0\0AIFC", "aiff", id="aifc"),
        pytest.param(b"fLaC\0\0\0\x22", "flac", id="flac"),
        pytest.param(b"OggS\0\x02", "ogg", id="ogg"),
        pytest.param(b"\0\0\0\x20ftypM4A ", "mov", id="m4a"),
        pytest.param(b"caff\0\x01\0\0", "caf", id="caf"),
        pytest.param(b"\x1a\x45\xdf\xa3\x9f", "matroska", id="webm"),
        pytest.param(b"wvpk\0\0\0\0", "wv", id="wavpack"),
        pytest.param(b".snd\0\0\0\x18", "au", id="au"),
        pytest.param(b"\xff\xfb\x90\x64" + bytes(413) + b"\xff\xfb\x90\x64", "mp3", id="mp3"),
        pytest.param(
            b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(9) + b"\xff\xf1\x50\x80\x02\x1f\xfc",
            "aac",
            id="adts",
        ),
        pytest.param(b"ID3\x04\0\0\0\0\0\x02\0\0fLaC", "flac", id="flac behind id3"),
        pytest.param(b"ID3\x04\0\0\x7f\x7f\x7f\x7f", "mp3", id="an id3 longer than the head"),
    ],
)
def test_the_first_bytes_tell_the_container(head, container):
    assert sniff(head) == container


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"RIFF\0\0\0\0AVI ", id="avi"),
        pytest.param(b"MThd\0\0\0\6", id="midi"),
        pytest.param("﻿#EXTM3U".encode("utf-16"), id="text with a mark that looks like MP3"),
        pytest.param(b"\xff\xfb\x90\x64" + b"a" * 1000, id="one mp3 header and then text"),
        pytest.param(bytes(4096), id="zeros"),
        pytest.param(b"<svg/>", id="svg"),
        pytest.param(b"PK\3\4", id="zip"),
    ],
)
def test_anything_else_is_refused(head):
    with pytest.raises(UnreadableInput):
        sniff(head)


def test_an_empty_file_is_said_to_be_empty(tmp_path):
    path = tmp_path / "nothing.wav"
    path.touch()
    with pytest.raises(UnreadableInput, match="empty"):
        open_sound(path)


@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "device"])
def test_only_regular_files_are_opened_and_nothing_hangs(tmp_path, kind):
    path = tmp_path / "x.wav"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(write_wav(tone(), tmp_path / "real.wav"))
    else:
        path = "/dev/zero"
    with pytest.raises(UnreadableInput, match="link|regular"):
        open_sound(path)


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_sound(tmp_path / "gone.wav")


@pytest.mark.parametrize(
    "name",
    [
        "x.wav",
        "x.w64",
        "x.aiff",
        "x.caf",
        "x.au",
        "x.flac",
        "x.mp3",
        "x.ogg",
        "x.opus",
        "x.m4a",
        "x.aac",
        "x.webm",
        "x.wv",
    ],
)
def test_half_a_file_is_never_delivered_in_silence(tmp_path, name):
    source = write_wav(music(seconds=2), tmp_path / "source.wav", "PCM_16")
    path = by_ffmpeg(source, tmp_path / name)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2 + 1])

    with pytest.raises(UnreadableInput, match=r"cut short|damaged"):
        all_of(open_sound(path))


def test_the_message_says_how_much_is_there(tmp_path):
    path = write_wav(tone(seconds=2), tmp_path / "take.wav", "PCM_16")
    raw = path.read_bytes()
    path.write_bytes(raw[: 44 + 96000])
    with pytest.raises(UnreadableInput, match=r"take\.wav is cut short: 1\.00 s of 2\.00 s"):
        open_sound(path)


@pytest.mark.parametrize(
    "name", ["x.flac", "x.ogg", "x.opus", "x.m4a", "x.aac", "x.webm", "x.wv", "x.mp3"]
)
def test_damage_is_answered_with_a_refusal_or_with_sound(tmp_path, name):
    path = by_ffmpeg(write_wav(music(), tmp_path / "source.wav"), tmp_path / name)
    raw = path.read_bytes()
    rng = np.random.default_rng(7)
    for _ in range(25):
        broken = bytearray(raw)
        for at in rng.integers(0, len(raw), 12):
            broken[at] = rng.integers(0, 256)
        path.write_bytes(broken)
        try:
            heard = all_of(open_sound(path, caps=Caps(1 << 26)))
        except AudiollaError as refusal:
            assert path.name in str(refusal)
        else:
            assert np.isfinite(heard).all()


@pytest.mark.parametrize("name", ["x.wav", "x.aiff", "x.w64", "x.caf", "x.au"])
def test_damaged_headers_are_answered_with_a_refusal_or_with_sound(tmp_path, name):
    path = by_ffmpeg(write_wav(music(seconds=0.1), tmp_path / "source.wav"), tmp_path / name)
    raw = path.read_bytes()
    rng = np.random.default_rng(8)
    for round_ in range(150):
        broken = bytearray(raw)
        if round_ % 3 == 0:
            broken = broken[: rng.integers(1, len(raw))]
        for at in rng.integers(0, min(120, len(broken)), 3):
            broken[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(0, 256)])
        path.write_bytes(broken)
        try:
            heard = all_of(open_sound(path, caps=Caps(1 << 26)))
        except AudiollaError:
            continue
        assert np.isfinite(heard).all()


def test_a_header_that_claims_4_gb_takes_no_memory(tmp_path):
    """In a process of its own, whose memory is limited to little more than it has."""
    wav = tmp_path / "claims.wav"
    head = b"RIFF\xf0\xff\xff\xefWAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 2, 44100, 176400, 4, 16)
    wav.write_bytes(head + b"LIST\xf0\xff\xff\x7fINFO" + b"data\xf0\xff\xff\xef" + bytes(8000))
    plain = tmp_path / "plain.wav"
    plain.write_bytes(head + b"data\xf0\xff\xff\xe0" + bytes(8000))
    flac = by_ffmpeg(write_wav(tone(), tmp_path / "s.wav"), tmp_path / "claims.flac")
    raw = bytearray(flac.read_bytes())
    raw[21] |= 0x0F  # the upper bits of the frame count
    raw[22:26] = b"\xff\xff\xff\xff"
    flac.write_bytes(raw)
    adpcm = by_ffmpeg(tmp_path / "s.wav", tmp_path / "adpcm.wav", "-c:a", "adpcm_ms")
    raw = bytearray(adpcm.read_bytes())
    at = raw.index(b"data")
    adpcm.write_bytes(raw[:at] + b"LIST\0\0\0\x70INFOINAM\xf0\xff\xff\x6f" + raw[at:])
    script = (
        "import resource, sys\n"
        "from handlers.codecs.reader import open_sound\n"
        "from handlers.errors import UnreadableInput\n"
        "import av, soundfile, handlers.kernels.pcm\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        list(open_sound(path))\n"
        "    except UnreadableInput as refusal:\n"
        "        print(refusal)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, wav, plain, flac, adpcm],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    *refusals, grown = done.stdout.splitlines()
    assert len(refusals) == 4, done.stdout
    assert int(grown) < 64 * 1024  # KiB


def test_a_small_file_that_decodes_to_much_is_stopped_while_decoding(tmp_path):
    path = by_ffmpeg(
        write_wav(silence(seconds=60, rate=8000), tmp_path / "s.wav"), tmp_path / "x.flac"
    )
    assert path.stat().st_size < 20_000
    with pytest.raises(TooLarge, match="limit"):
        open_sound(path, caps=Caps(1_000_000))

    raw = run("ffmpeg", "-v", "error", "-i", path, "-f", "flac", "-")  # without a stated length
    path.write_bytes(raw)
    opened, got = open_sound(path, caps=Caps(1_000_000)), 0
    with pytest.raises(TooLarge):
        for block in opened:
            got += block.nbytes
    assert got <= 1_000_000


@pytest.mark.parametrize(
    ("rate", "channels"),
    [
        pytest.param(7999, 1, id="too slow"),
        pytest.param(384001, 1, id="too fast"),
        pytest.param(48000, 33, id="too many channels"),
    ],
)
def test_rates_and_channels_outside_the_limits_are_refused_with_the_limits(
    tmp_path, rate, channels
):
    path = write_wav(sound(np.zeros((channels, 100)), rate), tmp_path / "x.wav")
    with pytest.raises(UnreadableInput, match=r"8000 to 384000|1 to 32"):
        open_sound(path)


def test_a_file_without_samples_is_refused(tmp_path):
    path = write_wav(sound(np.zeros((1, 0))), tmp_path / "x.wav", "PCM_16")
    with pytest.raises(UnreadableInput, match="no sound"):
        open_sound(path)


def test_a_file_that_changes_between_two_passes_is_refused(tmp_path):
    path = write_wav(tone(), tmp_path / "x.wav")
    opened = open_sound(path)
    all_of(opened)
    with open(path, "ab") as file:
        file.write(b"more")
    with pytest.raises(UnreadableInput, match="changed"):
        all_of(opened)


def test_a_video_without_sound_is_refused(tmp_path):
    path = tmp_path / "mute.mp4"
    run(
        "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=s=64x64:d=0.2", "-c:v", "mpeg4", path
    )
    with pytest.raises(UnreadableInput, match="no audio stream"):
        open_sound(path)


def test_a_name_that_is_no_text_can_be_opened_and_shown(tmp_path):
    path = os.fsencode(tmp_path) + b"/t\xe9st\n.wav"
    write_wav(tone(seconds=0.1), tmp_path / "x.wav")
    os.rename(tmp_path / "x.wav", path)

    opened = open_sound(os.fsdecode(path))

    assert opened.facts.name == r"t\xe9st\n.wav"


def test_opened_files_are_closed_when_nobody_holds_the_sound(tmp_path):
    path = write_wav(tone(seconds=0.1), tmp_path / "x.wav")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    for _ in range(min(limit, 1024) + 50):
        open_sound(path)
