"""What a worker is given, what it may ask for, and what it gives back.

The seam between the queue (which knows nothing of sound) and the runner
(which knows nothing of sockets or databases).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from daemon.jobs import QueueLane
from daemon.settings import Settings
from handlers.chain import Recall
from handlers.engines.shelf import Shelf
from rules.orders import Order, WirePath

CHORE = '{"chore":'
"""Begins an order that is about housekeeping, not about sound."""


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Placement(_Plain):
    """One finished file on its way to its final name.

    The intent to rename `part` to `final` is durable before the rename
    happens. `inode` survives the rename, so a later attempt can tell whether
    it has happened already; it is 0 on a file system that makes inodes up.
    """

    part: WirePath
    final: WirePath
    inode: int
    size: int
    #: Take the place of a file that already bears the final name.
    replace: bool = False
    #: Where that file is kept; None lets go of it.
    keep: WirePath | None = None


class Intent(_Plain):
    """All files of one job, and the job's result once they are in place."""

    placements: list[Placement]
    result: dict[str, Any]


class FetchErrand(_Plain):
    """A sound that is fetched before the job begins."""

    url: str
    #: Where it is put; a file that is there has been fetched.
    path: WirePath
    #: How messages call it (`track 1: file_url`), and the field that an error is about.
    label: str
    field: str


class SendErrand(_Plain):
    """A file of the job that is sent to a URL."""

    url: str
    #: Which of several named files; empty for the one that the job is about.
    part: str = ""


class Errands(_Plain):
    """What the network workers do before and after the work itself."""

    fetch: list[FetchErrand] = []
    send: list[SendErrand] = []
    #: Lane of the work's first step.
    lane: QueueLane = "cpu"
    #: Nobody waits: a transfer that failed for a reason that may pass is tried again.
    patient: bool = False


class Claim(_Plain):
    """One job as handed to a worker."""

    id: str
    attempt: int
    #: `rules.orders.Order` as JSON; the queue never looks inside.
    order: str
    #: Steps before this one are finished; their sound lies in `carried`.
    next_step: int = 0
    #: Raw float32 sound (see `daemon.scratch`) that an earlier segment left.
    carried: WirePath | None = None
    #: What the finished steps reported (`StepReport` fields), in order.
    finished: list[dict[str, Any]] = []
    #: Set when an earlier attempt died while its files were being renamed.
    intent: Intent | None = None
    #: What goes over the network before and after the work.
    errands: Errands | None = None

    def read_order(self) -> Order:
        """The order, which is about sound: no chore."""
        return _read(self.order)


@lru_cache(maxsize=1)
def _read(order: str) -> Order:
    # The worker asks it where the job is, the runner what to do: read once for both.
    return Order.model_validate_json(order)


class Finished(_Plain):
    """The job is done."""

    result: dict[str, Any]


class HandOver(_Plain):
    """The next step belongs to another lane; the sound so far waits in a scratch file."""

    next_step: int
    lane: QueueLane
    carried: WirePath | None
    finished: list[dict[str, Any]]


class Promises(Protocol):
    """Whoever keeps final names apart."""

    def intend(self, intent: Intent) -> Sequence[Path]:
        """Make an intent durable, unless a final name is promised to another job.

        Returns:
            The final names that are taken; empty when the intent is committed.
        """


class Context(Promises, Protocol):
    """What a running job may ask of its worker."""

    #: The daemon's settings: limits that the runner holds a job to.
    settings: Settings

    @property
    def scratch(self) -> Path:
        """Directory of this job alone; removed when the job has ended."""

    #: The lane of this worker.
    lane: QueueLane

    #: What analyses found before; None keeps nothing.
    recall: Recall | None

    #: The models of this worker.
    shelf: Shelf

    def progress(self, fraction: float, step: str) -> None:
        """Say how far the job is. Cheap enough for every block.

        Raises:
            Cancelled: somebody cancelled the job.
        """

    def first(self, key: str, *, take: bool = False) -> str | None:
        """Ask whether the same sound was worked on in the same way before.

        Args:
            key: the sound and the work (`daemon.taking.twice.key_of`).
            take: make it this job's, whoever has it.

        Returns:
            The job that did it or does it; None if it is this one now.
        """

    def result_of(self, job: str) -> dict[str, Any] | None:
        """The result of another job that has completed; None where there is none."""


class Run(Protocol):
    """The runner's one function: `daemon.runner.run`."""

    def __call__(self, claim: Claim, context: Context) -> Finished | HandOver:
        """Run one claim to its end or to its next lane change; refuse with `AudiollaError`."""
