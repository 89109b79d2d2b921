"""Every point at which the disk or the database can fail, one after the other.

`Points` counts the calls that change something, or that open a file, below one folder: open,
write, fsync, rename, link, unlink, mkdir, rmdir and the commit of the database. At one of them it
lets happen what a test asks for: an error, or a death before or after the call. Whoever died does
nothing more: each further call ends where it stands.
"""

import errno
import io
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from daemon import moves
from daemon.store import Store

#: Call and arguments that name what it is about: paths, or an open file.
_CALLS: dict[str, tuple[int, ...]] = {
    "open": (0,),
    "write": (0,),
    "pwrite": (0,),
    "fsync": (0,),
    "ftruncate": (0,),
    "truncate": (0,),
    "rename": (0, 1),
    "replace": (0, 1),
    "link": (0, 1),
    "unlink": (0,),
    "mkdir": (0,),
    "rmdir": (0,),
}


class PowerCut(BaseException):
    """Ends everything where it stands; nothing may catch this."""


class Points:
    """The calls of one run."""

    def __init__(self, folder: Path, fail: Callable[[int, str], str | int | None]) -> None:
        """Count what happens below `folder`.

        Args:
            fail: asked at each call, by its number (from 1) and name: `before` or `after` for a
                death, an errno for an error, None to let it be.
        """
        self._below = os.fspath(folder)
        self._fail = fail
        self.count = 0
        self.dead = False
        #: Number and name of the call at which it happened.
        self.at: tuple[int, str] | None = None
        self.armed = False

    def install(self, patch) -> "Points":
        """Stand before the calls, by pytest's `monkeypatch` or the like."""
        for name, about in _CALLS.items():
            patch.setattr(os, name, self._watched(name, getattr(os, name), about))
        patch.setattr(io, "open", self._watched("open", io.open, (0,)))
        patch.setattr(moves, "_renameat2", self._renames(moves._renameat2))
        real = Store.__init__

        def opened(store, *args, **more):
            real(store, *args, **more)
            store._raw = _Raw(store._raw, self)

        patch.setattr(Store, "__init__", opened)
        return self

    def _concerns(self, one: object) -> bool:
        if isinstance(one, int):
            try:
                one = os.readlink(f"/proc/self/fd/{one}")
            except OSError:
                return False
        elif isinstance(one, bytes):
            one = os.fsdecode(one)
        return os.fspath(one).startswith(self._below)  # type: ignore[arg-type]

    def _watched(self, name: str, real, about):
        def call(*args, **more):
            if not self.armed or not any(self._concerns(args[n]) for n in about if n < len(args)):
                return real(*args, **more)
            wrong = self.passes(name)
            if isinstance(wrong, int):
                # The kernel's errors about an open file name none.
                raise OSError(
                    wrong, os.strerror(wrong), *(a for a in args[:1] if type(a) is not int)
                )
            result = real(*args, **more)
            if wrong == "after":
                self.die()
            return result

        return call

    def _renames(self, real):
        def call(source, target):
            if not self.armed:
                return real(source, target)
            wrong = self.passes("renameat2")
            if isinstance(wrong, int):
                return wrong
            result = real(source, target)
            if wrong == "after":
                self.die()
            return result

        return call

    def passes(self, name: str) -> str | int | None:
        """One call comes by; what is to happen to it."""
        if self.dead:
            raise PowerCut
        self.count += 1
        wrong = self._fail(self.count, name)
        if wrong is not None:
            self.at = self.count, name
        if wrong == "before":
            self.die()
        return wrong

    def die(self) -> None:
        """Nothing happens any more."""
        self.dead = True
        raise PowerCut


class _Raw:
    """The driver's connection, whose commits count."""

    def __init__(self, real: sqlite3.Connection, points: Points) -> None:
        self._real, self._points = real, points

    def __getattr__(self, name: str):
        return getattr(self._real, name)

    def commit(self) -> None:
        points = self._points
        if not points.armed or not self._real.in_transaction:
            self._real.commit()
            return
        wrong = points.passes("commit")
        if isinstance(wrong, int):
            said = sqlite3.OperationalError(os.strerror(wrong))
            full = wrong == errno.ENOSPC
            said.sqlite_errorname = "SQLITE_FULL" if full else "SQLITE_IOERR"  # type: ignore[attr-defined]
            raise said
        self._real.commit()
        if wrong == "after":
            points.die()
