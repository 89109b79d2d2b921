"""`/v1/folders`: the hot folders."""

from __future__ import annotations

import falcon

from control_api.ports import Service
from control_api.replies import answer_json
from control_api.routes import Route


def routes(service: Service) -> list[Route]:
    """Show the hot folders, or look through them now."""

    def list_folders(_: falcon.Request, resp: falcon.Response) -> None:
        answer_json(resp, service.folders(scan=False))

    def scan_folders(_: falcon.Request, resp: falcon.Response) -> None:
        answer_json(resp, service.folders(scan=True))

    def release(_: falcon.Request, resp: falcon.Response, name: str) -> None:
        released = service.release_folder(name)
        if released is None:
            raise falcon.HTTPNotFound(description=f"there is no hot folder {name!r}")
        answer_json(resp, {"folder": name, "released": released})

    return [
        Route("GET", "/v1/folders", "management", "Show the hot folders.", list_folders),
        Route(
            "POST",
            "/v1/folders/scan",
            "management",
            "Look through all hot folders now.",
            scan_folders,
            scope="run",
        ),
        Route(
            "POST",
            "/v1/folders/{name}/release",
            "management",
            "Start the jobs that a hot folder holds.",
            release,
            scope="run",
        ),
    ]
