"""Runs all hot folders: finds their rule files, keeps them current, gives each its turn.

Each folder has its turns in a thread of its own, and every question about a rule file is asked
with patience: a share that does not answer keeps nobody else waiting.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
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
from daemon.rulefiles import (
    RuleFile,
    Stamp,
    possible_rule_files,
    read_rules,
    stamp_of_all,
    stamp_of_rules,
)
from daemon.settings import Settings
from daemon.taking.patience import Asks, AtOnce, NoAnswer, Patient
from daemon.taking.turning import Turning
from daemon.watch import Events
from rules.model import FolderRules
from rules.written import Problem, RulesBroken

log = logging.getLogger(__name__)

_LAST_TURN = 30.0  # seconds that a stop waits for a turn in progress; less if it hangs
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
    """All hot folders of a daemon, each in a thread of its own, and one that minds their rules.

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
        self._folders: dict[RuleFile, Turning] = {}
        #: Folders whose rule file is gone, until their last job has ended.
        self._leaving: list[Turning] = []
        self._ask: Asks = AtOnce()
        self._unanswered = ""
        self._broken: dict[RuleFile, tuple[Problem, ...]] = {}
        #: Until when each folder was told to let go what it holds back.
        self._released: dict[str, float] = {}
        self._next_reload = self._next_try = float("-inf")
        # Held while rules are looked at, and by those who change something meanwhile.
        self._lock = threading.Lock()

    # -- life ------------------------------------------------------------------------------------
    def start(self, news: Iterable[News] = ()) -> None:
        """Begin to watch.

        Args:
            news: of jobs, as `daemon.client.Client.subscribe` gives them; without, the ends of
                jobs are noticed a few seconds late.
        """
        self._ask = Patient()
        self._thread = threading.Thread(target=self._run, name="folders", daemon=True)
        self._thread.start()
        threading.Thread(target=self._hear, args=(news,), name="folder news", daemon=True).start()

    def _hear(self, news: Iterable[News]) -> None:
        for one in news:
            self.heard(one)

    def stop(self) -> None:
        """Take nothing more; returns when the turns in progress have ended.

        One whose disk does not answer is not waited for: it ends with the process, and whatever
        it was in the middle of is found by the next start.
        """
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            everyone = self._everyone()
        for one in everyone:
            one.stop()
        for one in everyone:
            if one.join(_LAST_TURN):
                one.folder.close()
        if self._events is not None:
            self._events.close()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                with self._lock:
                    due = self._mind_the_rules()
                    for one in self._everyone():
                        one.start()
                for one in self._everyone():
                    one.mind()
            except Exception:
                # A fault must not end the watching of all folders for good.
                log.exception("looking at the rules of hot folders broke off; going on in a second")
                due = self._clock.monotonic() + 1.0
            self._count_turn()
            self._wake.wait(max(0.0, due - self._clock.monotonic()))

    def turn(self) -> float:
        """Do all that can be done now; the time (monotonic) at which there may be more."""
        with self._lock:
            due = [self._mind_the_rules()]
            due += [one.turn() for one in self._everyone()]
            self._leaving = [one for one in self._leaving if not one.folder.left]
        self._count_turn()
        return min(due)

    def _count_turn(self) -> None:
        with self._turned:
            self._turns += 1
            self._turned.notify_all()

    def _mind_the_rules(self) -> float:
        """What is about all folders; when to do it again."""
        now = self._clock.monotonic()
        if now >= self._next_reload:
            self._reload()
            self._next_reload = now + self._settings.rescan_interval
        lost, self._events_lost = self._events_lost, False
        if lost:
            for one in self._everyone():
                one.folder.rescan_soon()
                one.wake()
        self._leaving = [one for one in self._leaving if not one.folder.left]
        self._look_at_the_day()
        return self._next_reload

    def _look_at_the_day(self) -> None:
        try:
            rules = [one.folder.rules for one in self._folders.values()]
            if self._days.is_over(rules):
                self._ask.ask("the summary of a day", lambda: self._days.look(rules))
        except OSError as wrong:
            log.warning("a day cannot be summed up yet: %s", wrong)

    def _everyone(self) -> list[Turning]:
        return [*self._folders.values(), *self._leaving]

    def _named(self, name: str) -> list[Turning]:
        return [one for one in self._everyone() if one.folder.rules.name == name]

    # -- from other threads ----------------------------------------------------------------------
    def heard(self, news: News) -> None:
        """Something happened to a job."""
        if news.state == "missed":
            for one in self._everyone():
                one.folder.reconcile_soon()
                one.wake()
        elif news.state in ("completed", "failed", "cancelled"):
            for one in self._everyone():
                if one.folder.heard(news.id, news.state):
                    one.wake()

    def status(self) -> FoldersStatus:
        """How things stood after the last turn of each."""
        folders = []
        for one in self._everyone():
            told, slow = one.folder.last_status, one.slow()
            folders.append(replace(told, problem=slow) if slow else told)
        events = "" if self._events is None else self._events.trouble
        return FoldersStatus(
            folders=tuple(folders),
            broken=tuple(
                BrokenRules(file.path, tuple(map(str, problems)), file in self._folders)
                for file, problems in self._broken.copy().items()
            ),
            trouble="; ".join(one for one in (events, self._unanswered) if one),
        )

    def scan(self, timeout: float = 30.0) -> FoldersStatus:
        """Look through all folders and rule files now, trusting no cache.

        Returns:
            How things stand afterwards, or after `timeout` seconds.
        """
        end = time.monotonic() + timeout
        with self._lock:
            self._next_reload = float("-inf")
        with self._turned:
            target = self._turns + 1
            self._wake.set()
            self._turned.wait_for(lambda: self._turns >= target, timeout)
        turns = {}
        for one in self._everyone():
            one.folder.rescan_soon(everything=True)
            one.folder.reconcile_soon()
            turns[one] = one.next_whole_turn()
            one.wake()
        for one, turn in turns.items():
            if not one.slow():
                one.wait_for(turn, max(0.0, end - time.monotonic()))
        return self.status()

    def names(self) -> list[str]:
        """Those that are in force."""
        return [one.folder.rules.name for one in self._everyone()]

    def let_go(self, name: str, until: float) -> None:
        """Let a folder have what it holds back that came before `until` (Unix seconds).

        May come before the folder is known; it is looked through in any case.
        """
        with self._lock:
            self._released[name] = max(until, self._released.get(name, until))
            for one in self._named(name):
                one.folder.let_go(until)
                one.wake()
        self._wake.set()

    def bring_back(self, job: str) -> bool:
        """Move the file of a failed job back to `processing`, so that the job can be retried.

        Returns:
            False when the job is of no hot folder, or its file is not in `failed` any more.

        Raises:
            NoAnswer: its disk does not answer; nothing was changed.
        """
        record = self._ledger.job(job)
        if record is None or record.source != "folder":
            return False
        with self._lock:
            named = self._named(record.endpoint.partition("/")[0])
        for one in named:
            with one.between_turns() as folder:
                if folder.bring_back(record):
                    return True
        return False

    def undo(self, job: str) -> Undone:
        """Put everything back as it was before a job; the original stays untaken until it changes.

        Raises:
            NothingToUndo: it cannot be undone; nothing was changed.
            OSError: the disk does not answer; ask again.
        """
        entries = self._journal.of_job(job)
        name = entries[0]["folder"] if entries else ""
        with self._lock:
            named = [one for one in self._folders.values() if one.folder.rules.name == name]
        for one in named:
            with one.between_turns() as folder:
                # Another undo may have come first.
                return folder.undo(self._journal.of_job(job))
        if not entries:
            raise NothingToUndo(f"the journal knows of no job {job} of a hot folder")
        raise NothingToUndo(f"there is no hot folder {name} any more; make it one again first")

    def release(self, name: str) -> int | None:
        """Let the held jobs of a folder start.

        Returns:
            How many were held; None if there is no folder of this name.
        """
        named = self._named(name)
        jobs = [job for one in named for job in one.folder.in_hand]
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
        stamps, silent = self._stamps_now()
        self._unanswered = (
            f"the rules of {', '.join(str(f.path.parent) for f in silent)} cannot be looked at: "
            "its disk does not answer"
            if silent
            else ""
        )
        for file in [f for f in self._stamps if f not in stamps and f not in silent]:
            known = self._folders.get(file)
            if known is not None and self._is_away(file, known):
                continue  # its mount took the rules along, and will bring them back
            del self._stamps[file]
            self._broken.pop(file, None)
            self._includes.pop(file, None)
            left = self._folders.pop(file, None)
            if left is not None:
                log.info("%s: no longer a hot folder", left.folder.rules.name)
                self._retire(left)
        presets = stamp_of_all(preset_files(self._settings))
        for file, (own, *taken_in) in stamps.items():
            try:
                self._look_at(file, (own, *presets, *taken_in), again=again)
            except NoAnswer as silence:
                log.info("%s: %s", file.path, silence.strerror)

    def _stamps_now(self) -> tuple[dict[RuleFile, tuple[Stamp | None, ...]], list[RuleFile]]:
        """The rule files that are there, and those of which it cannot be told.

        A rule file's stamps are its own, and those of what it takes in.
        """
        possible = possible_rule_files(self._settings)
        includes = self._includes.copy()

        def look(file: RuleFile) -> tuple[Stamp | None, ...]:
            own = stamp_of_rules(file.path)
            return (own, *stamp_of_all(includes.get(file, ())))

        silent: list[RuleFile] = []
        try:
            # One question for all, as long as everybody answers.
            told = self._ask.ask("all rule files", lambda: {file: look(file) for file in possible})
        except NoAnswer:
            told = {}
            for file in possible:
                try:
                    told[file] = self._ask.ask(("rule file", file.path), partial(look, file))
                except NoAnswer:
                    silent.append(file)
        return {file: stamps for file, stamps in told.items() if stamps[0] is not None}, silent

    def _is_away(self, file: RuleFile, known: Turning) -> bool:
        try:
            return self._ask.ask(("away", file.path), lambda: known.folder.away)
        except NoAnswer:
            return True

    def _look_at(self, file: RuleFile, stamp: tuple[Stamp | None, ...], *, again: bool) -> None:
        """Read a rule file if it, or what it takes in, has changed; `again` if it is broken, too.

        Raises:
            NoAnswer: nothing was changed; it will be looked at again.
        """
        if self._stamps.get(file) == stamp and not (again and file in self._broken):
            return
        known = self._folders.get(file)
        if known is not None and self._is_away(file, known):
            return  # whatever lies there now is about another disk
        try:
            rules = self._ask.ask(("rules", stamp, file.path), partial(self._read, file))
            self._includes[file] = rules.includes
            self._adopt(file, rules)
        except RulesBroken as broken:
            if broken.includes:
                self._includes[file] = broken.includes
            self._tell_broken(file, broken)
        except NoAnswer:
            raise
        except OSError as wrong:
            # Not the file's fault: a share that is not mounted, a disk that is full.
            self._tell_broken(file, RulesBroken([Problem(file.path, str(wrong))]))
            return
        # As it was before it was read. What it takes in is known only now: with that, the
        # stamp is another one, and all is read once more.
        self._stamps[file] = stamp

    def _read(self, file: RuleFile) -> FolderRules:
        rules = read_rules(file, self._settings)
        for other, one in self._folders.copy().items():
            if other != file and _overlap(rules.root, one.folder.rules.root):
                text = f"{rules.root} overlaps {one.folder.rules.root}, which {other.path} is about"
                raise RulesBroken([Problem(file.path, text, field="folder")])
        return rules

    def _adopt(self, file: RuleFile, rules: FolderRules) -> None:
        self._adopted(rules)
        one = self._folders.get(file)
        if one is None or not self._goes_on(one, rules):
            # One that has opened late is for whoever asks for the same rules again.
            fresh = self._ask.ask(("folder", rules.root), partial(self._open, rules))
            if fresh.rules != rules and not fresh.adopt(rules):
                fresh.close()
                raise NoAnswer(str(rules.root))
            if rules.name in self._released:
                fresh.let_go(self._released[rules.name])
            # Whoever cleared up the same `processing` before leaves it to the new one, between
            # two turns: never both at once.
            mine = rules.stages.processing
            before = [*self._leaving, one] if one is not None else self._leaving
            replaced = [o for o in before if o.folder.rules.stages.processing == mine]
            with ExitStack() as held:
                for other in replaced:
                    held.enter_context(other.between_turns())
                for other in replaced:
                    other.stop()
                    other.folder.close()
            self._leaving = [other for other in self._leaving if other not in replaced]
            if one is not None and one not in replaced:
                self._retire(one)
            self._folders[file] = Turning(fresh, self._clock)
            fresh.wake = self._woken(self._folders[file])
        log.info("%s: %d rules from %s", rules.name, len(rules.rules), rules.file)
        self._broken.pop(file, None)
        self._ask.ask(("error file", file.path), lambda: file.error_file.unlink(missing_ok=True))

    def _woken(self, one: Turning) -> Callable[[], None]:
        """What a folder calls that has heard something."""

        def wake() -> None:
            one.wake()
            if self._thread is None:
                self._wake.set()

        return wake

    def _goes_on(self, one: Turning, rules: FolderRules) -> bool:
        with one.between_turns() as folder:
            if not folder.adopt(rules):
                return False
        one.wake()
        return True

    def _retire(self, one: Turning) -> None:
        one.folder.retire()
        one.wake()
        self._leaving.append(one)

    def _open(self, rules: FolderRules) -> HotFolder:
        if not rules.root.is_dir() and self._settings.folders in rules.root.parents:
            rules.root.mkdir(parents=True)
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
        written = partial(write_whole, file.error_file, text.encode("utf-8", "replace"))
        try:
            self._ask.ask(("error file", file.path), written)
        except OSError as wrong:
            log.warning("%s cannot be written: %s", file.error_file, wrong.strerror)


def _overlap(one: Path, other: Path) -> bool:
    return one == other or one in other.parents or other in one.parents
