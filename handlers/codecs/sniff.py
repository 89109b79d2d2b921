"""Which container a file is, from its first bytes alone.

The name decides nothing: FFmpeg opened with a free choice reads playlists
(HLS, DASH, ffconcat) under any name, and those name other files and addresses.
What is not on this list of magic numbers is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from handlers.errors import UnreadableInput

#: How much of a file is looked at: enough for two MPEG audio frames in a row.
HEAD_BYTES = 8192
#: ID3 tags in a row; taggers that do not see an old tag put another in front of it.
_MAX_TAGS = 8

_W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"skip", b"free", b"pnot")
_PLAYLIST = re.compile(
    rb"#EXTM3U|ffconcat|\[playlist\]|<\?xml|<MPD|<smil|<asx|#EXTINF|file\s+['\"/]|https?://|v=0\r?\n",
    re.IGNORECASE,
)
_MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_KBPS_1 = {
    3: (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_KBPS_2 = {
    3: (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    1: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def sniff(head: bytes) -> str:
    """The container of a file that begins with `head`.

    An ID3 tag in front is skipped; where `head` ends inside it, the file is
    taken for MP3 (`sniff_file` looks behind the tag).

    Returns:
        One of `wav` (also RF64 and BW64), `w64`, `flac`, `ogg`, `mp3`, `aac`,
        `mov`, `aiff`, `caf`, `matroska`, `wv`, `au`.

    Raises:
        UnreadableInput: nothing of that kind.
    """
    tagged = False
    while head[:3] == b"ID3" and len(head) >= 10:
        tagged = True
        head = head[id3_length(head) :].lstrip(b"\0")
    if tagged and not head:
        return "mp3"
    found = _known(head)
    if found is None:
        raise UnreadableInput(_refusal(head))
    return found


def sniff_file(fd: int) -> tuple[str, int]:
    """Container of an open file, and where it begins behind ID3 tags.

    Raises:
        UnreadableInput: nothing that is known, or nothing but tags.
    """
    size = os.fstat(fd).st_size
    start = 0
    head = os.pread(fd, HEAD_BYTES, 0)
    for _ in range(_MAX_TAGS):
        if head[:3] != b"ID3" or len(head) < 10:
            break
        start += id3_length(head)
        if start >= size:
            raise UnreadableInput("the file holds an ID3 tag but no sound, or ends inside the tag")
        head = os.pread(fd, HEAD_BYTES, start)
    if start:
        # Some taggers leave padding behind the tag that its length does not count.
        behind = head.lstrip(b"\0")
        start += len(head) - len(behind)
        head = behind
    return sniff(head), start


def id3_length(head: bytes) -> int:
    """Bytes of the ID3v2 tag that `head` begins with, header and footer included."""
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if head[5] & 0x10 else 0)


def mpeg_frame(raw: bytes) -> tuple[int, int, int, int, int] | None:
    """One MPEG audio frame header (ISO 11172-3, 13818-3).

    Returns:
        Bytes of the frame, sample rate, channels, kbit/s, samples per frame; or
        None where there is no header (free format is not taken).
    """
    if len(raw) < 4 or raw[0] != 0xFF or raw[1] & 0xE0 != 0xE0:
        return None
    version, layer = raw[1] >> 3 & 3, raw[1] >> 1 & 3
    kbps_index, rate_index, padding = raw[2] >> 4, raw[2] >> 2 & 3, raw[2] >> 1 & 1
    if version == 1 or layer == 0 or kbps_index in (0, 15) or rate_index == 3:
        return None
    kbps = (_KBPS_1 if version == 3 else _KBPS_2)[layer][kbps_index - 1]
    rate = _MPEG_RATES[version][rate_index]
    samples = 384 if layer == 3 else 576 if layer == 1 and version != 3 else 1152
    if layer == 3:
        size = (12 * kbps * 1000 // rate + padding) * 4
    else:
        size = samples // 8 * kbps * 1000 // rate + padding
    return size, rate, 1 if raw[3] >> 6 == 3 else 2, kbps, samples


def _known(head: bytes) -> str | None:
    four, kind = head[:4], head[8:12]
    if four in (b"RIFF", b"RF64", b"BW64", b"RIFX") and kind == b"WAVE":
        return "wav"
    if four == b"FORM" and kind in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[:16] == _W64_RIFF:
        return "w64"
    if head[4:8] in _MOV_BOXES:
        return "mov"
    simple = {
        b"fLaC": "flac",
        b"OggS": "ogg",
        b"caff": "caf",
        b"\x1a\x45\xdf\xa3": "matroska",
        b"wvpk": "wv",
        b".snd": "au",
    }.get(four)
    if simple:
        return simple
    if _repeats(head, _adts_length):
        return "aac"
    if _repeats(head, lambda raw: (mpeg_frame(raw) or (0,))[0]):
        return "mp3"
    return None


def _adts_length(raw: bytes) -> int:
    if len(raw) < 7 or raw[0] != 0xFF or raw[1] & 0xF6 != 0xF0 or raw[2] >> 2 & 15 > 12:
        return 0
    length = (raw[3] & 3) << 11 | raw[4] << 3 | raw[5] >> 5
    return length if length > 7 else 0


def _repeats(head: bytes, length_of: Callable[[bytes], int]) -> bool:
    """Whether a frame begins here and, as far as `head` reaches, another where it ends."""
    first = length_of(head)
    if not first:
        return False
    following = head[first : first + 7]
    return len(following) < 7 or length_of(following) > 0


def _refusal(head: bytes) -> str:
    if not head:
        return "the file is empty"
    if _PLAYLIST.search(head[:1024]):
        return (
            "this is a playlist or a text that names other files or addresses; only a file that "
            "holds sound itself is read"
        )
    if head[:4] == b"MThd":
        return "this is a MIDI file, which holds notes and no sound"
    if not head.strip(b"\0"):
        return "the file begins with nothing but zeros; perhaps it was cut off while being copied"
    return (
        f"no audio container is known that begins with {head[:4].hex(' ')}; known are WAV, W64, "
        "AIFF, CAF, AU, FLAC, Ogg, MP3, AAC, MP4/M4A, Matroska/WebM and WavPack"
    )
