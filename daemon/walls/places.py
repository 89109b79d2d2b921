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
from rules.orders import (
    Branch,
    Choice,
    Order,
    Record,
    SoundRef,
    path_from_text,
    path_to_text,
)


@dataclass(frozen=True)
class Made:
    """A folder that is written to, and how it is made where it is not there yet."""

    mode: int | None = None
    owner: str | None = None
    #: False where it is only known that jobs will write there: they may never come.
    make: bool = True


Places = Mapping[Path, Made | None]
"""Folders of jobs. None is for what is only read: it is there, or the job fails."""


_WRITTEN = Made(make=False)


def together(*several: Places) -> Places:
    """All of them; what one only reads and another writes to is written to."""
    found: dict[Path, Made | None] = {}
    for places in several:
        found |= {p: made for p, made in places.items() if made is not None or p not in found}
    return found


def of_order(order: Order) -> Places:
    """What a job of this order reads from and writes to.

    What differs from file to file below a hot folder is left off, so that a folder that was
    gone through once is known for good.
    """
    parts: list[Order | Choice | Branch] = [order]
    read: set[Path] = set()
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
        read.add(_home(sound.path, rels))
    for record in records:
        read.add(_home(record.input, rels))
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
    return together(found, dict.fromkeys(read))


def of_claim(claim: Claim) -> Places:
    """The same for what a worker is handed."""
    if claim.order.startswith(CHORE):
        return {}
    found: dict[Path, Made | None] = {}
    if claim.carried is not None:
        found[claim.carried.parent] = None
    if claim.intent is not None:
        for placement in claim.intent.placements:
            found[placement.part.parent] = found[placement.final.parent] = Made()
            if placement.keep is not None:
                found[placement.keep.parent] = Made()
    return together(of_order(claim.read_order()), found)


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
    """The hot folder that a dropped file lies in; the folder of any other file."""
    for rel in rels:
        home = _without(path, [rel])
        if home == path:
            continue
        # Taken: <processing>/<job>/<rel>. Left where it is: <folder>/<rel>.
        return home.parent if _is_job(home.name) else home
    return path.parent


def _is_job(name: str) -> bool:
    try:
        uuid.UUID(name)
    except ValueError:
        return False
    return True


def of_folder(rules: FolderRules) -> Places:
    """What the jobs of a hot folder will be about, as far as it is there."""
    targets = {output.folder for rule in rules.rules for output in rule.outputs}
    written = dict.fromkeys([*targets, rules.stages.manifests, rules.stages.reports], _WRITTEN)
    return together(dict.fromkeys([rules.root, rules.stages.processing]), written)


def announcement(places: Places) -> dict[str, list[str]]:
    """Places as a message holds them; `announced` reads it."""
    told: dict[str, list[str]] = {"read": [], "written": []}
    for place, made in places.items():
        told["read" if made is None else "written"].append(path_to_text(place))
    return told


def announced(read: Iterable[str], written: Iterable[str]) -> Places:
    """Places of jobs that may come; nothing is made for them yet."""
    return together(
        dict.fromkeys(map(path_from_text, read)),
        dict.fromkeys(map(path_from_text, written), _WRITTEN),
    )


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

    def __init__(
        self, written: Iterable[Path], read: Iterable[Path] = (), own: Iterable[Path] = ()
    ) -> None:
        """A gate to each of these places.

        Args:
            written, read: what may be written to, and what may only be read.
            own: folders of the daemon's, which nobody mounts or makes anew.
        """
        self._own = tuple(f"{folder}/" for folder in own)
        self._written = _identities(written)
        self._read = self._written | _identities(read)

    def _reaches(self, place: Path, *, write: bool) -> bool:
        if str(place).startswith(self._own):
            return True
        real = Path(os.path.realpath(place))
        for one in chain([real], real.parents):
            found = _stat(one)
            known = self._written if write else self._read
            if found is not None and (found.st_dev, found.st_ino) in known:
                return True
        return False

    def missing(self, places: Places) -> list[Path]:
        """Those that cannot be reached; what is to be read and is not there is the job's affair."""
        return [
            place
            for place, made in places.items()
            if not self._reaches(place, write=made is not None)
            and (made is not None or _stat(place) is not None)
        ]


def _identities(places: Iterable[Path]) -> set[tuple[int, int]]:
    return {(s.st_dev, s.st_ino) for place in places if (s := _stat(place)) is not None}


def _stat(place: Path) -> os.stat_result | None:
    try:
        return place.stat()
    except OSError:
        return None
