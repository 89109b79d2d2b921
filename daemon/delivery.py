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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from daemon.delivering.replaced import keep_replaced
from daemon.execution import Intent, Placement, Promises
from daemon.mounts import steady_inode
from daemon.moves import fsync_file, fsync_folder, place
from handlers.artifacts import File, FileCopy, Video
from handlers.errors import CannotProcess, StorageFailed, TooLarge
from rules.names import numbered
from rules.orders import path_from_text, path_to_text
from rules.owners import ids_of

Built = Callable[[list[dict[str, Any]]], dict[str, Any]]
"""Makes the job's result from the list of its outputs."""


@dataclass(frozen=True)
class Access:
    """Who may do what with what is written; what is None is left to the umask and the user."""

    mode: int | None = None
    #: As `rules.owners` reads it.
    owner: str | None = None

    def give(self, path: Path, *, folder: bool = False) -> None:
        """Set owner and permissions.

        Raises:
            CannotProcess: this user may not.
        """
        try:
            if self.owner is not None:
                os.chown(path, *ids_of(self.owner))
            if self.mode is not None:
                # Who may read a folder may enter it.
                mode = self.mode | (self.mode & 0o444) >> 2 if folder else self.mode
                path.chmod(mode)
        except PermissionError as wrong:
            whom = f" {self.owner}" if self.owner else ""
            raise CannotProcess(
                f"what is written cannot be given to{whom or ' others'}: {wrong.strerror}",
                hint="only root gives files away; a member of a group may give them to the group",
            ) from None

    def make_folder(self, path: Path) -> None:
        """Make a folder and those above it that are missing; only these get the permissions."""
        missing = [p for p in (path, *path.parents) if not p.exists()]
        for one in reversed(missing):
            try:
                one.mkdir()
            except FileExistsError:
                continue  # another job was first
            self.give(one, folder=True)
        path.mkdir(parents=True, exist_ok=True)


@dataclass
class Draft:
    """One written file on its way to its name."""

    part: Path
    #: The final path that is wanted; a number is added where it is taken.
    wanted: Path
    replace: bool
    #: What the job's result says of this file.
    about: dict[str, Any] = field(default_factory=dict)
    #: What it must be once it is written (see `rules.measures`).
    ensure: Mapping[str, Any] = field(default_factory=dict)
    access: Access = field(default_factory=Access)
    number: int = 1
    #: Where a file is kept whose name this one takes over.
    keep: Path | None = None

    @property
    def final(self) -> Path:
        """The path at the present number."""
        return self.wanted.with_name(numbered(self.wanted.name, self.number))


@dataclass
class Note:
    """A file that tells of the others: written when their names are known, told of by its key."""

    key: str
    draft: Draft
    #: Makes its content from the job's result.
    told: Callable[[dict[str, Any]], bytes]


