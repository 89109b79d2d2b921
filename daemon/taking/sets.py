"""The sets of one hot folder that are not complete yet. Pure: no clock, no disk."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from rules.sets import SetText

_MARKER = ""


@dataclass
class Gathered:
    """Files of one set that are there."""

    name: str
    fields: dict[str, str]
    #: Subfolder below the inbox that all of it lies in.
    below: str
    #: Member to path below the inbox, in the order of arrival; the marker's name is empty.
    files: dict[str, str] = field(default_factory=dict)
    #: Time (monotonic) of the last arrival.
    since: float = 0.0

    @property
    def members(self) -> dict[str, str]:
        """Without the marker."""
        return {name: rel for name, rel in self.files.items() if name != _MARKER}


class Gathering:
    """Puts files together by their names."""

    def __init__(self, wanted: SetText) -> None:
        self._wanted = wanted
        self._sets: dict[tuple[str, ...], Gathered] = {}
        self._where: dict[str, tuple[tuple[str, ...], str]] = {}
        #: Files whose place in their set is taken, until that set is.
        self._later: dict[str, tuple[str, ...]] = {}
        #: `next_due`, as long as nothing has come or gone; None after that.
        self._due: float | None = None

    def add(self, rel: str, now: float) -> str | None:
        """A complete file, by its path below the inbox.

        Returns:
            What is wrong with its name; None if it belongs to a set.
        """
        if rel in self._where:
            return None
        below, _, name = rel.rpartition("/")
        read = self._read(rel)
        if read is None:
            example = f"{self._wanted.by.text}{PurePosixPath(name).suffix}"
            return f"{name} belongs to no set: its name is not like {example}"
        fields, member = read
        inside = "/" in self._wanted.by.text
        key = self.key_of(rel)
        assert key is not None
        found = self._sets.get(key)
        if found is None:
            title = " ".join(fields.values())
            found = self._sets[key] = Gathered(title, fields, "" if inside else below)
        if member in found.files:
            self._later[rel] = key
            return None
        self._due = None
        found.files[member] = rel
        found.since = now
        self._where[rel] = key, member
        return None

    def key_of(self, rel: str) -> tuple[str, ...] | None:
        """What tells the set of a file from others; None if its name belongs to none."""
        read = self._read(rel)
        if read is None:
            return None
        below = "" if "/" in self._wanted.by.text else rel.rpartition("/")[0]
        return (below, *(value.casefold() for value in read[0].values()))

    def is_begun(self, rel: str) -> bool:
        """True when another file of its set waits already."""
        return self.key_of(rel) in self._sets

    def _read(self, rel: str) -> tuple[dict[str, str], str] | None:
        """The fields that name the set, and the member."""
        marker = self._wanted.complete_when.marker
        if marker is not None and (fields := marker.read(rel)) is not None:
            of_set = self._wanted.by.fields[:-1]
            return {name: fields[name] for name in of_set}, _MARKER
        path = PurePosixPath(rel)
        fields = self._wanted.by.read(str(path.with_suffix("")) if path.suffix else rel)
        if fields is None:
            return None
        member = fields.pop(self._wanted.by.fields[-1])
        known = self._wanted.complete_when.names
        return fields, next((n for n in known if n.casefold() == member.casefold()), member)

    def drop(self, rel: str) -> None:
        """The file is not complete, or not there, after all."""
        self._later.pop(rel, None)
        where = self._where.pop(rel, None)
        if where is None:
            return
        self._due = None
        found = self._sets[where[0]]
        del found.files[where[1]]
        if not found.files:
            del self._sets[where[0]]

    def close(self, done: Gathered) -> list[str]:
        """The set is taken or given up; files that waited for their place in it."""
        key = next(self._where[rel][0] for rel in done.files.values())
        self._due = None
        del self._sets[key]
        for rel in done.files.values():
            del self._where[rel]
        later = [rel for rel, waits in self._later.items() if waits == key]
        for rel in later:
            del self._later[rel]
        return later

    def missing(self, gathered: Gathered) -> str:
        """What a set still lacks, in words; empty when it is complete."""
        until, there = self._wanted.complete_when, gathered.members
        if until.names:
            lacking = [name for name in until.names if name not in there]
            return f"{_listed(lacking)} missing" if lacking else ""
        if until.count is not None:
            lacks = len(there) < until.count
            return f"{len(there)} of {until.count} files are there" if lacks else ""
        if until.marker is not None and _MARKER not in gathered.files:
            return f"there is no {until.marker.filled(gathered.fields)}"
        return "there is no sound" if not there else ""

    def complete(self, now: float) -> list[Gathered]:
        """Sets that nothing is missing of."""
        quiet = self._wanted.complete_when.quiet or 0.0
        return [
            each
            for each in list(self._sets.values())
            if not self.missing(each) and now - each.since >= quiet
        ]

    def given_up(self, now: float) -> list[tuple[Gathered, str]]:
        """Sets that were waited for long enough, and what is wrong with each."""
        after = self._wanted.give_up
        return [
            (each, f"the set {each.name} is incomplete: {missing}, {after:g} s after its last file")
            for each in list(self._sets.values())
            if (missing := self.missing(each)) and now - each.since >= after
        ]

    @property
    def next_due(self) -> float:
        """Time (monotonic) at which a set is complete or given up if nothing more comes."""
        if self._due is None:
            quiet, after = self._wanted.complete_when.quiet, self._wanted.give_up
            waits = (
                each.since + (after if self.missing(each) else quiet or 0.0)
                for each in self._sets.values()
            )
            self._due = min(waits, default=math.inf)
        return self._due

    def waiting(self) -> Iterator[tuple[str, str]]:
        """Each file that waits for others, and what for."""
        for each in self._sets.values():
            why = self.missing(each) or "more may come"
            yield from ((rel, f"for its set {each.name}: {why}") for rel in each.files.values())
        for rel in self._later:
            yield rel, "its set has another file in its place"


def _listed(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last} are" if most else f"{last} is"
