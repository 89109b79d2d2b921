"""Jobs that failed for want of storage: they wait in `processing` and are tried again.

Not the file is at fault but the disk, so it does not belong into `failed`. A
job that fails again and again while its target is well is failed in the end:
one unreadable file must not be carried about for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from daemon.clock import Clock
from daemon.jobs import Job, Refusal
from handlers.errors import StorageFailed, StorageFull

DELAYS: Final = (10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0)
"""Seconds before each further try while the target is well."""
_KINDS: Final = frozenset({StorageFull.__name__, StorageFailed.__name__})


@dataclass
class _Held:
    reason: str
    full: bool
    #: Which failure it was, by when it ended.
    ended: float | None
    tries: int
    #: When it is tried again (monotonic); None while a try is under way.
    due: float | None


class Holding:
    """The jobs of one folder that wait for storage. Forgotten at a restart, and found again."""

    def __init__(self, retry: Callable[[str], None], clock: Clock) -> None:
        """`retry` has a failed job run again."""
        self._retry, self._clock = retry, clock
        self._held: dict[str, _Held] = {}

    def hold(self, record: Job) -> bool:
        """Hold a failed job; False if its failure is its own, or if it has not failed at all."""
        if record.state != "failed" or record.error_kind not in _KINDS:
            self._held.pop(record.id, None)
            return False
        known = self._held.get(record.id)
        if known is not None and known.ended == record.completed:
            return True  # the same failure, heard of again
        tries = 0 if known is None else known.tries
        if tries >= len(DELAYS):
            del self._held[record.id]
            return False
        self._held[record.id] = _Held(
            reason=record.error or record.error_kind,
            full=record.error_kind == StorageFull.__name__,
            ended=record.completed,
            tries=tries + 1,
            due=self._clock.monotonic() + DELAYS[tries],
        )
        return True

    def forget(self, job: str) -> None:
        """Its file is not in `processing` any more."""
        self._held.pop(job, None)

    def release(self) -> None:
        """Have those run again whose time has come. Call it only while the targets are well.

        Raises:
            OSError: the queue does not answer.
        """
        now = self._clock.monotonic()
        for job, held in list(self._held.items()):
            if held.due is not None and held.due <= now:
                try:
                    self._retry(job)
                except Refusal:
                    # Somebody retried, cancelled or deleted it.
                    del self._held[job]
                else:
                    held.due = None

    @property
    def next_due(self) -> float:
        """When the next is tried again (monotonic)."""
        return min((one.due for one in self._held.values() if one.due is not None), default=_NEVER)

    @property
    def problem(self) -> str:
        """Why nothing more is taken; empty when that would help nobody.

        A full disk would only take the next file into the same trouble.
        """
        full = [one for one in self._held.values() if one.full]
        if not full:
            return ""
        return f"{len(full)} taken files wait for room: {full[0].reason}"


_NEVER: Final = float("inf")
