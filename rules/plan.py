"""From a file and the rules of its folder to an order.

Names and sizes are known in the watcher; lengths, channels and tags only in a
worker, because user bytes are opened nowhere else. So `plan` decides what it
can: if the first rule that may match asks for nothing but name and size, it is
the order. Otherwise the rules that are still possible travel with the order as
`choose`, and the worker calls `resolve` once it has read the header.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from handlers.engines.declare import Lane
from handlers.errors import CannotProcess
from rules.match import FileFacts, SoundFacts, refused_by_name, refused_by_sound
from rules.model import INPUT, FolderRules, Rule
from rules.names import render, with_extension
from rules.orders import Choice, Delivery, ItemRef, Once, Order, SoundRef, StepOrder


class NoRuleMatches(CannotProcess):
    """No rule of the folder takes the file; the detail names, for each, what does not hold."""

    def __init__(self, refusals: Sequence[str]) -> None:
        super().__init__("no rule takes this file: " + "; ".join(refusals))
        self.refusals = tuple(refusals)


@dataclass(frozen=True)
class Plan:
    """What is to be done with one file."""

    order: Order
    #: Lane of its first step.
    lane: Lane
    #: The rule, or None while only its header can tell.
    rule: str | None


def plan(folder: FolderRules, file: FileFacts, at: Path) -> Plan:
    """The order for one file.

    Args:
        folder: the rules of its folder.
        file: its path below the folder, and its size.
        at: where the file lies when its job runs.

    Raises:
        NoRuleMatches: no rule can take it, whatever is in it.
    """
    refusals: list[str] = []
    choices: list[Choice] = []
    for rule in folder.rules:
        refused = refused_by_name(rule.match, file)
        if refused is not None:
            refusals.append(f"{rule.name}: {refused}")
            continue
        choices.append(_choice(folder, rule, file, at))
        if not rule.match.asks:
            break
    if not choices:
        raise NoRuleMatches(refusals)
    sound = SoundRef(path=at, name=printable(file.name))
    again = folder.taking.duplicates
    once = None if again == "process" else Once(policy=again, folder=folder.name, sound=sound)
    if choices[0].match.asks:
        order = Order(sound=sound, choose=choices, refusals=refusals, once=once)
        return Plan(order, "cpu", None)
    (chosen,) = choices
    order = _chosen(Order(sound=sound, once=once), chosen)
    return Plan(order, _first_lane(order), chosen.rule)


def asked(order: Order) -> frozenset[str]:
    """The facts that `resolve` needs: of `duration`, `channels`, `sample_rate` and `tags`."""
    return frozenset(name for choice in order.choose for name in choice.match.asks)


def resolve(order: Order, sound: SoundFacts) -> Order:
    """The order once the header is known; one that leaves no choice comes back as it is.

    Raises:
        NoRuleMatches: none of the rules takes the file.
    """
    if not order.choose:
        return order
    refusals = list(order.refusals)
    for choice in order.choose:
        refused = refused_by_sound(choice.match, sound)
        if refused is None:
            return _chosen(order, choice)
        refusals.append(f"{choice.rule}: {refused}")
    raise NoRuleMatches(refusals)


def _choice(folder: FolderRules, rule: Rule, file: FileFacts, at: Path) -> Choice:
    output, below = rule.output, file.rel.rpartition("/")[0]
    names = {"rel": printable(below), "rule": rule.name, "folder": folder.name}
    if not rule.takes_sound:
        names["name"] = printable(file.name)
    # A template that places the subfolder itself has it once, not twice.
    keeps = below and output.subfolders and "{rel}" not in output.name
    delivery = Delivery(
        folder=output.folder / below if keeps else output.folder,
        name=output.name,
        side_name=output.side_name,
        conflict=output.conflict,
        encoding=output.encoding,
        sound=output.sound,
        reports=output.reports,
    )
    return Choice(
        rule=rule.name,
        match=rule.match,
        takes_sound=rule.takes_sound,
        steps=[_with_input(step, file, at) for step in rule.steps],
        delivery=delivery,
        measure=rule.measure,
        names=names,
    )


def _chosen(order: Order, choice: Choice) -> Order:
    return order.model_copy(
        update={
            "sound": order.sound if choice.takes_sound else None,
            "steps": choice.steps,
            "delivery": choice.delivery,
            "measure": choice.measure,
            "names": choice.names,
            "choose": [],
            "refusals": [],
        }
    )


def _with_input(step: StepOrder, file: FileFacts, at: Path) -> StepOrder:
    if not step.items:
        return step
    dropped = SoundRef(path=at, name=printable(file.name))

    def filled(item: ItemRef) -> ItemRef:
        is_input = item.sound.path == Path(INPUT)
        return item.model_copy(update={"sound": dropped}) if is_input else item

    items = {name: [filled(item) for item in entries] for name, entries in step.items.items()}
    return step.model_copy(update={"items": items})


def _first_lane(order: Order) -> Lane:
    if not order.steps:
        return "cpu"
    from handlers.registry import find

    return find(order.steps[0].op).lane_for(order.steps[0].params)


def printable(text: str) -> str:
    """A file name as text that JSON can hold: bytes that are not UTF-8 become U+FFFD."""
    if text.isascii():
        return text
    return os.fsencode(text).decode("utf-8", "replace")


# -- explaining ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class RuleVerdict:
    """What one rule says to a file."""

    rule: str
    verdict: Literal["takes it", "does not", "header decides", "not asked"]
    #: The condition that does not hold, or that only the header can tell.
    reason: str = ""


@dataclass(frozen=True)
class Explanation:
    """A dry run: which rule, which steps, which names."""

    rules: tuple[RuleVerdict, ...]
    #: The rule that takes the file; None when none does or its header was not given.
    rule: str | None
    #: `{op, params}` of each step.
    steps: tuple[dict[str, Any], ...] = ()
    #: Full path of the sound that would come out; fields only known afterwards are `unknown`.
    output: Path | None = None
    #: What happens to a file that no rule takes.
    otherwise: str = ""


def explain(folder: FolderRules, file: FileFacts, sound: SoundFacts | None = None) -> Explanation:
    """What the rules of a folder would do with a file, and why not something else."""
    verdicts: list[RuleVerdict] = []
    taken: Rule | None = None
    undecided = False
    for rule in folder.rules:
        if taken is not None:
            verdicts.append(RuleVerdict(rule.name, "not asked", f"{taken.name} comes first"))
            continue
        refused = refused_by_name(rule.match, file)
        if refused is None and rule.match.asks and sound is None:
            verdicts.append(
                RuleVerdict(rule.name, "header decides", ", ".join(sorted(rule.match.asks)))
            )
            undecided = True
            continue
        if refused is None and sound is not None:
            refused = refused_by_sound(rule.match, sound)
        if refused is not None:
            verdicts.append(RuleVerdict(rule.name, "does not", refused))
            continue
        verdicts.append(RuleVerdict(rule.name, "takes it"))
        taken = rule
    if taken is None or undecided:
        left = "it stays where it is" if folder.no_match == "leave" else "it goes to failed"
        return Explanation(tuple(verdicts), None, otherwise=left)
    choice = _choice(folder, taken, file, Path(file.rel))
    steps = tuple({"op": step.op, "params": step.params} for step in taken.steps)
    return Explanation(tuple(verdicts), taken.name, steps, _expected(choice, file, sound))


def _expected(choice: Choice, file: FileFacts, sound: SoundFacts | None) -> Path:
    path = PurePosixPath(file.rel)
    ext = "mid" if _gives_only_midi(choice) else choice.delivery.encoding.target.ext
    fields: dict[str, Any] = {
        "name": printable(path.name),
        "stem": printable(path.stem),
        "source_ext": path.suffix.removeprefix("."),
        "ext": ext,
        **choice.names,
    }
    if sound is not None:
        fields |= {
            "duration": sound.duration,
            "channels": sound.channels,
            "sample_rate": sound.sample_rate,
            "title": next(iter(sound.tags.get("title", ())), printable(path.stem)),
            "artist": next(iter(sound.tags.get("artist", ())), None),
            "album": next(iter(sound.tags.get("album", ())), None),
        }
    for step in choice.steps:
        plain = {k: v for k, v in step.params.items() if isinstance(v, str | int | float)}
        fields |= {f"{step.op}.{name}": value for name, value in plain.items()}
    return choice.delivery.folder / with_extension(render(choice.delivery.name, fields), ext)


def _gives_only_midi(choice: Choice) -> bool:
    """Whether MIDI flows through the chain, and no sound comes of it."""
    from handlers.registry import find

    ops = [find(step.op) for step in choice.steps]
    sound = any(op.changes_sound or (op.sound and op.sound.kind != "midi") for op in ops)
    return not sound and any(op.kind == "midi" for op in ops)
