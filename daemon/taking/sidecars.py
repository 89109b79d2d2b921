"""Sounds and what lies beside them, as long as one waits for the other. No clock; one look."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from rules.sidecars import ENDS
from rules.written import MAX_BYTES

GIVE_UP: Final = 600.0
"""Seconds after which a sidecar without a sound, or a sound that needs one, is failed."""


class Beside:
    """The sidecars of one hot folder that are complete, and the sounds that wait for one."""

    def __init__(self, root: Path) -> None:
        self._root = root
        #: Path without extension to the sidecar, and since when it is there.
        self._notes: dict[str, tuple[str, float]] = {}
        #: The same for sounds that need one.
        self._sounds: dict[str, tuple[str, float]] = {}
        #: Further sounds that a sidecar names, by its path, and whether each is complete.
        self._further: dict[str, dict[str, bool]] = {}
        #: Sidecars whose own sound is there and waits for them: it gives up, not they.
        self._met: set[str] = set()

    def note(self, rel: str, now: float) -> str | None:
        """A complete sidecar; the sound that waits for it, if one does."""
        stem = _stem(rel)
        self._notes.setdefault(stem, (rel, now))
        return self._sounds.pop(stem, (None, 0.0))[0]

    def of(self, rel: str) -> str | None:
        """The complete sidecar of a sound."""
        return self._notes.get(_stem(rel), (None, 0.0))[0]

    def name(self, note: str, sounds: Iterable[str]) -> None:
        """Further sounds that a sidecar names: each waits for the sound that it lies beside."""
        self._further[note] = dict.fromkeys(sounds, False)

    def named_by(self, rel: str) -> str | None:
        """The sidecar that names a complete sound, which from now on waits for it."""
        for note, sounds in self._further.items():
            if rel in sounds:
                sounds[rel] = True
                return note
        return None

    def lacking(self, note: str) -> list[str]:
        """Further sounds of a sidecar, whose own is there, that are not, or not complete yet."""
        self._met.add(note)
        return [rel for rel, complete in self._further.get(note, {}).items() if not complete]

    def waited(self, note: str, now: float) -> float:
        """Seconds that a sidecar has been there for."""
        return now - self._notes.get(_stem(note), ("", now))[1]

    def lost(self, rel: str) -> None:
        """A further sound is not there any more, or not what it was."""
        for sounds in self._further.values():
            if rel in sounds:
                sounds[rel] = False

    def release(self, note: str) -> list[str]:
        """The sidecar names nothing any more; what had waited for it."""
        self._met.discard(note)
        return [rel for rel, complete in self._further.pop(note, {}).items() if complete]

    def is_coming(self, rel: str) -> bool:
        """True when a sidecar lies beside a sound that is not known to be complete yet."""
        for end in ENDS:
            try:
                told = os.lstat(self._root / (_stem(rel) + end))
            except OSError:
                continue
            if stat.S_ISREG(told.st_mode):
                return True
        return False

    def wait(self, rel: str, now: float) -> None:
        """A sound that is not taken without its sidecar."""
        self._sounds.setdefault(_stem(rel), (rel, now))

    def drop(self, rel: str) -> None:
        """It is taken, or not there any more."""
        for known in (self._notes, self._sounds):
            if known.get(_stem(rel), ("", 0.0))[0] == rel:
                del known[_stem(rel)]

    def overdue(self, now: float) -> Iterator[tuple[str, str]]:
        """What has waited for long enough, and what for."""
        for known, what in (
            (self._notes, "there is no sound beside it"),
            (self._sounds, f"there is no sidecar beside it ({', '.join(ENDS)})"),
        ):
            for rel, since in list(known.values()):
                if now - since >= GIVE_UP and rel not in self._met:
                    yield rel, f"{what} after {GIVE_UP:g} s"

    def waiting(self) -> Iterator[tuple[str, str]]:
        """What waits, and what for."""
        for rel, _ in self._notes.values():
            yield rel, "for the sound that it lies beside"
        for rel, _ in self._sounds.values():
            yield rel, f"for its sidecar ({', '.join(ENDS)})"
        for note, sounds in self._further.items():
            for rel, complete in sounds.items():
                if complete:
                    yield rel, f"for the sound of {note}, which names it"

    @property
    def next_due(self) -> float:
        """Time (monotonic) at which something has waited for long enough."""
        waits = [
            since
            for known in (self._notes, self._sounds)
            for rel, since in known.values()
            if rel not in self._met
        ]
        return min(waits, default=math.inf) + GIVE_UP


def is_note(rel: str) -> bool:
    """True for a name that a sidecar may have."""
    return rel.lower().endswith(ENDS)


def read_text(path: str) -> bytes:
    """The bytes of a sidecar; a link is not followed.

    Raises:
        OSError: it cannot be read.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        return file.read(MAX_BYTES + 1)


def _stem(rel: str) -> str:
    folder, slash, name = rel.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)
