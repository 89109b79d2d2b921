"""Hostile inputs, each from its number alone: the same number is the same file, for ever.

The families are those of the threat model: containers that lie, samples that are no numbers,
bombs, files that name other files, and mutations of good files.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tests.hostile.seeds import notes, seeds

#: What headers claim instead of the truth.
_CLAIMS = (0, 1, 2, 0x7F, 0xFF, 2**15 - 1, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
_WIDE_CLAIMS = (*_CLAIMS, 2**36 - 1, 2**62, 2**63 - 1, 2**64 - 1)
_EXTENSIONS = ("wav", "mp3", "flac", "m4a", "ogg", "aiff", "m3u8", "mid", "WAV.mp3", "")


@dataclass(frozen=True)
class Hostile:
    """One input."""

    number: int
    family: str
    #: As it is uploaded or dropped.
    name: str
    data: bytes


@dataclass(frozen=True)
class Targets:
    """What references point to: everything here is watched, and nobody may touch it."""

    file: str = "/etc/hostname"
    url: str = "http://127.0.0.1:9/canary"
    command: str = "/tmp/canary-command"


def hostile(number: int, targets: Targets = Targets()) -> Hostile:
    """The input of this number; two thirds are mutations."""
    rng = random.Random(number)
    family, make = _FAMILIES[number % len(_FAMILIES)]
    name, data = make(rng, targets)
    return Hostile(number, family, name, data)


def many(count: int, targets: Targets, first: int = 0) -> Iterator[Hostile]:
    """The first so many of them."""
    return (hostile(number, targets) for number in range(first, first + count))


# -- mutations -----------------------------------------------------------------------------------
def mutated(data: bytes, rng: random.Random) -> bytes:
    """One to eight changes: byte, boundary number, cut, delete, duplicate, insert."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        if len(out) < 16:
            break
        # Headers decide more than samples.
        reach = len(out) if rng.random() < 0.4 else min(len(out), 512)
        at = rng.randrange(reach)
        match rng.randrange(6):
            case 0:
                out[at] = rng.randrange(256)
            case 1:
                width = rng.choice((2, 4, 8))
                value = rng.choice(_WIDE_CLAIMS) % (1 << 8 * width)
                out[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))
            case 2:
                del out[max(at, 4) :]
            case 3:
                del out[at : at + rng.randrange(1, 64)]
            case 4:
                piece = bytes(out[at : at + rng.randrange(1, 512)])
                out[at:at] = piece * rng.choice((1, 1, 2, 50))
            case 5:
                out[at:at] = rng.randbytes(rng.randrange(1, 64))
    return bytes(out)


def _mutation(rng: random.Random, _: Targets) -> tuple[str, bytes]:
    name, data = rng.choice(list(seeds().items()))
    return name, mutated(data, rng)


def _cut(rng: random.Random, _: Targets) -> tuple[str, bytes]:
    name, data = rng.choice(list(seeds().items()))
    return name, data[: rng.randrange(min(len(data), 4096))]


# -- containers that lie -------------------------------------------------------------------------
def wav(
    body: bytes,
    *,
    tag: int = 1,
    channels: int = 2,
    rate: int = 44100,
    bits: int = 16,
    before: bytes = b"",
    claim: int | None = None,
    block: int | None = None,
    extra: bytes = b"",
) -> bytes:
    """A WAV whose header says what it is told."""
    align = (channels * bits // 8) % 65536 if block is None else block
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * align % 2**32, align, bits) + extra
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt + before
    chunks += b"data" + struct.pack("<I", len(body) if claim is None else claim) + body
    return b"RIFF" + struct.pack("<I", (4 + len(chunks)) % 2**32) + b"WAVE" + chunks


def _riff(rng: random.Random, _: Targets) -> tuple[str, bytes]:
    body = rng.randbytes(rng.choice((0, 1, 2, 255, 4000)))
    chunk = rng.choice((b"LIST", b"INFO", b"bext", b"cue ", b"smpl", b"id3 ", b"\0\0\0\0", b"ds64"))
    before = chunk + struct.pack("<I", rng.choice(_CLAIMS)) + rng.randbytes(rng.choice((0, 3, 40)))
    if rng.random() < 0.1:
        before = (b"junk" + struct.pack("<I", 0)) * 100_000
    return "take.wav", wav(
        body,
        tag=rng.choice((0, 1, 2, 3, 6, 7, 17, 0x55, 0x161, 0xFFFE, 0xFFFF)),
        channels=rng.choice((0, 1, 2, 8, 33, 64, 255, 65535)),
        rate=rng.choice((0, 1, 8, 8000, 44100, 384_000, 384_001, 2**31, 2**32 - 1)),
        bits=rng.choice((0, 1, 4, 8, 12, 16, 20, 24, 32, 64, 65535)),
        before=rng.choice((b"", before)),
        claim=rng.choice((None, None, *_CLAIMS)),
        block=rng.choice((None, None, 0, 1, 3, 36, 256, 1024, 65535)),
        extra=rng.choice((b"", b"\0\0", struct.pack("<HH", 2, 505), rng.randbytes(22))),
    )


