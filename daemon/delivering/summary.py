"""What happened in a folder on one day, by the journal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from daemon.clock import Clock
from daemon.delivering.journal import Entry, entries_with
from daemon.delivering.notices import Notices
from daemon.delivering.pages import heading, page, table, verdict
from daemon.moves import write_whole
from rules.model import FolderRules

_MOST_DAYS: Final = 31
"""Days that are made up for after a long absence."""


def summary_of(entries: Iterable[Entry], folder: str, day: date) -> dict[str, Any]:
    """Counts, failures with their reasons, and durations of one local day.

    Args:
        entries: the journal's; others are passed over.
        folder: name of the hot folder.
        day: in local time.
    """
    puts: dict[str, Entry] = {}
    taken: set[str] = set()
    for number, entry in enumerate(entries):
        if entry.get("folder", folder) != folder or _day(entry["at"]) != day:
            continue
        if entry["do"] == "take":
            taken.add(entry["job"])
        elif entry["do"] == "back":
            taken.discard(entry["job"])
        elif entry["do"] == "put" and not entry.get("further"):
            puts[entry.get("job") or f"{number}"] = entry  # the last word on a job counts
    failures = [
        {
            "file": entry["rel"],
            "error": entry["reason"].get("error", ""),
            "kind": entry["reason"].get("kind", ""),
            "job": entry.get("job", ""),
        }
        for entry in puts.values()
        if "reason" in entry
    ]
    done = [entry for entry in puts.values() if entry.get("state") == "completed"]
    seconds = [entry["seconds"] for entry in done if "seconds" in entry]
    return {
        "folder": folder,
        "day": day.isoformat(),
        "taken": len(taken),
        "completed": len(done),
        "failed": len(failures),
        "outputs": sum(len(entry.get("outputs", [])) for entry in done),
        "bytes": sum(o["size"] for entry in done for o in entry.get("outputs", [])),
        "seconds": round(sum(seconds), 3),
        "longest": max(seconds, default=0.0),
        "rules": dict(Counter(entry.get("rule") or "" for entry in done)),
        "failures": failures,
    }


def write_summary(told: dict[str, Any], folder: Path) -> None:
    """Write it as JSON and as a page, in place of an earlier one of the same day."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(folder / f"{told['day']}.json", text.encode("utf-8", "replace"))
    well = told["failed"] == 0
    body = [
        verdict(well, "Nothing failed." if well else f"{told['failed']} files failed."),
        table(
            ["Taken", "Done", "Failed", "Files out", "Bytes out", "Work (s)", "Longest (s)"],
            [[told[key] for key in _COLUMNS]],
        ),
    ]
    if told["rules"]:
        body += [heading("Rules"), table(["Rule", "Files"], list(told["rules"].items()))]
    if told["failures"]:
        rows = [[one["file"], one["error"], one["job"]] for one in told["failures"]]
        body += [heading("Failures"), table(["File", "Why", "Job"], rows)]
    made = page(f"{told['folder']}: {told['day']}", "What happened on this day", body)
    write_whole(folder / f"{told['day']}.html", made)


_COLUMNS: Final = ("taken", "completed", "failed", "outputs", "bytes", "seconds", "longest")


class Days:
    """Notices that a day has ended, and has it summed up for the folders that want it."""

    def __init__(self, file: Path, journal: Path, notices: Notices, clock: Clock) -> None:
        """`file` remembers, by folder, the last day that was begun."""
        self._file, self._journal = file, journal
        self._notices, self._clock = notices, clock
        self._begun: dict[str, str] | None = None
        self._today: date | None = None

    def is_over(self, folders: Iterable[FolderRules]) -> bool:
        """True when `look` has something to do: asks no disk."""
        known = self._begun
        wanting = _wanting(folders)
        return (
            known is None
            or self._today != _day(self._clock.now())
            or any(str(f.root) not in known for f in wanting)
        )

    def look(self, folders: Iterable[FolderRules]) -> None:
        """Sum up what has ended since the last look; cheap while the day stays the same.

        Raises:
            OSError: it cannot be written; nothing is skipped, look again.
        """
        today = _day(self._clock.now())
        wanting = _wanting(folders)
        if self._begun is None:
            self._begun = _read(self._file)
        if self._today == today and all(str(f.root) in self._begun for f in wanting):
            return
        begun = dict(self._begun)
        for folder in wanting:
            last = begun.get(str(folder.root))
            if last is not None and last < today.isoformat():
                self._sum_up(folder, date.fromisoformat(last), today)
            begun[str(folder.root)] = today.isoformat()
        if begun != self._begun:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._file, orjson.dumps(begun))
        self._begun, self._today = begun, today

    def _sum_up(self, folder: FolderRules, first: date, today: date) -> None:
        entries = list(entries_with(self._journal, [orjson.dumps(folder.name)]))
        for number in range(
            max(first.toordinal(), today.toordinal() - _MOST_DAYS), today.toordinal()
        ):
            told = summary_of(entries, folder.name, date.fromordinal(number))
            if not (told["taken"] or told["completed"] or told["failed"]):
                continue
            if folder.summary:
                write_summary(told, folder.stages.reports / "daily")
            self._notices.add(folder.notify, "daily", f"{folder.root}\0{told['day']}", told)


def _wanting(folders: Iterable[FolderRules]) -> list[FolderRules]:
    return [f for f in folders if f.summary or any("daily" in one.on for one in f.notify)]


def _day(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).astimezone().date()


def _read(file: Path) -> dict[str, str]:
    try:
        read = orjson.loads(file.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return read if isinstance(read, dict) else {}
