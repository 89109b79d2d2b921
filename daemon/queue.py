"""What the queue decides, without sockets or processes: who is next, what a failure means.

A `Queue` is driven by the dispatcher. All its methods change the current turn
of the store; nothing they say is true for others until the turn is committed.
What happened is left in `news` for whoever wants to hear of it.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from daemon.clock import Clock
from daemon.fairness import FairClock
from daemon.faults import Fault, backoff
from daemon.held import Held
from daemon.jobs import (
    LANES,
    CancelOutcome,
    ForbiddenMove,
    Job,
    NewJob,
    NoSuchJob,
    NotEnded,
    State,
    Submitted,
    check_move,
)
from daemon.outbox import Outbox
from daemon.schedules.book import Book
from daemon.store import Duplicate, Store


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient the queue is."""

    #: Workers that a job may kill before it is failed.
    max_deaths: int = 2
    #: Span of the first delay after a fault that may pass, in seconds; it doubles each time.
    retry_base: float = 1.0
    #: Longest span, in seconds.
    retry_cap: float = 300.0


class Queue:
    """The one place where jobs change their state."""

    def __init__(
        self, store: Store, policy: Policy, clock: Clock, random: Callable[[], float]
    ) -> None:
        """Take over the database: what an earlier dispatcher left running is put back.

        Args:
            random: gives numbers in [0, 1) for the jitter of retries.
        """
        self._store = store
        self._policy = policy
        self._clock = clock
        self._random = random
        #: Jobs in the hands of workers, by id.
        self.held: dict[str, Held] = {}
        #: Every change of a job since somebody last emptied it; kept only while `listening`.
        self.news: list[dict[str, Any]] = []
        self.listening = False
        #: Jobs that ended since somebody last emptied it.
        self.ended: list[str] = []
        #: Jobs that were deleted since somebody last emptied it.
        self.deleted: list[str] = []
        #: Jobs whose scratch folder is no longer needed.
        self.litter: list[str] = []
        self._clocks: defaultdict[tuple[str, int], FairClock] = defaultdict(FairClock)
        #: Lanes and groups that may have something to start; emptied groups leave when asked.
        self._ready: dict[str, set[str]] = {lane: set() for lane in LANES}
        self._in_group: Counter[str] = Counter()
        self._limits: dict[str, int] = {}
        #: Final names that files are on their way to, and the job that brings each.
        self._promised: dict[str, str] = {}
        self._moved: set[str] = set()
        #: Some job waits for a moment to come; cleared by whoever calls `release_due`.
        self.has_delayed = True
        self.outbox = Outbox(store, clock)
        self.book = Book(store, clock, self.submit)
        self.epoch = store.begin_epoch()
        self._recover()

    def _recover(self) -> None:
        for held, unwanted in self._store.left_behind(self.epoch):
            held.cancel_requested = unwanted
            self.held[held.id] = held
            self._count(held, 1)
            if unwanted and held.intent is None:
                self.end_cancelled(held, "cancelled before the restart")
            else:
                self.put_back(held, "put back: the dispatcher was restarted")
        self._store.commit()
        for job, intent in self._store.unfinished_intents():
            self._promise(job, orjson.loads(intent))
        for row in self._store.tags():
            clock = self._clocks[row["lane"], row["priority"]]
            clock.now = min(clock.now or row["first"], row["first"])
            clock.extend(row["share"], row["last"])
        for lane, group in self._store.ready_groups():
            self._ready[lane].add(group)
        self._store.commit()

    # -- submission --------------------------------------------------------------------------
    def submit(self, new: Sequence[NewJob]) -> list[Submitted]:
        """Add jobs. One whose id or idempotency key is known gives the job that exists."""
        now = self._clock.now()
        try:
            self._insert(new, now)
        except Duplicate:
            return [self._submit_one(job, now) for job in new]
        return [Submitted(job.id, True, "pending") for job in new]

    def _submit_one(self, new: NewJob, now: float) -> Submitted:
        try:
            self._insert([new], now)
        except Duplicate:
            known = self._store.job(new.id)
            if known is None and new.idempotency_key is not None:
                known = self._store.job_by_key(new.idempotency_key)
            assert known is not None
            return Submitted(known.id, False, known.state)
        return Submitted(new.id, True, "pending")

    def _insert(self, new: Sequence[NewJob], now: float) -> None:
        rows = [self._row(job, now) for job in new]
        self._store.insert(rows)
        for job, row in zip(new, rows, strict=True):
            if job.result is not None:
                pass
            elif row["_not_before"] is None:
                self._ready[job.lane].add(job.group)
            else:
                self.has_delayed = True
            self._tell(row["_seq"], job.id, "pending", 0, text="submitted", at=now)
            if job.result is not None:
                self._complete_known(row["_seq"], job, job.result, now)

    def _complete_known(self, seq: int, job: NewJob, result: str, now: float) -> None:
        """End a job whose result came with it, in the turn that adds it."""
        row = {"_seq": seq, "_completed": now, "_started": now, "_result": result}
        self._store.change("complete", row)
        self.ended.append(job.id)
        if job.webhook_url is not None:
            self.outbox.announce(job.id, job.webhook_url)
        text = "its result was known"
        hooked = job.webhook_url is not None
        self._tell(seq, job.id, "completed", 0, text=text, at=now, webhook=hooked)

    def _row(self, job: NewJob, now: float) -> dict[str, Any]:
        if job.group_limit:
            self._limits[job.group] = job.group_limit
        later = job.not_before is not None and job.not_before > now
        return {
            "_id": job.id,
            "_source": job.source,
            "_endpoint": job.endpoint,
            "_input_name": job.input_name,
            "_order": job.order,
            "_first_lane": job.lane,
            "_lane": job.lane,
            "_priority": job.priority,
            "_vtime": self._clocks[job.lane, job.priority].tag(job.share, job.cost, job.weight),
            "_share": job.share,
            "_weight": job.weight,
            "_cost": job.cost,
            "_group": job.group,
            "_group_limit": job.group_limit,
            "_max_attempts": job.max_attempts,
            "_not_before": job.not_before if later else None,
            "_idempotency_key": job.idempotency_key,
            "_webhook_url": job.webhook_url,
            "_errands": job.errands,
            "_created": now,
        }

    # -- starting ----------------------------------------------------------------------------
    def has_ready(self, lane: str) -> bool:
        """False when nothing of this lane can start for certain."""
        return bool(self._ready[lane])

    def next_jobs(self, lane: str, limit: int) -> Iterable[Held]:
        """Jobs that may start now, best first; none of them is claimed by this."""
        found: list[list[Held]] = []
        for group in list(self._ready[lane]):
            room = self._room(group)
            if room <= 0:
                continue
            wanted = min(limit, room)
            rows = self._store.ready(lane, group, wanted)
            if not rows:
                self._ready[lane].discard(group)
            found.append(rows)
        if len(found) == 1:
            return found[0]
        return heapq.merge(*found, key=lambda held: (-held.priority, held.vtime, held.seq))

    def _room(self, group: str) -> int:
        limit = self._limits.get(group, 0)
        return limit - self._in_group[group] if limit else 2**31

    def claim(self, held: Held, worker: str) -> None:
        """Give a job to a worker. The attempt rises."""
        now = self._clock.now()
        held.attempt += 1
        held.worker = worker
        held.started = now
        held.begun = self._clock.monotonic()
        if held.group_limit:
            self._limits[held.group] = held.group_limit
        self.held[held.id] = held
        self._count(held, 1)
        self._clocks[held.lane, held.priority].started(held.vtime)
        self._store.change(
            "claim",
            {
                "_seq": held.seq,
                "_attempt": held.attempt,
                "_epoch": self.epoch,
                "_started": now,
            },
        )
        self._tell(held.seq, held.id, "running", held.attempt, worker=worker, at=now)

    def begin(self, held: Held) -> None:
        """The worker has come to this job of its pocket: its time runs from here."""
        held.started = self._clock.now()
        held.begun = self._clock.monotonic()

    # -- while it runs -------------------------------------------------------------------------
    def progress(self, held: Held, fraction: float, step: str | None) -> None:
        """Remember how far a job is; written with `save_progress`."""
        held.progress, held.step = fraction, step
        self._moved.add(held.id)
        if self.listening:
            self.news.append(
                {
                    "id": held.id,
                    "state": "running",
                    "attempt": held.attempt,
                    "at": self._clock.now(),
                    "progress": fraction,
                    "step": step,
                }
            )

    def save_progress(self) -> None:
        """Write how far the running jobs are."""
        for job in self._moved:
            held = self.held.get(job)
            if held is not None:
                row = {"_seq": held.seq, "_progress": held.progress, "_step": held.step}
                self._store.change("progress", row)
        self._moved.clear()

    @property
    def has_moved(self) -> bool:
        """True when there is progress to save."""
        return bool(self._moved)

    def intend(self, held: Held, intent: dict[str, Any]) -> list[str]:
        """Promise the final names of an intent to this job.

        Returns:
            Those that are promised to another unfinished job; then nothing is promised.
        """
        taken = [
            place["final"]
            for place in intent["placements"]
            if not place.get("replace") and self._promised.get(place["final"], held.id) != held.id
        ]
        if not taken:
            self._break_promises(held)
            self._promise(held.id, intent)
            held.intent = orjson.dumps(intent).decode()
            self._store.change("intend", {"_seq": held.seq, "_intent": held.intent})
        return taken

    def first(self, held: Held, key: str, *, take: bool) -> str | None:
        """The job that did, or does, what this key stands for; None if it is this one now.

        Args:
            held: the job that asks.
            key: a sound and the work on it (`daemon.taking.twice.key_of`).
            take: make it this job's, whoever has it.
        """
        earlier = self._store.sound(key)
        if earlier == held.id:
            return None
        row = {"_key": key, "_job": held.id}
        if earlier is None:
            self._store.change("keep_sound", row)
            return None
        if not take:
            # One that failed, or that was deleted, has not done it.
            known = self._store.job(earlier)
            if known is not None and known.state not in ("failed", "cancelled"):
                return earlier
        self._store.change("hand_sound", row)
        return None

    def result_of(self, job: str) -> dict[str, Any] | None:
        """What a job gave that has completed; None for any other."""
        known = self._store.job(job)
        return known.result if known is not None and known.state == "completed" else None

    def _promise(self, job: str, intent: dict[str, Any]) -> None:
        for place in intent["placements"]:
            self._promised.setdefault(place["final"], job)

    def _break_promises(self, held: Held) -> None:
        if held.intent is not None:
            for place in orjson.loads(held.intent)["placements"]:
                if self._promised.get(place["final"]) == held.id:
                    del self._promised[place["final"]]

    # -- ending ------------------------------------------------------------------------------
    def complete(self, held: Held, result: Any, *, scratch: bool = True) -> None:
        """The job gave this result (plain data).

        Args:
            scratch: the job may have left something in its scratch folder.
        """
        now = self._release(held)
        self._break_promises(held)
        self.ended.append(held.id)
        if scratch:
            self.litter.append(held.id)
        row = {
            "_seq": held.seq,
            "_completed": now,
            "_started": held.started,
            "_result": orjson.dumps(result).decode(),
        }
        self._store.change("complete", row)
        self._announce(held)
        self._tell(
            held.seq,
            held.id,
            "completed",
            held.attempt,
            worker=held.worker,
            at=now,
            webhook=held.webhook_url is not None,
        )

    def _announce(self, held: Held) -> None:
        """Have the end of a job told to whom it was promised, in the transaction that ends it."""
        if held.webhook_url is not None:
            self.outbox.announce(held.id, held.webhook_url)

    def fail(self, held: Held, fault: Fault) -> None:
        """The job refused, or broke; it is tried again if that may help."""
        if fault.transient and held.retries + 1 < held.max_attempts:
            policy = self._policy
            delay = backoff(
                held.retries,
                base=policy.retry_base,
                cap=policy.retry_cap,
                chance=self._random(),
            )
            held.retries += 1
            text = f"tried again in {delay:.1f} s: {fault.kind}: {fault.detail}"
            self.put_back(held, text, delay=delay, fault=fault)
            return
        self._end(held, "failed", f"{fault.kind}: {fault.detail}", fault)

    def end_cancelled(self, held: Held, text: str) -> None:
        """A running job has stopped because somebody wanted it to."""
        self._end(held, "cancelled", text)

    def lost(self, held: Held, how: str, stderr: str) -> None:
        """The worker died while it ran this job.

        Args:
            how: signal or exit code, in words.
            stderr: the end of what the worker wrote.
        """
        held.deaths += 1
        if held.cancel_requested and held.intent is None:
            self.end_cancelled(held, f"cancelled; its worker ended with {how}")
        elif held.deaths >= self._policy.max_deaths:
            times = "once" if held.deaths == 1 else f"{held.deaths} times"
            detail = f"the job ended its worker process {times}, last with {how}"
            last_words = stderr.strip()
            detail += f"; its last words:\n{last_words}" if last_words else ""
            self._end(
                held,
                "failed",
                f"WorkerKilled: {how}",
                Fault("WorkerKilled", detail, op=held.step),
            )
        else:
            self.put_back(held, f"put back: the worker ended with {how}")

    def put_back(
        self,
        held: Held,
        text: str,
        *,
        delay: float = 0.0,
        untouched: bool = False,
        fault: Fault | None = None,
    ) -> None:
        """The job waits again, at the place where it was.

        Args:
            delay: seconds before it may start.
            untouched: no worker began it, so no attempt is used up.
        """
        now = self._release(held)
        held.attempt -= untouched
        if delay:
            self.has_delayed = True
        else:
            self._ready[held.lane].add(held.group)
        self._store.change(
            "put_back",
            {
                "_seq": held.seq,
                "_attempt": held.attempt,
                "_retries": held.retries,
                "_deaths": held.deaths,
                "_not_before": now + delay if delay else None,
                **_error_columns(fault),
            },
        )
        self._tell(held.seq, held.id, "pending", held.attempt, text=text, at=now)

    def hand_over(
        self, held: Held, lane: str, next_step: int, carried: str | None, finished: Any
    ) -> None:
        """The next step belongs to another lane: the job waits there, its attempt not used up."""
        now = self._release(held)
        # What comes from another lane queues as a share of its own: it waits neither behind the
        # fresh jobs of its own folder, nor before everybody else's.
        vtime = self._clocks[lane, held.priority].tag(f"{held.share}\0", held.cost, held.weight)
        self._ready[lane].add(held.group)
        self._store.change(
            "hand_over",
            {
                "_seq": held.seq,
                "_attempt": held.attempt - 1,
                "_lane": lane,
                "_next_step": next_step,
                "_carried": carried,
                "_finished": orjson.dumps(finished).decode(),
                "_vtime": vtime,
            },
        )
        text = f"handed over to the {lane} lane at step {next_step}"
        self._tell(held.seq, held.id, "pending", held.attempt - 1, text=text, at=now)

    def _end(self, held: Held, state: State, text: str, fault: Fault | None = None) -> None:
        now = self._release(held)
        self._break_promises(held)
        self.ended.append(held.id)
        self.litter.append(held.id)
        self._store.change(
            "end",
            {
                "_seq": held.seq,
                "_state": state,
                "_completed": now,
                "_started": held.started or None,
                "_progress": held.progress,
                "_step": held.step,
                "_deaths": held.deaths,
                **_error_columns(fault),
            },
        )
        if state == "failed":
            self._announce(held)
        self._tell(
            held.seq,
            held.id,
            state,
            held.attempt,
            worker=held.worker or None,
            text=text,
            at=now,
            webhook=state == "failed" and held.webhook_url is not None,
        )

    def _release(self, held: Held) -> float:
        del self.held[held.id]
        self._count(held, -1)
        return self._clock.now()

    def _count(self, held: Held, change: int) -> None:
        self._in_group[held.group] += change

    # -- wishes ------------------------------------------------------------------------------
    def cancel(self, job: str) -> CancelOutcome:
        """Cancel a pending job at once, or mark a running one: its worker must be told.

        Raises:
            NoSuchJob: there is none.
        """
        held = self.held.get(job)
        if held is not None:
            if held.intent is not None:
                return "delivering"
            if not held.cancel_requested:
                held.cancel_requested = True
                self._store.change("want_cancel", {"_seq": held.seq})
            return "cancelling"
        known = self._known(job)
        if known.ended:
            return "ended"
        if known.intent is not None:
            return "delivering"
        check_move(known.id, known.state, "cancelled")
        now = self._clock.now()
        self._store.change(
            "end",
            {
                "_seq": known.seq,
                "_state": "cancelled",
                "_completed": now,
                "_started": known.started,
                "_progress": known.progress,
                "_step": known.step,
                "_deaths": known.deaths,
                **_error_columns(None),
            },
        )
        self.ended.append(known.id)
        self.litter.append(known.id)
        text = "cancelled before it began"
        self._tell(known.seq, known.id, "cancelled", known.attempt, text=text, at=now)
        return "cancelled"

    def retry(self, job: str) -> None:
        """Run a failed or cancelled job again from its first step.

        Raises:
            NoSuchJob: there is none.
            ForbiddenMove: it has not failed and was not cancelled.
        """
        known = self._known(job)
        if known.state == "running":
            raise ForbiddenMove(f"job {job} is running; it cannot become pending by hand")
        check_move(known.id, known.state, "pending")
        clock = self._clocks[known.first_lane, known.priority]
        vtime = clock.tag(known.share, known.cost, known.weight)
        self._store.change("retry", {"_seq": known.seq, "_lane": known.first_lane, "_vtime": vtime})
        self._ready[known.first_lane].add(known.group)
        if known.intent is not None:
            self._promise(known.id, known.intent)
        now = self._clock.now()
        text = "retried by hand"
        self._tell(known.seq, known.id, "pending", known.attempt, text=text, at=now)

    def release(self, job: str) -> bool:
        """Let a pending job start now, whatever moment it waits for; False if it waits for none."""
        known = self._store.job(job)
        if known is None or known.state != "pending" or known.not_before is None:
            return False
        self._store.change("due", {"_seq": known.seq})
        self._ready[known.lane].add(known.group)
        at = self._clock.now()
        self._tell(known.seq, known.id, "pending", known.attempt, text="released by hand", at=at)
        return True

    def delete(self, job: str) -> None:
        """Forget an ended job.

        Raises:
            NoSuchJob: there is none.
            NotEnded: it is pending or running.
        """
        known = self._known(job)
        if not known.ended:
            raise NotEnded(f"job {job} is {known.state}; cancel it first")
        self._forget(known.seq, known.id)

    def _known(self, job: str) -> Job:
        known = self._store.job(job)
        if known is None:
            raise NoSuchJob(f"there is no job {job}")
        return known

    def _forget(self, seq: int, job: str) -> None:
        self._store.forget(seq)
        self.deleted.append(job)
        if self.listening:
            self.news.append({"id": job, "state": "deleted", "at": self._clock.now()})

    # -- time --------------------------------------------------------------------------------
    def release_due(self) -> float | None:
        """Let the delayed jobs start whose time has come.

        Returns:
            Seconds until the next one, if any.
        """
        now = self._clock.now()
        for lane, group in self._store.release_due(now):
            self._ready[lane].add(group)
        moment = self._store.next_due()
        return None if moment is None else max(moment - now, 0.0)

    def forget_older(self, seconds: float) -> int:
        """Forget jobs of the API that ended longer ago than this; some hundreds at a time.

        Returns:
            How many were forgotten.
        """
        old = self._store.forgettable(self._clock.now() - seconds)
        for seq, job in old:
            self._forget(seq, job)
        return len(old)

    def forget_ledger(
        self, seconds: float, after: int, *, chores: bool = False
    ) -> tuple[int, int | None]:
        """Forget jobs of folders and schedules that ended well longer ago than this.

        Args:
            after: position of the last job that was looked at; 0 to begin.
            chores: only those of housekeeping.

        Returns:
            How many were forgotten, and the position of the last that was looked at; None when
            there are no more.
        """
        before = self._clock.now() - seconds
        statement = "old_chores" if chores else "old_jobs"
        rows = self._store.look_up(statement, _before=before, _after=after)
        old = [(seq, job) for seq, job in rows if job is not None]
        for seq, job in old:
            self._forget(seq, job)
        return len(old), rows[-1][0] if rows else None

    # -- telling -----------------------------------------------------------------------------
    def _tell(
        self,
        seq: int,
        job: str,
        state: State,
        attempt: int,
        *,
        at: float,
        worker: str | None = None,
        text: str | None = None,
        webhook: bool = False,
    ) -> None:
        number = self._store.note(seq, at, state, attempt, worker, text)
        if self.listening:
            self.news.append(
                {
                    "number": number,
                    "id": job,
                    "state": state,
                    "attempt": attempt,
                    "at": at,
                    "worker": worker,
                    "text": text,
                    "webhook": webhook,
                }
            )


def _error_columns(fault: Fault | None) -> dict[str, Any]:
    return {
        "_error_kind": fault and fault.kind,
        "_error": fault and fault.detail,
        "_error_field": fault and fault.field,
        "_error_hint": fault and fault.hint,
        "_error_step": fault and fault.step,
        "_error_op": fault and fault.op,
    }
