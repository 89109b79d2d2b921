"""Finds presets on disk, and reads again those that have changed."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from daemon.settings import Settings
from daemon.trusted import permissions_of, reader
from rules.presets import Preset, faults, first_of_each_name, load_preset, shipped
from rules.written import RulesBroken

log = logging.getLogger(__name__)

_Stamp = tuple[int, ...]


class PresetShelf:
    """The presets of one daemon: those of its folder by file name, then those shipped.

    A file that cannot be used is skipped with a warning, once for each time it
    is written. May be asked from any thread.
    """

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.presets
        self._read_file = reader(settings)
        self._lock = threading.Lock()
        self._read: dict[Path, tuple[_Stamp, Preset | None]] = {}

    def all(self) -> list[Preset]:
        """Every preset, by name; the first of two equal names."""
        with self._lock:
            self._read = {path: self._entry(path, at) for path, at in self._files().items()}
            own = [preset for _, preset in self._read.values() if preset is not None]
        return first_of_each_name([*own, *shipped()])

    def find(self, name: str) -> Preset | None:
        """The preset of this name; None if there is none."""
        return next((preset for preset in self.all() if preset.name == name), None)

    def _files(self) -> dict[Path, _Stamp]:
        found: dict[Path, _Stamp] = {}
        try:
            names = sorted(os.listdir(self._folder))
        except (FileNotFoundError, NotADirectoryError):
            return found
        for name in names:
            if name.endswith((".yaml", ".yml")) and not name.startswith("."):
                path = self._folder / name
                with contextlib.suppress(FileNotFoundError):  # deleted while we looked
                    told = path.lstat()
                    stamp = told.st_ino, told.st_size, told.st_mtime_ns
                    found[path] = (*stamp, *permissions_of(path))
        return found

    def _entry(self, path: Path, stamp: _Stamp) -> tuple[_Stamp, Preset | None]:
        known = self._read.get(path)
        if known is not None and known[0] == stamp:
            return known
        return stamp, _load(path, self._read_file)


def preset_files(settings: Settings) -> list[Path]:
    """The files in the folder of presets, by name."""
    try:
        names = sorted(os.listdir(settings.presets))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [settings.presets / name for name in names if name.endswith((".yaml", ".yml"))]


def _load(path: Path, read: Callable[[Path], bytes]) -> Preset | None:
    try:
        preset = load_preset(read(path), path)
    except RulesBroken as broken:
        log.warning("preset skipped: %s", "; ".join(str(p) for p in broken.problems))
        return None
    except OSError as wrong:
        log.warning("preset skipped: %s: %s", path, wrong.strerror or wrong)
        return None
    for fault in faults(preset):
        log.warning("preset %s (%s) cannot run: %s", preset.name, path, fault)
    return preset
