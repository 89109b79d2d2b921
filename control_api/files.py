"""`/v1/files`: the staging area."""

from __future__ import annotations

import mimetypes
from datetime import UTC, datetime

import falcon

from control_api.bodies import body_of
from control_api.paging import link_next, page_of
from control_api.ports import Service, StoredFile
from control_api.replies import answer_json
from control_api.routes import Route
from control_api.serving import send_file
from control_api.wire import attachment
from handlers.codecs.formats import OUTPUT_FORMATS

_TYPES = {f.ext: f.content_type for f in OUTPUT_FORMATS.values()} | {"mid": "audio/midi"}


def routes(service: Service) -> list[Route]:
    """List, store, fetch and delete staged files."""

    def list_files(req: falcon.Request, resp: falcon.Response) -> None:
        # All of them unless a page is asked for: so the contract has it.
        page = page_of(req)
        found = service.files()
        if page.cursor:
            found = [f for f in found if f.path > page.cursor]
        if page.limit is not None and len(found) > page.limit:
            found = found[: page.limit]
            link_next(req, resp, found[-1].path)
        answer_json(resp, {"files": [file_object(f) for f in found]})

    def put_file(req: falcon.Request, resp: falcon.Response, path: str) -> None:
        stored = service.put_file(path, body_of(req))
        answer_json(resp, {"path": stored.path, "size": stored.size}, 201)

    def get_file(req: falcon.Request, resp: falcon.Response, path: str) -> None:
        file, stored = service.open_file(path)
        name = stored.path.rpartition("/")[2]
        resp.content_type = content_type(name)
        resp.set_header("Content-Disposition", attachment(name))
        send_file(req, resp, file, stored.size, tag=stored.tag, modified=stored.modified)

    def delete_file(_: falcon.Request, resp: falcon.Response, path: str) -> None:
        answer_json(resp, {"deleted": service.delete_file(path)})

    return [
        Route("GET", "/v1/files", "files", "List staged files.", list_files, scope="files"),
        Route("PUT", "/v1/files/{path}", "files", "Store a file.", put_file, scope="files"),
        Route("GET", "/v1/files/{path}", "files", "Fetch a file.", get_file, scope="files"),
        Route(
            "HEAD",
            "/v1/files/{path}",
            "files",
            "Look at a file.",
            get_file,
            listed=False,
            scope="files",
        ),
        Route("DELETE", "/v1/files/{path}", "files", "Delete a file.", delete_file, scope="files"),
    ]


def content_type(name: str) -> str:
    """A media type guessed from a file name."""
    known = _TYPES.get(name.rpartition(".")[2].lower())
    return known or mimetypes.guess_type(name)[0] or "application/octet-stream"


def file_object(stored: StoredFile) -> dict[str, object]:
    """A staged file as the contract has it."""
    when = datetime.fromtimestamp(stored.modified, UTC).isoformat(timespec="milliseconds")
    return {"path": stored.path, "size": stored.size, "modified": when.replace("+00:00", "Z")}
