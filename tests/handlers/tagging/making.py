"""Files with tags to test with, and the operation run over them."""

from __future__ import annotations

import hashlib
import struct
import tempfile
import zlib
from pathlib import Path

from handlers.artifacts import NamedFile, SourceFile
from handlers.codecs.files import InputFile
from handlers.metadata.metadata import MetadataReport
from handlers.registry import operations
from handlers.tagging.others import open_tagged
from tests.handlers.codecs.tools import run


def metadata(path: Path, *files: Path, **params: object) -> MetadataReport:
    """The operation over a file; `files` are the pictures that parameters name by their path."""
    op = operations()["metadata"]
    sound = open_tagged(path)
    room = Path(tempfile.mkdtemp(dir=path.parent))
    return op.func(
        file=SourceFile(sound.facts.file, sound, lambda: room),
        p=op.read_params(params, strict=True),
        covers=[NamedFile(name=str(f)).holding(InputFile(f)) for f in files],
    )


def decoded_md5(path: Path) -> bytes:
    """Hash of the samples that FFmpeg decodes."""
    return run("ffmpeg", "-v", "error", "-i", path, "-map", "0:a", "-f", "md5", "-")


def sha256(path: Path) -> str:
    """Hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def chunk(kind: bytes, body: bytes) -> bytes:
    """A RIFF chunk."""
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)


def with_chunks(path: Path, *chunks: bytes) -> Path:
    """Put chunks behind those of a WAV."""
    raw = path.read_bytes() + b"".join(chunks)
    path.write_bytes(raw[:4] + struct.pack("<I", len(raw) - 8) + raw[8:])
    return path


def chunks_of(path: Path) -> list[tuple[bytes, bytes]]:
    """Identifiers and bodies of a WAV's or AIFF's chunks."""
    raw = path.read_bytes()
    order = ">" if raw[:4] == b"FORM" else "<"
    found, at = [], 12
    while at + 8 <= len(raw):
        kind, size = struct.unpack(f"{order}4sI", raw[at : at + 8])
        found.append((kind, raw[at + 8 : at + 8 + size]))
        at += 8 + size + (size & 1)
    assert at == len(raw)
    assert struct.unpack(f"{order}I", raw[4:8])[0] == len(raw) - 8
    return found


def png(width: int = 3, height: int = 2) -> bytes:
    """A red picture."""

    def part(kind: bytes, body: bytes) -> bytes:
        checked = kind + body
        return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))

    rows = b"".join(b"\0" + b"\xff\0\0" * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + part(b"IHDR", head)
        + part(b"IDAT", zlib.compress(rows))
        + part(b"IEND", b"")
    )


def id3(*frames: bytes, version: int = 4, flags: int = 0) -> bytes:
    """An ID3 tag of raw frames."""
    body = b"".join(frames)
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3" + bytes([version, 0, flags]) + size + body


def frame(name: bytes, body: bytes, *, flags: int = 0, version: int = 4) -> bytes:
    """A raw ID3 frame."""
    bits = 7 if version == 4 else 8
    size = bytes(len(body) >> bits * n & ((1 << bits) - 1) for n in (3, 2, 1, 0))
    return name + size + struct.pack(">H", flags) + body
