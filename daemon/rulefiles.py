"""Finds rule files on disk and reads those that may be believed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon.mounts import steady_inode
from daemon.presetfiles import PresetShelf
from daemon.settings import Settings
from daemon.trusted import permissions_of, reader
from rules.load import Surroundings, load_rules
from rules.model import FolderRules
from rules.written import Problem, RulesBroken

NAME = "rules.yaml"
"""A folder with a file of this name is a hot folder."""
ERROR_NAME = "rules.error.txt"
"""Beside a broken rule file: what is wrong with it."""


@dataclass(frozen=True)
class RuleFile:
    """One rule file, and the hot folder that it lies in (None for a central one)."""

    path: Path
    folder: Path | None

    @property
    def error_file(self) -> Path:
        """Where its faults are told to whoever looks into the folder."""
        if self.folder is not None:
            return self.folder / ERROR_NAME
        return self.path.with_name(f"{self.path.stem}.error.txt")


Stamp = tuple[int, ...]


def possible_rule_files(settings: Settings) -> list[RuleFile]:
    """Where a rule file may be, in the order of path: none of the folders is looked into.

    Symbolic links to folders are among them, whatever they lead to.
    """
    return [
        *(RuleFile(path / NAME, path) for path in _entries(settings.folders, folders=True)),
        *(
            RuleFile(path, None)
            for path in _entries(settings.rules, folders=False)
            if path.suffix in (".yaml", ".yml")
        ),
    ]


def find_rule_files(settings: Settings) -> dict[RuleFile, Stamp]:
    """Every rule file, with a stamp that changes when it does; in the order of path."""
    stamps = {file: stamp_of_rules(file.path) for file in possible_rule_files(settings)}
    return {file: stamp for file, stamp in stamps.items() if stamp is not None}


def stamp_of_all(paths: Iterable[Path]) -> tuple[Stamp | None, ...]:
    """Stamps of what a rule file stands on beside itself; None for a file that is not there."""
    return tuple(stamp_of_file(path) for path in paths)


def stamp_of_rules(path: Path) -> Stamp | None:
    """The stamp of a rule file, with who may write it; None if it is not there."""
    stamp = stamp_of_file(path)
    try:
        return None if stamp is None else (*stamp, *permissions_of(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def stamp_of_file(path: Path) -> Stamp | None:
    """The stamp of one file; None if it is not there."""
    try:
        told = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return steady_inode(told), told.st_size, told.st_mtime_ns


def _entries(root: Path, *, folders: bool) -> Iterator[Path]:
    try:
        with os.scandir(root) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and _may_be(entry, folder=folders)
            )
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from (root / name for name in names)


def _may_be(entry: os.DirEntry[str], *, folder: bool) -> bool:
    # What a link leads to may lie on a share that does not answer: the caller finds out.
    if entry.is_symlink():
        return True
    return entry.is_dir(follow_symlinks=False) == folder


def rule_file(path: Path) -> RuleFile:
    """What a path that a user gave means: a hot folder, its `rules.yaml`, or a central file."""
    path = Path(os.path.abspath(path))
    if path.is_dir():
        return RuleFile(path / NAME, path)
    return RuleFile(path, path.parent if path.name == NAME else None)


def read_rules(file: RuleFile, settings: Settings) -> FolderRules:
    """Read and check one rule file.

    Raises:
        RulesBroken: it cannot be used; says all that is wrong with it.
    """
    presets, read = PresetShelf(settings), reader(settings)
    around = Surroundings(
        file.folder,
        settings.folders,
        settings.files,
        presets.find,
        no_commands=""
        if settings.notify_commands
        else "AUDIOLLA_NOTIFY_COMMANDS is not set, so rule files may not have programs run",
        no_mail=""
        if settings.smtp_host
        else "AUDIOLLA_SMTP_HOST is not set, so nothing can be sent",
        shared=(settings.rules,),
        read=read,
    )
    try:
        text = read(file.path)
    except OSError as wrong:
        raise RulesBroken([Problem(file.path, wrong.strerror or str(wrong))]) from None
    return load_rules(text, file.path, around)


def check(path: Path, settings: Settings) -> list[Problem]:
    """Everything that is wrong with a rule file; nothing if it is good."""
    try:
        read_rules(rule_file(path), settings)
    except RulesBroken as broken:
        return list(broken.problems)
    return []
