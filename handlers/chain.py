"""Runs an ordered list of steps over a sound: decode once, encode once.

Streaming steps compose: each wraps the one before, and nothing happens until
somebody iterates the last one. So neighbouring streaming steps are one pass
over blocks, whatever their number, without intermediate files. A step that
takes the whole sound gets it collected, in memory or, when it is large, in a
memory-mapped scratch file. A step that reads its sound and lets it pass on
(a report, a picture, measure-then-apply) gets one that remembers itself if it
is small enough; a larger one is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from handlers.artifacts import Audio, Blocks, File, Midi, Result, Samples, SoundItem
from handlers.declare import Operation, Params
from handlers.errors import AudiollaError, BadParameter, MissingInput

Further = Blocks | Midi | list[SoundItem]


@dataclass(frozen=True)
class Step:
    """One step, checked and with its further sounds opened."""

    op: Operation
    params: Params
    #: Inputs beside the sound that flows through the chain, by parameter name.
    further: Mapping[str, Further] = field(default_factory=dict)


@dataclass(frozen=True)
class StepReport:
    """What one step said."""

    step: int
    op: str
    params: dict[str, Any]
    #: The result's facts; empty where a step only gives a sound.
    facts: dict[str, Any]


@dataclass(frozen=True)
class SideFile:
    """A finished file that a step gave beside the sound."""

    step: int
    op: str
    name: str
    file: File


@dataclass
class Outcome:
    """What a chain gives. `sound` has not been computed yet: iterate it to do so."""

    sound: Blocks | None
    #: True when at least one step changed the sound.
    changed: bool = False
    #: Several named sounds of the last step that gave more than one.
    sounds: dict[str, Blocks] = field(default_factory=dict)
    files: list[SideFile] = field(default_factory=list)
    reports: list[StepReport] = field(default_factory=list)


class Monitor:
    """Turns passes over blocks into progress, and asks for cancellation on each block.

    Passes nest (the last one pulls all before it); only the outermost counts.
    """

    def __init__(self, tell: Callable[[float, str], None], passes: int) -> None:
        """`tell(fraction, label)` may raise `Cancelled`; `passes` are expected in all."""
        self._tell = tell
        self._passes = max(passes, 1)
        self._done = 0
        self._running = False

    def watch(self, sound: Blocks, label: str) -> Blocks:
        """The same sound; reading it is reported under `label`."""

        def passing() -> Iterator[Samples]:
            if self._running:
                yield from sound
                return
            self._running = True
            try:
                seen = 0
                for block in sound:
                    seen += block.shape[1]
                    # Where only reading tells the length, the bar waits; it never lies.
                    frames = sound.stated_frames
                    self._say(seen / frames if frames else 0.0, label)
                    yield block
                self._done += 1
            finally:
                self._running = False

        return sound.like(passing)

    def within(self, label: str) -> Callable[[float], None]:
        """Progress of one step that works between two passes."""
        return lambda fraction: self._say(fraction, label)

    def _say(self, fraction: float, label: str) -> None:
        self._tell(min((self._done + min(fraction, 1.0)) / self._passes, 1.0), label)


@dataclass(frozen=True)
class Desk:
    """The room that a chain may take while it works."""

    #: Makes (once) and names the folder for large sounds between two steps.
    scratch: Callable[[], Path]
    #: Bytes up to which a sound is kept in memory between two passes, or collected whole.
    memory: int


def passes_of(steps: Sequence[Operation]) -> int:
    """How many passes over blocks a chain needs, the final one included."""
    total = 1
    for op in steps:
        if op.sound is None:
            continue
        if op.sound.kind == "audio" or not op.changes_sound:
            total += 1
        else:
            total += op.passes - 1
    return total


def check_order(steps: Sequence[Operation]) -> None:
    """Refuse steps that cannot follow one another.

    Raises:
        BadParameter: names the step and what it would need.
    """
    have = "start"
    for index, op in enumerate(steps):
        if op.sound is None and index > 0:
            raise _at(index, op, BadParameter(f"{op.name} takes no sound: it can only come first"))
        if have == "several":
            raise _at(
                index, op, BadParameter(f"{op.name} needs one sound; the step before gives several")
            )
        if op.kind == "zip":
            have = "several"
        elif op.kind == "audio":
            have = "sound"


def run(
    sound: Blocks | None,
    steps: Sequence[Step],
    desk: Desk,
    monitor: Monitor,
    *,
    first: int = 0,
) -> Outcome:
    """Run `steps` over `sound`; the outcome's sound is computed when it is read.

    Args:
        sound: what flows through the chain; None when the first step takes a
            list of sounds.
        first: index of the first step in the user's chain, for errors.

    Raises:
        AudiollaError: with `step` and `op` set.
    """
    outcome = Outcome(sound)
    for index, step in enumerate(steps, start=first):
        try:
            _run_one(outcome, index, step, desk, monitor)
        except AudiollaError as wrong:
            raise _at(index, step.op, wrong) from wrong.__cause__
    return outcome


def _run_one(outcome: Outcome, index: int, step: Step, desk: Desk, monitor: Monitor) -> None:
    op = step.op
    call: dict[str, Any] = {}
    for declared in op.inputs:
        given: Further | Audio | None
        if declared is op.sound:
            if outcome.sound is None:
                raise MissingInput(f"{op.name} needs a sound")
            sound = outcome.sound
            if op.streams and (op.passes > 1 or not op.changes_sound):
                sound = sound.remembered(desk.memory)
                outcome.sound = sound
            given = monitor.watch(sound, op.name)
        else:
            given = step.further.get(declared.name)
        if given is None and declared.required:
            raise MissingInput(f"{op.name} needs {declared.name}", field=declared.name)
        if isinstance(given, Blocks) and declared.kind == "audio":
            given = _collected(given, desk, f"{index}-{declared.name}")
            if declared is op.sound and not op.changes_sound:
                outcome.sound = given.blocks()
        call[declared.name] = given
    if op.params_name:
        call[op.params_name] = step.params
    if op.wants_progress:
        call["progress"] = monitor.within(op.name)
    _sort_out(outcome, index, step, op.func(**call))


def _sort_out(outcome: Outcome, index: int, step: Step, result: Any) -> None:
    op = step.op
    facts: dict[str, Any] = {}
    named: list[tuple[str, Any]] = [("", result)]
    if isinstance(result, Result):
        facts = result.descriptor()
        named = list(result.artifacts())
    sounds: dict[str, Blocks] = {}
    for name, artifact in named:
        if isinstance(artifact, Audio):
            sounds[name] = _attributed(artifact.blocks(), index, op)
        elif isinstance(artifact, Blocks):
            sounds[name] = _attributed(artifact, index, op)
        elif isinstance(artifact, File):
            outcome.files.append(SideFile(index, op.name, name, artifact))
    if len(sounds) == 1 and op.kind != "zip":
        (outcome.sound,) = sounds.values()
        outcome.changed = True
    elif sounds:
        outcome.sound = None
        outcome.sounds = sounds
        outcome.changed = True
    params = step.params.model_dump(mode="json")
    outcome.reports.append(StepReport(index, op.name, params, facts))


def _collected(sound: Blocks, desk: Desk, name: str) -> Audio:
    def mapped(shape: tuple[int, int]) -> Samples:
        if 0 in shape or 4 * shape[0] * shape[1] <= 4 * desk.memory:
            return np.empty(shape, np.float32)
        return np.lib.format.open_memmap(
            desk.scratch() / f"whole-{name}.npy", mode="w+", dtype=np.float32, shape=shape
        )

    return sound.whole(mapped)


def _attributed(sound: Blocks, index: int, op: Operation) -> Blocks:
    """The same sound; a refusal while it is read names the step that made it."""

    def passing() -> Iterator[Samples]:
        try:
            yield from sound
        except AudiollaError as wrong:
            raise _at(index, op, wrong) from wrong.__cause__

    return sound.like(passing)


def _at(index: int, op: Operation, wrong: AudiollaError) -> AudiollaError:
    if wrong.step is None:
        wrong.step, wrong.op = index, op.name
    return wrong
