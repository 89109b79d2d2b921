"""Which schedules are in force: those of the program, of `schedules.yaml`, and of the API."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.clock import Clock, SystemClock
from daemon.moves import write_whole
from daemon.presetfiles import PresetShelf
from daemon.schedules.book import BookReader
from daemon.schedules.chores import BUILT_IN, built_in
from daemon.schedules.load import Around, check_schedule, load_schedules, unusable
from daemon.schedules.model import Schedule
from daemon.settings import Settings
from daemon.trusted import permissions_of, reader
from rules.written import Problem, RulesBroken

log = logging.getLogger(__name__)

NAME = "schedules.yaml"
ERROR_NAME = "schedules.error.txt"

#: Seconds until somebody else's changes over the API are looked for again.
_LOOK = 30.0

_Stamp = tuple[int, ...]


@dataclass(frozen=True)
class InForce:
    """All schedules at one moment."""

    schedules: Mapping[str, Schedule]
    #: What is wrong with the file, or with one that was made over the API.
    problems: tuple[str, ...] = ()


class Timetable:
    """Keeps them current. May be asked from any thread.

    Of two with one name, the file's is in force, then the API's, then the program's. A file that
    is broken leaves what it said before in force.
    """

    def __init__(self, settings: Settings, book: BookReader, *, clock: Clock | None = None) -> None:
        self._file = settings.data_dir / NAME
        self._error_file = settings.data_dir / ERROR_NAME
        self._read_file = reader(settings)
        self._book = book
        self._clock = clock or SystemClock()
        self._next_look = float("-inf")
        self.around = Around(settings.files, PresetShelf(settings).find)
        self._lock = threading.Lock()
        self._stamp: _Stamp | None = None
        self._looked = False
        self._of_file: dict[str, Schedule] = {}
        self._of_api: dict[str, Schedule] = {}
        self._api_as_of: tuple[int, float] | None = None
        self._file_problems: tuple[Problem, ...] = ()
        self._api_problems: tuple[str, ...] = ()
        self._own = {
            name: check_schedule(built_in(name), "built-in", self.around) for name in BUILT_IN
        }

    @property
    def file(self) -> Path:
        """Where the user's own are written."""
        return self._file

    def current(self) -> InForce:
        """What is in force now; reads again what has changed."""
        with self._lock:
            self._look_at_file()
            self._look_at_book()
            schedules = {**self._own, **self._of_api, **self._of_file}
            shown = {name: schedules[name] for name in sorted(schedules)}
            problems = (*map(str, self._file_problems), *self._api_problems)
        return InForce(shown, problems)

    def refresh(self) -> None:
        """One was made, changed or deleted over the API of this process."""
        with self._lock:
            self._next_look = float("-inf")

    def check(self, written: Any) -> Schedule:
        """Check one that came over the API.

        Raises:
            RulesBroken: it cannot be used.
        """
        return check_schedule(written, "api", self.around)

    # -- the file ----------------------------------------------------------------------------
    def _look_at_file(self) -> None:
        stamp = _stamp(self._file)
        if self._looked and stamp == self._stamp:
            return
        try:
            found = {} if stamp is None else self._read()
        except RulesBroken as broken:
            self._tell_broken(broken)
        else:
            if self._of_file or found or self._file_problems:
                log.info("%s: %d schedules", self._file, len(found))
            self._of_file, self._file_problems = found, ()
            self._error_file.unlink(missing_ok=True)
        self._stamp, self._looked = stamp, True

    def _read(self) -> dict[str, Schedule]:
        try:
            text = self._read_file(self._file)
        except OSError as wrong:
            raise RulesBroken([Problem(self._file, wrong.strerror or str(wrong))]) from None
        return load_schedules(text, self._file, self.around)

    def _tell_broken(self, broken: RulesBroken) -> None:
        self._file_problems = broken.problems
        for problem in broken.problems:
            log.error("%s", problem)
        older = "The schedules before this change are in force." if self._of_file else ""
        text = "\n".join([*map(str, broken.problems), older]).rstrip() + "\n"
        try:
            write_whole(self._error_file, text.encode("utf-8", "replace"))
        except OSError as wrong:
            log.warning("%s cannot be written: %s", self._error_file, wrong.strerror)

    # -- the API -----------------------------------------------------------------------------
    def _look_at_book(self) -> None:
        now = self._clock.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK
        as_of = self._book.changed()
        if as_of == self._api_as_of:
            return
        found: dict[str, Schedule] = {}
        problems: list[str] = []
        for name, written in self._book.schedules().items():
            try:
                found[name] = check_schedule(written, "api", self.around)
            except RulesBroken as broken:
                # It was right when it was made: a preset or an operation is gone since.
                problems.append(f"schedule {name!r} is not in force: {unusable(broken)}")
                log.error("%s", problems[-1])
        self._of_api, self._api_problems, self._api_as_of = found, tuple(problems), as_of


def _stamp(path: Path) -> _Stamp | None:
    try:
        told = path.lstat()
        permissions = permissions_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return told.st_ino, told.st_size, told.st_mtime_ns, *permissions
