"""What went wrong with a job, whether it may pass, and when to try again."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from daemon.jobs import QueueLane
from handlers.errors import DISK_FULL, STORAGE_AWAY, AudiollaError, TooLarge

#: Class names, because the library that raises them is not imported here.
_OUT_OF_MEMORY = frozenset({"MemoryError", "OutOfMemoryError"})
#: What torch says, as a RuntimeError, where the processor's memory is at an end.
_CPU_ALLOCATOR = "DefaultCPUAllocator"


class UnusableDatabase(Exception):
    """The database was written by a newer program, is damaged, or is in use."""


class DamagedDatabase(UnusableDatabase):
    """The database cannot be read as a whole any more."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as it travels from a worker into the job's record."""

    #: Class name of the error.
    kind: str
    #: What went wrong, in words.
    detail: str
    #: The same job may succeed later without anybody changing anything.
    transient: bool = False
    #: Field that it is about.
    field: str | None = None
    #: What to do about it.
    hint: str | None = None
    #: Index of the step that failed, and its operation.
    step: int | None = None
    op: str | None = None


def fault_of(error: BaseException, lane: QueueLane) -> Fault:
    """Describe an error that ended a job.

    Args:
        error: what the job raised.
        lane: where it ran: a GPU's memory is shared and may be free later, while a sound that
            does not fit into this machine's memory never will.
    """
    step, op = getattr(error, "step", None), getattr(error, "op", None)
    if isinstance(error, AudiollaError):
        return Fault(error.kind, error.detail, error.transient, error.field, error.hint, step, op)
    name = type(error).__name__
    if isinstance(error, OSError) and error.errno in DISK_FULL | STORAGE_AWAY:
        kind = "StorageFull" if error.errno in DISK_FULL else "StorageFailed"
        return Fault(kind, str(error), transient=True, step=step, op=op)
    if name in _OUT_OF_MEMORY or _CPU_ALLOCATOR in str(error):
        detail = f"not enough memory on the {lane.upper()}: {error}".rstrip(": ")
        if lane == "gpu":
            return Fault(name, detail, transient=True, step=step, op=op)
        # Trying again would need as much: it is the sound that is too large for a worker.
        hint = "AUDIOLLA_WORKER_MEMORY is what one worker may take; a shorter sound needs less"
        return Fault(TooLarge.__name__, detail, hint=hint, step=step, op=op)
    return Fault(name, str(error) or name, step=step, op=op)


def backoff(retries: int, *, base: float, cap: float, chance: float) -> float:
    """Seconds until the next try: full jitter over a doubling span.

    Args:
        retries: tries that failed before this one.
        base: span after the first failure, in seconds.
        cap: longest span, in seconds.
        chance: a random number in [0, 1).

    Source: Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
    """
    # 2.0 ** 64 seconds is beyond any cap; the limit keeps the power finite.
    span: float = min(cap, base * 2.0 ** min(retries, 64))
    return span * chance


def signal_name(exit_code: int) -> str:
    """How a process ended, in words: `SIGSEGV`, or `exit code 3`."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"
