"""The spool of notices: who is still to be told of what. One small file each.

A notice is written before the file that it is about moves, under a name made
of the event. So none is lost in a crash, and one that is written again takes
its own place. A webhook is handed on to the outbox of the queue; commands and
mails leave from here (`daemon.delivering.notifier`).
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict

from daemon.clock import Clock
from daemon.moves import fsync_folder, write_whole
from rules.notify import Event, NotifyText

log = logging.getLogger(__name__)


class Notice(BaseModel):
    """One who is to be told of one thing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    kind: Literal["webhook", "command", "email"]
    #: The URL, the program with its arguments, or the addresses.
    target: list[str]
    event: Event
    #: What there is to tell, plain data. Always has `folder`; of a job `job` and `file`.
    facts: dict[str, Any]
    timeout: float
    #: Unix seconds.
    created: float
    attempts: int = 0
    next_at: float = 0.0


class Notices:
    """The spool. One process uses it; any thread of it may."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Nothing is read or made yet."""
        self._folder = folder
        self._clock = clock
        #: Called when a notice was added. Any thread.
        self.added: Callable[[], None] = lambda: None

    def add(
        self, told: Sequence[NotifyText], event: Event, about: str, facts: dict[str, Any]
    ) -> None:
        """Have everybody told who wants to hear of such an event; durable when it returns.

        Args:
            told: who may be told in this folder.
            event: what kind of thing happened.
            about: names the thing (a job and its attempt, a day): told once for each name, as
                long as it has not been told.
            facts: plain data.
        """
        wanted = [(number, one) for number, one in enumerate(told) if event in one.on]
        for number, one in wanted:
            kind, target = _target_of(one)
            name = f"{event}\0{about}\0{number}\0{kind}\0{target}"
            notice = Notice(
                id=hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32],
                kind=kind,
                target=target,
                event=event,
                facts=facts,
                timeout=float(one.timeout),
                created=self._clock.now(),
            )
            self._write(notice)
        if wanted:
            self.added()

    def waiting(self) -> list[Notice]:
        """All of them, the oldest first. A file that cannot be read is put aside."""
        found: list[Notice] = []
        try:
            paths = [path for path in self._folder.iterdir() if path.suffix == ".json"]
        except FileNotFoundError:
            return []
        for path in paths:
            try:
                found.append(Notice.model_validate_json(path.read_bytes()))
            except FileNotFoundError:
                continue
            except ValueError as wrong:
                log.error("notice %s cannot be read and is put aside: %s", path.name, wrong)
                self._aside(path)
        return sorted(found, key=lambda notice: (notice.created, notice.id))

    def later(self, notice: Notice, next_at: float) -> None:
        """An attempt has failed; the next is due at a time (Unix seconds)."""
        changes = {"attempts": notice.attempts + 1, "next_at": next_at}
        self._write(notice.model_copy(update=changes))

    def done(self, notice: Notice) -> None:
        """It was told."""
        self._path(notice).unlink(missing_ok=True)

    def give_up(self, notice: Notice) -> None:
        """It cannot be told: kept in `given up` for whoever looks for it."""
        self._aside(self._path(notice))

    def _path(self, notice: Notice) -> Path:
        return self._folder / f"{notice.id}.json"

    def _write(self, notice: Notice) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._path(notice), orjson.dumps(notice.model_dump()))

    def _aside(self, path: Path) -> None:
        aside = self._folder / "given up"
        aside.mkdir(exist_ok=True)
        try:
            os.replace(path, aside / path.name)
        except FileNotFoundError:
            return
        fsync_folder(aside)


def _target_of(one: NotifyText) -> tuple[Literal["webhook", "command", "email"], list[str]]:
    if one.webhook is not None:
        return "webhook", [one.webhook]
    if one.command is not None:
        return "command", list(one.command)
    return "email", list(one.email or ())
