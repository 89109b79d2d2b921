"""Every request that leaves this server for a URL that somebody named: one pinned client.

A name is resolved once for a connection, all its addresses must pass the
policy, and the connection goes to one of those addresses; what the name says a
moment later has no effect. Every redirect begins again with the policy. One
deadline covers resolving, connecting, TLS, headers and body, so that a server
which drips bytes is cut off in time. No proxies, cookies or credentials from
the environment; nothing is decompressed.
"""

from __future__ import annotations

import http.client
import io
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from threading import Thread
from typing import Any, BinaryIO
from urllib.parse import urljoin

from daemon.urls import Address, Policy, Target, bare
from handlers.errors import AudiollaError, TooLarge, TransferFailed, UrlRefused

log = logging.getLogger(__name__)

Heard = Callable[[int, int | None], None]
"""Told the bytes that went over so far, and how many there will be."""
Resolve = Callable[[str], Sequence[Address]]
"""All addresses of a host name; `OSError` when there are none."""

UPLOADED = frozenset({200, 201, 204})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CONNECT_SECONDS = 5.0
_CHUNK = 1 << 18
_MAX_ANSWER = 64 << 10  # of the body that answers a PUT or POST
_AGENT = "audiolla"


@dataclass(frozen=True)
class Fetched:
    """What a URL gave."""

    size: int


