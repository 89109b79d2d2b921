"""`/v1/mcp`: the Model Context Protocol over HTTP, on the same port and with the same token.

The protocol's package takes seconds to import and needs an event loop: a
thread of its own does both, beside the server that answers already.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import falcon

from control_api.errors import Busy
from control_api.forms import MAX_TEXT
from control_api.mcp.bridge import HOLDER, AsgiApp, ClientGone, Exchange
from control_api.mcp.toolbox import toolbox
from control_api.ports import ApiSettings, Service
from control_api.routes import Route
from handlers.errors import TooLarge

if TYPE_CHECKING:
    from control_api.rest import WaitingRoom

_LOG = logging.getLogger(__name__)

MCP_PATH = "/v1/mcp"
_PATIENCE = 30.0
"""Seconds that a request waits for the package to be imported."""
_LISTEN = "subscriptions/listen"
_MAX_LISTENERS = 16
"""Streams that stay open; each holds a thread of the server."""


def body_limit(inline_bytes: int) -> int:
    """Bytes of one request: what may come out in base64 may come in."""
    return inline_bytes * 4 // 3 + 2 * MAX_TEXT


class Door:
    """Serves the protocol: `start` (or the first request) opens it, `close` ends it."""

    def __init__(self, service: Service, settings: ApiSettings) -> None:
        self._service, self._settings = service, settings
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._opened = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._streaming: AsgiApp | None = None
        self._plain: AsgiApp | None = None
        self._listeners = threading.BoundedSemaphore(_MAX_LISTENERS)

    def start(self) -> None:
        """Begin to open it; returns at once."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mcp", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End it, with whatever it is at; one that is still opening ends with the process."""
        if self._thread is None or not self._opened.is_set():
            return
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    def routes(self, waiting: WaitingRoom) -> list[Route]:
        """Its route, with and without a slash at the end. `waiting` limits who waits at once."""

        def on_post(req: falcon.Request, resp: falcon.Response) -> None:
            self._answer(req, resp, waiting)

        sentence = "The Model Context Protocol, for agents."
        return [
            # Each tool says itself what a token must be good for.
            Route("POST", MCP_PATH, "management", sentence, on_post, scope="read"),
            Route("POST", MCP_PATH + "/", "management", sentence, on_post, False, scope="read"),
        ]

    def _answer(self, req: falcon.Request, resp: falcon.Response, waiting: WaitingRoom) -> None:
        limit = body_limit(self._settings.mcp_inline_bytes)
        body = req.bounded_stream.read(limit + 1)
        if len(body) > limit:
            raise TooLarge(f"the request has more than {limit} bytes; PUT files to /v1/files")
        app, loop = self._ready(streaming=_wants_stream(req, body))
        with ExitStack() as leaving:
            leaving.enter_context(self._seated(req, waiting))
            try:
                whose = {HOLDER: getattr(req.context, "holder", None)}
                exchange = Exchange(app, loop, req.env | whose, body)
            except ClientGone:
                resp.status = 499  # nobody reads it; the log does
                return
            # The seat is left when the last piece has been sent, not when this function returns.
            leaving.callback(exchange.close)
            pieces: Iterable[bytes] = exchange
            if exchange.status >= 400:
                pieces = [_refusal(exchange)]
            seat = leaving.pop_all()
        resp.status = exchange.status
        for name, value in exchange.headers:
            if name.lower() == "content-type":
                resp.content_type = value
            else:
                resp.set_header(name, value)
        resp.stream = _Stream(pieces, seat.close)

    @contextmanager
    def _seated(self, req: falcon.Request, waiting: WaitingRoom) -> Iterator[None]:
        listens = _listens(req)
        if listens and not self._listeners.acquire(blocking=False):
            raise Busy("too many listen at once; try again")
        try:
            with waiting.seat():
                yield
        finally:
            if listens:
                self._listeners.release()

    def _ready(self, *, streaming: bool) -> tuple[AsgiApp, asyncio.AbstractEventLoop]:
        self.start()
        self._opened.wait(_PATIENCE)
        app = self._streaming if streaming else self._plain
        if app is None or self._loop is None:
            raise Busy("the door for agents is not open yet; try again")
        return app, self._loop

    # -- the thread ------------------------------------------------------------------------------
    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:  # noqa: BLE001 - REST goes on; requests to this door are told
            _LOG.exception("the door for agents does not open")
        finally:
            self._streaming = self._plain = None
            self._opened.set()

    async def _serve(self) -> None:
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        from control_api.mcp.protocol import build

        settings = self._settings
        tools = toolbox(self._service, settings)
        server = build(tools, self._service, settings.mcp_inline_bytes, settings.job_ttl)
        self._stop = asyncio.Event()
        async with AsyncExitStack() as stack:

            async def manager(*, json_response: bool) -> AsgiApp:
                one: Any = StreamableHTTPSessionManager(
                    app=server,
                    stateless=True,
                    json_response=json_response,
                    max_request_body_size=body_limit(settings.mcp_inline_bytes) + 1,
                )
                await stack.enter_async_context(one.run())
                handle: AsgiApp = one.handle_request
                return handle

            self._streaming = await manager(json_response=False)
            self._plain = await manager(json_response=True)
            self._loop = asyncio.get_running_loop()
            self._opened.set()
            await self._stop.wait()


def _refusal(exchange: Exchange) -> bytes:
    """The body of a refusal in the protocol's words.

    Raises:
        HTTPError: the package has refused it in plain text, before it came to the protocol.
    """
    body = b"".join(exchange)
    if not body.startswith(b"{"):
        raise falcon.HTTPError(exchange.status, description=body.decode("utf-8", "replace"))
    return body


class _Stream:
    """The pieces of an answer, as WSGI has them: closed when the server is done with it."""

    def __init__(self, pieces: Iterable[bytes], close: Callable[[], None]) -> None:
        self._pieces = iter(pieces)
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


def _wants_stream(req: falcon.Request, body: bytes) -> bool:
    """True when something may come before the answer: only then is it worth a stream.

    Many clients limit the size of what comes in one, and curl takes none.
    """
    if "text/event-stream" not in (req.get_header("Accept") or ""):
        return False
    return _listens(req) or b'"progressToken"' in body


def _listens(req: falcon.Request) -> bool:
    return req.get_header("Mcp-Method") == _LISTEN
