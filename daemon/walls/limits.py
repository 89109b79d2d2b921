"""Limits of a worker: memory, size of a file, open files, processor time, no core."""

from __future__ import annotations

import logging
import resource
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

#: Address space beyond the memory: libraries and weights are mapped, threads reserve stacks.
_MAPPED: Final = 16 * 2**30
#: Room for headers and tags around what the cap of an output allows.
_AROUND: Final = 2**20
_OPEN_FILES: Final = 1024


def lower(memory: int | None, file_size: int) -> None:
    """Lower this process's limits, for good.

    Args:
        memory: bytes that the process may write to; None is no limit (CUDA reserves far more
            than it uses).
        file_size: bytes that one file may get.
    """
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _lower(resource.RLIMIT_FSIZE, file_size + _AROUND)
    if memory is not None:
        # Private writable memory is what a job takes; the address space holds libraries besides.
        _lower(resource.RLIMIT_DATA, memory)
        _lower(resource.RLIMIT_AS, memory + _MAPPED)


def begin_job(cpu_seconds: float) -> None:
    """Have the kernel end this process when its next job takes so much processor time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + cpu_seconds) + 1
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def be_killed_first() -> None:
    """Under memory pressure the kernel takes a worker, not the dispatcher."""
    try:
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    except OSError as refused:  # a container may keep it; everything else still holds
        log.info("oom_score_adj cannot be set: %s", refused)


def _lower(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))
