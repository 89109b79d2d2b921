"""The HTTP application: a list of routes, the guard before it, the errors after it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import cast

import falcon

from control_api import (
    catalog,
    engines,
    errors,
    events,
    files,
    folders,
    jobs,
    openapi,
    probes,
    rest,
    schedules,
    uploads,
    webhooks,
    workflow,
)
from control_api.guard import Guard, RequestIds
from control_api.mcp.door import Door
from control_api.ports import ApiSettings, Service
from control_api.routes import App, Route
from control_api.scopes import Keys, Scope
from control_api.server import Server, serve
from handlers.registry import operations

__all__ = ["ApiSettings", "Server", "all_routes", "create_app", "serve"]


def all_routes(service: Service, door: Door | None = None) -> list[Route]:
    """Every route that the server has; that of the door for agents, if there is one."""
    waiting = rest.WaitingRoom()
    found = [
        *rest.routes(operations().values(), service, waiting),
        *workflow.routes(service, waiting),
        *files.routes(service),
        *uploads.routes(service),
        *jobs.routes(service),
        *webhooks.routes(service),
        *engines.routes(service),
        *events.routes(service),
        *folders.routes(service),
        *schedules.routes(service),
        *probes.routes(service),
        *(door.routes(waiting) if door else []),
    ]
    found += openapi.routes(lambda: all_routes(service, door))
    return [*found, *catalog.routes(found)]


def create_app(
    service: Service, settings: ApiSettings, keys: Keys | None = None, door: Door | None = None
) -> App:
    """The WSGI application over a service.

    Args:
        service: the daemon.
        settings: token, limits, tools.
        keys: what opens it; by default the settings' token alone.
        door: the one for agents, where somebody else starts and closes it; else one that
            starts with its first request.

    Raises:
        BrokenPlugin: an operation outside this package cannot be loaded.
    """
    keys = keys or Keys(settings.auth_token)
    app: App = falcon.App(middleware=[RequestIds(), Guard(keys, settings.allowed_hosts)])
    errors.install(app)
    routes = all_routes(service, door or Door(service, settings))
    for path, resource in _resources(routes).items():
        app.add_route(path.replace("{path}", "{path:path}"), resource)
    return app


def _resources(routes: Sequence[Route]) -> dict[str, object]:
    """Falcon wants one object per path, with a method per HTTP method."""
    responders: dict[str, dict[str, object]] = defaultdict(lambda: {"scopes": {}})
    for route in routes:
        cast("dict[str, Scope]", responders[route.path]["scopes"])[route.method] = route.needs
        responders[route.path][f"on_{route.method.lower()}"] = staticmethod(route.respond)
    return {path: type("Resource", (), methods)() for path, methods in responders.items()}
