"""Who may come in: the bearer token, and no requests from other web pages."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import falcon

from control_api.asking import ASKING, NOBODY, Asking
from control_api.hosts import is_foreign, is_ours
from control_api.scopes import ANYBODY, Holder, Keys, Scope

OPEN_PATHS = frozenset({"/healthz"})
"""Answered without a token."""


def require(req: falcon.Request, scope: Scope) -> None:
    """Refuse a request whose token is not good for `scope`.

    Raises:
        falcon.HTTPForbidden: with the challenge of RFC 6750.
    """
    holder: Holder = req.context.holder
    if not holder.may(scope):
        challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
        raise falcon.HTTPForbidden(
            description=f"the token {holder.name} does not have the scope {scope}",
            headers={"WWW-Authenticate": challenge},
        )


class RequestIds:
    """Falcon middleware: every answer says under which id it is in the log (`X-Request-Id`)."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take the client's id, if it is one, or make one."""
        given = req.get_header("X-Request-Id") or ""
        request = given if _ID.fullmatch(given) else uuid.uuid4().hex
        resp.set_header("X-Request-Id", request)
        ASKING.set(Asking(request))

    def process_response(
        self, _req: falcon.Request, _resp: falcon.Response, _resource: Any, _ok: bool
    ) -> None:
        """What this thread does next is nobody's request."""
        ASKING.set(NOBODY)


_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Guard:
    """Falcon middleware: token and origin before any responder, safe headers after it."""

    def __init__(self, keys: Keys, hosts: Collection[str] = ()) -> None:
        """Look at tokens and origins.

        Args:
            hosts: names that the server is reached under, beside those that are ours in any case.
        """
        self._keys = keys
        self._hosts = frozenset(name.lower() for name in hosts)

    def process_request(self, req: falcon.Request, _: falcon.Response) -> None:
        """Refuse a request without a token, or from a page of another site.

        Who asks is left in `req.context.holder`, for responders that serve more than one scope.

        Raises:
            falcon.HTTPUnauthorized: the token is missing, malformed or wrong.
            falcon.HTTPForbidden: the Origin is not the host that was asked.
            falcon.HTTPError: 421, the host that was asked is not this server.
        """
        req.context.holder = ANYBODY
        if req.path in OPEN_PATHS:
            return
        if req.method == "OPTIONS":
            self._check_page(req, ANYBODY)
            return
        holder = self._keys.holder(req.get_header("Authorization") or "")
        if holder is None:
            raise falcon.HTTPUnauthorized(
                description="this server needs its token: Authorization: Bearer <token>",
                challenges=["Bearer"],
            )
        req.context.holder = holder
        ASKING.set(replace(ASKING.get(), holder=holder))
        self._check_page(req, holder)

    def _check_page(self, req: falcon.Request, holder: Holder) -> None:
        """Refuse what a page of another site, or under another name, sends (DNS rebinding).

        Whoever has a token is no such page; with names given, nobody else's are taken even so.
        """
        host = req.get_header("Host") or ""
        if (holder is ANYBODY or self._hosts) and not is_ours(host, self._hosts):
            raise falcon.HTTPError(
                421,
                description=f"this server does not answer as {host[:200]!r}: use its address, or "
                "set AUDIOLLA_ALLOWED_HOSTS (or, without that, AUDIOLLA_AUTH_TOKEN)",
            )
        origin = req.get_header("Origin")
        # Without this, any page in a user's browser could send forms to a server on localhost.
        if origin is not None and is_foreign(origin, host):
            raise falcon.HTTPForbidden(description=f"requests from {origin[:200]!r} are not taken")

    def process_resource(
        self, req: falcon.Request, _resp: falcon.Response, resource: object, _params: object
    ) -> None:
        """Refuse a token that is good for something else (RFC 6750).

        Raises:
            falcon.HTTPForbidden: the route needs a scope that the token has not.
        """
        scopes: Mapping[str, Scope] = getattr(resource, "scopes", {})
        needed = scopes.get(req.method)
        if needed is None and req.method == "HEAD":
            needed = scopes.get("GET")
        if needed is not None:
            require(req, needed)

    def process_response(
        self, _req: falcon.Request, resp: falcon.Response, _resource: object, _ok: bool
    ) -> None:
        """Tell browsers to trust the content type that is given."""
        resp.set_header("X-Content-Type-Options", "nosniff")
