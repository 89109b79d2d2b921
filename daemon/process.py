"""The dispatcher as its parent sees it: a child process that is there again when it dies."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

from daemon.faults import UnusableDatabase, signal_name
from daemon.secrets import without_secrets
from daemon.settings import Settings
from daemon.spawn import handed

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 10.0  # seconds between a death and the next start
_LAST_PATIENCE = 10.0  # seconds beyond the drain timeout


class DispatcherProcess:
    """Starts the dispatcher, starts it again when it dies, and stops it."""

    def __init__(
        self, settings: Settings, *, options: Sequence[str] = (), head_start: float = 0.0
    ) -> None:
        """Prepare; `start` starts it.

        Args:
            options: further arguments for `daemon.dispatcher`.
            head_start: seconds that the first one waits for `hire` before it starts workers.
        """
        self._settings = settings
        self._options = tuple(options)
        self._head_start = head_start
        self._changed = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready = False
        self._warm = False
        self._stopping = threading.Event()
        self._refusal = ""
        self._thread: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the dispatcher that runs now."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def start(self, timeout: float = 20.0) -> None:
        """Start it, and wait until it answers clients.

        Raises:
            UnusableDatabase: it refuses the database; the message says why.
            TimeoutError: it does not answer in time.
        """
        self._thread = threading.Thread(target=self._keep, name="dispatcher", daemon=True)
        self._thread.start()
        with self._changed:
            done = self._changed.wait_for(lambda: self._ready or self._refusal, timeout)
        if self._refusal:
            self._thread.join()
            raise UnusableDatabase(self._refusal)
        if not done:
            self.stop(at_once=True)
            raise TimeoutError(f"the dispatcher did not answer within {timeout} s")

    def hire(self) -> None:
        """Have it start its workers now: whatever they would have slowed down is done."""
        with self._changed:
            if self._control is not None:
                self._control.sendall(b"hire\n")

    def wait_warm(self, timeout: float = 60.0) -> bool:
        """Wait until all its workers are warm; False when that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self._warm, timeout)

    def stop(self, *, at_once: bool = False) -> None:
        """End it: let running jobs finish within the drain timeout, or put them back at once."""
        with self._changed:
            self._stopping.set()
            process = self._process
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                if at_once and self._control is not None:
                    self._control.shutdown(socket.SHUT_RDWR)
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(self._settings.drain_timeout + _LAST_PATIENCE)
            if self._thread.is_alive() and process is not None:
                log.error("the dispatcher does not end; it is killed")
                process.kill()
                self._thread.join()

    def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            with self._changed:
                if self._stopping.is_set():
                    return
                process, control = self._spawn()
            self._listen(control)
            how = signal_name(process.wait())
            with self._changed:
                control.close()
                self._control = None
                if self._ready:  # it worked; only one that dies at start is left more and more time
                    pause = _FIRST_PAUSE
                self._ready = self._warm = False
                self._changed.notify_all()
                if self._stopping.is_set() or self._refusal:
                    return
                log.error("the dispatcher ended with %s; again in %.2f s", how, pause)
                if self._changed.wait_for(self._stopping.is_set, pause):
                    return
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _spawn(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = socket.socketpair()
        with handed(self._settings) as settings:
            command = [sys.executable, "-m", "daemon.dispatcher"]
            command += ["--settings", str(settings), "--control", str(theirs.fileno())]
            self._process = subprocess.Popen(
                [*command, "--head-start", str(self._head_start), *self._options],
                pass_fds=(settings, theirs.fileno()),
                stdin=subprocess.DEVNULL,
                env=without_secrets(os.environ),
                # Ctrl-C is for the parent, which drains.
                start_new_session=True,
            )
        theirs.close()
        self._head_start = 0.0  # one that takes over has work to do
        self._control = ours
        return self._process, ours

    def _listen(self, control: socket.socket) -> None:
        """Hear what it says until it ends."""
        said = b""
        # Not `select`, which knows no descriptor above 1023: connections may have those.
        ready = select.poll()
        ready.register(control, select.POLLIN)
        while True:
            ready.poll()
            try:
                data = control.recv(4096)
            except OSError:
                return
            if not data:
                return
            said += data
            *lines, said = said.split(b"\n")
            with self._changed:
                for line in lines:
                    word, _, rest = line.decode().partition(" ")
                    self._ready = self._ready or word == "ready"
                    self._warm = self._warm or word == "warm"
                    self._refusal = rest if word == "refused" else ""
                self._changed.notify_all()
