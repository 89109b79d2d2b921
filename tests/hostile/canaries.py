"""Things that nobody may touch, and who notices when somebody does."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from pathlib import Path

from tests.hostile.inputs import Targets
from tests.hostile.seeds import seeds

_IN_ACCESS, _IN_OPEN = 0x1, 0x20
_EVENT = struct.Struct("iIII")


class Canaries:
    """Sounds and secrets in a folder, an HTTP server, and a file that only a command could make.

    Each planted file is watched by inotify: being opened is enough.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._names: dict[int, str] = {}
        # Real sounds: whoever follows a playlist finds what it is looking for.
        for name in ("secret.txt", "secret.wav", "secret.mp3", "secret.m4a", "secret.flac"):
            suffix = Path(name).suffix
            good = next((data for n, data in seeds().items() if n.endswith(suffix)), b"the secret")
            (folder / name).write_bytes(good)
            raw = os.fsencode(folder / name)
            watch = libc.inotify_add_watch(self._inotify, raw, _IN_OPEN | _IN_ACCESS)
            assert watch >= 0, os.strerror(ctypes.get_errno())
            self._names[watch] = name
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)
        self.port = self._server.getsockname()[1]

    def targets(self, suffix: str) -> Targets:
        """What hostile files are to point to."""
        file = self._folder / f"secret.{suffix}"
        url = f"http://127.0.0.1:{self.port}/secret.mp3"
        return Targets(str(file), url, str(self._folder / "command"))

    def touched(self) -> list[str]:
        """What was opened, asked for or run since the last time."""
        found: list[str] = []
        try:
            raw = os.read(self._inotify, 1 << 16)
        except BlockingIOError:
            raw = b""
        while raw:
            watch, _, _, length = _EVENT.unpack_from(raw)
            found.append(f"opened {self._names[watch]}")
            raw = raw[_EVENT.size + length :]
        try:
            self._server.accept()[0].close()
            found.append("an HTTP request")
        except BlockingIOError:
            pass
        if (self._folder / "command").exists():
            found.append("a command was run")
        return found

    def close(self) -> None:
        """Watch no more."""
        os.close(self._inotify)
        self._server.close()
