"""One way to write logs, in every process of the daemon: lines on stderr, the last of them kept.

Each line knows its process and, where there is one, the job and the request
that it is about. Secrets are taken out of every line, whatever wrote it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final

from control_api.asking import ASKING
from daemon.secrets import Scrubber
from daemon.settings import Settings

_IDS: Final = ("job", "request", "worker")
_CHATTY: Final = ("alembic", "numba", "waitress", "watchdog")
_FOREIGN: Final = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL) ([A-Za-z_][\w.]*): (.*)")


def configure(settings: Settings, process: str, *, keep: bool = True) -> None:
    """Send the root logger's lines to stderr, and keep the last ones in the data directory.

    Third-party loggers that chatter at INFO are kept at WARNING.

    Args:
        process: its name, as each line has it.
        keep: write them into `log/<process>.log`, too.
    """
    scrub = Scrubber(settings)
    shown = logging.StreamHandler(sys.stderr)
    lines: type[_Line] = _Json if settings.log_format == "json" else _Text
    shown.setFormatter(lines(process, scrub))
    root = logging.getLogger()
    root.handlers[:] = [shown]
    if keep and settings.log_bytes:
        root.addHandler(_kept(settings, process, scrub))
    root.setLevel(settings.log_level)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def pass_on(line: str, worker: str, job: str | None) -> None:
    """Log what a worker wrote, at its own level if it says one."""
    about = {"worker": worker, **({"job": job} if job else {})}
    said = _FOREIGN.fullmatch(line)
    if said is None:
        logging.getLogger("daemon.worker").info("%s", line, extra=about)
    else:
        level, name, text = said.groups()
        logging.getLogger(name).log(logging.getLevelNamesMapping()[level], "%s", text, extra=about)


def _kept(settings: Settings, process: str, scrub: Scrubber) -> logging.Handler:
    settings.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    handler = _Kept(
        settings.logs / f"{process}.log",
        maxBytes=max(settings.log_bytes // 4, 1),
        backupCount=1,
        encoding="utf-8",
        delay=True,
    )
    handler.setFormatter(_Json(process, scrub))
    return handler


class _Kept(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its name in logging
        """A disk that is full must not silence the lines on stderr, nor fill them."""

    def _open(self) -> Any:
        # Names of files are nobody else's business.
        return open(
            self.baseFilename, "a", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)
        )


class _Line(logging.Formatter):
    def __init__(self, process: str, scrub: Scrubber) -> None:
        super().__init__()
        self._process = process
        self._scrub = scrub

    def _ids(self, record: logging.LogRecord) -> dict[str, str]:
        found = {name: getattr(record, name, None) for name in _IDS}
        found["request"] = found["request"] or ASKING.get().request
        return {name: value for name, value in found.items() if value}

    def _trace(self, record: logging.LogRecord) -> str:
        return self.formatException(record.exc_info) if record.exc_info else ""


class _Text(_Line):
    def format(self, record: logging.LogRecord) -> str:
        """One line for people; a traceback below it."""
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        ids = "".join(f" {name}={value}" for name, value in self._ids(record).items())
        trace = self._trace(record)
        head = f"{at},{record.msecs:03.0f} {record.levelname:7} {self._process} {record.name}:"
        text = f"{head} {record.getMessage()}{ids}"
        return self._scrub(f"{text}\n{trace}" if trace else text)


class _Json(_Line):
    def format(self, record: logging.LogRecord) -> str:
        """One object per line, for programs."""
        trace = self._trace(record)
        told = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            # Scrubbed before it is escaped: a quote ends a secret, a backslash would not.
            "message": self._scrub(record.getMessage()),
            **self._ids(record),
            **({"trace": self._scrub(trace)} if trace else {}),
        }
        return json.dumps(told, ensure_ascii=False)


def recent(folder: Path) -> list[tuple[str, bytes]]:
    """The kept lines of every process, the older file of each first: name and content."""
    found = []
    for file in sorted(folder.glob("*.log*"), key=lambda file: (file.stem, -len(file.name))):
        try:
            found.append((file.name, file.read_bytes()))
        except FileNotFoundError:
            continue  # turned over meanwhile
    return found
