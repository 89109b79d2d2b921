"""How the rest of the program talks to the queue: from any thread, over one connection.

Every request can be repeated without harm (a job's id is chosen before it is
submitted), so a connection that breaks is made again and what was not
answered is asked again. A restart of the dispatcher is a delay, no error.
"""

from __future__ import annotations

import itertools
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from daemon import wire
from daemon.jobs import (
    CancelOutcome,
    ForbiddenMove,
    Job,
    NewJob,
    NoSuchJob,
    NoSuchWebhook,
    NotEnded,
    State,
    Submitted,
)
from daemon.schedules.firing import Fired, NewFiring

_JOBS_PER_MESSAGE = 500
_FIELDS = tuple(field.name for field in fields(NewJob))
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25  # seconds between two tries to connect
_REFUSALS = {kind.__name__: kind for kind in (NoSuchJob, NotEnded, ForbiddenMove, NoSuchWebhook)}


class QueueUnavailable(ConnectionError):
    """The dispatcher did not answer in time."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What `remove` did."""

    #: It was pending or running, and is cancelled.
    cancelled: bool
    #: It had ended, and is gone.
    deleted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """A change of one job, or its progress."""

    #: `missed`: the connection was lost, and with it an unknown number of news of any job.
    state: State | Literal["deleted", "missed"]
    #: The job.
    id: str = ""
    #: Number of the event in the job's log; None for progress.
    number: int | None = None
    attempt: int = 0
    #: Unix seconds.
    at: float = 0.0
    worker: str | None = None
    text: str | None = None
    #: Share done, 0 to 1; None when this is a change of state.
    progress: float | None = None
    step: str | None = None
    #: Somebody is to be told of this end: there is something new in the outbox.
    webhook: bool = False


class Subscription:
    """News of all jobs as they come. Iterate, or `get` with a timeout; close when done."""

    def __init__(self, client: Client, wanted: Callable[[News], bool] | None = None) -> None:
        self._client = client
        self._wanted = wanted
        self._news: queue.SimpleQueue[News | None] = queue.SimpleQueue()

    def put(self, news: News | None) -> None:
        """Add one, if it is wanted; None ends the iteration."""
        if news is None or self._wanted is None or self._wanted(news):
            self._news.put(news)

    def get(self, timeout: float | None = None) -> News | None:
        """The next one; None when there is none in time, or the client was closed."""
        try:
            return self._news.get(timeout=timeout)
        except queue.Empty:
            return None

    def __iter__(self) -> Iterator[News]:
        while (news := self._news.get()) is not None:
            yield news

    def close(self) -> None:
        """Hear no more."""
        self._client.unsubscribe(self)


