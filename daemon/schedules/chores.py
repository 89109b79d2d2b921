"""Housekeeping: what there is to do, with which parameters, and when if nobody says otherwise.

A chore is a job on the queue like any other: seen, cancelled and tried again as they are. It runs
in a worker; the pieces that only the writer of the database can do, it asks for one by one, so
that nobody waits long for any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from daemon.schedules.model import Span
from handlers.declare import field_path
from handlers.errors import BadParameter
from rules.match import Globs

_DAY: Final = 86_400.0


class _Params(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Sweep(_Params):
    """Remove what jobs left behind that nobody can ask for: scratch, results, old findings."""

    recall: Span = Field(
        180 * _DAY, ge=0, description="What analyses found is kept for so long after its last use."
    )


class Ledger(_Params):
    """Forget the history of schedules, and jobs of folders and schedules, that are long over."""

    firings: Span = Field(180 * _DAY, ge=0, description="How long the history is kept.")
    chores: Span = Field(7 * _DAY, ge=0, description="How long jobs of housekeeping are kept.")
    jobs: Span | None = Field(
        None,
        ge=0,
        description="How long jobs of folders and schedules are kept that went well; "
        "default for ever.",
    )


class Database(_Params):
    """Check the database, give free pages of its file back, and keep its indexes known."""

    full: bool = Field(True, description="Check every index entry, too; takes longer.")


class Fixity(_Params):
    """Read what was delivered back, and say what is not as it was."""

    minutes: float = Field(
        60.0, gt=0, description="Begin no file after this time; what is left comes first next time."
    )
    older_than: Span = Field(
        20 * 3600.0, ge=0, description="Leave out what was checked more recently."
    )


class Staged(_Params):
    """Delete staged files that have not changed for long. Never done unless somebody asks."""

    older_than: Span = Field(ge=60, description="Seconds since the last change, or `30d`.")
    files: Globs = Field(description="Patterns; one must fit.")
    exclude: Globs | None = Field(None, description="Patterns of which none may fit.")


CHORES: Final[Mapping[str, type[_Params]]] = {
    "sweep": Sweep,
    "ledger": Ledger,
    "database": Database,
    "fixity": Fixity,
    "staged": Staged,
}
"""Every chore by name. Each has a function of its name in `housework`."""

BUILT_IN: Final[Mapping[str, Mapping[str, Any]]] = {
    "sweep": {"cron": "17 4 * * *", "chore": "sweep"},
    "ledger": {"cron": "27 4 * * *", "chore": "ledger"},
    "database": {"cron": "37 4 * * *", "chore": "database"},
    "fixity": {"cron": "47 4 * * sun", "chore": "fixity"},
}
"""Schedules that are there unless one of the same name takes their place: early in the morning,
behind everything else that waits, and within ten minutes so that not all machines of a studio
read the same disks at once. `staged` is not among them: it deletes what somebody put there."""
_ALL: Final[Mapping[str, Any]] = {"jitter": 600.0, "priority": -500}


def built_in(name: str) -> dict[str, Any]:
    """A schedule that comes with the program, as it would be written; empty if there is none."""
    own = BUILT_IN.get(name)
    return {} if own is None else {"name": name, **own, **_ALL}


@dataclass(frozen=True)
class Task:
    """A chore with its checked parameters."""

    name: str
    params: BaseModel

    def order(self) -> str:
        """As the order of a job; it begins with `execution.CHORE`."""
        return orjson.dumps({"chore": self.name, "params": self.params.model_dump()}).decode()


def task_of(name: str, params: Mapping[str, Any]) -> Task:
    """Check a chore.

    Raises:
        BadParameter: there is none of this name, or its parameters are not right.
    """
    if name not in CHORES:
        raise BadParameter(f"no chore {name!r}; there are: {', '.join(CHORES)}", field="chore")
    try:
        return Task(name, CHORES[name].model_validate(dict(params)))
    except ValidationError as wrong:
        error = wrong.errors()[0]
        field = f"params.{field_path(error['loc'])}"
        said = error["msg"].removeprefix("Value error, ")
        raise BadParameter(f"{field}: {said}", field=field) from None


def task_in(order: str) -> Task:
    """The chore that an order is about."""
    read = orjson.loads(order)
    return task_of(read["chore"], read["params"])
