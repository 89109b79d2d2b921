"""Where taken files lie while their jobs run, and which job is about which.

    processing/<job id>/a/x.wav       one file, or those of a set
    processing/<batch id>+/a/x.wav    one of many that were taken in one turn

A folder of its own for each of a hundred thousand files would be most of the work of taking them
(and two blocks of the disk for each). In a batch the job's id follows from the batch's and the
file's place in it, so that after a crash the place still tells all that has to be known.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final
from uuid import UUID

_MARK: Final = "+"
MANY: Final = 64
"""From so many files in one turn on they share a home."""
_RANDOM_BITS: Final = 80  # of a UUID 7, its version and variant among them


def batch_of(one: str) -> str:
    """The name of a batch's home, from an id that nothing else bears."""
    return one + _MARK


def is_batch(home: str) -> bool:
    """True for the name of a home that many jobs share."""
    return home.endswith(_MARK)


def job_in(home: str, rel: str) -> str:
    """The job about a file that lies at `rel` in a home.

    In a batch: an id of the batch's time, the rest of it a hash of the place.
    """
    if not is_batch(home):
        return home
    batch = home.removesuffix(_MARK)
    digest = blake2b(os.fsencode(f"{batch}/{rel}"), digest_size=_RANDOM_BITS // 8).digest()
    try:
        time = UUID(batch).int >> _RANDOM_BITS
    except ValueError:
        return f"{batch}-{digest.hex()}"
    bits = int.from_bytes(digest, "big")
    bits = bits & ~(0xF << 76) | 7 << 76  # version 7
    bits = bits & ~(0x3 << 62) | 2 << 62  # the variant of RFC 9562
    return str(UUID(int=time << _RANDOM_BITS | bits))


def split(parts: Sequence[str], job: str) -> tuple[int, str] | None:
    """Where in a path the home of a job stands, and the file's path below it.

    Returns:
        None if the path does not lie in a home of this job.
    """
    for at, part in enumerate(parts[:-1]):
        rel = "/".join(parts[at + 1 :])
        if part == job or (is_batch(part) and job_in(part, rel) == job):
            return at, rel
    return None
