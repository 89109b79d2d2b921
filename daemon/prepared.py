"""Statements that are written in SQLAlchemy Core, compiled once, and run by the driver.

`Connection.execute` finds a statement in a cache and wraps what comes back,
which costs 30 to 100 us a call where SQLite needs 8. The queue runs some
twenty fixed statements a thousand times a second, so they are turned into SQL
for the database at hand when the store opens, and handed to its driver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa


class Prepared:
    """One statement as SQL for one database."""

    def __init__(self, statement: sa.Executable, dialect: sa.Dialect) -> None:
        compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]  # every Core statement has it; the base class does not declare it
        self._sql = str(compiled)
        self._constants = {k: v for k, v in compiled.params.items() if v is not None}
        self._positions: Sequence[str] | None = compiled.positiontup
        names = tuple(self._positions or ())
        # itemgetter gives a bare value, not a tuple, for a single name.
        self._pick = (
            itemgetter(*names) if len(names) > 1 else lambda row: tuple(map(row.get, names))
        )

    def run(self, cursor: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run once per row, in one call of the driver.

        Args:
            cursor: of the driver (DBAPI).
            rows: values by the names of the statement's parameters.
        """
        cursor.executemany(self._sql, [self._bound(row) for row in rows])

    def query(self, cursor: Any, **values: Any) -> list[tuple[Any, ...]]:
        """Run once and give all rows of the answer."""
        cursor.execute(self._sql, self._bound(values))
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def _bound(self, row: Mapping[str, Any]) -> Any:
        if self._constants:
            row = {**self._constants, **row}
        return row if self._positions is None else self._pick(row)