def _boxes(rng: random.Random, _: Targets) -> tuple[str, bytes]:
    """An MP4 whose numbers of entries and sizes are not what is there."""
    data = bytearray(seeds()[rng.choice(("lc.m4a", "lossless.m4a"))])
    for _ in range(rng.randrange(1, 4)):
        kind = rng.choice(
            (
                b"stts",
                b"stsz",
                b"stsc",
                b"stco",
                b"mdhd",
                b"stsd",
                b"elst",
                b"esds",
                b"alac",
                b"moov",
            )
        )
        at = data.find(kind)
        if at < 4:
            continue
        where = at + rng.choice((-4, 4, 8, 12, 16))
        data[where : where + 4] = struct.pack(">I", rng.choice(_CLAIMS))
    return "song.m4a", bytes(data)


def _claimed_flac(rng: random.Random, _: Targets) -> tuple[str, bytes]:
    """A FLAC that states up to 2^36 samples; or its pictures and comments as long as memory."""
    data = bytearray(seeds()["fixed.flac"])
    match rng.randrange(3):
        case 0:
            data[21] |= 0x0F
            data[22:26] = rng.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1"))
        case 1:
            block = bytes([rng.choice((4, 6, 5, 3, 126))])
            data[42:42] = block + b"\xff\xff\xff" + struct.pack("<I", 2**31 - 1) * 4
            data[4] &= 0x7F
        case 2:
            data[8:12] = rng.randbytes(4)
            data[18:22] = rng.randbytes(4)
    return "deep.flac", bytes(data)


def _tags(rng: random.Random, _: Targets) -> tuple[str, bytes]:
    """ID3: sizes that lie, tags inside tags, compressed frames that explode, pictures."""
    size = rng.choice((0, 10, 2**28 - 1, 70_000))
    packed = bytes((size >> 7 * k) & 0x7F for k in (3, 2, 1, 0))
    version = rng.choice((2, 3, 4, 255))
    match rng.randrange(4):
        case 0:
            body = (b"APIC" + b"\x7f\x7f\x7f\x7f" + b"\0\0") * rng.randrange(1, 2000)
        case 1:
            bomb = zlib.compress(bytes(10_000_000))
            body = b"TXXX" + struct.pack(">I", len(bomb) + 4) + b"\0\x0c"
            body += struct.pack(">I", rng.choice(_CLAIMS)) + bomb
        case 2:
            body = b"ID3\4\0\0\0\0\x0f\x7f" * 3000
        case _:
            body = b"GEOB" + rng.randbytes(200)
    head = b"ID3" + bytes([version, 0, rng.choice((0, 0x80, 0x40, 0xFF))]) + packed
    return "tagged.mp3", head + body + seeds()["layer3.mp3"]


def _pages(rng: random.Random, _: Targets) -> tuple[str, bytes]:
    """Ogg with thousands of streams, or pages that state other lengths."""
    page = bytearray(seeds()[rng.choice(("vorbis.ogg", "opus.opus"))][:400])
    if rng.random() < 0.5:
        body = bytearray()
        for serial in range(rng.choice((10, 3000))):
            body += b"OggS\0\x02" + bytes(8) + struct.pack("<III", serial, 0, 0) + b"\1\1\0"
        return "many.ogg", bytes(body)
    page[6:14] = struct.pack("<Q", rng.choice(_WIDE_CLAIMS) % 2**64)
    page[26] = rng.randrange(256)
    return "pages.ogg", bytes(page) + seeds()["vorbis.ogg"][58:]


def _elements(rng: random.Random, _: Targets) -> tuple[str, bytes]:
    """Matroska whose sizes are claims."""
    data = bytearray(seeds()[rng.choice(("opus.webm", "flac.mka"))])
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(4, min(len(data), 400))
        data[at : at + 8] = rng.choice(
            (b"\x01" + b"\xff" * 7, b"\x01" + bytes(7), b"\x08\xff\xff\xff")
        )
    return "clip.webm", bytes(data)