class Client:
    """A connection to the dispatcher, made when it is first needed."""

    def __init__(self, path: Path, *, timeout: float = 10.0) -> None:
        """Prepare a connection.

        Args:
            path: the dispatcher's socket.
            timeout: seconds that any request may take, reconnecting included.
        """
        self._path = path
        self._timeout = timeout
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        #: Requests that wait for their answer; all are sent again on a new connection.
        self._asked: dict[int, tuple[bytes, Future[Any]]] = {}
        self._subscriptions: list[Subscription] = []
        self._closed = threading.Event()

    # -- requests ----------------------------------------------------------------------------
    def submit(self, jobs: Sequence[NewJob]) -> list[Submitted]:
        """Add jobs to the queue; they are durable when this returns.

        A job whose id or idempotency key is known gives the job that exists.

        Raises:
            QueueUnavailable: the dispatcher did not answer. Jobs may have been added; submitting
                them again does no harm.
        """
        pieces = [
            # Its fields hold nothing but plain values; `asdict` would copy each deeply.
            self._ask({"do": "submit", "jobs": [_told(job) for job in some]})
            for some in _pieces(jobs)
        ]
        answers = [self._answer(piece, self._timeout) for piece in pieces]
        return [Submitted(**one) for answer in answers for one in answer]

    def wait(self, job: str, timeout: float | None = None) -> Job:
        """The job, once it has ended.

        Args:
            timeout: seconds; None waits for ever, through restarts of the dispatcher too.

        Raises:
            NoSuchJob: there is none.
            TimeoutError: it has not ended in time. It goes on.
        """
        number = self._ask({"do": "wait", "id": job})
        try:
            return Job(**self._answer(number, timeout))
        except QueueUnavailable:
            self._ask({"do": "forget_wait", "id": job, "waiting": number})
            raise TimeoutError(f"job {job} has not ended within {timeout} s") from None

    def submit_and_wait(self, job: NewJob, timeout: float | None = None) -> Job:
        """Submit one job and wait until it has ended.

        Raises:
            QueueUnavailable: the job could not be submitted.
            TimeoutError: it has not ended in time. It goes on.
        """
        (submitted,) = self.submit([job])
        return self.wait(submitted.id, timeout)

    def cancel(self, job: str) -> CancelOutcome:
        """Cancel a job.

        Returns:
            "cancelled" (it was pending), "cancelling" (it runs; it is cancelled within 2 s),
            "delivering" (too late: its files are on their way) or "ended".

        Raises:
            NoSuchJob: there is none.
        """
        outcome: CancelOutcome = self._request({"do": "cancel", "id": job})
        return outcome

    def remove(self, job: str) -> Removed:
        """Cancel a job that has not ended; delete one that has.

        Raises:
            NoSuchJob: there is none.
        """
        return Removed(**self._request({"do": "remove", "id": job}))

    def retry(self, job: str) -> None:
        """Run a failed or cancelled job again, from its first step.

        Raises:
            NoSuchJob: there is none.
            ForbiddenMove: it has not failed and was not cancelled.
        """
        self._request({"do": "retry", "id": job})

    def release(self, jobs: Sequence[str]) -> int:
        """Let jobs start that wait for their time; how many of these did."""
        released: int = self._request({"do": "release", "ids": list(jobs)})
        return released

    def webhook_attempted(
        self, webhook: str, attempt: dict[str, Any], state: str, next_at: float | None
    ) -> None:
        """Write down an attempt at a webhook (`outbox.Attempt` as plain data).

        Raises:
            NoSuchWebhook: it was forgotten meanwhile.
        """
        told = {"id": webhook, "attempt": attempt, "state": state, "next_at": next_at}
        self._request({"do": "webhook_attempted", **told})

    def announce(self, webhook: str, job: str, url: str, event: str, body: str) -> None:
        """Put a webhook into the outbox; durable when it returns. A known id changes nothing.

        Args:
            webhook: its id, chosen by the sender.
            job: the job that it tells of; empty where `body` is the message.
            event: its `type`.
            body: JSON, where there is no such job.

        Raises:
            QueueUnavailable: nobody answers.
        """
        self._request(
            {
                "do": "announce",
                "id": webhook,
                "job": job,
                "url": url,
                "event": event,
                "body": body,
            }
        )

    def webhook_again(self, webhook: str) -> None:
        """Begin a new round of attempts at a webhook.

        Raises:
            NoSuchWebhook: there is none.
        """
        self._request({"do": "webhook_again", "id": webhook})

    # -- schedules ---------------------------------------------------------------------------
    def fire(self, firing: NewFiring) -> Fired:
        """Write a tick of a schedule down and put its jobs on the queue, or neither.

        Raises:
            QueueUnavailable: no answer. Saying it again does no harm.
        """
        return Fired(**self._request({"do": "fire", "firing": asdict(firing)}))

    def settle(self, timings: Mapping[str, str]) -> dict[str, float]:
        """How far each schedule is, in Unix seconds; see `schedules.book.Book.settle`."""
        answer: dict[str, float] = self._request({"do": "settle", "timings": dict(timings)})
        return answer

    def forget_marks(self, names: Sequence[str]) -> None:
        """These schedules are no more."""
        self._request({"do": "forget_marks", "names": list(names)})

    def put_schedule(self, name: str, written: str) -> None:
        """Keep a schedule (JSON), in place of one of this name."""
        self._request({"do": "put_schedule", "name": name, "written": written})

    def drop_schedule(self, name: str) -> bool:
        """Forget a schedule; False when there is none (any more)."""
        return bool(self._request({"do": "drop_schedule", "name": name}))

    def upkeep(self, verb: str, **about: Any) -> Any:
        """Have a piece of housekeeping done that only the writer of the database can do."""
        return self._request({"do": verb, **about})

    def delete(self, job: str) -> None:
        """Forget an ended job, and remove its results.

        Raises:
            NoSuchJob: there is none.
            NotEnded: it is pending or running.
        """
        self._request({"do": "delete", "id": job})

    def stats(self) -> dict[str, Any]:
        """What the dispatcher and its workers are at."""
        answer: dict[str, Any] = self._request({"do": "stats"})
        return answer

    def unload(self, slugs: list[str]) -> list[str]:
        """Have models dropped wherever they are (all, if none is named); those that were loaded."""
        answer: list[str] = self._request({"do": "unload", "slugs": slugs})
        return answer

    def drain(self) -> None:
        """Have the dispatcher start nothing more, and end when what runs has ended."""
        self._request({"do": "drain"})

    def subscribe(self, wanted: Callable[[News], bool] | None = None) -> Subscription:
        """Hear of every change of every job from now on, and of their progress.

        Args:
            wanted: says of which news to hear; quick, as it is asked in the thread that
                reads all answers. Without, of all.
        """
        subscription = Subscription(self, wanted)
        with self._lock:
            self._subscriptions.append(subscription)
        self._request({"do": "subscribe"})
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription."""
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)
        subscription.put(None)

    def close(self) -> None:
        """Close the connection; whoever still waits gets `QueueUnavailable`."""
        self._closed.set()
        with self._lock:
            if self._socket is not None:
                # A plain close would leave the reading thread waiting for ever.
                self._socket.shutdown(socket.SHUT_RDWR)
            asked, self._asked = self._asked, {}
            subscriptions, self._subscriptions = self._subscriptions, []
        for future in (future for _, future in asked.values() if not future.done()):
            future.set_exception(QueueUnavailable("the connection to the queue was closed"))
        for subscription in subscriptions:
            subscription.put(None)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=1.0)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- asking ------------------------------------------------------------------------------
    def _request(self, message: dict[str, Any]) -> Any:
        return self._answer(self._ask(message), self._timeout)

    def _ask(self, message: dict[str, Any]) -> int:
        number = next(self._numbers)
        data = wire.encode({"n": number, **message})
        with self._lock:
            if self._closed.is_set():
                raise QueueUnavailable("the connection to the queue was closed")
            self._asked[number] = data, Future()
            if self._thread is None:
                self._thread = threading.Thread(target=self._read, name="queue", daemon=True)
                self._thread.start()
            elif self._socket is not None:
                self._send(data)
        return number

    def _send(self, data: bytes) -> None:
        assert self._socket is not None
        try:
            self._socket.sendall(data)
        except OSError:
            # The reading thread sees the same, connects again, and sends everything again.
            self._socket.close()

    def _answer(self, number: int, timeout: float | None) -> Any:
        entry = self._asked.get(number)
        if entry is None:
            raise QueueUnavailable("the connection to the queue was closed")
        try:
            return entry[1].result(timeout)
        except FutureTimeoutError:
            raise QueueUnavailable(
                f"the queue's dispatcher at {self._path} did not answer within {timeout} s"
            ) from None
        finally:
            with self._lock:
                self._asked.pop(number, None)

    # -- reading -----------------------------------------------------------------------------
    def _read(self) -> None:
        """Keep a connection as long as this client is open; runs in a thread of its own."""
        pause = _FIRST_PAUSE
        before = False
        while not self._closed.is_set():
            try:
                sock = wire.connect(self._path, self._timeout)
            except OSError:
                self._closed.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            self._welcome(sock, again=before)
            before = True
            self._take_answers(sock)
            with self._lock:
                self._socket = None
            sock.close()

    def _welcome(self, sock: socket.socket, *, again: bool) -> None:
        with self._lock:
            self._socket = sock
            if self._closed.is_set():
                sock.close()
                return
            if again and self._subscriptions:
                self._send(wire.encode({"n": 0, "do": "subscribe"}))
                for subscription in self._subscriptions:
                    subscription.put(News(state="missed"))
            for data, _ in list(self._asked.values()):
                self._send(data)

    def _take_answers(self, sock: socket.socket) -> None:
        decoder = wire.Decoder()
        while True:
            try:
                data = sock.recv(2**18)
                decoder.feed(data)
                for message in decoder.messages():
                    self._take(message)
            except OSError:
                return
            if not data:
                return

    def _take(self, message: dict[str, Any]) -> None:
        if "news" in message:
            news = [News(**one) for one in message["news"]]
            with self._lock:
                subscriptions = list(self._subscriptions)
            for subscription in subscriptions:
                for one in news:
                    subscription.put(one)
            return
        with self._lock:
            entry = self._asked.get(message["n"])
        if entry is None or entry[1].done():
            return
        if "error" in message:
            refusal = message["error"]
            kind = _REFUSALS.get(refusal["kind"], ValueError)
            entry[1].set_exception(kind(refusal["detail"]))
        else:
            entry[1].set_result(message["ok"])


def _told(job: NewJob) -> dict[str, Any]:
    return {name: getattr(job, name) for name in _FIELDS}


def _pieces(jobs: Sequence[NewJob]) -> Iterator[Sequence[NewJob]]:
    for start in range(0, len(jobs), _JOBS_PER_MESSAGE):
        yield jobs[start : start + _JOBS_PER_MESSAGE]
