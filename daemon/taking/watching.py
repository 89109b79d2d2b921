"""By which method a hot folder is watched, and why.

Chosen by the type of its file system, never by a probe: on a network mount
one's own writes raise events, and those of other machines do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from daemon.mounts import Mount
from rules.taking import Watch

_SLOWEST_POLL: Final = 30.0


@dataclass(frozen=True)
class Method:
    """How one folder is watched."""

    kind: Literal["events", "poll", "manual"]
    why: str
    #: Seconds between two looks through the folder while something happens there ...
    every: float
    #: ... and once nothing has for a while.
    slowest: float

    @property
    def delay(self) -> str:
        """How long it takes at most until a new file is noticed, in words."""
        if self.kind == "manual":
            return "until somebody scans"
        slowest = f"{self.slowest:g} s"
        return f"at once, {slowest} if an event is lost" if self.kind == "events" else slowest


def method_for(
    watch: Watch | None, mount: Mount, *, rescan_interval: float, events: bool
) -> Method:
    """The method for a folder.

    Args:
        watch: what its rule file asks for.
        mount: what it lies on.
        rescan_interval: the daemon's seconds between two looks.
        events: the kernel's events can be had at all.
    """
    on = f"{mount.kind} at {mount.point}"
    if watch is not None and watch.method == "manual":
        return Method("manual", "its rules say so", math.inf, math.inf)
    if watch is not None and watch.method == "poll":
        every = watch.every or rescan_interval
        return Method("poll", "its rules say so", every, every)
    if events and watch is not None:
        note = "" if mount.local else f"; {on} does not tell what other machines do"
        return Method("events", f"its rules say so{note}", rescan_interval, rescan_interval)
    if mount.local:
        if not events:
            return Method("poll", "there are no events", rescan_interval, rescan_interval)
        return Method("events", f"{on} tells every change", rescan_interval, rescan_interval)
    slowest = max(rescan_interval, _SLOWEST_POLL)
    return Method("poll", f"{on} does not tell what other machines do", rescan_interval, slowest)
