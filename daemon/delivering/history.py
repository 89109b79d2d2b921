"""What became of a file, by the journal: when it came, what was done, where it went."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from daemon.delivering.journal import Entry, entries_with
from rules.orders import path_from_text, path_to_text


def history_of(journal: Path, *, path: Path | None = None, sha256: str = "") -> list[list[Entry]]:
    """The stories of all jobs that a file had a part in.

    Args:
        journal: the journal's folder.
        path: where the file lies or lay: as a whole, or a bare name for any folder.
        sha256: its content, whatever it is called.

    Returns:
        Of each job all entries, the oldest first; in the order in which they came.
    """
    needles = [sha256.encode()] if sha256 else []
    if path is not None:
        # As JSON has it, without the quotes: it may stand behind a folder.
        needles.append(orjson.dumps(path_to_text(path.name))[1:-1])
    jobs: dict[str, None] = {}
    for entry in entries_with(journal, needles):
        if _is_about(entry, path, sha256):
            jobs.setdefault(entry.get("job") or f"{entry['at']}")
    stories: dict[str, list[Entry]] = {job: [] for job in jobs}
    for entry in entries_with(journal, [job.encode() for job in jobs]) if jobs else ():
        job = entry.get("job") or f"{entry['at']}"
        if job in stories:
            stories[job].append(entry)
    return [story for story in stories.values() if story]


def _is_about(entry: Entry, path: Path | None, sha256: str) -> bool:
    if sha256 and sha256 in _hashes(entry):
        return True
    if path is None:
        return False
    whole = len(path.parts) > 1
    return any(
        (there == path) if whole else (there.name == path.name) for there in _paths_of(entry)
    )


def _paths_of(entry: Entry) -> Iterator[Path]:
    for key in ("from", "to", "rel", "original"):
        if key in entry:
            yield path_from_text(entry[key])
    if "root" in entry:
        yield path_from_text(entry["root"]) / path_from_text(entry["rel"])
    for output in entry.get("outputs", []):
        yield path_from_text(output["path"])


def _hashes(entry: Entry) -> set[str]:
    told = {output.get("sha256", "") for output in entry.get("outputs", [])}
    return told | {entry.get("input", {}).get("sha256", "")}


def sentences(entry: Entry) -> Iterator[str]:
    """One entry in words."""
    if entry["do"] == "take":
        root = path_from_text(entry["root"])
        yield f"came into {root.name} as {entry['rel']} ({entry['size']} bytes)"
    elif entry["do"] == "put":
        yield from _end(entry)
    elif entry["do"] == "back":
        yield f"went back to the inbox as {entry['rel']}: the daemon ended before its job was made"
    elif entry["do"] == "undone":
        yield f"undone: the original is {entry['original']} again"


def _end(entry: Entry) -> Iterator[str]:
    if "reason" in entry:
        reason = entry["reason"]
        step = f" in step {reason['step']}, {reason.get('op')}" if "step" in reason else ""
        yield f"failed{step}: {reason.get('error', '')}"
    elif entry.get("outputs") or entry.get("steps"):
        steps = " > ".join(entry.get("steps", [])) or "converted"
        rule = f" by rule {entry['rule']}" if entry.get("rule") else ""
        took = f" in {entry['seconds']:.1f} s" if "seconds" in entry else ""
        yield f"{steps}{rule}{took}"
        for output in entry.get("outputs", []):
            yield f"gave {output['path']} ({output['size']} bytes)"
    if entry["stage"] == "deleted":
        yield "the original was deleted: its outputs had been read back"
    else:
        yield f"the original went to {entry['to']}"


def summed(story: list[Entry]) -> dict[str, Any]:
    """A story as JSON shows it."""
    job = story[0].get("job", "")
    return {"job": job, "folder": story[0].get("folder"), "events": story}


def absolute(text: str) -> Path:
    """A path as the user wrote it: a bare name stays one, unless such a file is here."""
    if os.sep not in text and not os.path.lexists(text):
        return Path(text)
    return Path(os.path.abspath(text))
