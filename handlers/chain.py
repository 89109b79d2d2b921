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

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from handlers.artifacts import Audio, Blocks, File, Midi, Result, Samples, SoundItem, SourceFile
from handlers.declare import Kind, Operation, Params
from handlers.engines.shelf import Borrow, Lent, packaged
from handlers.errors import AudiollaError, BadParameter, MissingInput
from handlers.hearing import Feature, Heard

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
    #: The MIDI file that flows through the chain.
    midi: Midi | None = None
    #: True when a step turned the one that was there at the start into something else.
    midi_taken: bool = False
    #: True when at least one step changed the sound.
    changed: bool = False
    #: Several named sounds of the last step that gave more than one.
    sounds: dict[str, Blocks] = field(default_factory=dict)
    files: list[SideFile] = field(default_factory=list)
    reports: list[StepReport] = field(default_factory=list)


class Recall(Protocol):
    """Facts that listening steps have found before, by what they were found in and how."""

    def get(self, key: str) -> dict[str, Any] | None:
        """The facts kept under this key."""

    def put(self, key: str, facts: dict[str, Any]) -> None:
        """Keep facts."""


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
        self._share = 0.0

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
                    # Where nobody knows the length, the bar waits; it never lies.
                    frames = sound.expected_frames
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
        # A step that counts windows and the writer that counts frames differ a little: the bar
        # never goes back.
        share = min((self._done + min(fraction, 1.0)) / self._passes, 1.0)
        self._share = max(self._share, share)
        self._tell(self._share, label)


@dataclass(frozen=True)
class Desk:
    """The room that a chain may take while it works."""

    #: Makes (once) and names the folder for large sounds between two steps.
    scratch: Callable[[], Path]
    #: Bytes up to which a sound is kept in memory between two passes, or collected whole.
    memory: int
    #: What was heard before; None remembers nothing.
    recall: Recall | None = None
    #: Lends a model by the slug of its engine.
    borrow: Borrow = packaged


def passes_of(steps: Sequence[Operation]) -> int:
    """How many passes over blocks a chain needs, the final one included."""
    total = 1
    for op in steps:
        if op.sound is None or op.sound.kind in ("midi", "file"):
            continue
        if op.sound.kind == "audio" or not op.changes_sound:
            total += 1
        else:
            total += op.passes - 1
    return total


def check_order(steps: Sequence[Operation], kinds: Sequence[Kind] = ()) -> None:
    """Refuse steps that cannot follow one another.

    Args:
        steps: the operations, in order.
        kinds: what each gives for its parameters (`Operation.kind_for`), where they are known.

    Raises:
        BadParameter: names the step and what it would need.
    """
    first = steps[0].sound if steps else None
    have_midi = first is not None and first.kind == "midi"
    have_sound = not have_midi and first is not None
    lacking = "there is none"
    changed = False
    for index, (op, kind) in enumerate(zip(steps, kinds or [s.kind for s in steps], strict=True)):
        if op.sound is None:
            if index > 0:
                why = f"{op.name} takes no sound: it can only come first"
                raise _at(index, op, BadParameter(why))
        elif op.sound.kind == "midi" and not have_midi:
            why = f"{op.name} needs a MIDI file; no step before it gives one"
            raise _at(index, op, BadParameter(why))
        elif op.sound.kind != "midi" and not have_sound:
            raise _at(index, op, BadParameter(f"{op.name} needs one sound; {lacking}"))
        if op.sound is not None and op.sound.kind == "file" and changed:
            raise _at(index, op, _no_file(op))
        changed = changed or op.changes_sound
        have_midi = have_midi or op.kind == "midi" or Midi in op.extras.values()
        if kind == "zip":
            have_sound, lacking = False, "the step before gives several"
        elif kind == "audio":
            have_sound = True
        elif not have_sound and have_midi:
            lacking = "there is only MIDI so far: render it first"


def run(
    sound: Blocks | None,
    steps: Sequence[Step],
    desk: Desk,
    monitor: Monitor,
    *,
    midi: Midi | None = None,
    changed: bool = False,
    first: int = 0,
    content: Callable[[], str] | None = None,
) -> Outcome:
    """Run `steps` over `sound`; the outcome's sound is computed when it is read.

    Args:
        sound: what flows through the chain; None when the first step takes a
            list of sounds or a MIDI file.
        midi: the MIDI file that flows through the chain. One that a step gives
            takes its place; one that a later step turns into something else is
            not delivered itself.
        changed: an earlier segment has changed the sound already.
        first: index of the first step in the user's chain, for errors.
        content: names the content of `sound` (a hash), for `desk.recall`.

    Raises:
        AudiollaError: with `step` and `op` set.
    """
    outcome = Outcome(sound, midi, changed=changed)
    listening = _Listening(steps, desk, content)
    for index, step in enumerate(steps, start=first):
        try:
            facts = listening.recalled(step)
            if facts is not None:
                outcome.reports.append(_report(index, step, facts))
                continue
            result = _run_one(outcome, index, step, desk, monitor, listening)
            listening.keep(step, result)
            before = outcome.sound
            _sort_out(outcome, index, step, result)
            if outcome.sound is not before:
                listening.changed(step)
        except AudiollaError as wrong:
            raise _at(index, step.op, wrong) from wrong.__cause__
    return outcome


