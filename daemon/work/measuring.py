"""Measures what rules ask for: in the dropped file, and in what was written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from daemon.delivery import Draft
from daemon.execution import Context
from daemon.work.room import desk_of
from handlers import chain
from handlers.artifacts import Blocks
from handlers.errors import CannotProcess
from handlers.registry import find
from rules.measures import ensurable, refused_by_measures, steps_for


class NotAsEnsured(CannotProcess):
    """A result is not what its rule demands; the detail has the figures."""


def measure(
    context: Context,
    sound: Blocks,
    names: Collection[str],
    content: Callable[[], str] | None = None,
) -> dict[str, Any]:
    """What operations say of a sound, by the names under which rules ask for it.

    One pass for all that listen; `content` names the sound, so that what was found before is
    not computed again.
    """
    measures = steps_for(names)
    steps = []
    for one in measures:
        op = find(one.op)
        steps.append(chain.Step(op, op.read_params(dict(one.params or {}), strict=True)))
    # What is measured is no share of the work that is promised, but may be cancelled.
    monitor = chain.Monitor(lambda _, label: context.progress(0.0, label), len(steps) or 1)
    outcome = chain.run(sound, steps, desk_of(context), monitor, content=content)
    facts = {
        (one.op, repr(one.params)): report.facts
        for one, report in zip(measures, outcome.reports, strict=True)
    }
    known = ensurable()
    found: dict[str, Any] = {}
    for name in names:
        if known[name].op:
            found[name] = facts[known[name].op, repr(known[name].params)].get(known[name].field)
    return found


def check_results(context: Context, drafts: Iterable[Draft]) -> None:
    """Decode each written sound again and hold it to what its rule demands.

    The figures that were found are noted beside the file.

    Raises:
        NotAsEnsured: one is not what it must be; names every condition that does not hold.
    """
    for draft in drafts:
        if draft.ensure and draft.about["role"] == "sound":
            found = _found_in(context, draft)
            refused = refused_by_measures(draft.ensure, found, ensurable())
            if refused:
                raise NotAsEnsured(f"{draft.wanted.name} is not delivered: {'; '.join(refused)}")
            draft.about["ensured"] = found


def _found_in(context: Context, draft: Draft) -> Mapping[str, Any]:
    from handlers.codecs.reader import open_sound

    # Ours: it may have become longer than what may come in.
    sound = open_sound(draft.part, name=draft.wanted.name)
    found: dict[str, Any] = {
        "channels": sound.channels,
        "sample_rate": sound.rate,
        "size": draft.part.stat().st_size,
    }
    if set(draft.ensure) - set(found):
        # Read to the end: what the header states is not what is there.
        heard = sound.remembered(context.settings.memory_per_sound)
        found |= measure(context, heard, set(draft.ensure) - {*found, "duration"})
        if "duration" in draft.ensure:
            frames = sum(block.shape[1] for block in heard)
            found["duration"] = frames / sound.rate
    return {name: found[name] for name in draft.ensure}
