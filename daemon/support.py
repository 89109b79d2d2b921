"""`audiolla support-bundle`: what a bug report needs, in one file; no sounds and no secrets.

Names of files are replaced by `<name>.ext` unless somebody wants them told.
"""

from __future__ import annotations

import io
import json
import os
import platform
import re
import sqlite3
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from daemon.clock import Clock
from daemon.doctor import examine
from daemon.log import recent
from daemon.safekeeping.opening import reports
from daemon.secrets import Scrubber, secrets_of
from daemon.settings import SECRET, Settings, environment_name
from handlers.errors import AudiollaError

_LAST_JOBS: Final = 200
_COLUMNS: Final = (
    *("seq", "id", "state", "source", "endpoint", "lane", "attempt", "retries", "deaths"),
    *("created", "started", "completed", "step", "error_kind", "error", "error_field", "error_op"),
)
#: A word with a known ending, wherever it stands: what users call their sounds.
_NAMES: Final = re.compile(
    r"[^\s\"'/\\:,;()\[\]{}]+\.(wav|wave|bwf|rf64|w64|aiff?|aifc|flac|mp3|m4a|mp4|mov|mkv|webm|aac|"
    r"ogg|oga|opus|wv|caf|au|mid|midi|sf2|ya?ml|json|html|png|svg|csv|txt)\b",
    re.IGNORECASE,
)


class UnsafeBundle(AudiollaError):
    """A bundle would have told a secret; it was not written."""


def write_bundle(settings: Settings, target: Path, clock: Clock, *, names: bool = False) -> int:
    """Write a bundle; the number of files in it.

    Args:
        names: tell the names of files, too.

    Raises:
        FileExistsError: the target's name is taken.
        UnsafeBundle: a secret is left in it, which is a fault of this program.
    """
    clean = _Cleaner(settings, names=names)
    files = {name: clean(text) for name, text in _parts(settings, clock)}
    known = [one.encode() for one in secrets_of(settings)]
    for name, text in files.items():
        if any(secret in text.encode() for secret in known):
            raise UnsafeBundle(f"{name} would have told a secret; please report this")
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with (
        os.fdopen(handle, "wb") as file,
        tarfile.open(fileobj=file, mode="w:gz") as archive,
    ):
        for name, text in files.items():
            data = text.encode()
            about = tarfile.TarInfo(f"audiolla-support/{name}")
            about.size, about.mtime, about.mode = len(data), int(clock.now()), 0o600
            archive.addfile(about, io.BytesIO(data))
    return len(files)


class _Cleaner:
    def __init__(self, settings: Settings, *, names: bool) -> None:
        self._scrub = Scrubber(settings)
        self._names = names
        # Longest first: the data directory mostly lies at home.
        self._places = [
            (os.fspath(place), shown)
            for place, shown in ((settings.data_dir, "<data>"), (Path.home(), "<home>"))
        ]

    def __call__(self, text: str) -> str:
        text = self._scrub(text)
        if not self._names:
            for place, shown in self._places:
                text = text.replace(place, shown)
            text = _NAMES.sub(r"<name>.\1", text)
        return text


def _parts(settings: Settings, clock: Clock) -> Iterator[tuple[str, str]]:
    yield "versions.json", _json(_versions())
    yield "settings.json", _json(_settings(settings))
    yield "doctor.json", _json([finding.as_json() for finding in examine(settings)])
    yield "queue.json", _json(_queue(settings, clock))
    for number, report in enumerate(reports(settings)):
        yield f"rebuilt-{number}.json", report.read_text(encoding="utf-8")
    for name, lines in recent(settings.logs):
        yield f"log/{name}", lines.decode("utf-8", "replace")


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n"


def _versions() -> dict[str, Any]:
    installed = {one.metadata["Name"]: one.version for one in distributions()}
    return {
        "python": sys.version,
        "platform": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
        "packages": dict(sorted(installed.items(), key=lambda one: one[0].lower())),
    }


def _settings(settings: Settings) -> dict[str, Any]:
    told: dict[str, Any] = {}
    secret = {environment_name(name) for name in SECRET}
    for name in type(settings).model_fields:
        variable, value = environment_name(name), getattr(settings, name)
        told[variable] = ("(set)" if value else "") if variable in secret else value
    return told


def _queue(settings: Settings, clock: Clock) -> dict[str, Any]:
    """Counts, tables and the last jobs; nothing of what was asked for."""
    if not settings.database.exists():
        return {"database": "none"}
    name = quote(os.fspath(settings.database.absolute()))
    try:
        with closing(sqlite3.connect(f"file:{name}?mode=ro", uri=True)) as connection:
            return _of_database(connection, clock)
    except sqlite3.DatabaseError as wrong:
        return {"database": f"cannot be read: {wrong}"}


def _of_database(connection: sqlite3.Connection, clock: Clock) -> dict[str, Any]:
    def ask(query: str) -> list[Any]:
        return connection.execute(query).fetchall()

    columns = ", ".join(_COLUMNS)
    last = ask(f"SELECT {columns} FROM jobs ORDER BY seq DESC LIMIT {_LAST_JOBS}")  # noqa: S608 - names of ours
    tables = [row[0] for row in ask("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return {
        "at": clock.now(),
        "revision": ask("SELECT version_num FROM alembic_version")[0][0],
        "jobs": dict(ask("SELECT state, count(*) FROM jobs GROUP BY state")),
        "webhooks": dict(ask("SELECT state, count(*) FROM webhooks GROUP BY state")),
        "rows": {table: ask(f'SELECT count(*) FROM "{table}"')[0][0] for table in tables},  # noqa: S608 - as above
        "schema": [row[0] for row in ask("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")],
        "last_jobs": [dict(zip(_COLUMNS, row, strict=True)) for row in last],
    }
