"""What every engine on torch shares: threads, device, batches, running out of memory."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from handlers.engines.declare import Device
from handlers.errors import DeviceFull

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


def torch_for(device: Device) -> Any:
    """The module `torch`, set up for inference on `device` in this process.

    torch counts the cores of the machine, not those that this process may use, so the
    count is set here, unless OMP_NUM_THREADS says it. And its threads wait for each other
    by spinning: where another process wants the cores, that takes 1.7 to 100 times the
    time. So they are told to sleep, which costs nothing where nobody wants the cores.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        _set_threads()
    if device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    return torch


@functools.cache
def _set_threads() -> None:
    import torch

    torch.set_num_threads(cores())


def cores() -> int:
    """How many cores this process may keep busy: its affinity and its control group's quota."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return allowed
    if quota == "max":
        return allowed
    return max(1, min(allowed, math.ceil(int(quota) / int(period))))


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """While a library is imported or a model made: how it is written is not for users to read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", message="A window was not provided")
        yield


class Batches:
    """Runs items through a model, as many at a time as is fastest and fits.

    On a processor one at a time: batches never were faster there. On a GPU a batch
    that does not fit is halved, and stays so. Where not even one item fits, the rest
    of the sound goes through the processor if that `may_use_cpu`.
    """

    #: Set once per process.
    may_use_cpu = False

    def __init__(self, device: Device, size: int, *modules: Any) -> None:
        """`size` items at a time on a GPU, through `modules`, which are there."""
        self.size = size if device.startswith("cuda") else 1
        #: Where the modules are.
        self.device = device
        self._home = device
        self._modules = modules

    def begin(self) -> None:
        """A new sound: what had to leave the GPU may have room there again."""
        self._move(self._home)

    def _move(self, device: Device) -> None:
        if device != self.device:
            for module in self._modules:
                module.to(device)
            self.device = device

    def run(self, items: Sequence[T], call: Callable[[Sequence[T]], Sequence[R]]) -> Iterator[R]:
        """What `call` gives for each item, in order.

        Raises:
            DeviceFull: not even one item fits into the memory of the device.
        """
        import torch

        done = 0
        while done < len(items):
            try:
                results = call(items[done : done + self.size])
            except torch.OutOfMemoryError as wrong:
                if self.size > 1:
                    self.size //= 2
                elif self.may_use_cpu and self.device != "cpu":
                    log.warning("the rest of this sound goes through the processor: %s", wrong)
                    self._move("cpu")
                else:
                    raise DeviceFull(
                        f"the GPU has too little free memory for one piece of sound: {wrong}",
                        hint="free memory on the GPU, or set AUDIOLLA_CPU_FALLBACK=true",
                    ) from wrong
                torch.cuda.empty_cache()
                continue
            yield from results
            done += len(results)
