"""An ASGI application behind a WSGI server, answer by answer, piece by piece.

The protocol's package speaks ASGI and wants an event loop; waitress speaks WSGI
and has threads. One thread runs the loop; each request's own thread waits for
the pieces of its answer, and for the client to hang up.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

HOLDER = "audiolla.holder"
"""Whose token it was, in the environment and in the state of the scope."""
_LOOK = 1.0
"""Seconds between two looks at whether the client has hung up."""
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers"}
    | {"transfer-encoding", "upgrade"}
)
"""PEP 3333 forbids an application to send them, and waitress refuses them."""


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class Exchange:
    """One request through an ASGI application: status and headers, then the body as it comes."""

    def __init__(
        self,
        app: AsgiApp,
        loop: asyncio.AbstractEventLoop,
        environ: MutableMapping[str, Any],
        body: bytes,
    ) -> None:
        """Send the request, and wait until the answer begins.

        Raises:
            ClientGone: the client hung up before that.
        """
        self._messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._hung_up = environ.get("waitress.client_disconnected", lambda: False)
        self._loop = loop
        self._gone = asyncio.Event()
        self._future = asyncio.run_coroutine_threadsafe(
            self._run(app, scope_of(environ), body), loop
        )
        try:
            begun = self._next()
        except BaseException:
            self.close()
            raise
        if begun is None:
            raise RuntimeError("the application ended without an answer")
        self.status = int(begun["status"])
        self.headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in begun.get("headers", [])
            if name.decode("latin-1").lower() not in _HOP_BY_HOP
        ]

    def __iter__(self) -> Iterator[bytes]:
        """The body."""
        try:
            while (message := self._next()) is not None:
                if message.get("body"):
                    yield message["body"]
                if not message.get("more_body", False):
                    return
        except ClientGone:
            return
        finally:
            self.close()

    def close(self) -> None:
        """End the application's work on it, if it has not ended."""
        if not self._future.done():
            self._loop.call_soon_threadsafe(self._gone.set)
            self._future.cancel()

    def _next(self) -> Message | None:
        while True:
            try:
                return self._messages.get(timeout=_LOOK)
            except queue.Empty:
                if self._hung_up():
                    raise ClientGone from None

    async def _run(self, app: AsgiApp, scope: Message, body: bytes) -> None:
        received = False

        async def receive() -> Message:
            nonlocal received
            if not received:
                received = True
                return {"type": "http.request", "body": body, "more_body": False}
            await self._gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            self._messages.put(message)

        try:
            await app(scope, receive, send)
        finally:
            self._messages.put(None)


def scope_of(environ: MutableMapping[str, Any]) -> Message:
    """The ASGI scope of a WSGI request."""
    headers = [
        (key[5:].replace("_", "-").lower().encode("latin-1"), value.encode("latin-1"))
        for key, value in environ.items()
        if key.startswith("HTTP_")
    ]
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            name = key.replace("_", "-").lower().encode("latin-1")
            headers.append((name, environ[key].encode("latin-1")))
    path = environ.get("PATH_INFO", "/").encode("latin-1").decode("utf-8", "replace")
    port = environ.get("SERVER_PORT", "0")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").removeprefix("HTTP/"),
        "method": environ["REQUEST_METHOD"],
        "scheme": environ.get("wsgi.url_scheme", "http"),
        "path": path,
        "raw_path": path.encode(),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "root_path": "",
        "headers": headers,
        "client": (environ.get("REMOTE_ADDR", ""), 0),
        "server": (environ.get("SERVER_NAME", ""), int(port)),
        "state": {HOLDER: environ.get(HOLDER)},
    }
