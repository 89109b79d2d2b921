"""Writes all that one chain gave: its sound or sounds, pictures, MIDI, reports."""

from __future__ import annotations

from daemon.delivery import Drafts
from daemon.execution import Context
from daemon.work.naming import Names
from daemon.work.story import Story
from daemon.work.writing import Writing
from handlers import chain
from handlers.artifacts import FileCopy, Midi, Png, Svg, TextFile, Video
from rules.orders import Delivery

_ROLES = {
    Png: "picture",
    Svg: "picture",
    Midi: "midi",
    Video: "video",
    FileCopy: "file",
    TextFile: "markers",
}


def wants_sound(delivery: Delivery, story: Story) -> bool:
    """Whether the sound itself is delivered: as asked, else if there is a reason to."""
    if delivery.sound == "changed":
        return story.changed
    if delivery.sound is not None:
        return delivery.sound
    told = delivery.reports and story.measurements()
    return story.changed or not (story.files or told)


def write_sound(
    context: Context,
    names: Names,
    story: Story,
    outcome: chain.Outcome,
    drafts: Drafts,
    monitor: chain.Monitor,
) -> None:
    """The sound that a chain gave, or all of several."""
    writing = Writing(context, names, story, monitor)
    if outcome.sounds and names.delivery.bundle:
        writing.bundle(drafts, outcome.sounds)
    elif outcome.sounds:
        writing.sounds(drafts, outcome.sounds)
    elif outcome.sound is not None:
        writing.sound(drafts, outcome.sound, "")


def write_beside(names: Names, story: Story, outcome: chain.Outcome, drafts: Drafts) -> None:
    """What a chain gave beside the sound."""
    delivery = names.delivery
    # Where no sound flows, MIDI takes its place, and its name.
    alone = outcome.sound is None and not outcome.sounds
    for side in story.files:
        if alone and side.file is story.midi:
            path = names.midi(side.op, side.file.ext)
        else:
            path = names.side(side.op, side.file.ext, side.name)
        if isinstance(side.file, FileCopy) and not (wants_sound(delivery, story) or delivery.exact):
            path = names.copy(side.file.ext)
        about = {"step": side.step} | ({"name": side.name} if side.name else {})
        drafts.add_file(path, _ROLES[type(side.file)], side.file, **about)
    for report in story.measurements() if delivery.reports else ():
        path = names.side(report.op, "json")
        drafts.add_json(path, report.facts, step=report.step)
