"""Messages between processes: a length, then JSON.

Four bytes say how long the message is (big-endian), the message follows. The
dispatcher talks this way to its clients (Unix socket) and its workers
(socketpair). Text that is no valid UTF-8 cannot travel; paths are made text
by `rules.orders.path_to_text`.

A client's message is `{"n": number, "do": verb, ...}`; each is answered by
`{"n": number, "ok": ...}` or `{"n": number, "error": {"kind", "detail"}}`.
Subscribers also get `{"news": [...]}`. Between dispatcher and worker `do`
says what a message is; see `daemon.worker`.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

_LENGTH = struct.Struct(">I")
_MOST = 256 * 2**20
_PIECE = 256 * 2**10
#: A Unix socket's path is limited to 107 bytes by the kernel.
_LONGEST_SOCKET_PATH = 107


class Closed(ConnectionError):
    """The other side has closed the connection, or is gone."""


def encode(message: Any) -> bytes:
    """A message with its length before it.

    Raises:
        TypeError: it holds something that JSON cannot, such as half a surrogate pair.
    """
    body = orjson.dumps(message)
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add what has arrived."""
        self._buffer += data

    def messages(self) -> Iterator[Any]:
        """The messages that are whole, each once.

        Raises:
            Closed: a length is beyond reason; the stream cannot be trusted any more.
        """
        start = 0
        try:
            while len(self._buffer) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._buffer, start)
                if length > _MOST:
                    raise Closed(f"a message of {length} bytes was announced")
                end = start + _LENGTH.size + length
                if len(self._buffer) < end:
                    break
                body = bytes(self._buffer[start + _LENGTH.size : end])
                start = end
                yield orjson.loads(body)
        finally:
            del self._buffer[:start]


class Channel:
    """One connection of a process that must never wait for it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.socket = sock
        self._decoder = Decoder()
        self._unsent = bytearray()
        #: Something that was sent was not taken, and never will be.
        self.broken = False

    def fileno(self) -> int:
        """For a selector."""
        return self.socket.fileno()

    @property
    def unsent(self) -> int:
        """Bytes that the other side has not yet taken."""
        return len(self._unsent)

    def read(self) -> None:
        """Take in what has arrived, for `messages`.

        Raises:
            Closed: nothing more will come.
        """
        try:
            data = self.socket.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError as gone:
            raise Closed(str(gone)) from gone
        if not data:
            raise Closed("the other side has closed the connection")
        self._decoder.feed(data)

    def messages(self) -> Iterator[Any]:
        """The messages that have been taken in, each once.

        Raises:
            Closed: the stream cannot be trusted any more.
        """
        return self._decoder.messages()

    def send(self, message: Any) -> None:
        """Send, or keep for `flush` what the other side does not take now."""
        self.send_encoded(encode(message))

    def send_encoded(self, data: bytes) -> None:
        """`send`, for a message that goes to many."""
        if not self._unsent:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                # Whoever reads from this connection finds out too, and acts.
                self.broken = True
                return
        self._unsent += data

    def flush(self) -> None:
        """Send more of what is kept."""
        if self._unsent:
            try:
                sent = self.socket.send(self._unsent)
            except BlockingIOError:
                return
            except OSError:
                self.broken = True
                self._unsent.clear()
                return
            del self._unsent[:sent]

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """A name for a Unix socket that the kernel takes, however long its path is."""
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        yield os.fspath(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: Path) -> socket.socket:
    """Listen at a path; only this user may connect. A socket left behind there is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode is right from the first moment; a chmod would come after it.
    before = os.umask(0o177)
    try:
        with socket_address(path) as address:
            listener.bind(address)
    finally:
        os.umask(before)
    listener.listen(128)
    return listener


def connect(path: Path, timeout: float) -> socket.socket:
    """A blocking connection to a path.

    Raises:
        OSError: nobody listens there.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        with socket_address(path) as address:
            sock.connect(address)
    except OSError:
        sock.close()
        raise
    sock.settimeout(None)
    return sock
