"""Operations for tests: slow, deaf, deadly, forgetful, and one that needs the GPU's worker."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from handlers.artifacts import Audio, Blocks, Samples
from handlers.declare import Example, Params, Progress, operation
from handlers.errors import StorageFull
from handlers.units import Decibels, Seconds

_moment = threading.Event()  # never set: its wait is a pause


class TestSleep(Params):
    """How long."""

    seconds: Seconds = Field(1.0, ge=0, description="Time to take.")


@operation(
    route="/v1/audio/test-sleep",
    category="effects-creative",
    examples=[Example("A short one.", seconds=0.01)],
    tool=None,
)
def test_sleep(sound: Audio, p: TestSleep, progress: Progress) -> Audio:
    """Take time, and look up every 10 ms; the sound passes by."""
    steps = max(round(p.seconds / 0.01), 1)
    for step in range(steps):
        progress(step / steps)
        _moment.wait(p.seconds / steps)
    return sound


class TestSpin(Params):
    """Until when."""

    seconds: Seconds = Field(60.0, ge=0, description="Time to take.")


@operation(
    route="/v1/audio/test-spin",
    category="effects-creative",
    examples=[Example("Not at all.", seconds=0)],
    tool=None,
)
def test_spin(sound: Audio, p: TestSpin) -> Audio:
    """Take time and never look up: only force ends it; the sound passes by."""
    _moment.wait(p.seconds)
    return sound


class TestCrash(Params):
    """How, and when not."""

    signal: str = Field("", description="Name of a signal, e.g. SIGSEGV; empty does nothing.")
    unless: str = Field("", description="A file; where it exists nothing happens, else it is made.")


@operation(
    route="/v1/audio/test-crash",
    category="effects-creative",
    examples=[Example("It stays alive.")],
    tool=None,
)
def test_crash(sound: Audio, p: TestCrash) -> Audio:
    """End the process that runs it."""
    if p.signal and not (p.unless and Path(p.unless).exists()):
        if p.unless:
            Path(p.unless).touch()
        os.kill(os.getpid(), getattr(signal, p.signal))
        _moment.wait(60)
    return sound


class TestFail(Params):
    """How often, counted in a file."""

    times: int = Field(0, ge=0, description="How many attempts fail.")
    count: str = Field("", description="A file with a byte for each attempt.")


@operation(
    route="/v1/audio/test-fail",
    category="effects-creative",
    examples=[Example("It works at once.")],
    tool=None,
)
def test_fail(sound: Audio, p: TestFail) -> Audio:
    """Fail with a fault that may pass, a number of times."""
    if p.times:
        with open(p.count, "ab") as file:
            file.write(b".")
            attempts = file.tell()
        if attempts <= p.times:
            raise StorageFull(f"attempt {attempts} of {p.times} that fail")
    return sound


class TestGpuGain(Params):
    """How much."""

    gain_db: Decibels = Field(0.0, ge=-60, le=60, description="Change of level.")
    pids: str = Field("", description="A file to which the process id is added.")


@operation(
    route="/v1/audio/test-gpu-gain",
    category="effects-creative",
    examples=[Example("Half as loud.", gain_db=-6)],
    tool=None,
    lane="gpu",
)
def test_gpu_gain(sound: Blocks, p: TestGpuGain) -> Blocks:
    """Change the level, in the GPU's worker."""

    def louder() -> Iterator[Samples]:
        if p.pids:
            with open(p.pids, "a") as file:
                file.write(f"{os.getpid()}\n")
        factor = 10 ** (p.gain_db / 20)
        for block in sound:
            yield block * block.dtype.type(factor)

    return sound.like(louder)