class _Listening:
    """What steps hear in the sound that they share, and what was heard in it before."""

    def __init__(
        self, steps: Sequence[Step], desk: Desk, content: Callable[[], str] | None
    ) -> None:
        self._steps = steps
        self._borrow = desk.borrow
        self._recall = desk.recall
        self._content = content
        #: What was done to the source so far; with its content it names the sound.
        self._done: list[list[Any]] = []
        self._heard: Heard | None = None

    def to(self, sound: Blocks, step: Step) -> Heard:
        """The sound for a step to listen to."""
        if self._heard is None:
            self._heard = Heard(sound, self._expected(step), self._borrow)
        return self._heard.asked_by(step.op.name, step.op.features(step.params))

    def _expected(self, step: Step) -> Iterator[Feature[Any]]:
        """What this step and those after it ask for, as long as the sound stays the same."""
        at = next(i for i, other in enumerate(self._steps) if other is step)
        for later in self._steps[at:]:
            yield from later.op.features(later.params)
            if later.op.may_give_sound:
                return

    def changed(self, step: Step) -> None:
        """The sound is another one from here on."""
        self._heard = None
        if step.further:
            # What the further sounds hold is not known here.
            self._content = None
        self._done.append([step.op.revision(step.params), step.params.model_dump(mode="json")])

    def recalled(self, step: Step) -> dict[str, Any] | None:
        """The step's facts, if they are known already."""
        key = self._key(step)
        return None if key is None or self._recall is None else self._recall.get(key)

    def keep(self, step: Step, result: Any) -> None:
        """Keep the step's facts; files are made anew each time."""
        key = self._key(step)
        if key is not None and self._recall is not None and not result.artifacts():
            self._recall.put(key, result.descriptor())

    def _key(self, step: Step) -> str | None:
        if self._recall is None or self._content is None or not step.op.listens:
            return None
        if step.op.kind != "json" or step.further:
            return None
        told = [step.op.revision(step.params), step.params.model_dump(mode="json")]
        named = json.dumps([self._content(), *self._done, told], sort_keys=True)
        return hashlib.sha256(named.encode()).hexdigest()


def _run_one(
    outcome: Outcome, index: int, step: Step, desk: Desk, monitor: Monitor, listening: _Listening
) -> Any:
    op = step.op
    call: dict[str, Any] = {}
    for declared in op.inputs:
        given: Further | Audio | Heard | SourceFile | None
        if declared is op.sound and declared.kind == "midi":
            given = _midi(outcome, op)
        elif declared is op.sound and declared.kind == "file":
            given = _file(outcome, op, desk)
        elif declared is op.sound:
            if outcome.sound is None:
                raise MissingInput(f"{op.name} needs a sound")
            sound = outcome.sound
            # A model is borrowed for one pass in which the sound is read more than once.
            if op.streams and (op.passes > 1 or op.lent or not op.changes_sound):
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
        if isinstance(given, Blocks) and declared.kind == "heard":
            given = listening.to(given, step) if declared is op.sound else Heard(given)
        call[declared.name] = given
    if op.params_name:
        call[op.params_name] = step.params
    if op.lent:
        call[op.lent] = Lent(op.lent_for(step.params), desk.borrow)
    if op.wants_progress:
        call["progress"] = monitor.within(op.name)
    if op.wants_scratch:
        call["scratch"] = desk.scratch
    return op.func(**call)


def _file(outcome: Outcome, op: Operation, desk: Desk) -> SourceFile:
    sound = outcome.sound
    if sound is None:
        raise MissingInput(f"{op.name} needs a sound")
    if outcome.changed or sound.facts is None or sound.facts.file is None:
        raise _no_file(op)
    return SourceFile(sound.facts.file, sound, desk.scratch)


def _no_file(op: Operation) -> BadParameter:
    return BadParameter(
        f"{op.name} works on the file that came in: it must stand before every step that changes "
        "the sound; a changed sound carries the tags of its source by itself"
    )


def _midi(outcome: Outcome, op: Operation) -> Midi:
    if outcome.midi is None:
        raise MissingInput(f"{op.name} needs a MIDI file")
    if op.kind != "json":
        others = [side for side in outcome.files if side.file is not outcome.midi]
        outcome.midi_taken = outcome.midi_taken or len(others) == len(outcome.files)
        outcome.files = others
    return outcome.midi


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
        if isinstance(artifact, Midi):
            outcome.midi = artifact
    if len(sounds) == 1 and op.kind_for(step.params) != "zip":
        (outcome.sound,) = sounds.values()
        outcome.changed = True
    elif sounds:
        outcome.sound = None
        outcome.sounds = sounds
        outcome.changed = True
    outcome.reports.append(_report(index, step, facts))


def _report(index: int, step: Step, facts: dict[str, Any]) -> StepReport:
    return StepReport(index, step.op.name, step.params.model_dump(mode="json"), facts)


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

    return sound.like(passing, beside=sound.beside)


def _at(index: int, op: Operation, wrong: AudiollaError) -> AudiollaError:
    if wrong.step is None:
        wrong.step, wrong.op = index, op.name
    return wrong
