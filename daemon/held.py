"""A job in the dispatcher's hands: what it must know while the job is not in the database alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from handlers.engines.declare import Lane

#: Columns of a job that can start, in the order of the fields of `Held`.
READY_COLUMNS: Final = (
    *("seq", "id", "order", "lane", "next_step", "carried", "finished", "intent", "priority"),
    *("vtime", "share", "weight", "cost", "group", "group_limit", "endpoint", "attempt"),
    *("max_attempts", "retries", "deaths"),
)


@dataclass(slots=True)
class Held:
    """A job that a worker has, or is about to get. The fields are those of `jobs.Job`."""

    seq: int
    id: str
    order: str
    lane: Lane
    next_step: int
    carried: str | None
    #: JSON as stored; it is passed on, never read here.
    finished: str | None
    #: JSON as stored.
    intent: str | None
    priority: int
    vtime: float
    share: str
    weight: float
    cost: float
    group: str
    group_limit: int
    endpoint: str
    attempt: int
    max_attempts: int
    retries: int
    deaths: int
    #: Name and pid of its worker.
    worker: str = ""
    #: When it began, on both clocks; set again when its predecessor in the pocket has ended.
    started: float = 0.0
    begun: float = 0.0
    progress: float = 0.0
    step: str | None = None
    cancel_requested: bool = False
    #: False when the worker was found dead as the job was sent to it.
    delivered: bool = True
    #: Estimated seconds of work.
    estimate: float = 0.0

    def claim(self) -> dict[str, Any]:
        """The fields of `execution.Claim`, ready for the wire."""
        claim: dict[str, Any] = {"id": self.id, "attempt": self.attempt, "order": self.order}
        if self.next_step or self.carried or self.finished:
            claim["next_step"] = self.next_step
            claim["carried"] = self.carried
            claim["finished"] = orjson.Fragment(self.finished or "[]")
        if self.intent is not None:
            claim["intent"] = orjson.Fragment(self.intent)
        return claim
