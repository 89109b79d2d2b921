"""The small `.json` beside a failed file: which step failed, and why, in words."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, Final

from daemon.jobs import Job
from daemon.moves import write_whole
from rules.names import numbered

_MARK: Final = "audiolla_reason"
_MOST_BYTES: Final = 64 * 1024
_MOST_NAME_BYTES: Final = 255


def reason_path(file: Path) -> Path:
    """Where the reason of a failed file lies: `take.wav.json`."""
    name = os.fsencode(file.name) + b".json"
    if len(name) > _MOST_NAME_BYTES:
        name = name[: _MOST_NAME_BYTES - 15] + b".json"
    return file.with_name(os.fsdecode(name))


def reason_of(job: Job) -> dict[str, Any]:
    """What is told of a job that did not complete."""
    kind = job.error_kind or ("Cancelled" if job.state == "cancelled" else "Unknown")
    reason: dict[str, Any] = {
        "kind": kind,
        "error": job.error or f"the job was {job.state}",
        "step": None if job.error_step is None else job.error_step + 1,
        "op": job.error_op,
        "field": job.error_field,
        "hint": job.error_hint,
        "rule": job.endpoint.partition("/")[2] or None,
        "job": job.id,
        "attempts": job.attempt,
    }
    return {key: value for key, value in reason.items() if value is not None}


def write_reason(file: Path, reason: dict[str, Any]) -> None:
    """Put a reason beside where a failed file is about to lie; replaces an older one."""
    text = json.dumps({_MARK: 1, **reason}, indent=2, ensure_ascii=False) + "\n"
    write_whole(reason_path(file), text.encode())


def read_reason(path: Path) -> dict[str, Any] | None:
    """What a reason file says; None if it is not there, or is somebody else's file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        text = file.read(_MOST_BYTES)
    if not text.startswith(f'{{\n  "{_MARK}"'.encode()):
        return None
    try:
        reason = json.loads(text)
    except ValueError:
        return None
    return reason if isinstance(reason, dict) else None


def free_place(failed: Path) -> Path:
    """The first of `x.wav`, `x (2).wav`, ... where neither file nor reason takes another's place.

    A reason without its file is of a file that was moved away: it may be replaced.
    """
    number = 1
    while True:
        place = failed.with_name(numbered(failed.name, number))
        note = reason_path(place)
        if not os.path.lexists(place) and (not os.path.lexists(note) or read_reason(note)):
            return place
        number += 1


def place_of(failed: Path, job: str) -> Path | None:
    """Where the failed file of this job lies, of all that came under the same name."""
    number = 1
    while os.path.lexists(note := reason_path(failed.with_name(numbered(failed.name, number)))):
        place = failed.with_name(numbered(failed.name, number))
        if (read_reason(note) or {}).get("job") == job and os.path.lexists(place):
            return place
        number += 1
    return None
