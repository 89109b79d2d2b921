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
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final, NoReturn

from daemon.commands.demo_view import View, all_dropped_as, view
from daemon.commands.outcome import FAILED, OK, Unreachable
from daemon.jobs import Job
from daemon.settings import Settings, environment_name, load

EXAMPLES: Final = Path(__file__).parents[2] / "inbox_examples"
SOUNDS: Final = frozenset({".flac", ".wav", ".mid"})

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
    asked = load(port=args.port)
    folders = example_folders()
    port, taken = free_port(asked.host, asked.port)
    # Folders and rules of the user's own daemon are not ours to watch.
    ours = {"data_dir": data_dir(args.data_dir), "folders_dir": None, "rules_dir": None}
    settings = asked.model_copy(update={"port": port, **ours})
    with view(as_json=args.json) as show:
        if taken:
            show.say(f"port {asked.port} is taken; the API takes {port}")
        with Daemon(settings) as daemon, Watching(daemon, show) as watching:
            show.started(daemon.address, settings.data_dir, settings.folders)
            dropped = [place for folder in folders for place in drop(folder, settings.folders)]
            show.dropped(dropped)
            names = {str(place.relative_to(settings.folders)) for place in dropped}
            jobs = watching.until_ended(names)
            show.summary(jobs, daemon.address, once=args.once)
            if not args.once:
                with contextlib.suppress(KeyboardInterrupt):
                    watching.for_ever()
                show.say("stopping")
    return FAILED if any(job.state != "completed" for job in watching.ended) else OK


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

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.address = f"http://{host}:{settings.port}"
        self._log = settings.data_dir / "demo.log"
        self.hint = f"its log is {self._log}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Daemon:
        settings = self.settings
        for example in example_folders():
            place = settings.folders / example.name
            place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(example / "rules.yaml", place / "rules.yaml")
        serve = ["serve", "--data-dir", os.fspath(settings.data_dir)]
        serve += ["--host", settings.host, "--port", str(settings.port)]
        hidden = {environment_name("folders_dir"), environment_name("rules_dir")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "daemon.cli", *serve],
                env={name: value for name, value in os.environ.items() if name not in hidden},
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
                if self._is_healthy():
                    return
            time.sleep(_TURN_SECONDS)
        raise Unreachable(f"the daemon does not answer at {self.address}; {self.hint}")

    def _is_healthy(self) -> bool:
        connection = http.client.HTTPConnection(self.settings.host, self.settings.port, timeout=2)
        with contextlib.closing(connection):
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.HTTPStatus.OK


# ---- what comes out ----------------------------------------------------------------------------


class Watching:
    """Follows the jobs of a daemon and shows them."""

    def __init__(self, daemon: Daemon, show: View) -> None:
        # Both bring more along than `audiolla demo --help` should wait for.
        from daemon.client import Client
        from daemon.reader import JobReader

        self._daemon = daemon
        self._show = show
        self._reader = JobReader(daemon.settings.database)
        self._client = Client(daemon.settings.socket)
        self._news = self._client.subscribe()
        self._open: dict[str, Job] = {}
        self.ended: list[Job] = []

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._reader.close()

    def until_ended(self, names: Collection[str]) -> list[Job]:
        """Wait until the jobs of these files (`<folder>/<path>`) have ended; those jobs.

        Raises:
            Unreachable: the daemon has ended, or no job has moved for two minutes.
        """
        found: dict[str, Job] = {}
        waiting = set(names)
        while waiting:
            job = self._next(_PATIENCE_SECONDS)
            if job is None:
                left = ", ".join(sorted(waiting))
                raise Unreachable(f"nothing happens to {left}; {self._daemon.hint}")
            if job.ended and waiting.intersection(files := all_dropped_as(job)):
                found[job.id] = job
                waiting.difference_update(files)  # a set is one job of several files
        return list(found.values())

    def for_ever(self) -> NoReturn:
        """Show every job that comes and ends, until Ctrl-C."""
        while True:
            self._next(_PATIENCE_SECONDS)

    def _next(self, timeout: float) -> Job | None:
        """Wait for the next change and show it; the job as it is then, None if nothing came."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            news = self._news.get(_TURN_SECONDS)
            if news is None:
                self._daemon.check()
                continue
            job = self._open.get(news.id)
            if news.progress is None or job is None:
                job = self._reader.job(news.id)
            if job is None or job.id in {one.id for one in self.ended}:
                continue
            if news.progress is not None:
                job = replace(job, progress=news.progress, step=news.step)
            if job.ended:
                self._open.pop(job.id, None)
                self.ended.append(job)
            else:
                self._open[job.id] = job
            self._show.progress(job)
            return job
        return None
