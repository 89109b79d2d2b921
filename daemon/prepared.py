"""Statements that are written in SQLAlchemy Core and compiled once.

`Connection.execute` looks a statement up in a cache each time, which costs
more than SQLite needs to run it. The queue runs some twenty fixed statements
ten thousand times a second, so they are turned into SQL when the store opens.
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

    def run(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run once per row, in one call of the driver."""
        connection.exec_driver_sql(self._sql, [self._bound(row) for row in rows])

    def query(self, connection: sa.Connection, **values: Any) -> Sequence[sa.Row[Any]]:
        """Run once and give all rows of the answer."""
        return connection.exec_driver_sql(self._sql, self._bound(values)).all()

    def _bound(self, row: Mapping[str, Any]) -> Any:
        if self._constants:
            row = {**self._constants, **row}
        return row if self._positions is None else self._pick(row)
