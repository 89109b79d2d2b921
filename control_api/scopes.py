"""What a token may do, and the one place that looks at tokens."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

Scope = Literal["read", "run", "files", "admin"]
SCOPES: Final[dict[Scope, str]] = {
    "read": "look at jobs, webhooks, engines, folders and the catalogue",
    "run": "run operations, on staged files too, and cancel or retry jobs",
    "files": "list, fetch, put and delete staged files",
    "admin": "everything",
}
assert set(SCOPES) == set(get_args(Scope))


@dataclass(frozen=True)
class NamedToken:
    """A token as it is stored: only its hash."""

    name: str
    #: SHA-256, hexadecimal. The token itself is 256 random bits, so no slow hash is needed.
    sha256: str
    scopes: tuple[Scope, ...]
    #: Unix seconds.
    created: float
    expires: float | None = None
    #: What each job may use up that is asked for with it (`rules.budgets.Budget`).
    limits: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Holder:
    """Who asks."""

    name: str
    scopes: frozenset[Scope]
    limits: Mapping[str, float] | None = None

    def may(self, scope: Scope) -> bool:
        """True when a route that needs `scope` may be used."""
        return scope in self.scopes or "admin" in self.scopes


ANYBODY: Final = Holder("", frozenset({"admin"}))
"""Who asks where no token is needed."""


def token_hash(token: bytes) -> str:
    """The form that tokens are stored and compared in."""
    return hashlib.sha256(token).hexdigest()


class Keys:
    """The tokens that open this server: that of the settings, and the named ones."""

    def __init__(
        self,
        auth_token: str,
        named: Callable[[], Sequence[NamedToken] | None] = lambda: None,
        *,
        now: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Look at tokens.

        Args:
            auth_token: the one that may do everything; may be empty.
            named: gives the others as they are now; None where there never were any. Where the
                last was revoked, nobody may enter: that is no reason to let everybody in.
            now: Unix seconds, for those that expire.
        """
        self._own = auth_token and token_hash(auth_token.encode())
        self._named = named
        self._now = now

    def holder(self, authorization: str) -> Holder | None:
        """Who asks with this header value (Latin-1, as WSGI has it); None when nobody known.

        Every stored hash is compared, in constant time each: how long it takes says nothing.
        """
        named = self._named()
        if not self._own and named is None:
            return ANYBODY
        scheme, _, given = authorization.partition(" ")
        sent = token_hash(given.strip().encode("latin-1", "replace"))
        found = None
        if self._own and hmac.compare_digest(sent, self._own):
            found = Holder("AUDIOLLA_AUTH_TOKEN", frozenset({"admin"}))
        for token in named or ():
            valid = token.expires is None or token.expires > self._now()
            if hmac.compare_digest(sent, token.sha256) and valid:
                found = Holder(token.name, frozenset(token.scopes), token.limits)
        return found if scheme.lower() == "bearer" else None
