"""Tags, cover art and production chunks: out of a file, and into another.

What survives where:

| Into | Tags | Cover art | Production chunks |
|---|---|---|---|
| wav | LIST/INFO, and an `id3 ` chunk for what INFO cannot hold | in the `id3 ` chunk | all |
| aiff | `ID3 ` chunk | yes | no |
| mp3 | ID3v2.4 | yes | no |
| flac, ogg, opus | Vorbis comments | yes | no |
| m4a | iTunes atoms | JPEG and PNG | no |
| aac, pcm | no place for any | no | no |

Rules:

- Chunks that count frames (`cue `, `smpl`, `plst`, `acid`, `cart` and the cue
  labels in `LIST adtl`) are written only when rate and length are those of
  `Metadata.span`. Otherwise they are left out, `bext` loses its time reference
  and `iXML` its time stamps and rates: no position is better than a wrong one.
- Measurements of the old samples (ReplayGain, R128 gain, iTunNORM, the loudness
  fields of `bext`) and gapless fields of the old encoder are never carried over.
- Lengths in tags are not believed, and a tag that cannot be read is left out:
  sound is never refused for its tags.

Sources: RIFF (1991), EBU Tech 3285 (bext), iXML 2.0, ID3v2.4.0, RFC 9639, Vorbis
comment specification.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from io import BytesIO

from handlers.artifacts import Metadata
from handlers.codecs import tags
from handlers.codecs.chunks import decoded
from handlers.codecs.files import InputFile
from handlers.codecs.layout import Chunk
from handlers.tagging.info import beyond_info, info_body, info_of, info_values, read_info
from handlers.tagging.names import MAX_TAG, carried

_MAX_CHUNK = 4 << 20
_POSITIONED = frozenset({"cue ", "smpl", "plst", "acid", "cart", "adtl"})
_PRODUCTION = _POSITIONED | {"bext", "iXML", "inst"}
_IXML_TIMES = re.compile(
    rb"<(TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_\w+|TIMESTAMP_SAMPLE_RATE|FILE_SAMPLE_RATE|"
    rb"BWF_TIME_REFERENCE_\w+)>[^<]*</\1>\s*"
)


def read_metadata(
    file: InputFile,
    container: str,
    codec: str,
    chunks: Sequence[Chunk],
    demuxer_tags: Mapping[str, str],
) -> Metadata:
    """What a file says beside its samples. Never refuses: unreadable tags are left out."""
    if container in ("wav", "w64", "aiff"):
        return _from_chunks(file, chunks)
    found = tags.read_tags(file, container, codec)
    if found is None:
        found = tags.from_demuxer(demuxer_tags), ()
    return Metadata(found[0], found[1])


def fitting(metadata: Metadata, rate: int, frames: int | None) -> dict[str, bytes]:
    """The production chunks that are still true for a sound of this rate and length."""
    same = metadata.span == (rate, frames)
    kept: dict[str, bytes] = {}
    for kind, body in metadata.chunks.items():
        if kind in _POSITIONED and not same:
            continue
        if kind == "bext":
            kept[kind] = _mended_bext(body, same)
        elif kind == "iXML" and not same:
            kept[kind] = _IXML_TIMES.sub(b"", body)
        else:
            kept[kind] = body
    return kept


def riff_chunks(metadata: Metadata, rate: int, frames: int | None) -> list[tuple[bytes, bytes]]:
    """The chunks to write behind the samples of a WAV, as id and body."""
    out: list[tuple[bytes, bytes]] = []
    for kind, body in fitting(metadata, rate, frames).items():
        if kind == "adtl":
            out.append((b"LIST", b"adtl" + body))
        else:
            out.append((kind.encode("latin-1"), body))
    kept = carried(metadata.tags)
    if text := info_body(info_of(kept)):
        out.append((b"LIST", b"INFO" + text))
    if beyond_info(kept) or metadata.pictures:
        out.append((b"id3 ", tags.id3_bytes(metadata)))
    return out


def _mended_bext(body: bytes, same: bool) -> bytes:
    """`bext` without what may have become wrong (EBU Tech 3285 v2, section 2.3)."""
    if len(body) < 602:
        return body
    mended = bytearray(body)
    if not same:
        mended[338:346] = bytes(8)  # TimeReference
    if int.from_bytes(mended[346:348], "little") >= 2:
        mended[412:422] = b"\xff\x7f" * 5  # loudness fields: 0x7FFF means not stated
    return bytes(mended)


def _from_chunks(file: InputFile, chunks: Sequence[Chunk]) -> Metadata:
    found: dict[str, tuple[str, ...]] = {}
    pictures: tuple[tuple[str, int, str, bytes], ...] = ()
    production: dict[str, bytes] = {}
    for chunk in chunks:
        if chunk.size > _MAX_CHUNK and chunk.kind.upper() != "ID3 ":
            continue
        kind = chunk.kind.lower()
        if kind == "list":
            body = file.read(chunk.size, chunk.offset)
            if body[:4] == b"INFO":
                found = {**info_values(read_info(body[4:])), **found}
            elif body[:4] == b"adtl":
                production.setdefault("adtl", body[4:])
        elif kind == "id3 " and chunk.size <= MAX_TAG:
            body = file.read(chunk.size, chunk.offset)
            read = tags.read_id3(BytesIO(body))
            if read is not None:
                # Richer than INFO, and written by the same hand later: it wins.
                found = {**found, **read[0]}
                pictures = read[1]
        elif chunk.kind in _PRODUCTION:
            production.setdefault(chunk.kind, file.read(chunk.size, chunk.offset))
        elif chunk.kind in ("NAME", "AUTH", "(c) ", "ANNO"):
            name = {"NAME": "title", "AUTH": "artist", "(c) ": "copyright", "ANNO": "comment"}
            text = decoded(file.read(chunk.size, chunk.offset))
            if text:
                found.setdefault(name[chunk.kind], (text,))
    return Metadata(carried(found), pictures, production)
