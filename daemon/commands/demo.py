"""`audiolla demo`: the example folders as live hot folders, and what comes out of them.

The daemon is started as anybody would start it (`audiolla serve`), with a data
directory of its own; the rules of `inbox_examples/` become its folders, and
the example sounds are copied in as a user would copy them. What is shown then
is read from the queue.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, NoReturn

from daemon.commands.demo_view import View, view
from daemon.commands.outcome import FAILED, OK, Unreachable
from daemon.jobs import Job
from daemon.settings import Settings, load

EXAMPLES: Final = Path(__file__).parents[2] / "inbox_examples"
SOUNDS: Final = frozenset({".flac", ".wav"})

_START_SECONDS: Final = 60.0
#: No job has moved for so long: something is wrong, and whoever waits must be told.
_PATIENCE_SECONDS: Final = 120.0
_TURN_SECONDS: Final = 0.1


def configure(parser: argparse.ArgumentParser, _: Sequence[str] = ()) -> None:
    """Add the arguments."""
    parser.add_argument("--once", action="store_true", help="end when everything is delivered")
    parser.add_argument("--port", type=int, help="port of the API; a free one if it is taken")


def run(args: argparse.Namespace) -> int:
    """Run the demo; 1 if a job failed, 3 if the daemon could not be started."""
    settings = load(port=args.port)
    folders = example_folders()
    data = data_dir(args.data_dir)
    port, taken = free_port(settings.host, settings.port)
    with view(as_json=args.json) as show:
        if taken:
            show.say(f"port {settings.port} is taken; the API takes {port}")
        with Daemon(data, settings, port) as daemon:
            show.started(daemon.address, data, daemon.folders)
            watching = Watching(daemon, show)
            dropped = [place for folder in folders for place in drop(folder, daemon.folders)]
            show.dropped(dropped)
            finished = watching.until_ended(len(dropped))
            show.summary(finished, daemon.address, once=args.once)
            if not args.once:
                with contextlib.suppress(KeyboardInterrupt):
                    watching.for_ever()
            show.say("stopping")
    return FAILED if any(job.state != "completed" for job in watching.finished) else OK


# ---- what goes in ------------------------------------------------------------------------------


def example_folders() -> list[Path]:
    """The folders of `inbox_examples/`.

    Raises:
        Unreachable: they are not there; only a clone has them.
    """
    found = sorted(path.parent for path in EXAMPLES.glob("*/rules.yaml"))
    if not found:
        raise Unreachable(f"there are no example folders at {EXAMPLES}: run this from a clone")
    return found


def sounds_of(example: Path) -> list[Path]:
    """The sounds of one example folder, wherever in it."""
    return sorted(p for p in example.rglob("*") if p.suffix in SOUNDS and p.is_file())


def drop(example: Path, folders: Path) -> Iterator[Path]:
    """Copy an example's sounds into its hot folder; where each one lies then."""
    for sound in sounds_of(example):
        place = folders / example.name / sound.relative_to(example)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sound, place)
        yield place


def data_dir(named: str | None) -> Path:
    """The directory that was named, or a fresh one: here, or in the system's temporary folder."""
    if named is not None:
        return Path(named).absolute()
    here = Path.cwd() / ".audiolla"
    name = f"demo-{datetime.now().astimezone():%Y%m%d-%H%M%S}-"
    try:
        here.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=name, dir=here))
    except OSError:
        return Path(tempfile.mkdtemp(prefix=f"audiolla-{name}"))


def free_port(host: str, wanted: int) -> tuple[int, bool]:
    """A port that can be listened on, the wanted one if possible, and whether that was taken."""
    for port in (wanted, 0):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            # As the daemon does, so that a port that waits after its last connection is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((host, port))
                return int(probe.getsockname()[1]), port != wanted
    raise Unreachable(f"no port can be opened at {host}; AUDIOLLA_HOST names another address")


# ---- the daemon --------------------------------------------------------------------------------


class Daemon:
    """A daemon in a process of its own, for as long as the `with` block lasts."""

    def __init__(self, data: Path, settings: Settings, port: int) -> None:
        self.folders = data / "folders"
        self.database = data / "audiolla.db"
        self.address = f"http://{settings.host}:{port}"
        self._log = data / "demo.log"
        self.hint = f"its log is {self._log}"
        self._where = (settings.host, port)
        self._data = data
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Daemon:
        for example in example_folders():
            place = self.folders / example.name
            place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(example / "rules.yaml", place / "rules.yaml")
        host, port = self._where
        serve = ["serve", "--data-dir", os.fspath(self._data), "--host", host, "--port", str(port)]
        # Folders and rules of the user's own daemon are not ours to watch.
        ours = {"AUDIOLLA_FOLDERS_DIR", "AUDIOLLA_RULES_DIR"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "daemon.cli", *serve],
                env={name: value for name, value in os.environ.items() if name not in ours},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the demo, which then asks the daemon to stop, once.
                start_new_session=True,
            )
        try:
            self._await_health()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(KeyboardInterrupt):  # impatience does not stop it any faster
            process.wait()
        self._process = None

    def check(self) -> None:
        """Refuse to go on without it.

        Raises:
            Unreachable: it has ended; the text has its last words.
        """
        if self._process is None or self._process.poll() is not None:
            lines = self._log.read_text(errors="replace").splitlines()[-5:]
            raise Unreachable("\n".join(["the daemon has ended:", *lines, self.hint]))

    def _await_health(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            self.check()
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection(*self._where, timeout=2)
                connection.request("GET", "/healthz")
                if connection.getresponse().status == http.HTTPStatus.OK:
                    return
            time.sleep(_TURN_SECONDS)
        raise Unreachable(f"the daemon does not answer at {self.address}; {self.hint}")


# ---- what comes out ----------------------------------------------------------------------------


class Watching:
    """Follows the jobs that come after its making, until they have ended."""

    def __init__(self, daemon: Daemon, show: View) -> None:
        from daemon.reader import JobReader  # brings SQLAlchemy along

        self._reader = JobReader(daemon.database)
        self._daemon = daemon
        self._show = show
        self._open: dict[str, Job] = {}
        known = self._reader.jobs(limit=1, newest_first=True)
        self._after = known[0].seq if known else 0
        self.finished: list[Job] = []

    def until_ended(self, count: int) -> list[Job]:
        """Wait until so many jobs have ended; those jobs, in the order in which they ended.

        Raises:
            Unreachable: the daemon has ended, or nothing has moved for two minutes.
        """
        moved = time.monotonic()
        while len(self.finished) < count:
            if self._look():
                moved = time.monotonic()
            elif time.monotonic() - moved > _PATIENCE_SECONDS:
                waiting = count - len(self.finished)
                raise Unreachable(
                    f"{waiting} of {count} sounds are not delivered; {self._daemon.hint}"
                )
            time.sleep(_TURN_SECONDS)
        return list(self.finished)

    def for_ever(self) -> NoReturn:
        """Show every job that comes and ends, until Ctrl-C."""
        while True:
            self._look()
            time.sleep(_TURN_SECONDS)

    def _look(self) -> bool:
        """Show what has changed since the last look; True if something has."""
        self._daemon.check()
        moved = False
        for job in self._reader.jobs(after=self._after):
            self._after = job.seq
            self._open[job.id] = job
            self._show.progress(job)
            moved = True
        for name, before in list(self._open.items()):
            now = self._reader.job(name)
            if now is None or now.ended:
                del self._open[name]
            if now is not None and now != before:
                moved = True
                self._show.progress(now)
                if now.ended:
                    self.finished.append(now)
                else:
                    self._open[name] = now
        return moved
