"""Puts what a chain gave where it belongs: whole, under its final name, once.

Each file is written beside its target as `.audiolla-<job>-<n>.part` and
fsynced. Then the intent to rename is committed by the queue, and only then the
files get their names. An attempt that dies in between leaves an intent, and
the next attempt just publishes: a part that is still there is renamed, a final
name that already bears the file's inode is done.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from daemon.execution import Intent, Placement, Promises
from daemon.moves import fsync_folder, place
from handlers.artifacts import File, FileCopy, Video
from handlers.errors import StorageFailed, TooLarge
from rules.names import numbered
from rules.orders import path_to_text

Built = Callable[[list[dict[str, Any]]], dict[str, Any]]
"""Makes the job's result from the list of its outputs."""


@dataclass
class Draft:
    """One written file on its way to its name."""

    part: Path
    #: The final path that is wanted; a number is added where it is taken.
    wanted: Path
    replace: bool
    #: What the job's result says of this file.
    about: dict[str, Any] = field(default_factory=dict)
    number: int = 1

    @property
    def final(self) -> Path:
        """The path at the present number."""
        return self.wanted.with_name(numbered(self.wanted.name, self.number))


class Drafts:
    """The files of one job while they are written; on a failure none is left behind."""

    def __init__(
        self,
        job: str,
        folder: Path,
        *,
        replace: bool,
        max_bytes: int | None = None,
        fleeting: bool = False,
    ) -> None:
        """Files below `folder`; one larger than `max_bytes` is refused.

        Args:
            fleeting: nothing here has to outlast a power failure, and nobody else's files
                lie there: no fsync, and no promise before the names are given.
        """
        self._fleeting = fleeting
        self._job = job
        self._folder = folder
        self._replace = replace
        self._max_bytes = max_bytes
        self._drafts: list[Draft] = []

    def __enter__(self) -> Drafts:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            for draft in self._drafts:
                draft.part.unlink(missing_ok=True)

    def add(self, wanted: PurePosixPath, role: str, **about: Any) -> Draft:
        """A new file, to be written to its `part` by the caller."""
        final = self._folder / wanted
        final.parent.mkdir(parents=True, exist_ok=True)
        part = final.with_name(f".audiolla-{self._job}-{len(self._drafts)}.part")
        draft = Draft(part, final, self._replace, {"role": role, **about})
        self._drafts.append(draft)
        return draft

    def add_file(self, wanted: PurePosixPath, role: str, file: File, **about: Any) -> None:
        """A finished file."""
        draft = self.add(wanted, role, media_type=file.media_type, **about)
        if isinstance(file, Video | FileCopy):
            shutil.copyfile(file.path, draft.part)
        else:
            draft.part.write_bytes(file.data)

    def add_json(self, wanted: PurePosixPath, facts: Mapping[str, Any], **about: Any) -> None:
        """A report, as JSON."""
        draft = self.add(wanted, "report", media_type="application/json", **about)
        text = json.dumps(facts, indent=2, allow_nan=False, ensure_ascii=False)
        draft.part.write_text(text + "\n", encoding="utf-8")

    def publish(self, context: Promises, built: Built) -> dict[str, Any]:
        """Promise and give the final names; the job's result.

        Raises:
            StorageFailed: a written file has disappeared.
            TooLarge: a written file is larger than may be delivered.
        """
        if self._fleeting:
            return self._put_down(built)
        placements = [self._settled(draft) for draft in self._drafts]
        while True:
            for draft, placement in zip(self._drafts, placements, strict=True):
                draft.about["path"] = path_to_text(placement.final)
            result = built([draft.about for draft in self._drafts])
            if not placements:
                return result
            intent = Intent(placements=placements, result=result)
            taken = set(context.intend(intent)) or set(publish(intent))
            if not taken:
                return result
            placements = [
                self._next_name(draft) if placement.final in taken else placement
                for draft, placement in zip(self._drafts, placements, strict=True)
            ]

    def _put_down(self, built: Built) -> dict[str, Any]:
        """Give the final names at once. An attempt that dies here is simply made again."""
        for draft in self._drafts:
            self._measure(draft, draft.part.stat())
            os.replace(draft.part, draft.wanted)
            draft.about["path"] = path_to_text(draft.wanted)
        return built([draft.about for draft in self._drafts])

    def _measure(self, draft: Draft, stat: os.stat_result) -> None:
        if self._max_bytes is not None and stat.st_size > self._max_bytes:
            raise TooLarge(f"the result has {stat.st_size} bytes; {self._max_bytes} may be staged")
        draft.about["size"] = stat.st_size

    def _settled(self, draft: Draft) -> Placement:
        with draft.part.open("rb") as file:
            os.fsync(file.fileno())
            stat = os.fstat(file.fileno())
        self._measure(draft, stat)
        while not draft.replace and self._is_taken(draft):
            draft.number += 1
        return _placement(draft, stat)

    def _next_name(self, draft: Draft) -> Placement:
        draft.number += 1
        while self._is_taken(draft):
            draft.number += 1
        return _placement(draft, draft.part.stat())

    def _is_taken(self, draft: Draft) -> bool:
        mine = [d.final for d in self._drafts if d is not draft]
        return draft.final in mine or os.path.lexists(draft.final)


def publish(intent: Intent) -> list[Path]:
    """Give files their final names; safe to repeat after a crash at any point.

    Returns:
        Final names that somebody else has taken meanwhile.

    Raises:
        StorageFailed: a file is neither under its part name nor under its final one.
    """
    return [p.final for p in intent.placements if not _published(p)]


def _published(placement: Placement) -> bool:
    try:
        return place(placement.part, placement.final, replace=placement.replace)
    except FileNotFoundError:
        # An earlier attempt may have renamed it before it died; the inode tells.
        try:
            stat = placement.final.lstat()
        except FileNotFoundError:
            stat = None
        if stat is not None and stat.st_ino == placement.inode and stat.st_size == placement.size:
            fsync_folder(placement.final.parent)
            return True
        raise StorageFailed(f"{placement.final.name} disappeared before it was published") from None


def _placement(draft: Draft, stat: os.stat_result) -> Placement:
    return Placement(
        part=draft.part,
        final=draft.final,
        inode=stat.st_ino,
        size=stat.st_size,
        replace=draft.replace,
    )
