"""What a worker reads to be a worker: interpreter, packages, system libraries, weights."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Final

from daemon.walls.landlock import DEVICE, READ, READ_DIR, READ_FILE, WRITE, WRITE_FILE

_SYSTEM: Final = (
    *("/usr", "/lib", "/lib32", "/lib64", "/bin", "/opt", "/nix/store"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"),
    *("/etc/localtime", "/etc/timezone", "/etc/mime.types", "/etc/fonts", "/etc/gai.conf"),
    # Files may be given to somebody by name.
    *("/etc/nsswitch.conf", "/etc/passwd", "/etc/group"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version"),
    *("/proc/sys/vm", "/proc/sys/kernel/osrelease", "/proc/filesystems"),
    *("/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm", "/sys/bus/pci"),
    *("/dev/urandom", "/dev/random", "/dev/zero"),
)
_DRIVER: Final = (
    *("/proc/driver", "/proc/devices", "/proc/modules", "/proc/sys/kernel"),
    *(
        "/sys/bus",
        "/sys/class",
        "/sys/devices",
        "/sys/module",
        "/etc/nvidia",
        "/run/nvidia-persistenced",
    ),
)
_OURS: Final = ("handlers", "rules", "control_api", "daemon")


def read_only(further: Iterable[str] = ()) -> Iterator[tuple[Path, int]]:
    """Places that the program is made of.

    Args:
        further: top-level packages besides ours that it is started with.
    """
    for text in _SYSTEM:
        yield Path(text), READ
    for text in (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix):
        yield Path(text), READ
    yield Path(sys.executable).resolve().parent, READ
    for entry in sys.path:
        place = Path(entry or ".").absolute()
        # The folder that a source tree lies in may hold anything besides: only its names are seen.
        tree = any((place / name / "__init__.py").is_file() for name in _OURS)
        installed = place.name in ("site-packages", "dist-packages")
        yield place, READ if installed or not tree else READ_DIR
    for name in (*_OURS, *further):
        found = PathFinder.find_spec(name)
        for folder in (found.submodule_search_locations or ()) if found else ():
            yield Path(folder), READ
        if found is not None and found.origin is not None:
            yield Path(found.origin), READ_FILE


def forget_working_folder() -> None:
    """Import nothing from the folder in which the daemon happens to be started.

    `python -m` puts it first. In a source tree it is where our packages are, and stays.
    """
    here = Path.cwd()
    if any((here / name / "__init__.py").is_file() for name in _OURS):
        return
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry) != here]


def weights(settings: Mapping[str, Any]) -> Iterator[tuple[Path, int]]:
    """Folders of models and the SoundFont, and what links in them point to."""
    folders = [Path(settings["data_dir"]) / "models"]
    if settings["uvr_models_dir"]:
        folders.append(Path(settings["uvr_models_dir"]))
    for folder in folders:
        yield folder, READ
        for found in (*folder.glob("*"), *folder.glob("*/*")):
            if found.is_symlink():
                yield found.resolve(), READ
    yield Path(settings["soundfont"]).resolve(), READ


def devices() -> Iterator[tuple[Path, int]]:
    """What CUDA's libraries talk to, and where they keep what they have compiled."""
    for text in _DRIVER:
        yield Path(text), READ
    for device in (*Path("/dev").glob("nvidia*"), Path("/dev/dxg"), Path("/dev/dri")):
        yield device, DEVICE
    yield Path("/dev/shm"), WRITE  # noqa: S108 - it is a device here, not a place for our files
    yield Path(os.environ.get("CUDA_CACHE_PATH", Path.home() / ".nv")), WRITE


def sink() -> tuple[Path, int]:
    """Where libraries write what nobody wants to read."""
    return Path("/dev/null"), READ_FILE | WRITE_FILE
