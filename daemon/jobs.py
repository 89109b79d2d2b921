"""What a job is, which states it has, and which moves between them are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

import uuid_utils

State = Literal["pending", "running", "completed", "failed", "cancelled"]
Source = Literal["folder", "rest", "mcp", "schedule", "cli"]
CancelOutcome = Literal["cancelled", "cancelling", "delivering", "ended"]
"""`cancelling`: a worker has been told. `delivering`: too late, its files are on their way."""

QueueLane = Literal["cpu", "gpu", "net"]
"""Which workers a job waits for: those of its operations' lanes, or those that fetch and send.

The first two are `handlers.engines.declare.Lane`; spelled out, because what declares them imports
numpy, which a queue does not need."""

LANES: Final[tuple[QueueLane, ...]] = get_args(QueueLane)
SOURCES: Final[tuple[Source, ...]] = get_args(Source)

STATES: Final[tuple[State, ...]] = get_args(State)
ENDED: Final[frozenset[State]] = frozenset({"completed", "failed", "cancelled"})

#: Sources whose ended jobs are forgotten after the job TTL. What came from a
#: folder or a schedule is a ledger entry and stays until somebody deletes it.
FORGOTTEN_SOURCES: Final[tuple[Source, ...]] = ("rest", "mcp", "cli")

MOVES: Final[Mapping[tuple[State, State], str]] = {
    ("pending", "running"): "A worker takes it.",
    ("pending", "completed"): "Its result was known when it was submitted.",
    ("pending", "cancelled"): "Somebody cancels it before a worker takes it.",
    ("running", "completed"): "Its worker reports the result.",
    ("running", "failed"): "Its fault will not pass, or was tried too often.",
    ("running", "cancelled"): "Its worker stops at somebody's wish, or is killed for it.",
    ("running", "pending"): "Its fault may pass, its worker is lost, its lane changes, or a drain.",
    ("failed", "pending"): "Somebody retries it by hand.",
    ("cancelled", "pending"): "Somebody retries it by hand.",
}
"""Every move that a job may make, with its reason. There are no others."""


class Refusal(Exception):
    """The queue does not do what it was asked to; the message says why."""


class NoSuchJob(Refusal):
    """The queue knows no job of this id."""


class NoSuchWebhook(Refusal):
    """The outbox has no webhook of this id."""


class NotEnded(Refusal):
    """The job is pending or running, and only an ended one can be deleted."""


class ForbiddenMove(Refusal):
    """A job was told to make a move that is not in `MOVES`."""


def check_move(job: str, old: State, new: State) -> None:
    """Refuse a move that is not in the table.

    Raises:
        ForbiddenMove: there is no such move.
    """
    if (old, new) not in MOVES:
        raise ForbiddenMove(f"job {job} is {old}; it cannot become {new}")


def new_id() -> str:
    """A job id: UUID 7, so ids sort by the time they were made."""
    return str(uuid_utils.uuid7())


def estimated_cost(size: int) -> float:
    """Seconds that a job on `size` bytes is likely to take, before anything is known of it.

    Only small files matter: their jobs may be handed out in advance. What jobs of the same kind
    really take is learnt by the dispatcher, which trusts the larger figure.
    """
    return 0.002 + size / 20e6


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job as its submitter describes it."""

    #: `rules.orders.Order` as JSON; the queue never looks inside.
    order: str
    #: The door it came through.
    source: Source
    #: Operation path (`/v1/audio/eq`), or the folder and rule that made it.
    endpoint: str
    #: Chosen by the submitter; submitting an id twice gives the job that exists.
    id: str = field(default_factory=new_id)
    #: Name of the (first) sound, as its owner knows it.
    input_name: str = ""
    #: Lane of its first step.
    lane: QueueLane = "cpu"
    #: Higher runs first.
    priority: int = 0
    #: Whose turn it uses up: jobs of one share queue behind each other, shares take turns.
    share: str = ""
    #: How many turns the share gets for one of a share with weight 1.
    weight: float = 1.0
    #: Estimated seconds of work; jobs of a few milliseconds may be handed out in advance.
    cost: float = 1.0
    #: Name of a set of jobs of which only `group_limit` run at once.
    group: str = ""
    #: 0 means no limit.
    group_limit: int = 0
    #: How often it is tried when a fault may pass.
    max_attempts: int = 5
    #: Unix seconds before which it does not start.
    not_before: float | None = None
    #: Submitting a key twice gives the job that exists.
    idempotency_key: str | None = None
    #: Receives the finished job.
    webhook_url: str | None = None
    #: `execution.Errands` as JSON: what is fetched before it and sent after it. Kept apart from
    #: the order, because URLs may hold secrets: forgotten when the job has completed.
    errands: str | None = None
    #: Its result as JSON, where it is known: no worker runs it, it is completed at once.
    result: str | None = None

    def __post_init__(self) -> None:
        if self.lane not in LANES:
            raise ValueError(f"lane = {self.lane!r}: it is one of {', '.join(LANES)}")
        if self.source not in SOURCES:
            raise ValueError(f"source = {self.source!r}: it is one of {', '.join(SOURCES)}")
        if not self.weight > 0:
            raise ValueError(f"weight = {self.weight}: it must be above 0")
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts = {self.max_attempts}: it must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as the queue knows it."""

    #: UUID 7, chosen by the submitter.
    id: str
    #: Position in the order of submission.
    seq: int
    #: Where it stands; see `MOVES`.
    state: State
    #: The door it came through.
    source: Source
    #: Operation path, or the folder and rule that made it.
    endpoint: str
    #: Name of the (first) sound, as its owner knows it.
    input_name: str
    #: `rules.orders.Order` as JSON.
    order: str
    #: Lane of its first step.
    first_lane: QueueLane
    #: Lane of the next segment.
    lane: QueueLane
    #: Steps before this one are finished.
    next_step: int
    #: Scratch file with the sound that the finished steps left, as `WirePath` text.
    carried: str | None
    #: What the finished steps reported.
    finished: list[dict[str, Any]]
    #: `execution.Intent` as plain data: its files are being moved to their final names.
    intent: dict[str, Any] | None
    #: Higher runs first.
    priority: int
    #: Start-time fair-queueing tag within lane and priority.
    vtime: float
    #: Whose turn it uses up.
    share: str
    #: Turns of its share for one of a share with weight 1.
    weight: float
    #: Estimated seconds of work.
    cost: float
    #: Set of jobs of which only `group_limit` run at once.
    group: str
    #: 0 means no limit.
    group_limit: int
    #: How often it was begun; coming back untouched or for another lane does not count.
    attempt: int
    #: How often it may be tried when a fault may pass.
    max_attempts: int
    #: How often a fault that may pass has sent it back.
    retries: int
    #: How many workers died while they were running it.
    deaths: int
    #: Unix seconds before which it does not start.
    not_before: float | None
    #: Share done, 0 to 1.
    progress: float
    #: Name of the step that is running, or was.
    step: str | None
    #: What it gave, once completed.
    result: dict[str, Any] | None
    #: Class name of the error, once failed.
    error_kind: str | None
    #: What went wrong, in words.
    error: str | None
    #: Field that the error is about.
    error_field: str | None
    #: What to do about the error.
    error_hint: str | None
    #: Index of the step that failed.
    error_step: int | None
    #: Name of the operation that failed.
    error_op: str | None
    #: Somebody wants it to stop.
    cancel_requested: bool
    #: Submitting a key twice gives the job that exists.
    idempotency_key: str | None
    #: Receives the finished job.
    webhook_url: str | None
    #: `execution.Errands` as JSON, until the job has completed.
    errands: str | None
    #: Unix seconds.
    created: float
    #: Unix seconds of the last start.
    started: float | None
    #: Unix seconds of its end.
    completed: float | None

    @property
    def ended(self) -> bool:
        """True when nothing more will happen unless somebody retries it."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One line of a job's log. Lines are only ever added."""

    #: The job.
    id: str
    #: Rises over all jobs.
    number: int
    #: Unix seconds.
    at: float
    #: The state it entered.
    state: State
    #: The attempt it belongs to.
    attempt: int
    #: Who ran it, e.g. `cpu-3 (4711)`.
    worker: str | None
    #: Why, in words.
    text: str | None


@dataclass(frozen=True, slots=True)
class Submitted:
    """The answer to one submitted job."""

    id: str
    #: False when the id or the idempotency key was known; `id` is then the job that exists.
    created: bool
    state: State
