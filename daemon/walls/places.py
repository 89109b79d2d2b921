"""Where a job reads and writes, and whether the walls of a worker have a gate there."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from daemon.execution import CHORE, Claim
from rules.model import FolderRules
from rules.orders import Branch, Choice, Order, Record, SoundRef


@dataclass(frozen=True)
class Made:
    """How a folder is made that is not there yet."""

    mode: int | None = None
    owner: str | None = None


Places = Mapping[Path, Made | None]
"""Folders and single files of a job. None is for what is read: it is there, or the job fails."""


def of_order(order: Order) -> Places:
    """What a job of this order reads from and writes to.

    What differs from file to file below a hot folder is left off, so that a folder that was
    gone through once is known for good.
    """
    parts: list[Order | Choice | Branch] = [order]
    found: dict[Path, Made | None] = {}
    records: list[Record] = []
    for part in parts:  # grows while it is walked
        parts.extend(part.branches)
        if isinstance(part, Order):
            parts.extend(part.choose)
        if not isinstance(part, Branch) and part.record is not None:
            records.append(part.record)
    rels = [record.rel for record in records]
    for sound in _sounds(order):
        found[_home(sound.path, rels)] = None
    for record in records:
        found[_home(record.input, rels)] = None
        for beside in (record.manifest, record.report):
            if beside is not None:
                # The file itself has a suffix more than what was dropped.
                found[_without(beside.parent, [record.rel.parent])] = Made()
        if record.replaced is not None:
            found[record.replaced] = Made()
    for part in parts:
        if (delivery := part.delivery) is not None:
            folder = _without(delivery.folder, (rel.parent for rel in rels))
            found[folder] = Made(delivery.mode, delivery.owner)
    return found


def of_claim(claim: Claim) -> Places:
    """The same for what a worker is handed."""
    found: dict[Path, Made | None] = {}
    if not claim.order.startswith(CHORE):
        found.update(of_order(Order.model_validate_json(claim.order)))
    if claim.carried is not None:
        found[claim.carried] = None
    if claim.intent is not None:
        for placement in claim.intent.placements:
            found[placement.part.parent] = found[placement.final.parent] = None
            if placement.keep is not None:
                found.setdefault(placement.keep.parent, Made())
    return found


def _sounds(order: Order) -> Iterator[SoundRef]:
    if order.sound is not None:
        yield order.sound
    yield from order.members
    if order.once is not None:
        yield order.once.sound
    for step in order.all_steps():
        yield from step.sounds.values()
        yield from (item.sound for items in step.items.values() for item in items)


def _home(path: Path, rels: Iterable[Path]) -> Path:
    """The hot folder that a dropped file lies in; any other file is its own place."""
    for rel in rels:
        home = _without(path, [rel])
        if home == path:
            continue
        # Taken: <processing>/<job>/<rel>. Left where it is: <folder>/<rel>.
        return home.parent if _is_job(home.name) else home
    return path


def _is_job(name: str) -> bool:
    try:
        uuid.UUID(name)
    except ValueError:
        return False
    return True


def of_folder(rules: FolderRules) -> Places:
    """What the jobs of a hot folder will be about, as far as it is there."""
    targets = (output.folder for rule in rules.rules for output in rule.outputs)
    return dict.fromkeys([rules.root, rules.stages.processing, *targets])


def _without(path: Path, tails: Iterable[Path]) -> Path:
    for tail in tails:
        count = len(tail.parts)
        if count and path.parts[-count:] == tail.parts and len(path.parts) > count + 1:
            return path.parents[count - 1]
    return path


class Gates:
    """The places that a worker may reach, by what they are and not by what they are called.

    A share that was mounted anew, or a folder that was made anew, bears its old name and is
    another: the kernel knows the difference, so this has to.
    """

    def __init__(self, places: Iterable[Path]) -> None:
        self._known = {(s.st_dev, s.st_ino) for p in places if (s := _stat(p)) is not None}

    def _reaches(self, place: Path) -> bool:
        real = Path(os.path.realpath(place))
        for one in chain([real], real.parents):
            found = _stat(one)
            if found is not None and (found.st_dev, found.st_ino) in self._known:
                return True
        return False

    def missing(self, places: Places) -> list[Path]:
        """Those that cannot be reached; what is to be read and is not there is the job's affair."""
        return [
            place
            for place, made in places.items()
            if not self._reaches(place) and (made is not None or _stat(place) is not None)
        ]


def _stat(place: Path) -> os.stat_result | None:
    try:
        return place.stat()
    except OSError:
        return None