# -- samples that are no numbers -----------------------------------------------------------------
def _samples(rng: random.Random, _: Targets) -> tuple[str, bytes]:
    values = rng.choice(
        (
            [float("nan")] * 400,
            [float("inf"), float("-inf")] * 200,
            [1e-42] * 400,
            [1e38, -1e38] * 200,
            [1.0, -1.0] * 200,
            [0.0] * 400,
            [float("nan"), 0.5, float("inf"), 1e50] * 100,
        )
    )
    # 1e50 becomes infinite in 32 bits, and stays a number in 64.
    with np.errstate(over="ignore"):
        kind = rng.choice((np.float32, np.float64))
        raw = np.array(values, kind)
    bits = raw.itemsize * 8
    return "float.wav", wav(raw.tobytes(), tag=3, channels=rng.choice((1, 2, 8)), bits=bits)


# -- bombs ---------------------------------------------------------------------------------------
def flac_bomb(blocks: int, channels: int = 8) -> bytes:
    """Constant blocks: each frame is some bytes and decodes to 65,535 silent frames."""
    from tests.hostile.flac import constant_flac

    return constant_flac(blocks, channels)


def _bomb(rng: random.Random, _: Targets) -> tuple[str, bytes]:
    match rng.randrange(3):
        case 0:
            return "long.flac", flac_bomb(rng.choice((50, 200)), rng.choice((2, 8)))
        case 1:
            return "zero.flac", flac_bomb(20)[: rng.randrange(42, 400)]
        case _:
            return "many.wav", wav(b"\0" * 80, before=(b"LIST\0\0\0\0") * 30_000)


def _midi(rng: random.Random, _: Targets) -> tuple[str, bytes]:
    def varint(value: int) -> bytes:
        out = [value & 0x7F]
        while value := value >> 7:
            out.append(value & 0x7F | 0x80)
        return bytes(reversed(out))

    data = rng.choice(
        (
            lambda: notes(varint(2**28 - 1) + b"\x90\x3c\x40" + varint(2**28 - 1) + b"\x80\x3c\0"),
            lambda: notes(b"\xff" * 100_000),
            lambda: notes(division=0),
            lambda: notes(division=0x8000 | rng.randrange(2**15)),
            lambda: notes(tracks=65535),
            lambda: notes(tracks=0),
            lambda: notes(b"\0\xff\x51\x03\0\0\0" + b"\0\x90\x3c\x40\x60\x80\x3c\0"),
            lambda: notes(b"\0\xf0" + varint(2**28 - 1) + b"\x01"),
            lambda: notes(b"\0\x90\x3c\x40" * rng.choice((10, 20_000))),
            lambda: notes(b"\x3c\x40" * 200),
            lambda: notes(b"\0\xff\x58\x04\0\0\0\0\0\xff\x59\x02\x7f\x7f"),
            lambda: mutated(seeds()["notes.mid"], rng),
        )
    )()
    return "song.mid", data


# -- files that name other files -----------------------------------------------------------------
#: Texts that some library opens as a list of other files; `{f}`, `{u}`, `{c}`: file, URL, command.
REFERENCES = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{f}\n#EXTINF:5,\n{u}\n#EXT-X-ENDLIST\n",
    "hls key": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{u}"\n#EXTINF:5,\n{f}\n',
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
    "<AdaptationSet><Representation id='1' mimeType='audio/mp4'><BaseURL>{f}</BaseURL>"
    "</Representation></AdaptationSet></Period></MPD>",
    "ffconcat": "ffconcat version 1.0\nfile '{f}'\nfile '{u}'\n",
    "m3u": "{f}\n{u}\n|touch {c}\n",
    "pls": "[playlist]\nFile1={f}\nFile2={u}\nFile3=|touch {c}\nNumberOfEntries=3\n",
    "sdp": "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\n"
    "c=IN IP4 127.0.0.1\r\nm=audio 9 RTP/AVP 0\r\n",
    "imf": '<?xml version="1.0"?><AssetMap><Path>{f}</Path><Path>{u}</Path></AssetMap>',
    "webm dash": "webm_dash_manifest\n{f}\n",
    "lrc": "[00:01.00]{f}\n[re:{u}]\n",
    "asx": '<asx version="3.0"><entry><ref href="{f}"/><ref href="{u}"/></entry></asx>',
    "entities": '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "{f}">]><svg>&e;</svg>',
    "command": "|touch {c}\n",
    "cue": 'FILE "{f}" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
    "subfile": "subfile,,start,0,end,0,,:{f}",
}