def addresses_of(host: str) -> list[Address]:
    """All addresses that the system's resolver knows for a name.

    Raises:
        OSError: there are none, or nobody answers.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(info[4][0]) for info in found))


class Outgoing:
    """Asks URLs under one policy. For any thread."""

    def __init__(
        self,
        policy: Policy,
        *,
        timeout: float,
        max_bytes: int,
        max_redirects: int = 0,
        resolve: Resolve = addresses_of,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Prepare.

        Args:
            policy: which URLs may be asked.
            timeout: seconds that one fetch, upload or call may take as a whole.
            max_bytes: largest body that is taken.
            max_redirects: how many redirects a fetch follows.
            resolve: gives all addresses of a name.
            tls: whom to trust; by default whom the system trusts.
        """
        self._policy = policy
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._max_redirects = max_redirects
        self._resolve = resolve
        self._given_tls = tls

    def check(self, url: str) -> None:
        """Refuse a URL that will not be asked. Resolves its name, and connects to nobody.

        Raises:
            UrlRefused: a rule refuses it.
            TransferFailed: its name has no address now.
        """
        try:
            self._addresses(self._policy.check(url), _Deadline(_CONNECT_SECONDS))
        except UrlRefused as refused:
            log.info("a URL is refused: %s", refused.detail)
            raise

    def fetch(self, url: str, into: BinaryIO, heard: Heard = lambda *_: None) -> Fetched:
        """Write what a URL gives to a file.

        Raises:
            UrlRefused: the URL, or one that it redirects to, is refused.
            TransferFailed: it did not give anything whole in time.
            TooLarge: it gives more than is taken.
        """
        deadline = _Deadline(self._timeout)
        for _ in range(self._max_redirects + 1):
            with self._exchange("GET", url, deadline) as (target, response):
                if response.status not in _REDIRECTS:
                    size = self._take(target, response, into, heard)
                    log.info("GET %s: %d bytes in %.2f s", target.shown, size, deadline.elapsed)
                    return Fetched(size)
                where = response.getheader("Location")
                if not where:
                    raise _failed(target, f"a redirect ({response.status}) to nowhere")
                log.info("GET %s: redirected (%d)", target.shown, response.status)
                url = urljoin(url, where.partition("#")[0])
        raise TransferFailed(
            f"more than {self._max_redirects} redirects (AUDIOLLA_FETCH_MAX_REDIRECTS)"
        )

    def put(
        self,
        url: str,
        source: BinaryIO,
        size: int,
        media_type: str,
        heard: Heard = lambda *_: None,
    ) -> None:
        """Send a file to a URL; no redirect is followed.

        Raises:
            UrlRefused: the URL is refused.
            TransferFailed: it did not take the file in time.
        """
        deadline = _Deadline(self._timeout)
        headers = {"Content-Type": media_type, "Content-Length": str(size)}
        body = _pieces(source, size, heard)
        with self._exchange("PUT", url, deadline, headers, body) as (target, response):
            log.info(
                "PUT %s: %d, %d bytes in %.2f s",
                *(target.shown, response.status, size, deadline.elapsed),
            )
            if response.status not in UPLOADED:
                raise _failed(target, f"the PUT was answered with status {response.status}")

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send a message to a URL; no redirect is followed.

        Returns:
            The status of the answer, whatever it is.

        Raises:
            UrlRefused: the URL is refused.
            TransferFailed: there was no answer in time.
        """
        deadline = _Deadline(self._timeout)
        headers = {**headers, "Content-Length": str(len(body))}
        with self._exchange("POST", url, deadline, headers, [body]) as (target, response):
            log.info("POST %s: %d in %.2f s", target.shown, response.status, deadline.elapsed)
            return response.status

    # -- one exchange ------------------------------------------------------------------------
    @contextmanager
    def _exchange(
        self,
        method: str,
        url: str,
        deadline: _Deadline,
        headers: Mapping[str, str] = {},
        body: Iterator[bytes] | Sequence[bytes] = (),
    ) -> Iterator[tuple[Target, http.client.HTTPResponse]]:
        """Ask once, and have the answer's head; everything is closed at the end."""
        try:
            target = self._policy.check(url)
        except UrlRefused as refused:
            log.warning("%s: a URL is refused: %s", method, refused.detail)
            raise
        try:
            with self._connected(target, deadline) as sock:
                connection = http.client.HTTPConnection(target.host, target.port)
                connection.sock = sock  # all of a socket that it uses
                connection.putrequest(
                    method, target.path, skip_host=True, skip_accept_encoding=True
                )
                every = {
                    "Host": target.authority,
                    "User-Agent": _AGENT,
                    "Accept": "*/*",
                    "Accept-Encoding": "identity",
                    "Connection": "close",
                    **headers,
                }
                for name, value in every.items():
                    connection.putheader(name, value)
                connection.endheaders()
                _send(connection, body)
                response = connection.getresponse()
                yield target, response
                if method != "GET":
                    response.read(_MAX_ANSWER)
        except (TransferFailed, TooLarge, UrlRefused) as told:
            log.warning("%s %s: %s", method, target.shown, told.detail)
            raise
        except AudiollaError:  # somebody who listens had enough
            raise
        except TimeoutError:
            log.warning("%s %s: not done in %.0f s", method, target.shown, deadline.seconds)
            raise _failed(target, f"not done within {deadline.seconds:g} s", passes=True) from None
        except (OSError, http.client.HTTPException) as broken:
            log.warning("%s %s: %r", method, target.shown, broken)
            said = getattr(broken, "strerror", None) or str(broken) or type(broken).__name__
            raise _failed(target, f"the exchange broke off: {said}", passes=True) from broken

    def _addresses(self, target: Target, deadline: _Deadline) -> Sequence[Address]:
        """The addresses of a target, every one of which has passed the policy."""
        if target.literal is not None:
            found: Sequence[Address] = [target.literal]
        else:
            found = self._resolved(target, deadline)
        for address in found:
            self._policy.check_address(target, address)
        return found

    def _resolved(self, target: Target, deadline: _Deadline) -> Sequence[Address]:
        # The system's resolver cannot be interrupted; whoever waits for it can.
        answer: Future[Sequence[Address]] = Future()

        def ask() -> None:
            try:
                answer.set_result(self._resolve(target.host))
            except Exception as wrong:  # noqa: BLE001 - raised where the answer is waited for
                answer.set_exception(wrong)

        Thread(target=ask, name="resolve", daemon=True).start()
        try:
            found = answer.result(min(deadline.left(), _CONNECT_SECONDS))
        except FutureTimeoutError:
            raise _failed(target, "its name is not resolved in time", passes=True) from None
        except (OSError, UnicodeError, ValueError):
            raise _failed(target, "its name cannot be resolved", passes=True) from None
        if not found:
            raise _failed(target, "its name has no address")
        return found

    @contextmanager
    def _connected(self, target: Target, deadline: _Deadline) -> Iterator[_TimedSocket]:
        sock = self._dialled(target, self._addresses(target, deadline), deadline)
        try:
            if target.scheme == "https":
                sock.settimeout(deadline.left())
                sock = self._tls.wrap_socket(
                    sock, server_hostname=target.host, suppress_ragged_eofs=False
                )
            yield _TimedSocket(sock, deadline)
        finally:
            sock.close()

    @staticmethod
    def _dialled(target: Target, addresses: Sequence[Address], deadline: _Deadline) -> Any:
        """A socket to the first of these addresses that answers."""
        wrong: OSError = OSError("no address")
        for address in addresses:
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(min(deadline.left(), _CONNECT_SECONDS))
                sock.connect((str(address), target.port))
                if bare(ip_address(sock.getpeername()[0])) != bare(address):
                    raise OSError("connected to somebody else")
            except OSError as refused:
                sock.close()
                wrong = refused
            else:
                return sock
        raise wrong

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or ssl.create_default_context()

    def _take(
        self, target: Target, response: http.client.HTTPResponse, into: BinaryIO, heard: Heard
    ) -> int:
        if response.status != 200:
            passes = response.status >= 500 or response.status == 429
            raise _failed(target, f"it answered with status {response.status}", passes=passes)
        encoding = response.getheader("Content-Encoding", "identity").lower()
        if encoding != "identity":
            raise _failed(target, f"it answers in the encoding {encoding[:40]!r}, unasked")
        total = response.length  # None where it sends pieces, or until it hangs up
        if total is not None and total > self._max_bytes:
            raise self._too_large(f"has {total} bytes")
        size = 0
        while chunk := response.read(_CHUNK):
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large("is larger")
            into.write(chunk)
            heard(size, total)
        if total is not None and size != total:
            raise _failed(target, f"it broke off after {size} of {total} bytes", passes=True)
        return size

    def _too_large(self, what: str) -> TooLarge:
        return TooLarge(
            f"what the URL gives {what}; the limit is {self._max_bytes} bytes "
            "(AUDIOLLA_MAX_UPLOAD_BYTES)"
        )


