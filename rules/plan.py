"""From a file and the rules of its folder to an order.

Names and sizes are known in the watcher; lengths, channels and tags only in a
worker, because user bytes are opened nowhere else. So `plan` decides what it
can: if the first rule that may match asks for nothing but name and size, it is
the order. Otherwise the rules that are still possible travel with the order as
`choose`, and the worker calls `resolve` once it has read the header.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from handlers.engines.declare import Lane
from handlers.errors import CannotProcess
from rules.match import FileFacts, SoundFacts, refused_by_name, refused_by_sound
from rules.model import INPUT, FolderRules, Output, Rule
from rules.names import render, with_extension
from rules.orders import Branch, Choice, Delivery, ItemRef, Order, SoundRef, StepOrder


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
        if not rule.asks and not folder.match_all:
            break
    if not choices:
        raise NoRuleMatches(refusals)
    sound = SoundRef(path=at, name=printable(file.name))
    open_ones = [choice for choice in choices if choice.match.asks or choice.when]
    if open_ones and (folder.match_all or open_ones[0] is choices[0]):
        travels = Order(sound=sound, choose=choices, choose_all=folder.match_all, refusals=refusals)
        return Plan(travels, "cpu", None)
    order = _all_chosen(Order(sound=sound), choices)
    return Plan(order, _first_lane(order), choices[0].rule if len(choices) == 1 else None)


def asked(order: Order) -> frozenset[str]:
    """The facts that `resolve` needs: of `duration`, `channels`, `sample_rate` and `tags`."""
    return frozenset(name for choice in order.choose for name in choice.match.asks)


Measuring = Callable[[frozenset[str]], Mapping[str, Any]]
"""Measures what rules ask for by these names in the dropped file."""


def resolve(order: Order, sound: SoundFacts, measure: Measuring = lambda _: {}) -> Order:
    """The order once the header is known; one that leaves no choice comes back as it is.

    Raises:
        NoRuleMatches: none of the rules takes the file.
    """
    return choose(order, fitting(order, sound, measure)) if order.choose else order


def choose(order: Order, rules: Sequence[str]) -> Order:
    """The order when these of its choices are taken."""
    return _all_chosen(order, [choice for choice in order.choose if choice.rule in rules])


def fitting(order: Order, sound: SoundFacts, measure: Measuring) -> list[str]:
    """The rules that take a file: the first that fits, or all.

    `measure` is called once, and only if a rule asks that nothing else has refused.

    Raises:
        NoRuleMatches: none of the rules takes the file.
    """
    from rules.measures import measured, refused_by_measures

    refusals = {choice.rule: refused_by_sound(choice.match, sound) for choice in order.choose}
    possible = [choice for choice in order.choose if refusals[choice.rule] is None]
    if not order.choose_all:
        sure = next((n for n, choice in enumerate(possible) if not choice.when), len(possible))
        possible = possible[: sure + 1]
    names = frozenset(name for choice in possible for name in choice.when)
    found = measure(names) if names else {}
    taken: list[str] = []
    for choice in possible:
        refused = next(iter(refused_by_measures(choice.when, found, measured())), None)
        if refused is not None:
            refusals[choice.rule] = refused
        elif order.choose_all or not taken:
            taken.append(choice.rule)
    if not taken:
        told = [f"{rule}: {refused}" for rule, refused in refusals.items() if refused]
        raise NoRuleMatches([*order.refusals, *told])
    return taken


def _choice(folder: FolderRules, rule: Rule, file: FileFacts, at: Path) -> Choice:
    below = file.rel.rpartition("/")[0]
    names = {"rel": printable(below), "rule": rule.name, "folder": folder.name}
    if not rule.takes_sound:
        names["name"] = printable(file.name)
    return Choice(
        rule=rule.name,
        match=rule.match,
        when=dict(rule.when),
        takes_sound=rule.takes_sound,
        steps=[_with_input(step, file, at) for step in rule.steps],
        delivery=_delivery(rule.output, below),
        branches=[
            Branch(
                name=one.name,
                steps=[_with_input(step, file, at) for step in one.steps],
                delivery=_delivery(one.output, below),
                ensure=dict(one.ensure),
                names=names | {"delivery": one.name},
            )
            for one in rule.deliver
        ],
        ensure=dict(rule.ensure),
        measure=rule.measure,
        names=names,
    )


def _delivery(output: Output, below: str) -> Delivery:
    # A template that places the subfolder itself has it once, not twice.
    keeps = below and output.subfolders and "{rel}" not in output.name
    return Delivery(
        folder=output.folder / below if keeps else output.folder,
        name=output.name,
        side_name=output.side_name,
        conflict=output.conflict,
        encoding=output.encoding,
        sound=output.sound,
        reports=output.reports,
        tags=output.tags if isinstance(output.tags, str) else dict(output.tags),
        mode=output.mode,
        owner=output.owner,
    )


def _all_chosen(order: Order, choices: Sequence[Choice]) -> Order:
    """Several rules that all match are several deliveries of one sound."""
    if len(choices) == 1:
        return _chosen(order, choices[0])
    branches = [
        Branch(
            name=choice.rule,
            takes_sound=choice.takes_sound,
            steps=choice.steps,
            delivery=choice.delivery,
            ensure=choice.ensure,
            names=choice.names,
            branches=choice.branches,
        )
        for choice in choices
    ]
    empty = Choice(
        rule="",
        match=choices[0].match,
        delivery=choices[0].delivery.model_copy(update={"sound": False}),
        branches=branches,
        measure=any(choice.measure for choice in choices),
        names=choices[0].names,
    )
    return _chosen(order, empty)


def _chosen(order: Order, choice: Choice) -> Order:
    return order.model_copy(
        update={
            "sound": order.sound if choice.takes_sound else None,
            "steps": choice.steps,
            "delivery": choice.delivery,
            "branches": choice.branches,
            "ensure": choice.ensure,
            "measure": choice.measure,
            "names": choice.names,
            "choose": [],
            "choose_all": False,
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
    #: The same for each of several deliveries: name, steps, path.
    deliveries: tuple[dict[str, Any], ...] = ()
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
    if not choice.branches:
        return Explanation(tuple(verdicts), taken.name, steps, _expected(choice, file, sound))
    deliveries = tuple(
        {
            "delivery": branch.name,
            "steps": [{"op": step.op, "params": step.params} for step in branch.steps],
            "output": _expected(_as_choice(choice, branch), file, sound),
        }
        for branch in choice.branches
    )
    return Explanation(tuple(verdicts), taken.name, steps, deliveries=deliveries)


def _as_choice(choice: Choice, branch: Branch) -> Choice:
    """One delivery as if it were the only one."""
    return choice.model_copy(
        update={
            "steps": [*choice.steps, *branch.steps],
            "delivery": branch.delivery,
            "names": branch.names,
        }
    )


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
