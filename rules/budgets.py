"""What one job may use up: time, processor, memory, room on the disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from rules.match import Seconds, read_size

_Bytes = Annotated[int, BeforeValidator(lambda value: int(read_size(value)))]


class Budget(BaseModel):
    """Limits of one attempt at a job; what is None is not limited here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wall: Seconds | None = Field(None, gt=0, description="Time from its start, such as `10m`.")
    cpu: Seconds | None = Field(None, gt=0, description="Processor time of its worker.")
    memory: _Bytes | None = Field(
        None, gt=0, description="Resident memory of its worker, its models included: `2 GB`."
    )
    disk: _Bytes | None = Field(
        None, gt=0, description="Scratch files and results that are being written: `4 GB`."
    )

    def within(self, other: Budget | None) -> Budget:
        """The smaller of two limits, each."""
        if other is None:
            return self
        mine, its = self.limits(), other.limits()
        both = {name: min(mine[name], its[name]) for name in mine.keys() & its.keys()}
        return Budget.model_validate({**its, **mine, **both})

    def limits(self) -> dict[str, float]:
        """Those that there are."""
        told = {name: getattr(self, name) for name in FIGURES}
        return {name: value for name, value in told.items() if value is not None}


FIGURES = tuple(Budget.model_fields)


def budget_of(limits: Mapping[str, Any] | None) -> Budget | None:
    """A budget from plain data; None where there are no limits.

    Raises:
        pydantic.ValidationError: they make no sense.
    """
    return Budget.model_validate(dict(limits)) if limits else None
