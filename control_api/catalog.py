"""`/v1/catalog`: what the server can do."""

from __future__ import annotations

from collections.abc import Sequence

import falcon

from control_api.replies import answer_json
from control_api.routes import Route
from handlers.declare import CATEGORIES


def routes(others: Sequence[Route]) -> list[Route]:
    """The catalogue over all routes, itself included."""

    def catalog(_: falcon.Request, resp: falcon.Response) -> None:
        answer_json(resp, _catalog(all_routes))

    own = [
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
