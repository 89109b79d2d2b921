"""Tells people and programs what is in the spool of notices, until each has been told.

A notice that cannot be told is tried again, later and later, and put aside in
the end. Nothing of this ever touches a job.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import orjson

from daemon.clock import Clock, SystemClock
from daemon.delivering.notices import Notice, Notices
from daemon.settings import Settings

log = logging.getLogger(__name__)

DELAYS: Final = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 3600.0, 3600.0)
"""Seconds between the attempts at one notice; after the last it is given up."""
MAIL_PAUSE: Final = 60.0
"""Seconds between two mails on one folder to the same people: what comes meanwhile shares one."""
_LONGEST_SLEEP = 60.0  # the wall clock may jump
_KEPT_ENVIRONMENT: Final = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "USER",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
)
_LAST_WORDS = 500


class Announcing(Protocol):
    """What is needed of the queue: `daemon.client.Client`."""

    def announce(self, webhook: str, job: str, url: str, event: str, body: str) -> None:
        """Put a webhook into the outbox; one that is known by its id is left as it is."""


class NotTold(Exception):
    """An attempt failed; the message says why."""


class Notifier:
    """Works the spool in a thread of its own. Commands and mails go one after the other."""

    def __init__(
        self,
        settings: Settings,
        notices: Notices,
        queue: Announcing,
        *,
        announced: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
        mail: Callable[[Settings, Sequence[str], Sequence[Notice]], None] | None = None,
    ) -> None:
        """Prepare; `start` starts it.

        Args:
            queue: takes webhooks.
            announced: called when it has taken one.
            mail: sends one mail; default over SMTP.
        """
        self._settings = settings
        self._notices = notices
        self._queue = queue
        self._announced = announced
        self._clock = clock or SystemClock()
        self._mail = mail or _by_smtp
        self._changed = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        #: When the last mail on a folder went to some people.
        self._mailed: dict[tuple[str, tuple[str, ...]], float] = {}

    def start(self) -> None:
        """Begin, with what an earlier process left behind."""
        self._notices.added = self._changed.set
        self._thread = threading.Thread(target=self._work, name="notices", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more; what is not told is told after the next start."""
        self._stopping = True
        self._changed.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _work(self) -> None:
        while not self._stopping:
            self._changed.clear()
            try:
                pause = self.turn()
            except Exception:
                log.exception("notices could not be looked at")
                pause = _LONGEST_SLEEP
            self._changed.wait(min(pause, _LONGEST_SLEEP))

    def turn(self) -> float:
        """Tell what is due; seconds until there is more to do."""
        due: list[float] = []
        waiting = self._notices.waiting()
        seen: set[str] = set()
        for notice in waiting:
            if self._stopping:
                return 0.0
            if notice.id in seen:
                continue
            at = max(notice.next_at, self._mail_after(notice))
            if at > self._clock.now():
                due.append(at)
                continue
            together = self._together(notice, waiting)
            seen |= {one.id for one in together}
            at_next = self._try(together)
            if at_next is not None:
                due.append(at_next)
        return max(min(due, default=float("inf")) - self._clock.now(), 0.0)

    def _mail_after(self, notice: Notice) -> float:
        if notice.kind != "email":
            return 0.0
        return self._mailed.get(_audience(notice), float("-inf")) + MAIL_PAUSE

    def _together(self, notice: Notice, waiting: list[Notice]) -> list[Notice]:
        if notice.kind != "email" or notice.event == "daily":
            return [notice]
        return [
            one
            for one in waiting
            if one.kind == "email"
            and one.event == notice.event
            and _audience(one) == _audience(notice)
        ]

    def _try(self, together: list[Notice]) -> float | None:
        """One attempt; when the next is due, if one is."""
        first = together[0]
        try:
            if first.kind == "webhook":
                self._announce(first)
            elif first.kind == "command":
                run_command(first)
            else:
                self._mailed[_audience(first)] = self._clock.now()
                self._mail(self._settings, first.target, together)
        except Exception as wrong:  # noqa: BLE001 - whatever it is, it is told again, not lost
            return self._failed(together, wrong)
        for notice in together:
            self._notices.done(notice)
        return None

    def _announce(self, notice: Notice) -> None:
        body = orjson.dumps(notice.facts).decode()
        event = {"failure": "job.failed", "success": "job.completed", "daily": "folder.daily"}
        job = "" if notice.event == "daily" else notice.facts["job"]
        self._queue.announce(f"msg_{notice.id}", job, notice.target[0], event[notice.event], body)
        self._announced()

    def _failed(self, together: list[Notice], wrong: Exception) -> float | None:
        first = together[0]
        attempts = first.attempts
        told = f"{first.kind} {first.target[0]} on {first.facts['folder']}"
        if attempts >= len(DELAYS):
            log.error("notice given up after %d attempts: %s: %s", attempts + 1, told, wrong)
            for notice in together:
                self._notices.give_up(notice)
            return None
        log.warning("notice not told yet: %s: %s", told, wrong)
        at = self._clock.now() + DELAYS[attempts]
        for notice in together:
            self._notices.later(notice.model_copy(update={"attempts": attempts}), at)
        return at


def _by_smtp(settings: Settings, to: Sequence[str], notices: Sequence[Notice]) -> None:
    # Imported here: most daemons never send a mail.
    from daemon.delivering.mail import send_mail

    send_mail(settings, to, notices)


def _audience(notice: Notice) -> tuple[str, tuple[str, ...]]:
    return str(notice.facts["folder"]), tuple(notice.target)


def run_command(notice: Notice) -> None:
    """Run a program on a notice, never through a shell.

    Raises:
        NotTold: it cannot be started, takes too long, or ends with another code than 0.
    """
    environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    environment |= facts_environment(notice)
    try:
        process = subprocess.Popen(
            notice.target,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            cwd="/",
            # A group of its own: what it starts ends with it when it takes too long.
            start_new_session=True,
        )
    except (OSError, ValueError) as wrong:
        raise NotTold(f"cannot be started: {wrong}") from None
    with process:
        try:
            _, said = process.communicate(orjson.dumps(notice.facts), timeout=notice.timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise NotTold(f"took longer than {notice.timeout:g} s and was killed") from None
    if process.returncode:
        words = said.decode(errors="replace").strip()[-_LAST_WORDS:]
        raise NotTold(f"ended with code {process.returncode}: {words}")


def facts_environment(notice: Notice) -> dict[str, str]:
    """The facts that programs want most, as variables; the rest comes on standard input."""
    told: dict[str, Any] = {"event": notice.event, **notice.facts}
    return {
        f"AUDIOLLA_NOTICE_{name.upper()}": str(value).replace("\0", "")
        for name, value in told.items()
        if isinstance(value, str | int | float)
    }
