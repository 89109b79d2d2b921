"""A real daemon in a process of its own, and a way to wait without sleeping."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

T = TypeVar("T")


class Changes(FileSystemEventHandler):
    """Wakes whoever waits whenever something below a folder changes."""

    def __init__(self, root: Path) -> None:
        self._changed = threading.Condition()
        self._observer = Observer()
        self._observer.schedule(self, str(root), recursive=True)

    def on_any_event(self, event: FileSystemEvent) -> None:
        with self._changed:
            self._changed.notify_all()

    def until(self, condition: Callable[[], T], timeout: float = 180.0) -> T:
        """The first true value of `condition`, asked whenever something changes.

        Notifications may be lost, so it is asked twice a second at least.
        """
        end = time.monotonic() + timeout
        while not (value := condition()):
            with self._changed:
                self._changed.wait(0.5)
            if time.monotonic() > end:
                raise AssertionError(f"not true after {timeout} s: {condition}")
        return value

    def __enter__(self) -> Changes:
        self._observer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._observer.stop()
        self._observer.join()


class Living:
    """A running daemon."""

    def __init__(self, data: Path, environment: dict[str, str]) -> None:
        self.data = data
        self.folders = data / "folders"
        self.log = data.with_suffix(".log")
        self._environment = environment
        self.process: subprocess.Popen[str]
        self.address = ""
        self.start()

    def start(self) -> None:
        """Start it (again) and wait until it says where it listens."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "daemon.cli",
                    "serve",
                    "--data-dir",
                    self.data,
                    "--port",
                    "0",
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | self._environment,
            )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        if "http://" not in said:
            self.kill()
            raise AssertionError(self.log.read_text()[-3000:])
        self.address = said[said.index("http://") :].split()[0]

    def get(self, path: str) -> Any:
        """The JSON of a GET."""
        with urllib.request.urlopen(self.address + path, timeout=30) as reply:
            return json.load(reply)

    def stop(self) -> int:
        """SIGTERM, as a service manager would; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def kill(self) -> None:
        """SIGKILL, as nature would; its children die by themselves."""
        self.process.kill()
        self._ended()

    def _ended(self) -> int:
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(60)


@contextmanager
def living(data: Path, **environment: str) -> Iterator[Living]:
    """A daemon for as long as the block lasts; its log is shown when the block fails."""
    data.mkdir(parents=True, exist_ok=True)
    daemon = Living(data, environment)
    try:
        yield daemon
    except BaseException:
        print(daemon.log.read_text()[-5000:], file=sys.stderr)
        raise
    finally:
        if daemon.process.poll() is None:
            daemon.stop()
