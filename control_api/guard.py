"""Who may come in: the bearer token, and no requests from other web pages."""

from __future__ import annotations

import hmac
import re
import uuid
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


class RequestIds:
    """Falcon middleware: every answer says under which id it is in the log (`X-Request-Id`)."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take the client's id, if it is one, or make one."""
        given = req.get_header("X-Request-Id") or ""
        resp.set_header("X-Request-Id", given if _ID.fullmatch(given) else uuid.uuid4().hex)


_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


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
