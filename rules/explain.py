"""Dry runs: which rules take a file, what they would do, and why not the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from rules.match import FileFacts, SoundFacts, refused_by_name, refused_by_sound
from rules.model import FolderRules, Rule
from rules.names import render, with_extension
from rules.orders import Branch, Choice, StepOrder
from rules.plan import choice_of, printable

Measured = Mapping[str, Any]


@dataclass(frozen=True)
class RuleVerdict:
    """What one rule says to a file."""

    rule: str
    verdict: Literal["takes it", "does not", "header decides", "measuring decides", "not asked"]
    #: Every condition that does not hold, with what was found; or what only the sound can tell.
    reason: str = ""


@dataclass(frozen=True)
class Explanation:
    """A dry run: which rule, which steps, which names."""

    rules: tuple[RuleVerdict, ...]
    #: The rule that takes the file (the first of several); None when none does, or it is not known.
    rule: str | None
    #: `{op, params}` of each step.
    steps: tuple[dict[str, Any], ...] = ()
    #: Full path of the sound that would come out; fields only known afterwards are `unknown`.
    output: Path | None = None
    #: The same for each of several deliveries: name, steps, path.
    deliveries: tuple[dict[str, Any], ...] = ()
    #: What happens to a file that no rule takes.
    otherwise: str = ""

    @property
    def decided(self) -> bool:
        """False when only the sound could tell, and was not asked."""
        return not any(verdict.verdict.endswith("decides") for verdict in self.rules)


def wanted(folder: FolderRules, file: FileFacts, sound: SoundFacts | None) -> frozenset[str]:
    """What has to be measured in a file before its rules can be told."""
    names: set[str] = set()
    for rule in folder.rules:
        if refused_by_name(rule.match, file) is not None:
            continue
        if sound is not None and refused_by_sound(rule.match, sound) is not None:
            continue
        names.update(rule.when)
        if not rule.when and not folder.match_all:
            break
    return frozenset(names)


def explain(
    folder: FolderRules,
    file: FileFacts,
    sound: SoundFacts | None = None,
    found: Measured | None = None,
) -> Explanation:
    """What the rules of a folder would do with a file, and why not something else.

    Args:
        sound: what its header says; None if it is not to be opened.
        found: what was measured in it (`wanted` says what is needed); None if nothing was.
    """
    verdicts: list[RuleVerdict] = []
    taken: list[Rule] = []
    for rule in folder.rules:
        if taken and not folder.match_all:
            verdicts.append(RuleVerdict(rule.name, "not asked", f"{taken[0].name} comes first"))
            continue
        verdict = _verdict(rule, file, sound, found)
        verdicts.append(verdict)
        if verdict.verdict == "takes it":
            taken.append(rule)
    told = Explanation(tuple(verdicts), None)
    if not taken or not told.decided:
        left = "it stays where it is" if folder.no_match == "leave" else "it goes to failed"
        return Explanation(tuple(verdicts), None, otherwise="" if taken else left)
    choices = [choice_of(folder, rule, file, Path(file.rel)) for rule in taken]
    if len(choices) == 1 and not choices[0].branches:
        steps = _told(choices[0].steps)
        output = _expected(choices[0], file, sound)
        return Explanation(tuple(verdicts), taken[0].name, steps, output)
    deliveries: list[dict[str, Any]] = []
    for choice in choices:
        parts = [(branch.name, _as_choice(choice, branch)) for branch in choice.branches]
        for name, part in parts or [(choice.rule, choice)]:
            own = part.steps[len(choice.steps) :] if parts and len(choices) == 1 else part.steps
            output = _expected(part, file, sound)
            deliveries.append({"delivery": name, "steps": _told(own), "output": output})
    shared = _told(choices[0].steps) if len(choices) == 1 else ()
    return Explanation(tuple(verdicts), taken[0].name, shared, deliveries=tuple(deliveries))


def _verdict(
    rule: Rule, file: FileFacts, sound: SoundFacts | None, found: Measured | None
) -> RuleVerdict:
    refused = refused_by_name(rule.match, file)
    if refused is None and sound is not None:
        refused = refused_by_sound(rule.match, sound)
    if refused is not None:
        return RuleVerdict(rule.name, "does not", refused)
    if rule.match.asks and sound is None:
        return RuleVerdict(rule.name, "header decides", ", ".join(sorted(rule.match.asks)))
    if rule.when and found is None:
        return RuleVerdict(rule.name, "measuring decides", ", ".join(sorted(rule.when)))
    if rule.when:
        from rules.measures import measured, refused_by_measures

        refusals = refused_by_measures(rule.when, found or {}, measured())
        if refusals:
            return RuleVerdict(rule.name, "does not", "; ".join(refusals))
    return RuleVerdict(rule.name, "takes it")


def _told(steps: Sequence[StepOrder]) -> tuple[dict[str, Any], ...]:
    return tuple({"op": step.op, "params": step.params} for step in steps)


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
