"""Twice is once: a hot folder recognises a sound that it has worked on already.

A sound is known by the hash of its decoded samples, so it is the same under
another name, with other tags, and in another container that keeps every
sample. FLAC files bring that hash along: the MD5 of their samples as integers,
interleaved, in little-endian bytes (RFC 9639, 8.2). The same is computed of
whatever else holds integers; of anything else it is of the samples as float32.

The work counts too: other steps or another format make it another key, so
that changed rules work on old sounds anew.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np
import orjson

from handlers.artifacts import Blocks, Samples
from rules.orders import Once, Order

_LOSSLESS: Final = frozenset({"flac", "alac", "wavpack", "tta"})
_MOST_EXACT: Final = 24
"""Bits of an integer that a float32 holds exactly."""


def samples_of(sound: Blocks) -> str:
    """Names the decoded samples of a sound: equal for equal samples, whatever holds them.

    Costs a pass, unless the file states the hash (FLAC).
    """
    facts = sound.facts
    bits = facts.bit_depth if facts is not None and _is_exact(facts.codec) else None
    if bits is None or not 1 < bits <= _MOST_EXACT:
        digest = hashlib.md5(usedforsecurity=False)
        for block in sound:
            digest.update(block.T.astype("<f4").tobytes())
        return f"float {sound.rate} {sound.channels} {digest.hexdigest()}"
    if facts is not None and facts.md5:
        return f"int{bits} {sound.rate} {sound.channels} {facts.md5}"
    digest = hashlib.md5(usedforsecurity=False)
    for block in sound:
        digest.update(_integers(block, bits))
    return f"int{bits} {sound.rate} {sound.channels} {digest.hexdigest()}"


def key_of(order: Order, once: Once, samples: str) -> str:
    """Names the work of an order on these samples, within its folder.

    Not what only follows from the file's own name and place.
    """
    steps = [step.model_dump(mode="json", exclude={"items"}) for step in order.steps]
    items = [
        [item.settings, "" if item.sound.path == once.sound.path else str(item.sound.path)]
        for step in order.steps
        for entries in step.items.values()
        for item in entries
    ]
    work = [
        once.folder,
        samples,
        order.names.get("rule", ""),
        steps,
        items,
        order.tags,
        order.delivery
        and order.delivery.model_dump(
            mode="json", include={"encoding", "name", "side_name", "sound", "reports"}
        ),
    ]
    return hashlib.blake2b(orjson.dumps(work), digest_size=20).hexdigest()


def told(earlier: str, outputs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The result of a job whose sound was worked on by an earlier one."""
    return {"steps": [], "outputs": outputs or [], "descriptor": {}, "duplicate_of": earlier}


def _is_exact(codec: str) -> bool:
    return codec in _LOSSLESS or codec.startswith(("pcm_s", "pcm_u"))


def _integers(block: Samples, bits: int) -> bytes:
    """Samples as FLAC hashes them: interleaved, signed, in as many whole bytes as they need."""
    scaled = np.rint(block.T.astype(np.float64) * 2 ** (bits - 1)).astype("<i4")
    width = (bits + 7) // 8
    return np.ascontiguousarray(scaled).view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
