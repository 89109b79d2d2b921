"""The one writer of the queue: a loop that owns the database and the workers.

    python -m daemon.dispatcher --settings FD --control FD [--run MODULE:FUNCTION] [--prefetch N]

Everything that arrived in a turn of the loop is one transaction; what others
are told about it is sent after the commit. `control` is a socket to the
parent: `ready` is written there when clients are answered, `warm` when all
workers are there. When it closes, running jobs are put back and the process
ends. SIGTERM drains, a second one ends at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import selectors
import signal
import socket
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import orjson

from daemon import log as logs
from daemon import wire
from daemon.budgets import INTERVAL, Budgets
from daemon.clock import Clock, SystemClock
from daemon.desk import Client, Desk
from daemon.faults import Fault, UnusableDatabase
from daemon.held import Held
from daemon.jobs import LANES, QueueLane
from daemon.lanes import Lanes, Worker
from daemon.litter import Litter
from daemon.queue import Policy, Queue
from daemon.reserve import Reserve
from daemon.safekeeping import lock
from daemon.safekeeping.opening import open_store
from daemon.settings import Settings
from daemon.spawn import read_settings
from daemon.timers import Timers
from daemon.wire import Channel, Closed

log = logging.getLogger(__name__)

RUNNER = "daemon.runner:run"
#: Seconds that a cancelled job may take to notice before its worker is killed.
_CANCEL_GRACE = 1.5
#: Estimated work that a worker may have at hand, in seconds, and the number of jobs.
_POCKET_SECONDS, _POCKET_JOBS = 0.05, 32
#: Seconds after which jobs are taken back from behind one that takes longer than was thought.
_STUCK = 0.25
_SAVE_PROGRESS = 2.0
_RESTORE_RESERVE = 5.0
_LONGEST_SLEEP = 60.0  # the wall clock may jump, so delayed jobs are looked at now and then
_KINDS_REMEMBERED = 1000
#: Workers that were started for a job's places, and cannot go there either, until it is failed.
_MOST_TURNS = 3
#: How an attempt ended, from what its worker says.
_OUTCOMES = {
    "finished": "completed",
    "cancelled": "cancelled",
    "failed": "failed",
    "handover": "handed over",
}


class Dispatcher:
    """The loop, and what it knows besides the queue."""

    def __init__(
        self,
        settings: Settings,
        *,
        run: str = RUNNER,
        prefetch: int = _POCKET_JOBS,
        clock: Clock | None = None,
        on_warm: Callable[[], None] = lambda: None,
    ) -> None:
        """Open the database, and put back what was left running.

        Args:
            run: module and function that workers run jobs with.
            prefetch: jobs that a worker may have at hand when they are small.
            on_warm: called once, when every lane has its workers.

        Raises:
            UnusableDatabase: it is damaged, newer than this program, or in use.
        """
        clock = clock or SystemClock()
        self._settings = settings
        self._clock = clock
        self._prefetch = prefetch
        self._on_warm = on_warm
        self._lock = lock.hold(settings)
        self._reserve = Reserve(settings.data_dir / "reserve")
        self._store = open_store(settings, clock, when_full=self._disk_full)
        policy = Policy(
            max_deaths=settings.job_max_deaths,
            retry_base=settings.job_retry_delay,
            retry_cap=settings.job_retry_delay_max,
        )
        self._queue = Queue(self._store, policy, clock, random.random)
        self._timers = Timers(clock)
        self._selector = selectors.DefaultSelector()
        self._lanes = Lanes(settings, run=run, later=self._timers.after, started=self._watch_worker)
        self._desk = Desk(
            self._queue,
            self._store,
            stop_job=self._stop_job,
            drain=self.drain,
            stats=self._stats,
            unload=self._unload,
            allow=self._allow,
        )
        self._litter = Litter(settings)
        self._listener = wire.listen(settings.socket)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._handouts: defaultdict[Worker, list[Held]] = defaultdict(list)
        self._replies: list[tuple[Worker, dict[str, Any]]] = []
        #: Clients that sent more than one turn may hold.
        self._unread: set[Client] = set()
        #: Attempts that ended and the seconds they took, by endpoint and outcome.
        self._totals: defaultdict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0.0])
        #: Seconds that jobs of an endpoint have taken lately.
        self._typical: dict[str, float] = {}
        #: Estimated seconds of the job that each lane was given last.
        self._lately: dict[QueueLane, float] = dict.fromkeys(LANES, 1.0)
        #: Channels whose other side did not take everything.
        self._slow: set[Channel] = set()
        #: How often jobs were given back because of where they are.
        self._outside: dict[str, int] = {}
        self._budgets = Budgets(settings)
        self._looking = False
        #: Workers that were ended because of the job that they ran, and why.
        self._over: dict[Worker, tuple[str, Fault]] = {}
        self._saving = False
        self._draining = False
        self._ended = False
        self._turns = 0

    # -- the loop ----------------------------------------------------------------------------
    def hire(self) -> None:
        """Start the workers that are missing."""
        self._lanes.fill()

    def serve(self, head_start: float = 0.0) -> None:
        """Work until drained or told to end.

        Args:
            head_start: seconds until the workers are started, if `hire` is not called before.
        """
        self._litter.start()
        self._timers.after(head_start, self.hire)
        self._forget_old()
        while not self._ended:
            self.turn()
        self._close()

    def turn(self) -> None:
        """Wait for something to happen; make it durable; tell everybody."""
        for key, _ in self._selector.select(0.0 if self._unread else self._timers.wait()):
            key.data()
        for client in list(self._unread):
            self._serve(client)
        self._timers.run()
        self._release_due()
        for lane in LANES:
            self._assign(lane)
        self._desk.prepare()
        self._store.commit()
        self._turns += 1
        self._hand_out()
        self._desk.tell()
        self._mind_the_slow()
        self._clean_up()
        if self._draining and not self._queue.held:
            self._ended = True

    def _hand_out(self) -> None:
        handouts, self._handouts = self._handouts, defaultdict(list)
        for worker, jobs in handouts.items():
            worker.channel.send({"do": "jobs", "jobs": [held.claim() for held in jobs]})
            if worker.channel.broken:
                for held in jobs:
                    held.delivered = False
            self._watch_pocket(worker)
            self._look_at_budgets_later()
        replies, self._replies = self._replies, []
        for worker, message in replies:
            worker.channel.send(message)

    def _mind_the_slow(self) -> None:
        """Hear from the selector when those can take more who did not take everything."""
        for worker in self._lanes:
            self._listen(worker.channel, partial(self._on_worker, worker))
        for client in list(self._desk.clients):
            if client.channel.broken:
                self._leave(client)
            else:
                self._listen(client.channel, partial(self._on_client, client))

    def _listen(self, channel: Channel, handler: Callable[[], None]) -> None:
        if bool(channel.unsent) != (channel in self._slow):
            self._slow ^= {channel}
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.unsent else 0)
            self._selector.modify(channel, events, handler)

    def _clean_up(self) -> None:
        queue = self._queue
        for job in queue.litter:
            self._litter.ended(job)
        for job in queue.deleted:
            self._litter.deleted(job)
        queue.litter.clear()
        queue.deleted.clear()
        queue.ended.clear()

    def watch(self, source: socket.socket, handler: Callable[[], None]) -> None:
        """Call `handler` whenever something can be read from `source`."""
        self._selector.register(source, selectors.EVENT_READ, handler)

    # -- clients -----------------------------------------------------------------------------
    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        client = Client(Channel(sock))
        self._desk.clients.add(client)
        handler = partial(self._on_client, client)
        self._selector.register(client.channel, selectors.EVENT_READ, handler)

    def _on_client(self, client: Client) -> None:
        client.channel.flush()
        try:
            client.channel.read()
        except Closed:
            self._leave(client)
            return
        self._serve(client)

    def _serve(self, client: Client) -> None:
        self._unread.discard(client)
        try:
            if self._desk.serve(client):
                self._unread.add(client)
        except Closed as senseless:
            log.warning("a client is cut off: %s", senseless)
            self._leave(client)

    def _leave(self, client: Client) -> None:
        self._unread.discard(client)
        self._desk.leave(client)
        self._forget_channel(client.channel)

    def _forget_channel(self, channel: Channel) -> None:
        self._slow.discard(channel)
        self._selector.unregister(channel)
        channel.close()

    # -- handing out -------------------------------------------------------------------------
    def _assign(self, lane: QueueLane) -> None:
        """Choose who gets what is next, as long as somebody can take it."""
        if self._draining or self._reserve.spent or not self._queue.has_ready(lane):
            return
        if lane == "net":
            self._lanes.widen_net()
        workers = self._lanes.serving(lane)
        # Only as many jobs are looked up as are likely to be taken.
        each = max(1, min(self._prefetch, int(_POCKET_SECONDS / max(self._lately[lane], 1e-6))))
        room = sum(max(each - len(worker.pocket), 0) for worker in workers)
        if not room:
            return
        now = self._clock.monotonic()
        for held in self._queue.next_jobs(lane, room):
            # A submitter may be wrong about its job, so what such jobs took lately counts too.
            held.estimate = max(held.cost, self._typical.get(held.endpoint, 0.0))
            worker = min(workers, key=lambda worker: (len(worker.pocket), worker.load))
            if worker.pocket and not self._fits(worker, held, now):
                break
            self._lately[lane] = held.estimate
            self._queue.claim(held, worker.label)
            worker.pocket.append(held)
            worker.load += held.estimate
            self._handouts[worker].append(held)

    def _fits(self, worker: Worker, held: Held, now: float) -> bool:
        """True when a small job may wait behind others that will be done in an instant."""
        return (
            len(worker.pocket) < self._prefetch
            and worker.load + held.estimate <= _POCKET_SECONDS
            and now - worker.pocket[0].begun <= _POCKET_SECONDS
        )

    def _watch_pocket(self, worker: Worker) -> None:
        if len(worker.pocket) > 1 and not worker.watched:
            worker.watched = True
            self._timers.after(_STUCK, partial(self._look_at_pocket, worker))

    def _look_at_pocket(self, worker: Worker) -> None:
        """Take jobs back from behind one that takes longer than was thought."""
        worker.watched = False
        if len(worker.pocket) > 1:
            if self._clock.monotonic() - worker.pocket[0].begun >= _STUCK:
                self._ask_back(worker)
            else:
                self._watch_pocket(worker)

    def _ask_back(self, worker: Worker) -> None:
        waiting = [held.id for held in list(worker.pocket)[1:]]
        if waiting:
            self._replies.append((worker, {"do": "drop", "ids": waiting}))

    def _release_due(self) -> None:
        if self._queue.has_delayed:
            self._queue.has_delayed = False
            wait = self._queue.release_due()
            if wait is not None:
                self._timers.after(min(wait, _LONGEST_SLEEP), self._look_for_due)

    def _look_for_due(self) -> None:
        self._queue.has_delayed = True

    # -- workers -----------------------------------------------------------------------------
    def _watch_worker(self, worker: Worker) -> None:
        on_worker, on_words = partial(self._on_worker, worker), partial(self._on_words, worker)
        self._selector.register(worker.channel, selectors.EVENT_READ, on_worker)
        self._selector.register(worker.words.fd, selectors.EVENT_READ, on_words)

    def _on_words(self, worker: Worker) -> None:
        if not worker.words.hear():
            self._selector.unregister(worker.words.fd)
            worker.words.close()

    def _on_worker(self, worker: Worker) -> None:
        worker.channel.flush()
        try:
            worker.channel.read()
            for message in worker.channel.messages():
                self._handle(worker, message)
        except Closed:
            self._on_death(worker)

    def _handle(self, worker: Worker, message: dict[str, Any]) -> None:
        match message["do"]:
            case "ready":
                self._lanes.is_ready(worker, message["walls"])
                self._say_warm()
            case "shelf":
                worker.shelf = message["loaded"]
                self._lanes.wear(worker, message["spent"])
            case "dropped":
                self._given_back(worker, set(message["ids"]))
            case _ if not worker.pocket or worker.pocket[0].id != message["id"]:
                log.error("%s speaks of a job that it does not run: %s", worker.label, message)
                self._lanes.kill(worker)
            case "progress":
                self._queue.progress(worker.pocket[0], message["progress"], message["step"])
                self._save_progress_later()
            case "intend":
                self._intend(worker, worker.pocket[0], message["intent"])
            case "first":
                earlier = self._queue.first(worker.pocket[0], message["key"], take=message["take"])
                self._replies.append((worker, {"do": "intended", "earlier": earlier}))
            case "result_of":
                result = self._queue.result_of(message["job"])
                self._replies.append((worker, {"do": "intended", "result": result}))
            case "outside":
                self._on_outside(worker)
            case _:
                self._on_outcome(worker, message)

    def _on_outside(self, worker: Worker) -> None:
        """A job is about places that its worker's walls have no gate to: another one gets it."""
        # Where they are is read from the order: the worker has opened strangers' files.
        from daemon.execution import Claim
        from daemon.walls.places import of_claim

        held = self._unpocket(worker)
        places = of_claim(Claim.model_validate_json(orjson.dumps(held.claim())))
        known = worker.roots
        if all(p in known and (made is None or known[p]) for p, made in places.items()):
            # It was started for these, and yet it cannot go there.
            self._outside[held.id] = self._outside.pop(held.id, 0) + 1
        if self._outside.get(held.id, 0) >= _MOST_TURNS:
            del self._outside[held.id]
            detail = "a folder of this job cannot be reached from inside the workers' sandbox"
            self._queue.fail(held, Fault("StorageFailed", detail, transient=True))
        else:
            self._lanes.allow(places)
            self._untouched(held, f"{worker.label} may not go where it is")
        while len(self._outside) > _KINDS_REMEMBERED:
            del self._outside[next(iter(self._outside))]
        self._lanes.replace(worker, "it may not go where a job is")

    def _intend(self, worker: Worker, held: Held, intent: dict[str, Any]) -> None:
        if held.cancel_requested and held.intent is None:
            answer: dict[str, Any] = {"cancelled": True}
        else:
            answer = {"taken": self._queue.intend(held, intent)}
        self._replies.append((worker, {"do": "intended", **answer}))

    def _on_outcome(self, worker: Worker, message: dict[str, Any]) -> None:
        """The begun job is off the worker's hands, one way or another."""
        queue, held = self._queue, self._unpocket(worker)
        unwanted = held.cancel_requested and held.intent is None
        match message["do"]:
            case "finished":
                # The worker's own clock: ours would count the waiting for our disk as work.
                self._learn(held, message["took"])
                # One that was carried to another process may have left something in the first.
                scratch = message["scratch"] or held.errands is not None
                queue.complete(held, message["result"], scratch=scratch)
            case "cancelled":
                queue.end_cancelled(held, "cancelled while it ran")
            case "failed" | "handover" if unwanted:
                queue.end_cancelled(held, "cancelled while it ran")
            case "failed":
                fault = Fault(**message["fault"])
                log.info("%s: %s", fault.kind, fault.detail, extra={"job": held.id})
                queue.fail(held, fault)
            case "handover":
                queue.hand_over(
                    held,
                    message["lane"],
                    message["next_step"],
                    message["carried"],
                    message["finished"],
                )
        total = self._totals[held.endpoint, _OUTCOMES[message["do"]]]
        total[0] += 1
        total[1] += message.get("took", 0.0)
        worker.jobs_done += 1
        worker.memory = message.get("memory", worker.memory)
        self._lanes.wear(worker)

    def _unpocket(self, worker: Worker) -> Held:
        held = worker.pocket.popleft()
        worker.load -= held.estimate
        if worker.pocket:
            self._queue.begin(worker.pocket[0])
        else:
            worker.load = 0.0
        return held

    def _learn(self, held: Held, took: float) -> None:
        if len(self._typical) > _KINDS_REMEMBERED:
            self._typical.clear()
        before = self._typical.get(held.endpoint, held.cost)
        self._typical[held.endpoint] = before + 0.2 * (took - before)

    def _given_back(self, worker: Worker, dropped: set[str]) -> None:
        for held in [held for held in worker.pocket if held.id in dropped]:
            worker.pocket.remove(held)
            worker.load -= held.estimate
            self._untouched(held, f"not begun by {worker.label}")

    def _untouched(self, held: Held, text: str) -> None:
        if held.cancel_requested and held.intent is None:
            self._queue.end_cancelled(held, "cancelled before it began")
        else:
            self._queue.put_back(held, text, untouched=True)

    def _on_death(self, worker: Worker) -> None:
        how = worker.bury()
        self._forget_channel(worker.channel)
        begun, waiting = None, list(worker.pocket)
        worker.pocket.clear()
        if waiting and waiting[0].delivered:
            begun = waiting.pop(0)
        guilty, fault = self._over.pop(worker, ("", None))
        unwanted = begun is not None and begun.cancel_requested and begun.intent is None
        if begun is not None and fault is not None and begun.id == guilty and not unwanted:
            self._queue.fail(begun, fault)
        elif begun is not None:
            log.warning(
                "%s ended with %s while it ran job %s",
                *(worker.label, how, begun.id),
                extra={"job": begun.id},
            )
            self._queue.lost(begun, how, worker.words.last())
        for held in waiting:
            self._untouched(held, f"put back: {worker.label} ended before it began")
        self._lanes.remove(worker, how)

    def _stop_job(self, job: str) -> None:
        """Tell the worker of a cancelled job; kill it if it does not listen."""
        for worker in self._lanes:
            for held in worker.pocket:
                if held.id == job:
                    self._replies.append((worker, {"do": "drop", "ids": [job]}))
                    self._replies.append((worker, {"do": "cancel", "id": job}))
                    attempt = held.attempt
                    insist = partial(self._insist, worker, held, attempt)
                    self._timers.after(_CANCEL_GRACE, insist)
                    return

    def _insist(self, worker: Worker, held: Held, attempt: int) -> None:
        still = worker.pocket and worker.pocket[0] is held and held.attempt == attempt
        if still and held.intent is None:
            log.warning("%s does not let go of the cancelled job %s", worker.label, held.id)
            self._lanes.kill(worker)

    def _look_at_budgets_later(self) -> None:
        if not self._looking:
            self._looking = True
            self._timers.after(INTERVAL, self._look_at_budgets)

    def _look_at_budgets(self) -> None:
        """End the workers whose jobs are over their budgets."""
        self._looking = False
        now = self._clock.monotonic()
        running: set[tuple[str, int]] = set()
        for worker in self._lanes:
            if not worker.pocket or worker in self._over:
                continue
            held = worker.pocket[0]
            running.add((held.id, held.attempt))
            fault = self._budgets.broken(held, worker.process.pid, now)
            if fault is not None:
                log.warning("%s is ended: %s", worker.label, fault.detail, extra={"job": held.id})
                self._over[worker] = held.id, fault
                self._lanes.kill(worker)
        self._budgets.keep(running)
        if any(worker.pocket for worker in self._lanes):
            self._look_at_budgets_later()

    # -- now and then ------------------------------------------------------------------------
    def _save_progress_later(self) -> None:
        if not self._saving:
            self._saving = True
            self._timers.after(_SAVE_PROGRESS, self._save_progress)

    def _save_progress(self) -> None:
        self._saving = False
        self._queue.save_progress()

    def _forget_old(self) -> None:
        ttl = self._settings.job_ttl
        more = self._queue.forget_older(ttl)
        more += self._queue.outbox.forget_older(self._settings.webhook_ttl)
        pause = 0.0 if more else min(max(ttl / 10, 1.0), _LONGEST_SLEEP)
        self._timers.after(pause, self._forget_old)

    def _disk_full(self) -> None:
        if not self._reserve.spent:
            self._timers.after(_RESTORE_RESERVE, self._restore_reserve)
        self._reserve.give()

    def _restore_reserve(self) -> None:
        if not self._reserve.restore():
            self._timers.after(_RESTORE_RESERVE, self._restore_reserve)

    def _say_warm(self) -> None:
        if self._lanes.complete:
            self._on_warm()
            self._on_warm = _nothing

    def _stats(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "epoch": self._queue.epoch,
            "turns": self._turns,
            "draining": self._draining,
            "disk_full": self._reserve.spent,
            "running": len(self._queue.held),
            "trouble": self._lanes.trouble,
            "totals": [
                {"endpoint": endpoint, "outcome": outcome, "count": count, "seconds": seconds}
                for (endpoint, outcome), (count, seconds) in self._totals.items()
            ],
            "workers": [
                {
                    "name": worker.name,
                    "pid": worker.process.pid,
                    "lane": worker.lane,
                    "state": worker.state,
                    "jobs": [held.id for held in worker.pocket],
                    "jobs_done": worker.jobs_done,
                    "memory": worker.memory,
                    "shelf": worker.shelf,
                    "walls": worker.walls,
                }
                for worker in self._lanes
            ],
        }

    def _allow(self, read: list[str], written: list[str]) -> None:
        from daemon.walls.places import announced

        self._lanes.allow(announced(read, written))

    def _unload(self, slugs: list[str]) -> list[str]:
        """Have models dropped wherever they are; those that were anywhere."""
        dropped: set[str] = set()
        for worker in self._lanes:
            mine = [one["slug"] for one in worker.shelf if not slugs or one["slug"] in slugs]
            if mine:
                dropped.update(mine)
                self._replies.append((worker, {"do": "unload", "slugs": mine}))
        return sorted(dropped)

    # -- the end -----------------------------------------------------------------------------
    def drain(self) -> None:
        """Start nothing more; end when what runs has finished, or its time is over."""
        if self._draining:
            return
        log.info("draining: %d jobs are at hand", len(self._queue.held))
        self._draining = True
        for worker in self._lanes:
            self._ask_back(worker)
        self._timers.after(self._settings.drain_timeout, self.end)

    def end(self) -> None:
        """Put back what runs, and end."""
        self._ended = True

    @property
    def draining(self) -> bool:
        """True after `drain`."""
        return self._draining

    def _close(self) -> None:
        self._lanes.close()
        for worker in self._lanes:
            # Before its job is put back it must have stopped; an idle one has nothing to lose.
            worker.bury()
            for number, held in enumerate(worker.pocket):
                text = "put back: the dispatcher was stopped"
                self._queue.put_back(held, text, untouched=number > 0)
        self._queue.save_progress()
        self._desk.prepare()
        self._store.commit()
        self._desk.tell()
        self._settings.socket.unlink(missing_ok=True)
        self._clean_up()
        self._litter.stop(timeout=5.0)
        self._store.close()
        self._lock.close()


