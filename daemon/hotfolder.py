"""One hot folder: takes what is complete, puts it on the queue, and clears up afterwards.

Where a file lies tells all that has to be known of it after a crash:

    a/x.wav                            not taken yet
    processing/<job id>/a/x.wav        taken; the queue has the job, or gets it
    processing/<batch>+/a/x.wav        the same for many at once (`daemon.taking.homes`)
    done/a/x.wav, failed/a/x.wav       the job has ended

Each step between them is one rename. The job's id is chosen before the first,
so whatever a crash leaves in `processing` is either known to the queue or can
be handed to it under that id.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from daemon.arrivals import Arrivals, Arrived, stamp_at
from daemon.clock import Clock
from daemon.delivering.holding import Holding
from daemon.delivering.journal import Entry, Journal
from daemon.delivering.kept import Kept
from daemon.delivering.notices import Notices
from daemon.delivering.putting import Ending, PuttingAway
from daemon.delivering.storage import Storage
from daemon.delivering.undo import Undone, undo
from daemon.gate import Gate
from daemon.jobs import ENDED, Job, NewJob, State, Submitted, estimated_cost
from daemon.mounts import Mount, mount_of
from daemon.moves import PART_PREFIX, fsync_folders, move, move_numbered, remove_empty
from daemon.readings import stamp_of
from daemon.reasons import place_of, reason_path
from daemon.rulefiles import ERROR_NAME, NAME
from daemon.taking.homes import MANY, batch_of, is_batch, job_in, split
from daemon.taking.roots import Root
from daemon.taking.tickets import WithTickets
from daemon.taking.together import together
from daemon.taking.watching import Method, method_for
from daemon.watch import Deaf, Ears, Inbox
from handlers.errors import AudiollaError
from rules.match import FileFacts
from rules.model import FolderRules
from rules.orders import Order, SoundRef, path_to_text
from rules.plan import NoRuleMatches, Plan, plan, printable
from rules.sets import NoSuchMember, names_members, with_members

log = logging.getLogger(__name__)

BATCH: Final = 256
"""Files that are taken and submitted together: one commit of the queue for all of them."""
_CATCHING_UP: Final = 8
"""Times as many, where far more than that wait: less often to the disk, and to the queue."""
_RECONCILE_SECONDS: Final = 10.0
_SOON: Final = 0.5
_SHOWN: Final = 20


class Queue(Protocol):
    """What a folder needs of the queue: `daemon.client.Client`."""

    def retry(self, job: str) -> None:
        """Run a failed job again, from its first step."""

    def submit(self, jobs: Sequence[NewJob]) -> list[Submitted]:
        """Put jobs on the queue; durable when it returns. An id that is known is left as it is."""

    def release(self, jobs: Sequence[str]) -> int:
        """Let those of these jobs start that wait for their time; how many they were."""


class Ledger(Protocol):
    """What it needs to know of jobs: `daemon.reader.JobReader`."""

    def job(self, job: str) -> Job | None:
        """The job of this id."""

    def several(self, ids: Sequence[str]) -> dict[str, Job]:
        """Those of these jobs that exist, by id."""

    def known(self, ids: Sequence[str]) -> dict[str, State]:
        """The states of those of these ids that exist."""


@dataclass(frozen=True)
class FolderStatus:
    """One hot folder as `folders list` shows it."""

    name: str
    root: Path
    file: Path
    rules: tuple[str, ...]
    #: `events`, `poll` or `manual`, why, and the file system that decided it.
    method: str
    why: str
    mount: str
    #: Until a new file is noticed, at most, in words.
    delay: str
    #: Unix seconds of the last event and of the last look through the folder; None before.
    last_event: float | None
    last_scan: float | None
    #: Folders that are watched: the inbox and those in it.
    folders: int
    #: Files in the inbox that are not complete yet, and why the first of them wait.
    waiting: int
    waiting_for: tuple[tuple[str, str], ...]
    #: Files whose job waits or runs.
    processing: int
    #: Files that stay in the inbox because no rule takes them.
    left: int
    #: Taken and failed since the start.
    taken: int
    failed: int
    #: Why nothing is taken at the moment; empty when all is well.
    problem: str = ""
    #: From when on files are taken again, where a rule file names times; empty while they are.
    closed: str = ""
    #: Jobs of what is taken wait until they are released, or until their time has come.
    hold: bool = False


@dataclass(frozen=True)
class _Taken:
    """What is in `processing` for one job: a file, or those of a set."""

    job: str
    rels: tuple[str, ...]
    #: Its folder in `processing`; empty where that is called like the job.
    home: str = ""


class _Disturbed(Exception):
    """A file of a set is not as complete as it was."""


class HotFolder:
    """Runs one folder. All happens in `turn`; `hint` and `heard` may come from any thread."""

    def __init__(
        self,
        rules: FolderRules,
        queue: Queue,
        ledger: Ledger,
        clock: Clock,
        new_id: Callable[[], str],
        *,
        journal: Journal,
        kept: Kept,
        notices: Notices,
        storage: Storage,
        listen: Callable[[Callable[[str, str], None]], Ears] | None = None,
        rescan_interval: float = 2.0,
        max_attempts: int = 5,
        mount: Mount | None = None,
    ) -> None:
        """Make the stage folders; no file is looked at yet.

        Args:
            rules: what is done here.
            queue: where jobs go.
            ledger: what became of them.
            clock: the time.
            new_id: chooses job ids.
            journal: is told of every move.
            kept: files that stay in the inbox.
            notices: where those are told of who want to know.
            storage: knows whether results can be delivered.
            listen: gives ears that report to a function; None for rescans alone.
            rescan_interval: seconds between two rescans.
            max_attempts: tries of a job whose fault may pass.
            mount: what the folder lies on; found out if not given.

        Raises:
            OSError: the folder is not there, or its stages cannot be made.
        """
        self._rules = rules
        self._queue, self._ledger = queue, ledger
        self._clock, self.new_id = clock, new_id
        #: Called when a hint has come.
        self.wake: Callable[[], None] = _nobody
        self._rescan_interval = rescan_interval
        self._max_attempts = max_attempts
        self.mount = mount or mount_of(rules.root)
        # A share that is not mounted must not get stages in its empty mount point's place.
        self._root = Root(rules.root, self.mount, rules.stages.processing)
        for folder in rules.stages.all:
            folder.mkdir(parents=True, exist_ok=True)
        self._method = self._chosen_method(rules, listens=listen is not None)
        inbox = Inbox(
            rules.root,
            recurse=rules.recurse,
            reserved=rules.reserved | {rules.root / NAME, rules.root / ERROR_NAME},
            ears=listen(self.hint) if listen and self._method.kind == "events" else Deaf(),
        )
        self.arrivals = Arrivals(
            inbox,
            clock,
            rules.settle,
            local=self.mount.local,
            rescan_interval=self._method.every,
            slowest=self._method.slowest,
        )
        self._together = together(self)
        if rules.taking.tickets:
            self._together = WithTickets(self, rules.taking.tickets, self._together)
        self._gate = Gate(rules, clock)
        self._in_hand: dict[str, _Taken] = {}
        #: Taken, but the queue has not confirmed them.
        self._unsent: list[NewJob] = []
        self._journal, self._kept = journal, kept
        self._journal_of_takes: list[Entry] = []
        self._storage = storage
        self._holding = Holding(queue.retry, clock)
        self._putting = PuttingAway(
            lambda: self._rules, self.arrivals, journal, kept, clock, notices
        )
        self._heard: deque[tuple[str, State]] = deque()
        self._next_reconcile = float("-inf")
        self._reconcile_asked = False
        self._last_event: float | None = None
        self._recovered = self._retired = self._closed = False
        #: What it is at, and since when (monotonic), for whoever wonders whether its disk
        #: answers; None between two turns.
        self.doing: tuple[float, str] | None = None
        self._taken = self._failed = 0
        #: What came before this (Unix seconds) is not held back any more.
        self.released_until = self._released = float("-inf")
        self.problem = ""
        #: How things stood after the last turn.
        self.last_status = self.status()

    @property
    def rules(self) -> FolderRules:
        """The rules in force."""
        return self._rules

    def _chosen_method(self, rules: FolderRules, *, listens: bool) -> Method:
        return method_for(
            rules.taking.watch, self.mount, rescan_interval=self._rescan_interval, events=listens
        )

    def adopt(self, rules: FolderRules) -> bool:
        """Put other rules in force; False if they move the folder or a stage: start anew then."""
        if _footing(rules) != _footing(self._rules):
            return False
        self._rules = rules
        self._gate = Gate(rules, self._clock)
        self.arrivals.settle(rules.settle)
        return True

    # -- the outside world -----------------------------------------------------------------------
    def hint(self, folder: str, name: str) -> None:
        """Something happened to a name in a folder. Any thread may say so."""
        self._last_event = self._clock.now()
        self.arrivals.hint(folder, name)
        self.wake()

    def heard(self, job: str, state: State) -> bool:
        """A job has ended. Any thread may say so; False if it is a job of others."""
        if job not in self._in_hand:
            return False
        self._heard.append((job, state))
        return True

    def rescan_soon(self, *, everything: bool = False) -> None:
        """Look through the folder in the next turn; `everything` trusts no modification time."""
        self.arrivals.rescan_soon(everything=everything)

    def let_go(self, until: float) -> None:
        """Hold back nothing that came before `until` (Unix seconds)."""
        self.released_until = max(self.released_until, until)
        self.rescan_soon(everything=True)

    def reconcile_soon(self) -> None:
        """Ask about every job in hand in the next turn: the end of some may have been missed."""
        self._reconcile_asked = True

    def retire(self) -> None:
        """Take nothing more from the next turn on; only clear up after the jobs in hand."""
        self._retired = True

    @property
    def away(self) -> bool:
        """True while the folder has vanished together with the mount it lay on."""
        return self._root.is_away()

    @property
    def in_hand(self) -> tuple[str, ...]:
        """The jobs of all files in `processing`."""
        return tuple(self._in_hand)

    @property
    def busy(self) -> bool:
        """True while a file of this folder is in `processing`."""
        return bool(self._in_hand)

    @property
    def left(self) -> bool:
        """True when it is retired, and has cleared up after its last job."""
        return self._closed and not self._in_hand

    def status(self) -> FolderStatus:
        """How things stand."""
        rules = self._rules
        for rel, why in islice(self._together.waiting() if self._together else (), _SHOWN):
            self.arrivals.hold(self.path(rel), why)
        shown = self.arrivals.first_waiting(_SHOWN)
        return FolderStatus(
            name=rules.name,
            root=rules.root,
            file=rules.file,
            rules=tuple(rule.name for rule in rules.rules),
            method=self._method.kind,
            why=self._method.why,
            mount=self.mount.kind,
            delay=self._method.delay,
            last_event=self._last_event,
            last_scan=self.arrivals.last_scan,
            folders=self.arrivals.folder_count,
            waiting=self.arrivals.waiting,
            waiting_for=tuple(
                (printable(self.rel(path)), why or self._gate.closed) for path, why in shown
            ),
            processing=len(self._in_hand),
            left=self.arrivals.left,
            taken=self._taken,
            failed=self._failed,
            problem=self.problem,
            closed=self._gate.closed,
            hold=rules.hold is not None,
        )

    def close(self) -> None:
        """Stop listening. What is in `processing` stays there for the next start."""
        self.arrivals.close()

    # -- one turn --------------------------------------------------------------------------------
    def turn(self) -> float:
        """Do all that can be done now; the time (monotonic) at which there may be more.

        A fault of the disk or a queue that does not answer pauses the folder until the next
        rescan; nothing is forgotten.
        """
        try:
            return self._turn()
        finally:
            self.last_status = self.status()

    def _doing(self, what: str) -> None:
        self.doing = self._clock.monotonic(), what

    def _turn(self) -> float:
        now = self._clock.monotonic()
        if self._retired and not self._closed:
            self._closed = True
            self.arrivals.close()
        self._doing("looking at the folder")
        try:
            if self._root.returned():
                self.arrivals.rescan_soon(everything=True)
            if not self._recovered:
                self._recover()
            self._doing("putting away what is done")
            self._clear_up()
            self._send()
            self._doing("looking where results go")
            trouble = self._storage.trouble(
                {output.folder for rule in self._rules.rules for output in rule.outputs}
            )
            if not trouble:
                self._holding.release()
                trouble = self._holding.problem
            if trouble:
                self._tell_paused(trouble)
                return min(now + self._rescan_interval, self._next_reconcile)
            self._release()
            most = BATCH if self.arrivals.waiting < 2 * BATCH else _CATCHING_UP * BATCH
            room = self._gate.room(len(self._in_hand), most)
            self._doing("looking for files")
            if not self._retired:
                self._take(self.arrivals.complete(room), open_=room > 0)
        except (OSError, AudiollaError) as wrong:
            self._pause(wrong)
            return self._clock.monotonic() + self._rescan_interval
        if self.problem:
            log.info("%s: goes on", self._rules.name)
            self.problem = ""
        if self._retired:
            return self._next_reconcile
        due = self.arrivals.next_due
        if self._together is not None:
            due = min(due, self._together.next_due)
        if not room:
            # What is complete waits; the end of a job, or the opening of a window, makes room.
            due = max(due, self._clock.monotonic() + self._gate.sleep())
        return min(due, self._next_reconcile, self._holding.next_due)

    def _release(self) -> None:
        """Let held jobs start that were made before the folder was last let go."""
        until = self.released_until
        if self._released >= until:
            return
        if self._rules.hold is not None:
            known = [(job, self._ledger.job(job)) for job in self._in_hand]
            self._queue.release([job for job, one in known if one and one.created <= until])
        self._released = until

    def _pause(self, wrong: OSError | AudiollaError) -> None:
        problem = str(wrong)
        if isinstance(wrong, OSError) and wrong.strerror:
            problem = wrong.strerror
            if wrong.filename:
                problem += f" ({printable(os.fsdecode(wrong.filename))})"
        self._tell_paused(problem)

    def _tell_paused(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("%s: paused: %s", self._rules.name, problem)
        self.problem = problem

    # -- taking ----------------------------------------------------------------------------------
    def _take(self, complete: list[Arrived], *, open_: bool) -> None:
        batch = batch_of(self.new_id()) if len(complete) >= MANY else ""
        made: set[Path] = set()
        try:
            for number, arrived in enumerate(complete):
                try:
                    self._take_one(arrived, batch, made)
                except OSError:
                    for later in complete[number:]:
                        self.arrivals.again(later.path)
                    raise
            if self._together is not None and open_:
                self._together.turn()
        except OSError:
            # What the disk did not let us look at again lies in `processing`, and is found there.
            self._recovered = False
            raise
        finally:
            self._commit()

    def _take_one(self, arrived: Arrived, batch: str, made: set[Path]) -> None:
        """Take a file, or see why not.

        Args:
            arrived: the file.
            batch: the home that it shares; empty for one of its own.
            made: folders in `processing` that were made for this batch.
        """
        path = arrived.path
        self._doing("taking a file")
        try:
            before = os.lstat(path)
            rel = self.rel(path)
            wanted = self._together is not None and self._together.wants_again(rel)
            if self._kept.holds(path, before) and not wanted:
                self.arrivals.leave(path, stamp_of(before))
                return
            if arrived.truncated and self._rules.settle.truncated == "fail":
                error = f"{arrived.truncated}; it was probably cut off on its way"
                self.refuse(path, "Truncated", error)
                return
            if self._together is not None and self._together.waits(path, rel):
                return
            job = job_in(batch, rel) if batch else self.new_id()
            at = self._rules.stages.processing / (batch or job) / rel
            new = self._job(job, rel, before.st_size, at)
            if at.parent not in made:
                os.makedirs(at.parent, exist_ok=bool(batch))
                made.add(at.parent)
            move(Path(path), at, durable=False)
        except NoSuchMember as lacking:
            self.refuse(path, lacking.kind, lacking.detail)
            return
        except NoRuleMatches as nothing:
            if self._rules.no_match == "leave":
                self.arrivals.leave(path, stamp_at(path))
            else:
                self.refuse(path, nothing.kind, nothing.detail)
            return
        except FileNotFoundError:
            if os.path.lexists(path):
                raise  # it is `processing` that is missing
            self.arrivals.gone(path)
            return
        # Under its new name nobody opens it any more, so this second look is the last word.
        # (A copy on another file system is nobody else's in any case.)
        same_disk = os.lstat(at).st_dev == before.st_dev
        if same_disk and not self.arrivals.is_still(path, os.fspath(at)):
            self._give_back(at, path)
            return
        self.arrivals.gone(path)
        self._unsent.append(new)
        self._note_take(job, rel, before)
        self._in_hand[job] = _Taken(job, (rel,), batch)
        self._taken += 1

    def take_together(
        self, new: NewJob, rels: tuple[str, ...], disturbed: Callable[[str], None]
    ) -> bool:
        """Move files to one home in `processing`, or none of them.

        Returns:
            False when one was not as complete as it was; `disturbed` is told of each.
        """
        home = self._rules.stages.processing / new.id
        moved: dict[str, os.stat_result] = {}
        try:
            for rel in rels:
                path, at = self.path(rel), home / rel
                os.makedirs(at.parent, exist_ok=True)
                before = os.lstat(path)
                move(Path(path), at, durable=False)
                moved[rel] = before
                if os.lstat(at).st_dev == before.st_dev and not self.arrivals.is_still(
                    path, str(at)
                ):
                    raise _Disturbed
        except (OSError, _Disturbed) as wrong:
            for rel in moved:
                disturbed(rel)
                self._give_back(home / rel, self.path(rel))
            if isinstance(wrong, OSError) and not isinstance(wrong, FileNotFoundError):
                raise
            return False
        for rel, before in moved.items():
            self.arrivals.gone(self.path(rel))
            self._note_take(new.id, rel, before)
        self._unsent.append(new)
        self._in_hand[new.id] = _Taken(new.id, rels)
        self._taken += len(rels)
        return True

    def _note_take(self, job: str, rel: str, before: os.stat_result) -> None:
        """For the journal, which hears of it before the queue does."""
        self._journal_of_takes.append(
            {
                "do": "take",
                "job": job,
                "folder": self._rules.name,
                "root": path_to_text(self._rules.root),
                "rel": path_to_text(rel),
                "size": before.st_size,
                "mtime_ns": before.st_mtime_ns,
            }
        )

    def _give_back(self, at: Path, path: str) -> None:
        """Somebody opened the file in the moment before it was taken."""
        put = move_numbered(at, Path(path), durable=False)
        remove_empty(at.parent, self._rules.stages.processing)
        self.arrivals.gone(path)
        self.arrivals.again(os.fspath(put), 0.1)

    def _job(self, job: str, rel: str, size: int, at: Path) -> NewJob:
        facts = FileFacts(rel, size, self.wall())
        planned = plan(self._rules, facts, at)
        taking = self._rules.taking
        named = taking.tickets or taking.sidecars != "ignore"
        if named and names_members(planned.order):
            # Only a ticket or a sidecar says what such a name means.
            alone = {"sound": SoundRef(path=at, name=printable(os.path.basename(rel)))}
            order = with_members(planned.order, alone, fit=False)
            planned = replace(planned, order=order.model_copy(update={"members": []}))
        return self.new_job(job, rel, size, planned)

    def wall(self) -> datetime:
        """The moment, on the wall clock of this machine."""
        return self._gate.now()

    def new_job(self, job: str, name: str, size: int, planned: Plan) -> NewJob:
        """The job for what was planned; `size` is that of all its files."""
        rules, order = self._rules, planned.order
        if rules.budget.limits():
            order = order.model_copy(update={"budget": rules.budget})
        return NewJob(
            id=job,
            order=order.model_dump_json(exclude_defaults=True),
            source="folder",
            endpoint=f"{rules.name}/{planned.rule}" if planned.rule else rules.name,
            input_name=printable(name),
            lane=planned.lane,
            priority=rules.priority,
            share=f"folder:{rules.name}",
            cost=estimated_cost(size),
            weight=rules.weight,
            group=f"folder:{rules.name}" if rules.limit else "",
            group_limit=rules.limit,
            max_attempts=self._max_attempts if rules.retries is None else rules.retries + 1,
            not_before=self._gate.not_before,
        )

    def _commit(self) -> None:
        """First the files are in `processing` for good, then the queue may know of them."""
        if not self._unsent:
            return
        processing = self._rules.stages.processing
        fsync_folders(
            {file.parent for new in self._unsent for _, file in self._files(self._in_hand[new.id])}
        )
        fsync_folders({processing})
        takes, self._journal_of_takes = self._journal_of_takes, []
        try:
            self._journal.write(takes)
        except OSError:
            self._journal_of_takes = takes
            raise
        self._send()

    def _send(self) -> None:
        while self._unsent:
            batch = self._unsent[: _CATCHING_UP * BATCH]
            answers = self._queue.submit(batch)
            del self._unsent[: len(batch)]
            # A job that an earlier start submitted may have ended while nobody was here.
            self._ended({answer.id: answer.state for answer in answers if answer.state in ENDED})

    # -- clearing up -----------------------------------------------------------------------------
    def _clear_up(self) -> None:
        heard = [self._heard.popleft() for _ in range(len(self._heard))]
        try:
            self._ended(dict(heard))
        except (OSError, AudiollaError):
            self._heard.extend(heard)
            raise
        now = self._clock.monotonic()
        if self._reconcile_asked or now >= self._next_reconcile:
            self._reconcile_asked = False
            self._reconcile()
            # Where a hundred thousand are in hand, asking takes a while: ask less often.
            took = self._clock.monotonic() - now
            self._next_reconcile = now + max(_RECONCILE_SECONDS, 50 * took)

    def _reconcile(self) -> None:
        """Ask the queue about every job whose end may have been missed."""
        unsent = {new.id for new in self._unsent}
        ids = [job for job in self._in_hand if job not in unsent]
        states = self._ledger.known(ids)
        self._ended({job: state for job, state in states.items() if state in ENDED})
        for job in ids:
            if job not in states:
                # Its record was deleted before its file was cleared up: it is a new job again.
                self._resume(self._in_hand.pop(job))

    def _ended(self, jobs: Mapping[str, State]) -> None:
        mine = [job for job in jobs if job in self._in_hand]
        records = self._ledger.several(mine) if mine else {}
        endings: list[Ending] = []
        for job in mine:
            record = records.get(job)
            if jobs[job] != "completed" and (record is None or record.state != jobs[job]):
                continue  # retried or deleted meanwhile
            if record is not None and self._holding.hold(record):
                continue
            endings += self._endings(self._in_hand[job], record)
        self._put_away(endings)

    def _endings(self, taken: _Taken, record: Job | None) -> list[Ending]:
        """What lies in `processing` of a job that has ended; if nothing does, it is let go of."""
        there = [(rel, file) for rel, file in self._files(taken) if os.path.lexists(file)]
        if len(there) < len(taken.rels):
            self._root.returned()  # raises if it is only its mount that is away
        if not there:
            for _, file in self._files(taken):
                log.warning("%s: %s is not in processing any more", self._rules.name, file)
                remove_empty(file.parent, self._rules.stages.processing)
            self._forget(taken.job)
        return [
            Ending(file, rel, taken.job, record, further=number > 0)
            for number, (rel, file) in enumerate(there)
        ]

    def _put_away(self, endings: Sequence[Ending]) -> None:
        left = Counter(ending.job for ending in endings)
        for ending, failed in self._putting.put_away(endings):
            self._doing("putting away what is done")
            self._failed += failed
            left[ending.job] -= 1
            if ending.job:
                remove_empty(ending.file.parent, self._rules.stages.processing)
                if not left[ending.job]:
                    self._forget(ending.job)

    def _forget(self, job: str) -> None:
        """All its files are where they belong."""
        self._in_hand.pop(job, None)
        self._holding.forget(job)

    def refuse(self, path: str, kind: str, error: str) -> None:
        """To `failed` without a job."""
        reason = {"kind": kind, "error": error}
        self._put_away([Ending(Path(path), self.rel(path), reason=reason)])
        self.arrivals.gone(path)

    def undo(self, entries: Sequence[Entry]) -> Undone:
        """Put everything back as it was before a job, by what the journal has of it.

        Raises:
            NothingToUndo: it cannot be undone; nothing was changed.
        """
        done = undo(entries, self._rules.root, self._journal, self._kept)
        for original in done.originals:
            self.arrivals.leave(os.fspath(original), stamp_at(original))
        return done

    def bring_back(self, record: Job) -> bool:
        """Move the file of a failed job back to `processing`, for a retry by hand.

        Returns:
            False when the file is not in `failed` any more.
        """
        taken = _taken_of(record)
        rels, failed = taken.rels, self._rules.stages.failed
        found = {rel: place_of(failed / rel, record.id) for rel in rels}
        places = {rel: place for rel, place in found.items() if place is not None}
        if not rels or len(places) < len(rels):
            return False
        for rel, file in self._files(taken):
            move(places[rel], file)
            reason_path(places[rel]).unlink(missing_ok=True)
        self._in_hand[record.id] = taken
        return True

    # -- after a crash ---------------------------------------------------------------------------
    def _recover(self) -> None:
        """Take up what an earlier start left in `processing`."""
        processing = self._rules.stages.processing
        with os.scandir(processing) as entries:
            homes = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
        left: list[_Taken] = []
        for home in homes:
            if home in self._in_hand:
                continue
            rels = _files_of(processing / home)
            if not rels:
                _remove_empty_tree(processing / home)
            elif is_batch(home):
                left += [_Taken(job_in(home, rel), (rel,), home) for rel in rels]
            else:
                left.append(_Taken(home, rels))
        left = [taken for taken in left if taken.job not in self._in_hand]
        states = self._ledger.known([taken.job for taken in left])
        for taken in left:
            if taken.job in states:
                self._in_hand[taken.job] = taken
            else:
                self._resume(taken)
        self._recovered = True
        if self._in_hand:
            log.info("%s: %d files were in processing", self._rules.name, len(self._in_hand))

    def _resume(self, taken: _Taken) -> None:
        """A file in `processing` that the queue does not know: submit it under its id."""
        (rel, file), *more = self._files(taken)
        if more or self._together is not None:
            # It may be a part of what belongs together, which is found anew. The journal first,
            # as with every move; a crash between two of them has the rest written down again.
            there = [(back, at) for back, at in self._files(taken) if os.path.lexists(at)]
            about = {"do": "back", "job": taken.job, "folder": self._rules.name}
            self._journal.write([{**about, "rel": path_to_text(back)} for back, _ in there])
            for back, at in there:
                move_numbered(at, self._rules.root / back, durable=False)
            for _, at in self._files(taken):
                remove_empty(at.parent, self._rules.stages.processing)
            return
        try:
            new = self._job(taken.job, rel, file.lstat().st_size, file)
        except FileNotFoundError:
            remove_empty(file.parent, self._rules.stages.processing)
        except (NoRuleMatches, NoSuchMember) as nothing:
            # The rules have changed since it was taken.
            reason = {"kind": nothing.kind, "error": nothing.detail}
            self._put_away([Ending(file, rel, taken.job, reason=reason)])
        else:
            self._in_hand[taken.job] = taken
            self._unsent.append(new)

    def _files(self, taken: _Taken) -> list[tuple[str, Path]]:
        home = self._rules.stages.processing / (taken.home or taken.job)
        return [(rel, home / rel) for rel in taken.rels]

    def now(self) -> float:
        """Seconds of a clock that only runs forward."""
        return self._clock.monotonic()

    def path(self, rel: str) -> str:
        """Where a file of the inbox lies, by its path below it."""
        return os.fspath(self._rules.root / rel)

    def rel(self, path: str) -> str:
        """The path below the inbox of a file in it."""
        return path[len(os.fspath(self._rules.root)) + 1 :]


def _nobody() -> None:
    """Nobody waits for hints yet."""


def _footing(rules: FolderRules) -> tuple[object, ...]:
    """What a running folder stands on: it cannot change under it."""
    return rules.root, rules.stages, rules.recurse, rules.reserved, rules.taking


def _taken_of(record: Job) -> _Taken:
    """A job's files below the hot folder, and their home: their places in `processing` tell."""
    order = Order.model_validate_json(record.order)
    steps = order.all_steps()
    refs = [item.sound for step in steps for items in step.items.values() for item in items]
    found: dict[str, str] = {}
    for ref in (order.sound, *order.members, *refs):
        place = None if ref is None else split(ref.path.parts, record.id)
        if ref is not None and place is not None:
            found[place[1]] = ref.path.parts[place[0]]
    home = next(iter(found.values()), "")
    return _Taken(record.id, tuple(found), home if is_batch(home) else "")


def _remove_empty_tree(home: Path) -> None:
    for folder, _, _ in os.walk(home, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def _files_of(home: Path) -> tuple[str, ...]:
    found: list[str] = []
    for folder, _, names in os.walk(home):
        for name in sorted(names):
            if name.startswith(PART_PREFIX):
                # A copy from another file system that a crash cut short; its source is still there.
                os.unlink(os.path.join(folder, name))
                continue
            found.append(os.path.relpath(os.path.join(folder, name), home))
    return tuple(found)
