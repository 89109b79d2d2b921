"""waitress with a guard in its parser: a request is refused at its header, before its body.

Left alone, waitress stores the body of every request in files without names,
which the application would have to copy, sends `100 Continue` to a body that it will refuse, and
never cuts a client that drips a byte now and then. The guard leans on
waitress' internals; `tests/control_api/test_server.py` has a test per line.
"""

from __future__ import annotations

import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.receiver import ChunkedReceiver
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import BadRequest, Error, RequestEntityTooLarge

from control_api import uploads
from control_api.bodies import FormBody, Sink, Spool
from control_api.forms import MAX_TEXT
from control_api.guard import OPEN_PATHS
from control_api.hosts import is_foreign
from control_api.mcp.door import MCP_PATH, body_limit
from control_api.scopes import Keys
from control_api.wire import to_json

if TYPE_CHECKING:
    from control_api.ports import ApiSettings, Uploads
    from control_api.routes import App

THREADS = 88
"""Most of them wait and cost nothing; `rest.MAX_WAITING` and `events.MAX_STREAMS` leave some."""
CONNECTIONS = 4000
"""Those that say nothing are closed after `_IDLE_SECONDS`; until then they must not be all."""
_IDLE_SECONDS = 30
_FILES = 500  # descriptors that the rest of the process may want
_RECEIVE = 1 << 17  # bytes that are read from a connection at once
_LEAST_FREE = 1 << 28  # bytes of disk that bodies on their way leave to the queue and the results
_HEADER_SECONDS = 10.0
_BODY_SECONDS = 20.0
_BODY_BYTES_PER_SECOND = 16 << 10  # a body may take longer while it comes at least this fast


