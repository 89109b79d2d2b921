"""What `audiolla folders doctor` says of each hot folder: how it is watched, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from daemon.mounts import mount_of
from daemon.settings import Settings
from daemon.taking.watching import method_for
from rules.model import FolderRules
from rules.orders import path_to_text

_LIMITS: Final = Path("/proc/sys/fs/inotify")


def limits(folder: Path = _LIMITS) -> dict[str, int]:
    """The kernel's limits of events; empty where it has none."""
    found: dict[str, int] = {}
    for name in ("max_user_watches", "max_user_instances", "max_queued_events"):
        try:
            found[name] = int((folder / name).read_text())
        except (OSError, ValueError):
            continue
    return found


def expected(rules: FolderRules, settings: Settings) -> dict[str, Any]:
    """How a folder would be watched, while no daemon runs."""
    mount = mount_of(rules.root)
    method = method_for(
        rules.taking.watch, mount, rescan_interval=settings.rescan_interval, events=bool(limits())
    )
    return {
        "name": rules.name,
        "root": path_to_text(rules.root),
        "method": method.kind,
        "why": method.why,
        "mount": mount.kind,
        "delay": method.delay,
    }


def sentences(folder: dict[str, Any], known: dict[str, int], now: float) -> list[str]:
    """The words on one folder; `folder` is its part of `/v1/folders`."""
    said = [f"watched by {folder['method']}: {folder['why']}"]
    said.append(f"a new file is noticed: {folder['delay']}")
    if "last_scan" in folder:
        event = _ago(folder["last_event"], now)
        if folder["method"] == "events":
            said.append(f"last event {event}, last look through {_ago(folder['last_scan'], now)}")
        else:
            said.append(f"last look through {_ago(folder['last_scan'], now)}")
    most = known.get("max_user_watches")
    if folder["method"] == "events" and most is not None and "folders" in folder:
        queued = known.get("max_queued_events", 0)
        said.append(
            f"{folder['folders']} of {most} folders that may be watched (max_user_watches); after "
            f"{queued} unread events (max_queued_events) all is looked through"
        )
    if folder.get("waiting"):
        said.append(f"{folder['waiting']} files are not complete yet")
    if folder.get("problem"):
        said.append(f"paused: {folder['problem']}")
    return said


def remedy(status: dict[str, Any], known: dict[str, int]) -> str:
    """What to do when more folders are to be watched than the kernel allows; empty if none."""
    most = known.get("max_user_watches")
    watched = sum(f.get("folders", 0) for f in status["folders"] if f["method"] == "events")
    if most is None or watched <= 0.8 * most:
        return ""
    return f"sysctl fs.inotify.max_user_watches={max(2 * watched, 524288)}"


def _ago(at: float | None, now: float) -> str:
    if at is None:
        return "never"
    seconds = max(0.0, now - at)
    return f"{seconds:.0f} s ago" if seconds < 600 else f"{seconds / 3600:.1f} h ago"
