"""`/v1/catalog` and `/healthz`: what the server can do, and how it is."""

from __future__ import annotations

from collections.abc import Sequence

import falcon

from control_api.ports import Service
from control_api.replies import answer_json
from control_api.routes import Route
from handlers.declare import CATEGORIES


def routes(service: Service, others: Sequence[Route]) -> list[Route]:
    """The catalogue over all routes, itself included, and the health check."""

    def healthz(_: falcon.Request, resp: falcon.Response) -> None:
        health = service.health()
        body = {"ok": health.ok, "device": health.device, "engines": list(health.engines)}
        answer_json(resp, body, 200 if health.ok else 503)

    def catalog(_: falcon.Request, resp: falcon.Response) -> None:
        answer_json(resp, _catalog(all_routes))

    own = [
        Route("GET", "/healthz", "management", "Is the server well?", healthz),
        Route("GET", "/v1/catalog", "management", "List every route by category.", catalog),
    ]
    all_routes = [*others, *own]
    return own


def _catalog(routes: Sequence[Route]) -> dict[str, object]:
    return {
        "object": "catalog",
        "categories": [
            {
                "name": name,
                "description": description,
                "endpoints": [
                    {"method": r.method, "path": r.path, "summary": r.summary}
                    for r in routes
                    if r.category == name and r.listed
                ],
            }
            for name, description in CATEGORIES.items()
        ],
    }
