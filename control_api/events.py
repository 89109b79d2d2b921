"""What happens to jobs, as it happens: Server-Sent Events.

A stream of one job tells its log from the beginning and ends with the job; that
of all jobs begins now. Who was cut off and sends `Last-Event-ID` gets what was
missed. Each stream holds a thread of the server, so they are counted.

Source: HTML Living Standard, section 9.2 (server-sent events).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from threading import BoundedSemaphore

import falcon

from control_api.errors import Busy, UnknownJob
from control_api.ports import ENDED, Event, Listener, Service
from control_api.routes import Route
from control_api.wire import to_json

MAX_STREAMS = 16
_LOOK = 1.0  # seconds between two looks at whether the client is still there
_KEEP_ALIVE = 15.0  # seconds after which proxies may take a silent connection for dead
_PAGE = 1000


def routes(service: Service) -> list[Route]:
    """The two streams."""
    seats = BoundedSemaphore(MAX_STREAMS)

    def one(req: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        if service.job(job_id) is None:
            raise UnknownJob(f"there is no job {job_id!r}")
        _open(req, resp, job_id, _last(req) or 0)

    def every(req: falcon.Request, resp: falcon.Response) -> None:
        _open(req, resp, None, _last(req))

    def _open(
        req: falcon.Request, resp: falcon.Response, job_id: str | None, after: int | None
    ) -> None:
        if not seats.acquire(blocking=False):
            raise Busy(
                f"{MAX_STREAMS} event streams are open, and more are not; try again, or ask "
                "GET /v1/jobs/{job_id} now and then"
            )
        gone = req.env.get("waitress.client_disconnected", lambda: False)
        resp.content_type = "text/event-stream"
        resp.set_header("Cache-Control", "no-store")
        resp.set_header("X-Accel-Buffering", "no")
        resp.stream = _Stream(service, job_id, after, gone, seats.release)

    return [
        Route("GET", "/v1/jobs/{job_id}/events", "jobs", "Follow one job, to its end.", one),
        Route("GET", "/v1/events", "jobs", "Follow all jobs.", every),
    ]


def _last(req: falcon.Request) -> int | None:
    text = req.get_header("Last-Event-ID") or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


class _Stream:
    """The body of the answer; `close` is called by the server, also before the first byte."""

    def __init__(
        self,
        service: Service,
        job_id: str | None,
        after: int | None,
        gone: Callable[[], bool],
        release: Callable[[], None],
    ) -> None:
        self._service = service
        self._job_id = job_id
        self._after = after
        self._gone = gone
        self._stack = ExitStack()
        self._stack.callback(release)
        # Heard from before the log is read: nothing falls between the two.
        self._listener: Listener = self._stack.enter_context(service.listen())
        self._bytes = self._told()

    def __iter__(self) -> Iterator[bytes]:
        return self._bytes

    def close(self) -> None:
        self._bytes.close()
        self._stack.close()

    def _told(self) -> Generator[bytes]:
        yield b": audiolla\n\n"  # the header goes out at once
        said = time.monotonic()
        if self._after is not None:
            for event in self._logged():
                yield _shown(event)
                if self._is_last(event):
                    return
        while not self._gone():
            news = self._listener.get(_LOOK)
            if news is None:
                if time.monotonic() - said > _KEEP_ALIVE:
                    said = time.monotonic()
                    yield b":\n\n"
                continue
            if news.state == "missed":
                heard = list(self._logged()) if self._after is not None else []
            elif self._job_id not in (None, news.job_id) or self._is_old(news):
                continue
            else:
                heard = [news]
            for one in heard:
                self._after = one.number if one.number is not None else self._after
                said = time.monotonic()
                yield _shown(one)
                if self._is_last(one):
                    return

    def _logged(self) -> Iterator[Event]:
        while found := self._service.events(self._job_id, self._after or 0, _PAGE):
            for event in found:
                self._after = event.number
                yield event
            if len(found) < _PAGE:
                return

    def _is_old(self, event: Event) -> bool:
        return event.number is not None and event.number <= (self._after or 0)

    def _is_last(self, event: Event) -> bool:
        ended = event.number is not None and event.state in ENDED | {"deleted"}
        return self._job_id is not None and ended


def _shown(event: Event) -> bytes:
    about = {
        "job_id": event.job_id,
        "status": event.state,
        "at": event.at,
        "attempt": event.attempt,
        "text": event.text,
        "progress": event.progress,
        "step": event.step,
    }
    data = to_json({name: value for name, value in about.items() if value is not None})
    kind = b"progress" if event.number is None else b"status"
    number = b"" if event.number is None else b"id: %d\n" % event.number
    return b"%sevent: %s\ndata: %s\n\n" % (number, kind, data)
