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
from pathlib import Path
from typing import Any

from handlers.engines.declare import Lane
from handlers.errors import CannotProcess
from rules.match import FileFacts, SoundFacts, refused_by_name, refused_by_sound
from rules.model import INPUT, FolderRules, Output, Rule
from rules.orders import Branch, Choice, Delivery, ItemRef, Once, Order, SoundRef, StepOrder
from rules.records import record_of, record_of_all


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
        choices.append(choice_of(folder, rule, file, at))
        if not rule.asks and not folder.match_all:
            break
    if not choices:
        raise NoRuleMatches(refusals)
    sound = SoundRef(path=at, name=printable(file.name))
    again = folder.taking.duplicates
    once = None if again == "process" else Once(policy=again, folder=folder.name, sound=sound)
    begun = Order(sound=sound, once=once)
    open_ones = [choice for choice in choices if choice.match.asks or choice.when]
    if open_ones and (folder.match_all or open_ones[0] is choices[0]):
        order = begun.model_copy(
            update={"choose": choices, "choose_all": folder.match_all, "refusals": refusals}
        )
        return Plan(order, "cpu", None)
    order = _all_chosen(begun, choices)
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


def choice_of(folder: FolderRules, rule: Rule, file: FileFacts, at: Path) -> Choice:
    """What one rule does with a file that lies at `at` when its job runs."""
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
        record=record_of(folder, rule, file.rel, at),
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
        # What is kept of the job names all of them; each delivery has its own in its names.
        names={**choices[0].names, "rule": " + ".join(choice.rule for choice in choices)},
        record=record_of_all([choice.record for choice in choices]),
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
            "record": choice.record,
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
