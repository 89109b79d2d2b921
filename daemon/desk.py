"""What clients may ask of the dispatcher, and what they are told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from daemon.jobs import Job, NewJob, NoSuchJob, Refusal
from daemon.queue import Queue
from daemon.schedules.firing import NewFiring
from daemon.store import Store
from daemon.wire import Channel, encode

#: New jobs of one client in one turn; the rest waits, so that nobody else has to.
_JOBS_PER_TURN = 500
#: Bytes that a subscriber may leave unread before it misses progress, and before it is cut off.
_LAGGING, _LOST = 2**20, 64 * 2**20


class Client:
    """One connection."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.subscribed = False


class Desk:
    """Answers messages. Nothing is said before the turn is committed."""

    def __init__(
        self,
        queue: Queue,
        store: Store,
        *,
        stop_job: Callable[[str], None],
        drain: Callable[[], None],
        stats: Callable[[], dict[str, Any]],
        unload: Callable[[list[str]], list[str]],
        allow: Callable[[list[str], list[str]], None],
    ) -> None:
        """Take messages.

        Args:
            stop_job: tells the worker of a running job that it is cancelled.
            unload: has models dropped (all if none is named); those that were loaded.
            allow: lets workers that are started from now on read and write at these places.
        """
        self._queue = queue
        self._store = store
        self._stop_job = stop_job
        self._drain = drain
        self._stats = stats
        self._unload = unload
        self._allow = allow
        self.clients: set[Client] = set()
        self._answers: list[tuple[Client, dict[str, Any]]] = []
        self._waiting: defaultdict[str, list[tuple[Client, int]]] = defaultdict(list)

    def serve(self, client: Client) -> bool:
        """Do what a client asks for.

        Returns:
            True when it asks for more than one turn may hold.

        Raises:
            Closed: its messages make no sense.
        """
        new_jobs = 0
        for message in client.channel.messages():
            new_jobs += len(message.get("jobs", ()))
            self._handle(client, message)
            if new_jobs >= _JOBS_PER_TURN:
                return True
        return False

    def _handle(self, client: Client, message: dict[str, Any]) -> None:
        number = message["n"]
        try:
            answer = self._do(client, number, message)
        except Refusal as refusal:
            self._refuse(client, number, type(refusal).__name__, str(refusal))
        except (TypeError, ValueError, KeyError) as wrong:
            self._refuse(client, number, "BadMessage", f"{type(wrong).__name__}: {wrong}")
        else:
            if answer is not None:
                self._answers.append((client, {"n": number, "ok": answer}))

    def _refuse(self, client: Client, number: int, kind: str, detail: str) -> None:
        refusal = {"n": number, "error": {"kind": kind, "detail": detail}}
        self._answers.append((client, refusal))

    def _do(self, client: Client, number: int, message: dict[str, Any]) -> Any:
        match message["do"]:
            case "submit":
                jobs = [NewJob(**job) for job in message["jobs"]]
                return self._queue.submit(jobs)
            case "wait":
                return self._wait(client, number, message["id"])
            case "forget_wait":
                waiting = self._waiting[message["id"]]
                waiting[:] = [one for one in waiting if one != (client, message["waiting"])]
                if not waiting:
                    del self._waiting[message["id"]]
                return True
            case "cancel":
                return self._cancel(message["id"])
            case "remove":
                return self._remove(message["id"])
            case "retry":
                self._queue.retry(message["id"])
                return True
            case "release":
                return sum(self._queue.release(job) for job in message["ids"])
            case "webhook_attempted":
                self._queue.outbox.attempted(
                    message["id"], message["attempt"], message["state"], message["next_at"]
                )
                return True
            case "announce":
                self._queue.outbox.announce_as(
                    *(message[key] for key in ("id", "job", "url", "event", "body"))
                )
                return True
            case "webhook_again":
                self._queue.outbox.send_again(message["id"])
                return True
            case "delete":
                self._queue.delete(message["id"])
                return True
            case "fire":
                return self._queue.book.fire(NewFiring(**message["firing"]))
            case "settle":
                return self._queue.book.settle(message["timings"])
            case "forget_marks":
                self._queue.book.forget_marks(message["names"])
                return True
            case "put_schedule":
                self._queue.book.put(message["name"], message["written"])
                return True
            case "drop_schedule":
                return self._queue.book.drop(message["name"])
            case "forget_firings":
                return self._queue.book.forget_firings(message["seconds"])
            case "forget_ledger":
                return self._queue.forget_ledger(
                    message["seconds"], message["after"], chores=message["chores"]
                )
            case "seen":
                self._queue.book.seen(message["files"], message["gone"])
                return True
            case "upkeep":
                return self._store.upkeep(message["pages"])
            case "allow":
                self._allow(message["read"], message["written"])
                return True
            case "subscribe":
                client.subscribed = True
                self._queue.listening = True
                return True
            case "stats":
                return self._stats()
            case "unload":
                return self._unload(message["slugs"])
            case "drain":
                self._drain()
                return True
            case unknown:
                raise ValueError(f"nothing is known to do for {unknown!r}")

    def _wait(self, client: Client, number: int, job: str) -> Any:
        known = self._store.job(job)
        if known is None:
            raise NoSuchJob(f"there is no job {job}")
        if known.ended:
            return known
        self._waiting[job].append((client, number))
        return None

    def _cancel(self, job: str) -> str:
        outcome = self._queue.cancel(job)
        if outcome == "cancelling":
            self._stop_job(job)
        return outcome

    def _remove(self, job: str) -> dict[str, Any]:
        outcome = self._cancel(job)
        if outcome == "ended":
            self._queue.delete(job)
        return {"cancelled": outcome in ("cancelled", "cancelling"), "deleted": outcome == "ended"}

    # -- the end of a turn -------------------------------------------------------------------
    def prepare(self) -> None:
        """Before the commit: answer those who wait for jobs that have ended in this turn."""
        for job in self._queue.ended:
            if job in self._waiting:
                known: Job | None = self._store.job(job)
                for client, number in self._waiting.pop(job):
                    self._answers.append((client, {"n": number, "ok": known}))

    def tell(self) -> None:
        """After the commit: send the answers, and the news to those who want to hear them."""
        answers, self._answers = self._answers, []
        for client, answer in answers:
            client.channel.send(answer)
        news, self._queue.news = self._queue.news, []
        if not news:
            return
        everything = encode({"news": news})
        changes = [item for item in news if "progress" not in item]
        for client in self.clients:
            if not client.subscribed:
                continue
            if client.channel.unsent <= _LAGGING:
                client.channel.send_encoded(everything)
            elif client.channel.unsent > _LOST:
                client.channel.broken = True
            elif changes:
                client.channel.send_encoded(encode({"news": changes}))

    def leave(self, client: Client) -> None:
        """The client is gone."""
        self.clients.discard(client)
        self._queue.listening = any(other.subscribed for other in self.clients)
        for job in list(self._waiting):
            self._waiting[job] = [one for one in self._waiting[job] if one[0] is not client]
            if not self._waiting[job]:
                del self._waiting[job]
