"""Named tokens: a file of hashes in the data directory.

A file, not a table: the command must work whether or not a daemon runs, and
the one process that writes the database would have to. It is replaced whole;
the server reads it again when it has changed, so that what is revoked is
refused from the next request on.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import orjson

from control_api.scopes import NamedToken, Scope, token_hash
from daemon.clock import Clock, SystemClock
from handlers.errors import BadParameter
from rules.budgets import Budget

log = logging.getLogger(__name__)

_PREFIX = "audiolla_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class TokenFile:
    """The named tokens of one data directory."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._seen: tuple[int, int, int] | None = None
        self._tokens: Sequence[NamedToken] = ()

    def tokens(self) -> Sequence[NamedToken] | None:
        """All of them, as they are now; None where none was ever made.

        Costs one look at the file's facts where nothing changed. A file that cannot be read
        holds no token, so that nobody gets in by damaging it.
        """
        try:
            facts = self._path.stat()
        except FileNotFoundError:
            self._seen = None
            return None
        seen = facts.st_ino, facts.st_mtime_ns, facts.st_size
        if seen != self._seen:
            try:
                self._tokens = self._read()
            except (OSError, ValueError, TypeError, KeyError) as wrong:
                log.error("%s cannot be read, so no named token is taken: %s", self._path, wrong)
                self._tokens = ()
            self._seen = seen
        return self._tokens

    def _read(self) -> list[NamedToken]:
        stored = orjson.loads(self._path.read_bytes())
        return [replace(NamedToken(**one), scopes=tuple(one["scopes"])) for one in stored]

    def create(
        self,
        name: str,
        scopes: Sequence[Scope],
        *,
        lifetime: float | None = None,
        budget: Budget | None = None,
    ) -> str:
        """Make a token. It is shown this once; only its hash is kept.

        Args:
            lifetime: seconds after which it is refused; None is never.
            budget: what each job may use up that is asked for with it.

        Raises:
            BadParameter: there is one of this name, or the name is none.
        """
        if not _NAME.fullmatch(name):
            raise BadParameter(
                f"{name!r} is no name for a token: letters, digits and . _ @ -, 64 at most"
            )
        token = _PREFIX + secrets.token_urlsafe(32)
        now = self._clock.now()
        with self._changing() as tokens:
            if any(one.name == name for one in tokens):
                raise BadParameter(f"there is a token {name} already; revoke it, or choose a name")
            expires = None if lifetime is None else now + lifetime
            ordered = tuple(dict.fromkeys(scopes))
            limits = budget.limits() if budget is not None else {}
            hashed = token_hash(token.encode())
            tokens.append(NamedToken(name, hashed, ordered, now, expires, limits or None))
        return token

    def revoke(self, name: str) -> bool:
        """Refuse a token from now on; False when there is none of this name."""
        with self._changing() as tokens:
            kept = [one for one in tokens if one.name != name]
            found = len(kept) < len(tokens)
            tokens[:] = kept
        return found

    @contextmanager
    def _changing(self) -> Iterator[list[NamedToken]]:
        """The tokens, to be changed by nobody else meanwhile; written whole at the end."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tokens = self._read() if self._path.exists() else []
            yield tokens
            text = orjson.dumps([asdict(one) for one in tokens], option=orjson.OPT_INDENT_2)
            part = self._path.with_suffix(".part")
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.rename(self._path)