class _Unauthorized(Error):  # type: ignore[misc]  # waitress has no types
    code = 401
    reason = "Unauthorized"

    def to_response(self, ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:
        status, headers, body = super().to_response(ident)
        return status, [*headers, ("WWW-Authenticate", "Bearer")], body


class _Forbidden(Error):  # type: ignore[misc]  # waitress has no types
    code = 403
    reason = "Forbidden"


class _Busy(Error):  # type: ignore[misc]  # waitress has no types
    code = 503
    reason = "Service Unavailable"

    def to_response(self, ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:
        status, headers, body = super().to_response(ident)
        return status, [*headers, ("Retry-After", "2")], body


class _JsonErrorTask(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """What waitress refuses by itself, in the one error shape."""

    def execute(self) -> None:
        error = self.request.error
        status, headers, _ = error.to_response()
        told = {"type": "about:blank", "title": error.reason, "status": error.code}
        body = to_json({**told, "detail": error.body or error.reason})
        self.status = status
        kept = [(k, v) for k, v in headers if k != "Content-Type"]
        self.response_headers.extend([*kept, ("Content-Type", "application/json")])
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Task(WSGITask):  # type: ignore[misc]  # waitress has no types
    """One request at work."""

    _stays = False

    def build_response_header(self) -> bytes:
        """As waitress does, but an answer that can have no body does not end the connection.

        RFC 9110 8.6 forbids such an answer a length, and waitress closes what has none.
        """
        asked = self.request.headers.get("CONNECTION", "").lower()
        self._stays = self.version == "1.1" and asked != "close" and not self.has_body
        try:
            return bytes(super().build_response_header())
        finally:
            self._stays = False

    def set_close_on_finish(self) -> None:
        """End the connection after this answer."""
        if not self._stays:
            super().set_close_on_finish()


class _Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """One request while it arrives."""

    charge = 0
    body_limit = 0
    may_put = False
    body_rcv: Any = None

    def __init__(self, adj: Adjustments, channel: _Channel) -> None:
        super().__init__(adj)
        self.begun = time.monotonic()
        self._channel = channel

    def parse_header(self, header_plus: bytes) -> None:
        """Read the header, and refuse what can be refused by it."""
        super().parse_header(header_plus)
        limits = self._channel.server.limits
        lines = b"\r\n" + header_plus.lower()
        if self.chunked and b"\r\ncontent-length:" in lines:
            # Two lengths: what follows the shorter one would be read as another request.
            self._deny(BadRequest("Content-Length and Transfer-Encoding are both given"))
            return
        if not limits.may_enter(self):
            self._deny(_Unauthorized("this server needs its token: Authorization: Bearer <token>"))
            return
        origin = self.headers.get("ORIGIN")
        foreign = origin is not None and is_foreign(origin, self.headers.get("HOST", ""))
        if foreign and self.path not in OPEN_PATHS:
            self._deny(_Forbidden(f"requests from {origin[:200]!r} are not taken"))
            return
        self.body_limit = limits.body_limit(self)
        if self.content_length > self.body_limit:
            self._deny(RequestEntityTooLarge(_too_large(self.body_limit)))
            return
        charge = self.content_length or (self.body_limit if self.chunked else 0)
        if charge and self._channel.in_flight() + charge > limits.room():
            self._deny(_Busy("too many uploads at once for the disk; try again"))
            return
        announced = self._channel.announced() if charge else 0
        if announced and announced + charge > limits.inflight:
            self._deny(_Busy("too many uploads at once (AUDIOLLA_UPLOAD_INFLIGHT); try again"))
            return
        self.charge = charge
        if self.body_rcv is not None:
            self.body_rcv.buf = limits.sink(self)

    def received(self, data: bytes) -> int:
        """Take bytes of the request; the number that was used."""
        used: int = super().received(data)
        body: Any = self.body_rcv
        if isinstance(body, ChunkedReceiver) and (
            len(body.control_line) > 4096 or len(body.trailer) > 16384
        ):
            self._deny(BadRequest("a chunk has an endless header"))
        elif body is not None and self.body_bytes_received > self.body_limit:
            self._deny(RequestEntityTooLarge(_too_large(self.body_limit)))
        return used

    def is_too_slow(self, now: float) -> bool:
        """True when a client keeps the connection busy with next to nothing."""
        age = now - self.begun
        if not self.headers_finished:
            return age > _HEADER_SECONDS
        return bool(age > _BODY_SECONDS + self.body_bytes_received / _BODY_BYTES_PER_SECOND)

    def _deny(self, error: Error) -> None:
        self.error = error
        self.completed = True
        self.expect_continue = False
        self.connection_close = True
        self.close()
        self.body_rcv = None
        self.content_length = self.charge = 0


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    task_class = _Task
    error_task_class = _JsonErrorTask

    def parser_class(self, adj: Adjustments) -> _Parser:
        return _Parser(adj, self)

    def in_flight(self) -> int:
        """Bytes that all connections have announced and not sent yet."""
        return sum(one.charge - one.body_bytes_received for one in self._arriving())

    def announced(self) -> int:
        """Bytes of all bodies that are on their way: what of them has arrived lies on the disk."""
        return sum(one.charge for one in self._arriving())

    def _arriving(self) -> Iterator[_Parser]:
        for channel in list(self.server.active_channels.values()):
            if channel.request is not None and channel.request.charge:
                yield channel.request

    def handle_close(self) -> None:
        """Forget what has arrived of a body that will never be whole."""
        super().handle_close()
        if self.request is not None:
            self.request.close()


class _Limits:
    """What a request may bring."""

    def __init__(
        self, settings: ApiSettings, keys: Keys, spool: Path | None, partial: Uploads | None
    ) -> None:
        self._keys = keys
        self._spool = spool
        self._uploads = partial
        #: A little more than the cap: the application names the field that is too large.
        self.upload = settings.max_upload_bytes + MAX_TEXT
        self.form = 2 * settings.max_upload_bytes + 2 * MAX_TEXT  # may hold two sounds
        self.text = 2 * MAX_TEXT
        self.mcp = body_limit(settings.mcp_inline_bytes)
        self.inflight = settings.upload_inflight

    def may_enter(self, request: _Parser) -> bool:
        if request.path in OPEN_PATHS or request.command == "OPTIONS":
            return True
        holder = self._keys.holder(request.headers.get("AUTHORIZATION", ""))
        request.may_put = holder is not None and holder.may("files")
        return holder is not None

    def room(self) -> int:
        """Bytes that the disk has for bodies which have not arrived yet."""
        return shutil.disk_usage(self._spool or tempfile.gettempdir()).free - _LEAST_FREE

    def sink(self, request: _Parser) -> Sink:
        """Where the body of a request goes."""
        kind = request.headers.get("CONTENT_TYPE", "")
        if self._uploads is not None and request.may_put and uploads.is_piece(request):
            return uploads.piece(self._uploads, request)
        if request.command == "POST" and kind.lower().startswith("multipart/form-data"):
            return FormBody(kind, self._spool)
        return Spool(self._spool)

    def body_limit(self, request: _Parser) -> int:
        if request.command == "PUT" or uploads.is_piece(request):
            return self.upload
        if request.path.rstrip("/") == MCP_PATH:
            return self.mcp
        kind = request.headers.get("CONTENT_TYPE", "").lower()
        return self.form if kind.startswith("multipart/") else self.text


class _Listener(TcpWSGIServer):  # type: ignore[misc]  # waitress has no types
    channel_class = _Channel
    limits: _Limits

    def maintenance(self, now: float) -> None:
        """Close idle connections, as waitress does, and those that drip."""
        super().maintenance(now)
        clock = time.monotonic()
        for channel in self.active_channels.values():
            request = channel.request
            if request is not None and request.is_too_slow(clock):
                channel.will_close = True


class Server:
    """A listening server: `run` serves until `close` is called from another thread."""

    def __init__(
        self,
        app: App,
        settings: ApiSettings,
        host: str,
        port: int,
        keys: Keys | None = None,
        spool: Path | None = None,
        partial: Uploads | None = None,
    ) -> None:
        limits = _Limits(settings, keys or Keys(settings.auth_token), spool, partial)
        adjustments = Adjustments(
            host=host,
            port=port,
            threads=THREADS,
            connection_limit=CONNECTIONS,
            asyncore_use_poll=True,
            channel_timeout=_IDLE_SECONDS,
            recv_bytes=_RECEIVE,
            cleanup_interval=1,
            # Read on while a request is worked on: so a client that hangs up is noticed, and
            # the job that it waited for is cancelled.
            channel_request_lookahead=1,
            max_request_header_size=32768,
            max_request_body_size=max(limits.form, limits.mcp) + 1,
            clear_untrusted_proxy_headers=True,
            expose_tracebacks=False,
            ident=None,
        )
        _allow_files(CONNECTIONS + _FILES)
        self._map: dict[int, Any] = {}
        self._dispatcher = ThreadedTaskDispatcher()
        self._stopping = threading.Event()
        # A name may have several addresses; with port 0 they would get different ports.
        addresses = adjustments.listen if port else adjustments.listen[:1]
        try:
            self._listeners = [
                _Listener(
                    app,
                    self._map,
                    dispatcher=self._dispatcher,
                    adj=adjustments,
                    sockinfo=address,
                )
                for address in addresses
            ]
        except OSError:
            wasyncore.close_all(self._map)
            raise
        for listener in self._listeners:
            listener.limits = limits
        self._dispatcher.set_thread_count(THREADS)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listeners[0].effective_port)

    def run(self) -> None:
        """Serve until `close`."""
        try:
            while not self._stopping.is_set():
                wasyncore.loop(timeout=1.0, use_poll=True, map=self._map, count=1)
        finally:
            for listener in self._listeners:
                listener.accepting = False
            self._dispatcher.shutdown(cancel_pending=True, timeout=5)
            wasyncore.close_all(self._map)

    def close(self) -> None:
        """End `run`; may be called from any thread and from a signal handler."""
        self._stopping.set()
        self._listeners[0].pull_trigger()


def serve(
    app: App,
    settings: ApiSettings,
    host: str,
    port: int,
    *,
    spool: Path | None = None,
    keys: Keys | None = None,
    partial: Uploads | None = None,
) -> Server:
    """Listen on an address; port 0 takes a free one.

    Args:
        app: from `create_app`.
        settings: token and limits.
        host: address or name.
        port: TCP port.
        spool: where bodies wait until they are read. Else the system's temporary
            folder, which may be small or in memory.
        keys: open it before a body is read; those that `create_app` was given.
        partial: where the pieces of resumable uploads go while they arrive. Without,
            they are taken as other bodies are, whole or not at all.

    Raises:
        OSError: the address cannot be taken.
    """
    if spool is not None:
        # What lies there is half of something: nobody else receives into this folder.
        shutil.rmtree(spool, ignore_errors=True)
        spool.mkdir(parents=True)
        tempfile.tempdir = str(spool)  # for long answers; waitress has no option for it
    return Server(app, settings, host, port, keys, spool, partial)


def _allow_files(wanted: int) -> None:
    """Have as many descriptors as connections need, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(most, soft), hard))


def _too_large(limit: int) -> str:
    return f"the body is larger than the limit of {limit} bytes"
