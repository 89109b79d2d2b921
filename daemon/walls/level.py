"""How far the workers of this machine are walled in, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from daemon.settings import BadSettings, Settings
from daemon.walls import calls, landlock

_TCP_FROM = 4


def wanted(settings: Settings) -> bool:
    """Whether the daemon is not to start without Landlock."""
    return settings.sandbox == "require" or settings.require_sandbox


def check(settings: Settings) -> None:
    """Refuse to start where walls are demanded and cannot be had.

    Raises:
        BadSettings: the kernel has no Landlock, or the settings contradict each other.
    """
    if settings.require_sandbox and settings.sandbox == "off":
        raise BadSettings(
            ["AUDIOLLA_REQUIRE_SANDBOX = true and AUDIOLLA_SANDBOX = off: choose one"]
        )
    if wanted(settings) and not landlock.abi():
        name = "AUDIOLLA_REQUIRE_SANDBOX" if settings.require_sandbox else "AUDIOLLA_SANDBOX"
        problem = (
            f"{name}: this kernel has no Landlock, so workers cannot be confined; it needs "
            "Linux 5.13 or later with `landlock` among the security modules (lsm=), and a "
            "container runtime that lets its system calls through"
        )
        raise BadSettings([problem])


def possible() -> tuple[str, list[str]]:
    """What this kernel can do, and what it lacks."""
    return _words(landlock.abi(), bool(calls.refused()))


def reached(workers: Sequence[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """What stands around the workers of a dispatcher that open sounds: the least of them."""
    walls = [w["walls"] for w in workers if w["lane"] != "net" and w["walls"]]
    if not walls:
        return "no worker is there yet", []
    lacks = sorted({lack for one in walls for lack in one["lacks"]})
    if not all(one["limits"] for one in walls):
        return "off", lacks
    words, _ = _words(
        min(one["landlock"] for one in walls),
        all(one["calls"] for one in walls if one["limits"]),
    )
    return words, lacks


def _words(abi: int, filtered: bool) -> tuple[str, list[str]]:
    has, lacks = [], []
    if abi:
        has.append(f"Landlock {abi} ({'files, TCP' if abi >= _TCP_FROM else 'files'})")
    else:
        lacks.append("no Landlock: a decoder that is taken over can read what this user can read")
    if filtered:
        has.append("seccomp")
    return ", ".join([*has, "limits"]), lacks