def _failed(target: Target, what: str, *, passes: bool = False) -> TransferFailed:
    failure = TransferFailed(f"{target.origin}: {what}")
    failure.may_pass = passes
    return failure


def _pieces(source: BinaryIO, size: int, heard: Heard) -> Iterator[bytes]:
    """A file in pieces: exactly the bytes that were announced."""
    sent = 0
    while sent < size:
        piece = source.read(min(_CHUNK, size - sent))
        if not piece:
            raise OSError("the file became shorter while it was sent")
        yield piece
        sent += len(piece)
        heard(sent, size)


def _send(connection: http.client.HTTPConnection, body: Iterator[bytes] | Sequence[bytes]) -> None:
    try:
        for piece in body:
            connection.send(piece)
    except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
        # It did not want the rest; its answer, already on the way, says why.
        return


class _Deadline:
    """A moment, and what is left until then."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._begun = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._begun

    def left(self) -> float:
        """Seconds, always more than none.

        Raises:
            TimeoutError: the moment has passed.
        """
        left = self.seconds - self.elapsed
        if left <= 0:
            raise TimeoutError
        return left


class _TimedSocket:
    """The part of a socket that `http.client` uses; every wait ends at the deadline."""

    def __init__(self, sock: Any, deadline: _Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._sock.settimeout(self._deadline.left())
            view = view[self._sock.send(view) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._sock, self._deadline), 1 << 16)

    def close(self) -> None:
        """The answer is still being read when `http.client` has sent what it had to."""


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: Any, deadline: _Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._deadline.left())
        received: int = self._sock.recv_into(buffer)
        return received