class Drafts:
    """The files of one job while they are written; on a failure none is left behind."""

    def __init__(
        self,
        job: str,
        folder: Path,
        *,
        replace: bool,
        max_bytes: int | None = None,
        replaced: Path | None = None,
        inspect: Callable[[Draft], None] = lambda _: None,
        fleeting: bool = False,
        access: Access | None = None,
        waiting: Path | None = None,
    ) -> None:
        """Files below `folder`; one larger than `max_bytes` is refused.

        Args:
            replaced: where files are kept whose names these take over; None lets go of them.
            inspect: looks at each finished part before anything gets its name.
            fleeting: nothing here has to outlast a power failure, and nobody else's files
                lie there: no fsync, and no promise before the names are given.
            access: who may do what with them.
            waiting: where they are written for the time being (a path without its number and
                suffix), when an attempt by another worker will deliver them.
        """
        self._replaced = replaced
        self._inspect = inspect
        self._notes: list[Note] = []
        self._fleeting = fleeting
        self._job = job
        self._folder = folder
        self._replace = replace
        self._max_bytes = max_bytes
        self._access = access or Access()
        self._waiting = waiting
        self._drafts: list[Draft] = []
        #: The intent is durable: from here on the parts belong to whichever attempt publishes it.
        self._promised = False

    def into(self, folder: Path, *, replace: bool, access: Access | None = None) -> Drafts:
        """More of the same job's files, in another folder."""
        other = Drafts(
            self._job,
            folder,
            replace=replace,
            max_bytes=self._max_bytes,
            replaced=self._replaced,
            inspect=self._inspect,
            access=access,
            waiting=self._waiting,
        )
        other._drafts, other._notes = self._drafts, self._notes
        return other

    def __enter__(self) -> Drafts:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None and not self._promised:
            for draft in self._everything:
                draft.part.unlink(missing_ok=True)

    def add(self, wanted: PurePosixPath, role: str, **about: Any) -> Draft:
        """A new file, to be written to its `part` by the caller."""
        about = {"role": role, **about}
        draft = self._draft(self._folder / wanted, self._replace, about, self._access)
        self._drafts.append(draft)
        return draft

    def _draft(self, final: Path, replace: bool, about: dict[str, Any], access: Access) -> Draft:
        number = len(self._everything)
        if self._waiting is None:
            access.make_folder(final.parent)
            part = final.with_name(f".audiolla-{self._job}-{number}.part")
        else:
            part = self._waiting.with_name(f"{self._waiting.name}-{number}.part")
        return Draft(part, final, replace, about, access=access)

    @property
    def files(self) -> Sequence[Draft]:
        """The outputs so far."""
        return self._drafts

    def add_note(self, key: str, wanted: Path, told: Callable[[dict[str, Any]], bytes]) -> None:
        """A file about the others; the job's result names it under `key`."""
        draft = self._draft(wanted, False, {}, Access())
        draft.part.touch()
        self._notes.append(Note(key, draft, told))

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

    def __len__(self) -> int:
        return len(self._drafts)

    def since(self, count: int) -> list[Draft]:
        """Those that were added when there were `count`."""
        return self._drafts[count:]

    def keep(self) -> list[dict[str, Any]]:
        """What an attempt by another worker has to know to deliver them; durable."""
        for draft in self._drafts:
            fsync_file(draft.part)
        return [
            {
                "part": path_to_text(draft.part),
                "wanted": path_to_text(draft.wanted),
                "replace": draft.replace,
                "access": asdict(draft.access),
                "about": draft.about,
            }
            for draft in self._drafts
        ]

    def adopt(self, kept: Sequence[Mapping[str, Any]]) -> None:
        """Files that an earlier attempt wrote and kept."""
        for one in kept:
            wanted, source = path_from_text(one["wanted"]), path_from_text(one["part"])
            about = dict(one["about"])
            access = Access(**one["access"])
            there = self.into(wanted.parent, replace=one["replace"], access=access)
            draft = there.add(PurePosixPath(wanted.name), about.pop("role"), **about)
            draft.part.unlink(missing_ok=True)
            try:
                # The source stays where it is: this attempt may fail, too.
                os.link(source, draft.part)
            except OSError:
                try:
                    shutil.copyfile(source, draft.part)
                except FileNotFoundError:
                    raise StorageFailed(f"{source.name} is not there any more") from None

    def publish(self, context: Promises, built: Built) -> dict[str, Any]:
        """Promise and give the final names; the job's result.

        Raises:
            StorageFailed: a written file has disappeared.
            TooLarge: a written file is larger than may be delivered.
        """
        if self._fleeting:
            return self._put_down(built)
        drafts = self._drafts
        placements = [self._settled(draft) for draft in drafts]
        for note in self._notes:
            while self._is_taken(note.draft, self._everything):
                note.draft.number += 1
        while True:
            for draft, placement in zip(drafts, placements, strict=True):
                draft.about["path"] = path_to_text(placement.final)
            result = built([draft.about for draft in drafts])
            result |= {note.key: path_to_text(note.draft.final) for note in self._notes}
            all_placements = [*placements, *(_written(note, result) for note in self._notes)]
            if not all_placements:
                return result
            intent = Intent(placements=all_placements, result=result)
            taken = set(context.intend(intent))
            if not taken:
                self._promised = True
                taken = set(publish(intent))
            if not taken:
                return result
            placements = [
                self._next_name(draft) if placement.final in taken else placement
                for draft, placement in zip(drafts, placements, strict=True)
            ]
            for note in self._notes:
                if note.draft.final in taken:
                    self._next_name(note.draft)

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
        draft.access.give(draft.part)
        with draft.part.open("rb") as file:
            os.fsync(file.fileno())
            stat = os.fstat(file.fileno())
        self._measure(draft, stat)
        self._inspect(draft)
        # Of two that want the same name, the one that was written first has it.
        while self._is_taken(draft, self._before(draft)):
            draft.number += 1
        self._keep_what_it_replaces(draft)
        return _placement(draft, stat)

    def _next_name(self, draft: Draft) -> Placement:
        draft.number += 1
        while self._is_taken(draft, self._everything):
            draft.number += 1
        self._keep_what_it_replaces(draft)
        return _placement(draft, draft.part.stat())

    def _keep_what_it_replaces(self, draft: Draft) -> None:
        """Say where the file goes that bears its name, if one does and it is to be kept."""
        draft.keep = None
        draft.about.pop("replaced", None)
        if not draft.replace or self._replaced is None:
            return
        # Deliveries into several folders may take over files of the same name.
        kept = [other.keep for other in self._before(draft)]
        home, number = self._replaced / self._job, 1
        while (keep := home / numbered(draft.final.name, number)) in kept:
            number += 1
        draft.keep = keep
        if os.path.lexists(draft.final):
            draft.about["replaced"] = path_to_text(keep)

    def _before(self, draft: Draft) -> list[Draft]:
        """Those that were written before this one."""
        return self._drafts[: self._drafts.index(draft)]

    @property
    def _everything(self) -> list[Draft]:
        return [*self._drafts, *(note.draft for note in self._notes)]

    def _is_taken(self, draft: Draft, others: Sequence[Draft]) -> bool:
        mine = [other.final for other in others if other is not draft]
        # Replacing is for files of the past, never for one of the same job.
        return draft.final in mine or (not draft.replace and os.path.lexists(draft.final))


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
        if placement.keep is not None:
            keep_replaced(placement.final, placement.keep, placement.inode)
        return place(placement.part, placement.final, replace=placement.replace)
    except FileNotFoundError:
        # An earlier attempt may have renamed it before it died; the inode tells. Where there is
        # none, the name does: it was promised to this job.
        try:
            stat = placement.final.lstat()
        except FileNotFoundError:
            stat = None
        known = stat is not None and placement.inode in (0, stat.st_ino)
        if known and stat is not None and stat.st_size == placement.size:
            fsync_folder(placement.final.parent)
            return True
        raise StorageFailed(f"{placement.final.name} disappeared before it was published") from None


def _placement(draft: Draft, stat: os.stat_result) -> Placement:
    return Placement(
        part=draft.part,
        final=draft.final,
        inode=steady_inode(stat),
        size=stat.st_size,
        replace=draft.replace,
        keep=draft.keep,
    )


def _written(note: Note, result: dict[str, Any]) -> Placement:
    """Write a note's content; what it was before is of no interest."""
    with note.draft.part.open("wb") as file:
        file.write(note.told(result))
        file.flush()
        os.fsync(file.fileno())
        return _placement(note.draft, os.fstat(file.fileno()))
