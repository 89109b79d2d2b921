"""Puts everything back as it was before a job, by what the journal says of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from daemon.delivering.hashes import hash_of
from daemon.delivering.journal import Entry, Journal, entries_with
from daemon.delivering.kept import Kept
from daemon.moves import move, move_numbered, remove_empty
from daemon.reasons import read_reason, reason_path
from handlers.errors import AudiollaError
from rules.names import numbered
from rules.orders import path_from_text, path_to_text


class NothingToUndo(AudiollaError):
    """A job that cannot be undone; the detail says why. Nothing was changed."""


@dataclass
class Undone:
    """What an undo did."""

    job: str
    #: Where the original lies now; of a job of several files, the first.
    original: Path
    #: All of them.
    originals: list[Path]
    #: Outputs that were removed: they were the bytes that were delivered.
    removed: list[Path] = field(default_factory=list)
    #: Outputs that somebody changed since: renamed, never removed.
    aside: list[Path] = field(default_factory=list)
    #: Files that are there again whose names the outputs had taken over.
    returned: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class _Return:
    """The way back of one original."""

    put: Entry
    lies: Path
    back: Path


def undo(entries: Sequence[Entry], root: Path, journal: Journal, kept: Kept) -> Undone:
    """Undo a job. One that a crash cut short is finished when it is asked for again.

    Args:
        entries: what the journal has of the job, the oldest first.
        root: its hot folder. The originals go back to their places there, and stay untaken until
            they change.
        journal: is told before anything moves.
        kept: remembers that the originals are not to be taken.

    Raises:
        NothingToUndo: the job has not ended, was undone, or an original is not there any more.
        OSError: the disk does not answer; ask again.
    """
    if not entries:
        raise NothingToUndo("the journal knows of no such job of a hot folder")
    last = entries[-1]
    if last["do"] == "undone":
        raise NothingToUndo(f"job {last['job']} was undone already")
    taken = {entry["rel"] for entry in entries if entry["do"] == "take"}
    # Of several lines on one file the last one counts.
    puts = {entry["rel"]: entry for entry in entries if entry["do"] == "put"}
    if last["do"] == "take" or not puts or taken - set(puts):
        raise NothingToUndo(f"job {last['job']} has not ended: cancel it instead")
    for put in puts.values():
        if put["stage"] == "deleted":
            raise NothingToUndo(
                f"its original was deleted (originals: delete), so {put['rel']} cannot be put back"
            )
    returns = _returns(list(puts.values()), entries, root, journal)
    done = Undone(last["job"], returns[0].back, [one.back for one in returns])
    for one in returns:
        if os.path.lexists(one.lies) and one.lies != one.back:
            kept.add(one.back, one.lies.lstat())
            move(one.lies, one.back)
            _without_reason(one.lies)
    # The last that says what came of the job: a crash between two files of a set has two say so.
    telling = [entry for entry in entries if entry["do"] == "put" and not entry.get("further")]
    for put in telling[-1:]:
        _take_back(put, journal, done)
        for key in ("manifest", "report", "report_data"):
            _remove_note(put.get(key))
    journal.write([{"do": "undone", "job": last["job"], "original": path_to_text(returns[0].back)}])
    return done


def _returns(
    puts: Sequence[Entry], entries: Sequence[Entry], root: Path, journal: Journal
) -> list[_Return]:
    """Where each original lies and goes, written down."""
    begun = {
        entry["rel"]: path_from_text(entry["original"])
        for entry in entries
        if entry["do"] == "undo"
    }
    returns: list[_Return] = []
    for put in puts:
        lies, back = path_from_text(put["to"]), begun.get(put["rel"])
        if back is None:
            if not os.path.lexists(lies):
                raise NothingToUndo(f"{lies} is not there any more; bring it back first")
            inbox = put["stage"] == "inbox"
            back = lies if inbox else _free(root / path_from_text(put["rel"]))
        returns.append(_Return(put, lies, back))
    journal.write(
        [
            {
                "do": "undo",
                "job": one.put["job"],
                "rel": one.put["rel"],
                "original": path_to_text(one.back),
            }
            for one in returns
            if one.put["rel"] not in begun
        ]
    )
    return returns


def _take_back(put: Entry, journal: Journal, done: Undone) -> None:
    for output in put.get("outputs", []):
        path = _slot(path_from_text(output["path"]), put, journal)
        if path is None:
            continue
        older = path_from_text(output["replaced"]) if "replaced" in output else None
        waiting = older is not None and os.path.lexists(older)
        if os.path.lexists(path):
            if _is_still(path, output):
                path.unlink()
                done.removed.append(path)
            elif older is None or waiting:
                aside = path.with_name(f"{path.stem} (kept){path.suffix}")
                done.aside.append(move_numbered(path, aside))
            # Otherwise this is the older file: an undo that a crash cut short brought it back.
        if older is not None and waiting:
            done.returned.append(move_numbered(older, path))
            remove_empty(older.parent, older.parent.parent)


def _slot(path: Path, put: Entry, journal: Journal) -> Path | None:
    """Where the output of a job lies now: under its name, or where a later job has kept it.

    None when a later job took its name over and kept nothing.
    """
    text = path_to_text(path)
    later: dict[str, Entry] = {}
    for entry in entries_with(journal.folder, [orjson.dumps(text), b'"undone"']):
        if entry["at"] < put["at"] or entry["job"] == put["job"]:
            continue
        if entry["do"] == "undone":
            later.pop(entry["job"], None)
        for output in entry.get("outputs", []):
            if output["path"] == text:
                later[entry["job"]] = output
    if not later:
        return path
    kept = next(iter(later.values())).get("replaced")
    return None if kept is None else path_from_text(kept)


def _is_still(path: Path, output: dict[str, Any]) -> bool:
    """True for the very bytes that were delivered; what cannot be told apart is not removed."""
    told = path.lstat()
    if path.is_symlink() or told.st_size != output["size"] or "sha256" not in output:
        return False
    same: bool = hash_of(path) == output["sha256"]
    return same


def _remove_note(text: str | None) -> None:
    if text is not None:
        path_from_text(text).unlink(missing_ok=True)


def _without_reason(failed: Path) -> None:
    note = reason_path(failed)
    if read_reason(note):
        note.unlink(missing_ok=True)


def _free(wanted: Path) -> Path:
    number = 1
    while os.path.lexists(place := wanted.with_name(numbered(wanted.name, number))):
        number += 1
    return place
