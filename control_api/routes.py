"""What a route is; `control_api.app` serves a list of them and the catalogue shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import falcon

from control_api.fields import Fields
from control_api.scopes import Scope

App = falcon.App[falcon.Request, falcon.Response]


@dataclass(frozen=True)
class Route:
    """One method on one path."""

    method: str
    path: str
    category: str
    summary: str
    #: Called as `respond(req, resp, **path_parameters)`.
    respond: Callable[..., None]
    #: False keeps it out of the catalogue.
    listed: bool = True
    #: What it takes, where that is an operation's.
    fields: Fields | None = None
    #: What a token must be good for. Unless it says so itself, a route that only looks needs
    #: `read`, and any other `admin`.
    scope: Scope | None = None

    @property
    def needs(self) -> Scope:
        """The scope that a token must have."""
        return self.scope or ("read" if self.method in ("GET", "HEAD") else "admin")