def _nothing() -> None:
    """Say nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(prog="daemon.dispatcher")
    parser.add_argument("--settings", type=int, required=True)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--run", default=RUNNER)
    parser.add_argument("--prefetch", type=int, default=_POCKET_JOBS)
    parser.add_argument("--head-start", type=float, default=0.0)
    given = parser.parse_args(arguments)

    settings = read_settings(given.settings)
    control = socket.socket(fileno=given.control)
    logs.configure(settings, "dispatcher")
    wake, woken = socket.socketpair()
    for end in (wake, woken):
        end.setblocking(False)
    signal.set_wakeup_fd(woken.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        dispatcher = Dispatcher(
            settings,
            run=given.run,
            prefetch=given.prefetch,
            on_warm=lambda: control.sendall(b"warm\n"),
        )
    except UnusableDatabase as refusal:
        control.sendall(f"refused {refusal}\n".encode())
        log.error("%s", refusal)
        return 3

    def on_signal() -> None:
        for number in wake.recv(100):
            if number == signal.SIGTERM:
                (dispatcher.end if dispatcher.draining else dispatcher.drain)()

    def on_control() -> None:
        if control.recv(100):
            dispatcher.hire()
        else:
            log.warning("the parent is gone")
            dispatcher.end()

    control.sendall(b"ready\n")
    dispatcher.watch(wake, on_signal)
    dispatcher.watch(control, on_control)
    dispatcher.serve(given.head_start)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
