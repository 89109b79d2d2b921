"""Who may come in: the bearer token, and no requests from other web pages."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

import falcon

OPEN_PATHS = frozenset({"/healthz"})
"""Answered without a token."""


def is_bearer(authorization: str, token: str) -> bool:
    """True when a header value (Latin-1, as WSGI has it) carries the token.

    Compares bytes: `compare_digest` refuses text that is not ASCII.
    """
    scheme, _, given = authorization.partition(" ")
    sent = given.strip().encode("latin-1", "replace")
    return scheme.lower() == "bearer" and hmac.compare_digest(sent, token.encode())


class Guard:
    """Falcon middleware: token and origin before any responder, safe headers after it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def process_request(self, req: falcon.Request, _: falcon.Response) -> None:
        """Refuse a request without the token, or from a page of another site.

        Raises:
            falcon.HTTPUnauthorized: the token is missing, malformed or wrong.
            falcon.HTTPForbidden: the Origin is not the host that was asked.
        """
        if req.path in OPEN_PATHS or req.method == "OPTIONS":
            return
        if self._token and not is_bearer(req.get_header("Authorization") or "", self._token):
            raise falcon.HTTPUnauthorized(
                description="this server needs its token: Authorization: Bearer <token>",
                challenges=["Bearer"],
            )
        origin = req.get_header("Origin")
        # Without this, any page in a user's browser could send forms to a server on localhost.
        if origin is not None and urlsplit(origin).netloc != req.get_header("Host"):
            raise falcon.HTTPForbidden(description=f"requests from {origin[:200]!r} are not taken")

    def process_response(
        self, _req: falcon.Request, resp: falcon.Response, _resource: object, _ok: bool
    ) -> None:
        """Tell browsers to trust the content type that is given."""
        resp.set_header("X-Content-Type-Options", "nosniff")
