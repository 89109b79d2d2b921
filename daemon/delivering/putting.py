"""Puts away the originals of jobs that have ended: each to where its end sends it.

First the journal has every move of a batch, then they happen. A crash between
the two leaves a file in `processing`; the next start puts it away again, and
writes that down again: of several lines on one job the last one counts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from daemon.arrivals import Arrivals, stamp_at
from daemon.clock import Clock
from daemon.delivering.journal import Entry, Journal
from daemon.delivering.kept import Kept
from daemon.delivering.notices import Notices
from daemon.jobs import Job
from daemon.moves import move
from daemon.reasons import free_place, read_reason, reason_of, reason_path, write_reason
from rules.model import FolderRules
from rules.names import numbered
from rules.orders import path_from_text, path_to_text
from rules.plan import NoRuleMatches, printable
from rules.recordkeeping import done_folder

log = logging.getLogger(__name__)

Stage = Literal["done", "failed", "inbox", "deleted"]


@dataclass(frozen=True)
class Ending:
    """A file whose job has ended, or that gets none."""

    #: Where it lies, and its path below the hot folder.
    file: Path
    rel: str
    #: Empty where there is no job.
    job: str = ""
    #: None for a completed job of which nothing more is known.
    record: Job | None = None
    #: Why it failed, where no job says so.
    reason: dict[str, Any] = field(default_factory=dict)
    #: Beside another file of the same job, which tells what came of it.
    further: bool = False

    @property
    def failed(self) -> bool:
        """True when there is a reason to tell."""
        return bool(self.reason) or (self.record is not None and self.record.state != "completed")


@dataclass
class _Move:
    ending: Ending
    stage: Stage
    #: None for one that is deleted.
    to: Path | None
    about: dict[str, Any] = field(default_factory=dict)


class PuttingAway:
    """Puts away the originals of one folder."""

    def __init__(
        self,
        rules: Callable[[], FolderRules],
        arrivals: Arrivals,
        journal: Journal,
        kept: Kept,
        clock: Clock,
        notices: Notices,
    ) -> None:
        """`rules` gives those in force."""
        self._notices = notices
        self._now_in_force = rules
        self._arrivals = arrivals
        self._journal, self._kept, self._clock = journal, kept, clock

    @property
    def _rules(self) -> FolderRules:
        return self._now_in_force()

    def put_away(self, endings: Sequence[Ending]) -> Iterator[tuple[Ending, bool]]:
        """Move each to where it belongs.

        Yields:
            Each once it is there, and whether it failed.

        Raises:
            OSError: the disk does not answer. What was not moved lies where it lay.
        """
        moves = [self._planned(ending) for ending in endings]
        self._journal.write([self._entry(one) for one in moves])
        for one in moves:
            self._notify(one)
            self._done(one)
            yield one.ending, one.stage == "failed"

    # -- where to --------------------------------------------------------------------------------
    def _planned(self, ending: Ending) -> _Move:
        rules = self._rules
        record = ending.record
        if not ending.failed:
            return self._completed(ending)
        unwanted = record is not None and record.error_kind == NoRuleMatches.__name__
        if unwanted and rules.no_match == "leave":
            return _Move(ending, "inbox", _free(rules.root / ending.rel))
        to = rules.stages.failed / ending.rel
        to.parent.mkdir(parents=True, exist_ok=True)
        return _Move(ending, "failed", free_place(to), {"reason": self._reason(ending)})

    def _completed(self, ending: Ending) -> _Move:
        rules = self._rules
        result = (ending.record.result if ending.record else None) or {}
        told = result.get("record", {})
        notes = ("outputs", "manifest", "report", "report_data")
        about: dict[str, Any] = {key: result[key] for key in notes if key in result}
        about |= {key: told[key] for key in ("rule", "input") if key in told}
        about["steps"] = [step["op"] for step in result.get("steps", [])]
        if told.get("originals") == "keep":
            return _Move(ending, "inbox", _free(rules.root / ending.rel), about)
        if told.get("originals") == "delete":
            doubt = _doubt(result.get("outputs", []))
            if not doubt:
                return _Move(ending, "deleted", None, about)
            log.warning("%s: %s is not deleted: %s", rules.name, printable(ending.rel), doubt)
            about["not_deleted"] = doubt
        date = datetime.fromtimestamp(self._clock.now(), UTC).astimezone()
        below = done_folder(
            rules.stages.done_below, date, rule=about.get("rule", ""), folder=rules.name
        )
        return _Move(ending, "done", _free(rules.stages.done / below / ending.rel), about)

    def _reason(self, ending: Ending) -> dict[str, Any]:
        rules = self._rules
        at = datetime.fromtimestamp(self._clock.now(), UTC).isoformat(timespec="seconds")
        reason = ending.reason or (reason_of(ending.record) if ending.record else {})
        return {
            "file": printable(ending.rel),
            "folder": rules.name,
            **reason,
            "failed_at": at,
            "retry": f"move the file back to {path_to_text(rules.root)}",
        }

    def _entry(self, one: _Move) -> Entry:
        ending, record = one.ending, one.ending.record
        entry: Entry = {
            "do": "put",
            "job": ending.job,
            "folder": self._rules.name,
            "stage": one.stage,
            "rel": path_to_text(ending.rel),
            "from": path_to_text(ending.file),
            **({} if one.to is None else {"to": path_to_text(one.to)}),
            **({"further": True} if ending.further else one.about),
        }
        if record is not None:
            entry["state"] = record.state
            if record.started is not None and record.completed is not None:
                entry["seconds"] = round(record.completed - record.started, 3)
        return entry

    def _notify(self, one: _Move) -> None:
        """Have everybody told who wants to know; before the move, so that a crash loses nothing."""
        rules, ending, record = self._rules, one.ending, one.ending.record
        if not rules.notify or ending.further or (one.stage == "inbox" and ending.failed):
            return
        reason = one.about.get("reason", {})
        facts: dict[str, Any] = {
            "folder": rules.name,
            "file": printable(ending.rel),
            "job": ending.job,
            "rule": reason.get("rule") or one.about.get("rule", ""),
            "original": "" if one.to is None else path_to_text(one.to),
            "outputs": [output["path"] for output in one.about.get("outputs", [])],
            **{key: reason[key] for key in ("kind", "error", "hint", "op") if key in reason},
        }
        attempt = record.attempt if record is not None else 0
        about = f"{ending.job or path_to_text(ending.file)}\0{attempt}"
        self._notices.add(rules.notify, "failure" if reason else "success", about, facts)

    # -- the moves themselves --------------------------------------------------------------------
    def _done(self, one: _Move) -> None:
        ending = one.ending
        if one.to is None:
            ending.file.unlink()
            return
        if one.stage == "failed":
            # The reason first: a file in `failed` always has one. A crash between the two leaves
            # the place free, and the next attempt writes the reason again.
            write_reason(one.to, one.about["reason"])
        while True:
            if one.stage == "inbox":
                self._kept.add(one.to, ending.file.lstat())
            try:
                move(ending.file, one.to, durable=False)
                break
            except FileExistsError:
                # Another of the same name came first; the journal hears of the other place, too.
                if one.stage == "failed":
                    one.to = free_place(one.to)
                    write_reason(one.to, one.about["reason"])
                else:
                    one.to = _free(one.to)
                self._journal.write([self._entry(one)])
        if one.stage == "inbox":
            self._arrivals.leave(os.fspath(one.to), stamp_at(one.to))
        elif one.stage == "done":
            self._forget_reason(ending.rel)
        else:
            error = one.about["reason"]["error"]
            log.warning("%s: %s failed: %s", self._rules.name, printable(ending.rel), error)

    def _forget_reason(self, rel: str) -> None:
        """A retry succeeded: why it failed before is of no interest any more."""
        for file in (self._rules.stages.failed / rel, self._rules.root / rel):
            note = reason_path(file)
            if os.path.lexists(note) and not os.path.lexists(file) and read_reason(note):
                note.unlink(missing_ok=True)


def _free(wanted: Path) -> Path:
    """The first of `x.wav`, `x (2).wav`, ... that nothing bears."""
    number = 1
    while os.path.lexists(place := wanted.with_name(numbered(wanted.name, number))):
        number += 1
    return place


def _doubt(outputs: Sequence[dict[str, Any]]) -> str:
    """Why an original may not be deleted; empty when everything that came of it was verified."""
    if not outputs:
        return "nothing came of it"
    for output in outputs:
        path = path_from_text(output["path"])
        if not output.get("verified"):
            return f"{path.name} was not read back"
        try:
            told = path.lstat()
        except OSError as wrong:
            return f"{path.name}: {wrong.strerror}"
        if told.st_size != output["size"]:
            return f"{path.name} has {told.st_size} bytes, not the {output['size']} delivered"
    return ""
