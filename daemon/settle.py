"""Is this file complete? Answers from readings it is given: no clock, no disk.

What decides, in this order:

1. A program on this machine still holds the file open for writing (its lease
   is refused): wait, whatever else is known.
2. The container says it is whole: take it. Where nobody can tell who writes (a
   network mount), only after it stood still between two readings, and longer if
   it ends in zeros: a copy that made room for all of it first looks the same.
3. The container says it is short: wait. Short for long, with nothing moving, it
   is truncated, and that is a verdict with numbers.
4. The container cannot tell: wait until it has been quiet for longer than the
   writer has ever paused.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from handlers.codecs.complete import Completeness


@dataclass(frozen=True)
class Reading:
    """What one look at a file told. Two equal `stamp`s mean that nothing happened between."""

    inode: int
    size: int
    mtime_ns: int
    #: None where it was not asked: the file is still changing anyway.
    container: Completeness | None = None
    #: True: nobody on this machine writes it. False: somebody does. None: it cannot be told.
    leased: bool | None = None
    #: Bytes up to the last that is not zero, as far as samples tell; None where it was not asked.
    front: int | None = None
    #: The disk has no room for its end yet (or the writer left out zeros).
    hollow: bool = False
    #: Seconds since it was written, by the clock of the machine; None where that is another's.
    age: float | None = None

    @property
    def stamp(self) -> tuple[int, int, int]:
        """Identity and change: inode, size, modification time."""
        return self.inode, self.size, self.mtime_ns


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds. The defaults suit a folder that nobody has told anything."""

    #: At least this long without change, whatever the container says.
    quiet: float = 0.0
    #: Container cannot tell, but nobody on this machine writes.
    unknown_local: float = 1.0
    #: Container cannot tell, and neither can the machine: longer than copies usually stall.
    unknown_remote: float = 60.0
    #: Container has a placeholder for a length, and was last written longer ago than ...
    open_local: float = 5.0
    #: ... this: a program that bounces may close the file and pause for a minute.
    open_fresh: float = 120.0
    #: Between the two equal readings of a whole file on a network mount.
    still_remote: float = 2.0
    #: As long as its length says, but it ends in zeros: silence, or room for what comes yet.
    zeros_remote: float = 120.0
    #: Known to be short, with nothing moving: truncated. Locally nobody holds it any more.
    truncated_local: float = 120.0
    truncated_remote: float = 600.0
    #: Quiet time grows to this many times the longest pause seen ...
    pauses: float = 3.0
    #: ... up to here, where the container does not say that something is missing.
    longest: float = 600.0


@dataclass(frozen=True)
class Wait:
    """Not yet. Look again at `until` (or when something happens)."""

    until: float
    why: str


@dataclass(frozen=True)
class Ready:
    """Complete: take it."""

    why: str


@dataclass(frozen=True)
class Truncated:
    """It will not be completed any more."""

    why: str


Verdict = Wait | Ready | Truncated

_SOONEST, _LATEST = 0.05, 2.0


@dataclass
class Settling:
    """One path on its way to being taken. Feed it every reading, in order."""

    patience: Patience = field(default_factory=Patience)
    _stamp: tuple[int, int, int] | None = None
    _front: int | None = None
    _changed_at: float = 0.0
    _longest_pause: float = 0.0

    @property
    def stamp(self) -> tuple[int, int, int] | None:
        """What the last reading had."""
        return self._stamp

    def look(self, reading: Reading, now: float) -> Verdict:
        """What to do with the file, `now` in seconds of a clock that only runs forward."""
        if self._stamp is None or self._stamp[0] != reading.inode:
            # Another file took the name: nothing learnt about the old one counts.
            self._changed_at, self._longest_pause = now, 0.0
        elif self._stamp != reading.stamp or self._front != reading.front:
            # On a share neither size nor time need move while the room made first is filled.
            self._longest_pause = max(self._longest_pause, now - self._changed_at)
            self._changed_at = now
        self._stamp, self._front = reading.stamp, reading.front
        still = now - self._changed_at
        if reading.leased is False:
            return self._wait(now, still, _LATEST, "a program is still writing it")
        if still < self.patience.quiet:
            return self._wait(now, still, self.patience.quiet - still, "it changed a moment ago")
        container = reading.container
        if container is None:
            return self._wait(now, still, 0.0, "it has not been looked into")
        local = reading.leased is True
        needed = self._needed(reading, container, local)
        if still < needed:
            return self._wait(now, still, needed - still, self._reason(reading, container, local))
        if container.verdict == "short":
            return Truncated(f"{container}, and nothing was added for {still:.0f} s")
        return Ready(f"{container}, {'nobody writes it' if local else 'it stood still'}")

    def _needed(self, reading: Reading, container: Completeness, local: bool) -> float:
        """Seconds without change that are enough."""
        patience = self.patience
        pauses = patience.pauses * self._longest_pause
        if container.verdict == "short":
            return max(patience.truncated_local if local else patience.truncated_remote, pauses)
        pauses = min(pauses, patience.longest)
        if container.verdict == "whole":
            if local:
                return max(patience.open_local, pauses) if reading.hollow else 0.0
            if reading.hollow:
                return max(patience.truncated_remote, pauses)
            if _ends_in_zeros(reading):
                return max(patience.zeros_remote, pauses)
            return patience.still_remote
        if container.verdict == "open":
            if not local:
                return max(patience.unknown_remote, patience.open_fresh, pauses)
            least = patience.open_local
            if reading.age is not None and reading.age < patience.open_fresh:
                least = patience.open_fresh
            return max(least, pauses)
        least = patience.unknown_local if local else patience.unknown_remote
        if not local and _ends_in_zeros(reading):
            least = max(least, patience.zeros_remote)
        return max(least, pauses)

    def _wait(self, now: float, still: float, left: float, why: str) -> Wait:
        # What changed long ago is not asked about often; an event may ask sooner.
        pace = min(max(still / 2, _SOONEST), _LATEST)
        return Wait(now + max(min(left, pace), _SOONEST), why)

    def _reason(self, reading: Reading, container: Completeness, local: bool) -> str:
        if container.verdict == "whole":
            if _ends_in_zeros(reading) or reading.hollow:
                return (
                    f"{container}, but ends in zeros: silence, or a copy that made room for all "
                    "of it first"
                )
            return "it has to stand still: on this mount nobody can tell who writes it"
        if container.verdict == "unknown":
            return f"{container}; it has to be quiet" + ("" if local else " for longer")
        return str(container)


def _ends_in_zeros(reading: Reading) -> bool:
    return reading.front is not None and reading.front < reading.size
