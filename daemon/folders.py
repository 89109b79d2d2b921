"""Runs all hot folders: finds their rule files, keeps them current, gives each its turn."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from daemon.client import News
from daemon.clock import Clock, SystemClock
from daemon.delivering.journal import Journal
from daemon.delivering.kept import Kept
from daemon.delivering.notices import Notices
from daemon.delivering.storage import Storage
from daemon.delivering.summary import Days
from daemon.delivering.undo import NothingToUndo, Undone
from daemon.hotfolder import FolderStatus, HotFolder, Ledger, Queue
from daemon.jobs import new_id
from daemon.moves import write_whole
from daemon.presetfiles import preset_files
from daemon.rulefiles import RuleFile, Stamp, find_rule_files, read_rules, stamp_of_all
from daemon.settings import Settings
from daemon.watch import Events
from rules.model import FolderRules
from rules.written import Problem, RulesBroken

log = logging.getLogger(__name__)

_BROKEN_SECONDS: Final = 30.0
"""After which a broken rule file is read again, even if it looks unchanged."""


@dataclass(frozen=True)
class BrokenRules:
    """A rule file that cannot be used."""

    file: Path
    problems: tuple[str, ...]
    #: True while the rules that were there before it broke go on.
    older_in_force: bool


@dataclass(frozen=True)
class FoldersStatus:
    """Everything that `folders list` shows."""

    folders: tuple[FolderStatus, ...]
    broken: tuple[BrokenRules, ...]
    #: Why some changes are only found by rescans; empty when events work.
    trouble: str = ""


class FolderManager:
    """All hot folders of a daemon, in one thread of their own.

    `start` begins, `stop` ends; between them nothing has to be called. Tests
    call `turn` themselves instead.
    """

    def __init__(
        self,
        settings: Settings,
        queue: Queue,
        ledger: Ledger,
        *,
        clock: Clock | None = None,
        new_job_id: Callable[[], str] = new_id,
        listen: bool = True,
        notices: Notices | None = None,
        adopted: Callable[[FolderRules], object] = lambda _: None,
    ) -> None:
        """Nothing is read or started yet.

        Args:
            settings: where the folders and rules lie.
            queue, ledger: where jobs go, and what became of them.
            clock: the time.
            new_job_id: chooses job ids.
            notices: where those are told of who want to know.
            adopted: told of each folder's rules before its first file is taken.
            listen: use the kernel's events; without, rescans find everything.
        """
        self._settings = settings
        self._queue, self._ledger = queue, ledger
        self._clock = clock or SystemClock()
        self._new_job_id = new_job_id
        self._adopted = adopted
        self._journal = Journal(settings.journal, self._clock)
        self._kept = Kept(settings.kept)
        self._notices = notices or Notices(settings.notices, self._clock)
        self._storage = Storage(settings.mounts, settings.min_free, self._clock)
        self._days = Days(settings.days, settings.journal, self._notices, self._clock)
        self._wake = threading.Event()
        self._turned = threading.Condition()
        self._turns = 0
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._events = Events(self._lost) if listen else None
        self._events_lost = False
        self._stamps: dict[RuleFile, tuple[Stamp | None, ...]] = {}
        #: What each rule file takes in: a change there is a change of it.
        self._includes: dict[RuleFile, tuple[Path, ...]] = {}
        self._folders: dict[RuleFile, HotFolder] = {}
        #: Folders whose rule file is gone, until their last job has ended.
        self._leaving: list[HotFolder] = []
        self._broken: dict[RuleFile, tuple[Problem, ...]] = {}
        #: Until when each folder was told to let go what it holds back.
        self._released: dict[str, float] = {}
        self._next_reload = self._next_try = float("-inf")
        self._status = FoldersStatus((), ())
        # Held during a turn, and by those who change something between two.
        self._lock = threading.Lock()

    # -- life ------------------------------------------------------------------------------------
    def start(self, news: Iterable[News] = ()) -> None:
        """Begin to watch.

        Args:
            news: of jobs, as `daemon.client.Client.subscribe` gives them; without, the ends of
                jobs are noticed a few seconds late.
        """
        self._thread = threading.Thread(target=self._run, name="folders", daemon=True)
        self._thread.start()
        threading.Thread(target=self._hear, args=(news,), name="folder news", daemon=True).start()

    def _hear(self, news: Iterable[News]) -> None:
        for one in news:
            self.heard(one)

    def stop(self) -> None:
        """Take nothing more; returns when the turn in progress has ended."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            for folder in self._everyone():
                folder.close()
            if self._events is not None:
                self._events.close()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                due = self.turn()
            except Exception:
                # A fault in one turn must not end the watching of all folders for good.
                log.exception("a turn of the hot folders broke off; going on in a second")
                due = self._clock.monotonic() + 1.0
            self._wake.wait(max(0.0, due - self._clock.monotonic()))

    def turn(self) -> float:
        """Do all that can be done now; the time (monotonic) at which there may be more."""
        with self._lock:
            now = self._clock.monotonic()
            if now >= self._next_reload:
                self._reload()
                self._next_reload = now + self._settings.rescan_interval
            lost, self._events_lost = self._events_lost, False
            due = [self._next_reload]
            for folder in self._everyone():
                if lost:
                    folder.rescan_soon()
                due.append(folder.turn())
            self._leaving = [folder for folder in self._leaving if folder.busy]
            self._look_at_the_day()
            self._status = self._look()
        with self._turned:
            self._turns += 1
            self._turned.notify_all()
        return min(due)

    def _look_at_the_day(self) -> None:
        try:
            self._days.look([folder.rules for folder in self._folders.values()])
        except OSError as wrong:
            log.warning("a day cannot be summed up yet: %s", wrong)

    def _everyone(self) -> list[HotFolder]:
        return [*self._folders.values(), *self._leaving]

    # -- from other threads ----------------------------------------------------------------------
    def heard(self, news: News) -> None:
        """Something happened to a job."""
        if news.state == "missed":
            for folder in self._everyone():
                folder.reconcile_soon()
        elif news.state in ("completed", "failed", "cancelled"):
            for folder in self._everyone():
                folder.heard(news.id, news.state)
        else:
            return
        self._wake.set()

    def status(self) -> FoldersStatus:
        """How things stood after the last turn."""
        return self._status

    def scan(self, timeout: float = 30.0) -> FoldersStatus:
        """Look through all folders and rule files now, trusting no cache.

        Returns:
            How things stand afterwards, or after `timeout` seconds.
        """
        with self._lock:
            self._next_reload = float("-inf")
            for folder in self._everyone():
                folder.rescan_soon(everything=True)
                folder.reconcile_soon()
        with self._turned:
            target = self._turns + 1
            self._wake.set()
            self._turned.wait_for(lambda: self._turns >= target, timeout)
        return self._status

    def names(self) -> list[str]:
        """Those that are in force."""
        return [folder.name for folder in self._status.folders]

    def let_go(self, name: str, until: float) -> None:
        """Let a folder have what it holds back that came before `until` (Unix seconds).

        May come before the folder is known; it is looked through in any case.
        """
        with self._lock:
            self._released[name] = max(until, self._released.get(name, until))
            for folder in self._everyone():
                if folder.rules.name == name:
                    folder.let_go(until)
        self._wake.set()

    def bring_back(self, job: str) -> bool:
        """Move the file of a failed job back to `processing`, so that the job can be retried.

        Returns:
            False when the job is of no hot folder, or its file is not in `failed` any more.
        """
        record = self._ledger.job(job)
        if record is None or record.source != "folder":
            return False
        name = record.endpoint.partition("/")[0]
        with self._lock:
            return any(
                folder.bring_back(record)
                for folder in self._everyone()
                if folder.rules.name == name
            )

    def undo(self, job: str) -> Undone:
        """Put everything back as it was before a job; the original stays untaken until it changes.

        Raises:
            NothingToUndo: it cannot be undone; nothing was changed.
            OSError: the disk does not answer; ask again.
        """
        with self._lock:
            entries = self._journal.of_job(job)
            name = entries[0]["folder"] if entries else ""
            for folder in self._folders.values():
                if folder.rules.name == name:
                    return folder.undo(entries)
        if not entries:
            raise NothingToUndo(f"the journal knows of no job {job} of a hot folder")
        raise NothingToUndo(f"there is no hot folder {name} any more; make it one again first")

    def release(self, name: str) -> int | None:
        """Let the held jobs of a folder start.

        Returns:
            How many were held; None if there is no folder of this name.
        """
        with self._lock:
            named = [folder for folder in self._everyone() if folder.rules.name == name]
            jobs = [job for folder in named for job in folder.in_hand]
        return self._queue.release(jobs) if named else None

    def _lost(self) -> None:
        self._events_lost = True
        self._wake.set()

    # -- rule files ------------------------------------------------------------------------------
    def _reload(self) -> None:
        """Adopt what has changed on disk; a broken file leaves the older rules in force."""
        # What was wrong may lie outside of the file: a disk that did not answer, a sound that a
        # step names and that is there meanwhile.
        now = self._clock.monotonic()
        again = now >= self._next_try
        if again:
            self._next_try = now + _BROKEN_SECONDS
        stamps = find_rule_files(self._settings)
        for file in [f for f in self._stamps if f not in stamps]:
            known = self._folders.get(file)
            if known is not None and known.away:
                continue  # its mount took the rules along, and will bring them back
            del self._stamps[file]
            self._broken.pop(file, None)
            self._includes.pop(file, None)
            folder = self._folders.pop(file, None)
            if folder is not None:
                log.info("%s: no longer a hot folder", folder.rules.name)
                folder.retire()
                self._leaving.append(folder)
        presets = stamp_of_all(preset_files(self._settings))
        for file, own in stamps.items():
            stamp = (own, *presets, *stamp_of_all(self._includes.get(file, ())))
            if self._stamps.get(file) != stamp or (again and file in self._broken):
                known = self._folders.get(file)
                if known is not None and known.away:
                    continue  # whatever lies there now is about another disk
                try:
                    rules = self._read(file)
                    self._includes[file] = rules.includes
                    self._adopt(file, rules)
                except RulesBroken as broken:
                    if broken.includes:
                        self._includes[file] = broken.includes
                    self._tell_broken(file, broken)
                except OSError as wrong:
                    # Not the file's fault: a share that is not mounted, a disk that is full.
                    self._tell_broken(file, RulesBroken([Problem(file.path, str(wrong))]))
                    continue
                # As it was before it was read. What it takes in is known only now: with that, the
                # stamp is another one, and all is read once more.
                self._stamps[file] = stamp

    def _read(self, file: RuleFile) -> FolderRules:
        rules = read_rules(file, self._settings)
        for other, folder in self._folders.items():
            if other != file and _overlap(rules.root, folder.rules.root):
                text = f"{rules.root} overlaps {folder.rules.root}, which {other.path} is about"
                raise RulesBroken([Problem(file.path, text, field="folder")])
        return rules

    def _adopt(self, file: RuleFile, rules: FolderRules) -> None:
        folder = self._folders.get(file)
        if folder is None or not folder.adopt(rules):
            if not rules.root.is_dir() and self._settings.folders in rules.root.parents:
                rules.root.mkdir(parents=True)
            fresh = self._open(rules)
            if rules.name in self._released:
                fresh.let_go(self._released[rules.name])
            if folder is not None:
                folder.retire()
                self._leaving.append(folder)
            # Whoever cleared up the same `processing` before leaves it to the new one.
            mine = rules.stages.processing
            self._leaving = [f for f in self._leaving if f.rules.stages.processing != mine]
            self._folders[file] = fresh
        self._adopted(rules)
        log.info("%s: %d rules from %s", rules.name, len(rules.rules), rules.file)
        if self._broken.pop(file, None) is not None or file.error_file.exists():
            file.error_file.unlink(missing_ok=True)

    def _open(self, rules: FolderRules) -> HotFolder:
        return HotFolder(
            rules,
            self._queue,
            self._ledger,
            self._clock,
            self._new_job_id,
            journal=self._journal,
            kept=self._kept,
            notices=self._notices,
            storage=self._storage,
            listen=None if self._events is None else self._events.ears,
            wake=self._wake.set,
            rescan_interval=self._settings.rescan_interval,
            max_attempts=self._settings.job_max_attempts,
        )

    def _tell_broken(self, file: RuleFile, broken: RulesBroken) -> None:
        if self._broken.get(file) == broken.problems:
            return
        self._broken[file] = broken.problems
        for problem in broken.problems:
            log.error("%s", problem)
        older = "The rules before this change are in force." if file in self._folders else ""
        text = "\n".join([*map(str, broken.problems), older]).rstrip() + "\n"
        try:
            write_whole(file.error_file, text.encode("utf-8", "replace"))
        except OSError as wrong:
            log.warning("%s cannot be written: %s", file.error_file, wrong.strerror)

    def _look(self) -> FoldersStatus:
        return FoldersStatus(
            folders=tuple(folder.status() for folder in self._everyone()),
            broken=tuple(
                BrokenRules(file.path, tuple(map(str, problems)), file in self._folders)
                for file, problems in self._broken.items()
            ),
            trouble="" if self._events is None else self._events.trouble,
        )


def _overlap(one: Path, other: Path) -> bool:
    return one == other or one in other.parents or other in one.parents