def _reference(rng: random.Random, targets: Targets) -> tuple[str, bytes]:
    text = REFERENCES[rng.choice(list(REFERENCES))]
    file = rng.choice((targets.file, f"file:{targets.file}", "../" * 12 + targets.file.lstrip("/")))
    data = text.format(f=file, u=targets.url, c=targets.command).encode()
    if rng.random() < 0.3:  # beside or inside a real sound
        sound = seeds()["pcm16.wav"]
        data = rng.choice((sound + data, data + sound, wav(data), b"\xef\xbb\xbf" + data))
    if rng.random() < 0.15:
        data = _external(targets.file)
    return f"list.{rng.choice(_EXTENSIONS)}", data


def _external(path: str) -> bytes:
    """An MP4 whose samples lie in another file (`dref` with an `url ` or `alis`)."""
    data = seeds()["lc.m4a"]
    at = data.find(b"url \0\0\0\1")
    location = path.encode() + b"\0"
    entry = struct.pack(">I4sI", 12 + len(location), b"url ", 0) + location
    return data[: at - 4] + entry + data[at + 8 :]


def _polyglot(rng: random.Random, _: Targets) -> tuple[str, bytes]:
    good = list(seeds().values())
    head = rng.choice((b"PK\3\4", b"%PDF-1.7\n", b"<html>", b"GIF89a", b"\x7fELF", b"#!/bin/sh\n"))
    return f"both.{rng.choice(_EXTENSIONS)}", rng.choice(
        (
            lambda: rng.choice(good)[:2000] + rng.choice(good),
            lambda: head + rng.choice(good),
            lambda: rng.choice(good) + head + rng.randbytes(100),
            lambda: rng.randbytes(rng.randrange(1, 5000)),
            lambda: rng.choice(good)[:12] + rng.randbytes(2000),
        )
    )()


_FAMILIES: list[tuple[str, Callable[[random.Random, Targets], tuple[str, bytes]]]] = [
    *[("mutation", _mutation)] * 20,
    *[("cut", _cut)] * 4,
    ("riff", _riff),
    ("riff", _riff),
    ("boxes", _boxes),
    ("flac claims", _claimed_flac),
    ("tags", _tags),
    ("pages", _pages),
    ("elements", _elements),
    ("samples", _samples),
    ("bomb", _bomb),
    ("midi", _midi),
    ("reference", _reference),
    ("reference", _reference),
    ("polyglot", _polyglot),
]

# -- names ---------------------------------------------------------------------------------------
NAMES: tuple[bytes, ...] = (
    b"caf\xe9.wav",
    b"new\nline.wav",
    b"tab\there.wav",
    b"\x1b[31mred.wav",
    "\N{WINKING FACE}.wav".encode(),
    "abc\N{RIGHT-TO-LEFT OVERRIDE}vaw.exe.wav".encode(),
    "u\N{COMBINING DIAERESIS}ber.wav".encode(),
    "\N{LATIN SMALL LETTER U WITH DIAERESIS}ber.wav".encode(),
    b"UBER.WAV",
    b"x",
    b"n" * 196 + b".wav",
    b"n" * 251 + b".wav",
    b"-rf.wav",
    b"-i.wav",
    b"|touch canary.wav",
    b"@list.wav",
    b" leading.wav",
    b"trailing.wav ",
    b"dot.wav.",
    b"CON.wav",
    b"NUL.wav",
    b"%d.wav",
    b"%s%n.wav",
    b"%00.wav",
    b"%2e%2e%2fx.wav",
    b"quote'\".wav",
    b"$(touch canary).wav",
    b"`touch canary`.wav",
    b"a;touch canary;.wav",
    b"concat:a|b.wav",
    b"http:x.wav",
    b"pipe:0.wav",
    b"subfile,,start,0,end,0,,:x.wav",
    b"data:audio,x.wav",
    b"file:x.wav",
    b"{stem}.wav",
    b"{rel}{date}.wav",
    b"x....wav",
    b"x%d.png.wav",
    b"a&b<c>.wav",
    b"x\\y.wav",
    b"*?[a].wav",
)
"""File names for a hot folder; all may exist on Linux."""
