"""Reads what can still be read of a damaged database, row by row.

Nothing is written to the damaged file. A page that cannot be read costs the
rows on it, and only those: reading goes on behind it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import sqlalchemy as sa

from daemon import schema
from daemon.jobs import STATES

Row = dict[str, Any]

_REVISION = re.compile(r"[0-9]{4}")
_FARTHEST = 2**40  # rowids beyond the last one that could be read


@dataclass
class Salvaged:
    """The rows of each table that are whole, and how many places were not."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    #: Runs of rows that could not be read, and rows that make no sense, by table.
    lost: dict[str, int] = field(default_factory=dict)
    #: Why nothing at all could be read; empty when something could.
    trouble: str = ""
    #: The migration that it was at, if that could be read.
    revision: str | None = None


def salvage(database: Path) -> Salvaged:
    """Everything that a damaged database still gives."""
    found = Salvaged()
    name = quote(str(database.absolute()))
    connection = sqlite3.connect(f"file:{name}?mode=ro", uri=True, isolation_level=None)
    # Bytes that are no text must not hide the rows after them.
    connection.text_factory = _text
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        there = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
    except sqlite3.DatabaseError as wrong:
        found.trouble = str(wrong)
        connection.close()
        return found
    try:
        found.revision = _revision(connection)
        for table in schema.metadata.sorted_tables:
            if table.name in there:
                _read(connection, table, found)
    finally:
        connection.close()
    return found


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _revision(connection: sqlite3.Connection) -> str | None:
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError:
        return None
    # What a damaged page holds is believed only if it looks like one of ours.
    told = str(row[0]) if row else ""
    return told if _REVISION.fullmatch(told) else None


def _read(connection: sqlite3.Connection, table: sa.Table, found: Salvaged) -> None:
    rows: list[Row] = []
    holes = _Holes()
    sensible = _SENSIBLE.get(table.name, _any)
    try:
        there = [row[1] for row in connection.execute(f'PRAGMA table_info("{table.name}")')]
    except sqlite3.DatabaseError:
        there = []
    columns = [column.name for column in table.c if column.name in there]
    for row in _rows(connection, table.name, columns, holes) if columns else ():
        if _fits(table, row) and sensible(row):
            rows.append(row)
        else:
            holes.count += 1
    found.rows[str(table.name)] = rows
    if holes.count:
        found.lost[str(table.name)] = holes.count


@dataclass
class _Holes:
    count: int = 0


def _rows(
    connection: sqlite3.Connection, table: str, columns: Sequence[str], holes: _Holes
) -> Iterator[Row]:
    """All readable rows, by rising rowid; after one that is not, the next that is."""
    names = ", ".join(f'"{name}"' for name in columns)
    query = f'SELECT rowid, {names} FROM "{table}" WHERE rowid > ? ORDER BY rowid'  # noqa: S608 - names of ours
    last: int = -(2**63) + 1
    while True:
        try:
            for rowid, *values in connection.execute(query, (last,)):
                if not isinstance(rowid, int) or rowid <= last:
                    raise sqlite3.DatabaseError("rows out of order")
                last = rowid
                yield dict(zip(columns, values, strict=True))
        except sqlite3.DatabaseError:
            holes.count += 1
            beyond = _behind(connection, query, max(last, 0))
            if beyond is None:
                return
            last = beyond
        else:
            return


def _behind(connection: sqlite3.Connection, query: str, last: int) -> int | None:
    """The smallest rowid above `last` behind which a row can be read; None if there is none."""

    def first_behind(rowid: int) -> int | None:
        try:
            row = connection.execute(query + " LIMIT 1", (rowid,)).fetchone()
        except sqlite3.DatabaseError:
            return None
        return None if row is None or row[0] <= rowid else int(row[0])

    step = 1
    while step < _FARTHEST and first_behind(last + step) is None:
        step *= 2
    if step >= _FARTHEST:
        return None
    low, high = last + step // 2, last + step
    while low + 1 < high:
        middle = (low + high) // 2
        if first_behind(middle) is None:
            low = middle
        else:
            high = middle
    return high


def _fits(table: sa.Table, row: Row) -> bool:
    """True when every value is of the kind that its column holds."""
    for column in table.c:
        if column.name not in row:
            continue
        value = row[column.name]
        if value is None:
            if not column.nullable:
                return False
        elif not isinstance(value, _KINDS[type(column.type)]):
            return False
    return True


_KINDS: Mapping[type, tuple[type, ...]] = {
    sa.Integer: (int,),
    sa.Text: (str,),
    sa.Float: (int, float),
    sa.Boolean: (int,),
}


def _is_json(text: str | None) -> bool:
    if text is None:
        return True
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _any(_: Row) -> bool:
    return True


def _sensible_job(row: Row) -> bool:
    return (
        row["state"] in STATES
        and bool(row["id"])
        and all(_is_json(row.get(name)) for name in ("order", "result", "intent", "finished"))
    )


_SENSIBLE: Mapping[str, Callable[[Row], bool]] = {"jobs": _sensible_job}
