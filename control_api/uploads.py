"""`/v1/uploads`: files for the staging area that are sent in pieces, and go on after a break.

Source: tus 1.0.0 (tus.io/protocols/resumable-upload), the core and the extensions creation,
termination, checksum and expiration.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Protocol

import falcon

from control_api.ports import Appending, Checksum, PartialUpload, Service, Uploads
from control_api.routes import Route
from handlers.errors import AudiollaError, BadParameter, MissingInput, UnknownFormat

VERSION = "1.0.0"
PATH = "/v1/uploads"
MEDIA = "application/offset+octet-stream"
EXTENSIONS = "creation,termination,checksum,expiration"
ALGORITHMS = ("sha1", "sha256", "md5")
_OVERRIDE = "X-HTTP-Method-Override"
_MAX_METADATA = 4096

Header = Callable[[str], str | None]
"""Gives a header's value by its name, or None."""


class Piece:
    """The body of a `PATCH`: what arrives goes where it belongs at once.

    So a connection that breaks costs only the bytes that never came.
    """

    def __init__(self, appending: Appending) -> None:
        self.appending = appending
        self._size = 0

    def append(self, data: bytes, /) -> None:
        """Take the next bytes."""
        self._size += len(data)
        self.appending.append(data)

    def getfile(self) -> Piece:
        """Itself."""
        return self

    def read(self, _size: int = -1, /) -> bytes:
        """Nothing: it is where it belongs."""
        return b""

    def close(self) -> None:
        """Keep what has arrived, if nobody has finished it."""
        self.appending.abandon()

    def __len__(self) -> int:
        return self._size


class _Dropped:
    """A body that nobody wants: the answer to its request is known."""

    def __init__(self) -> None:
        self._size = 0

    def append(self, data: bytes, /) -> None:
        self._size += len(data)

    def getfile(self) -> _Dropped:
        return self

    def read(self, _size: int = -1, /) -> bytes:
        return b""

    def close(self) -> None:
        """There is nothing to forget."""

    def __len__(self) -> int:
        return self._size


class Arriving(Protocol):
    """A request whose header has arrived, as a server has it."""

    command: str
    path: str
    content_length: int
    chunked: bool
    headers: Mapping[str, str]


def is_piece(request: Arriving) -> bool:
    """True when the body of a request belongs to an upload."""
    return request.path.startswith(f"{PATH}/")


def piece(uploads: Uploads, request: Arriving) -> Piece | _Dropped:
    """Where the body of a request goes that belongs to an upload.

    What is wrong with the request is found again, and told, when it is answered.
    """

    def header(name: str) -> str | None:
        return request.headers.get(name.upper().replace("-", "_"))

    if (header(_OVERRIDE) or request.command).upper() != "PATCH":
        return _Dropped()
    length = None if request.chunked else request.content_length
    try:
        return Piece(_begin(uploads, request.path[len(PATH) + 1 :], header, length))
    except (AudiollaError, falcon.HTTPError, OSError):
        return _Dropped()


def routes(service: Service) -> list[Route]:
    """Begin, look at, go on with and forget an upload."""

    def options(_: falcon.Request, resp: falcon.Response, upload_id: str = "") -> None:
        resp.set_header("Tus-Resumable", VERSION)
        resp.set_header("Tus-Version", VERSION)
        resp.set_header("Tus-Extension", EXTENSIONS)
        resp.set_header("Tus-Max-Size", str(service.uploads.max_bytes))
        resp.set_header("Tus-Checksum-Algorithm", ",".join(ALGORITHMS))
        resp.set_header("Allow", "OPTIONS, HEAD, PATCH, POST, DELETE" if upload_id else _ALLOWED)
        resp.status = 204

    def create(req: falcon.Request, resp: falcon.Response) -> None:
        _speaks_tus(req, resp)
        metadata = req.get_header("Upload-Metadata") or ""
        made = service.uploads.create(_path_in(metadata), _length(req), metadata)
        resp.set_header("Location", f"{PATH}/{made.id}")
        resp.set_header("Upload-Offset", str(made.offset))
        _expires(resp, made)
        resp.status = 201

    def look(req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        _speaks_tus(req, resp)
        found = service.uploads.look(upload_id)
        resp.set_header("Upload-Offset", str(found.offset))
        resp.set_header("Upload-Length", str(found.length))
        if found.metadata:
            resp.set_header("Upload-Metadata", found.metadata)
        resp.set_header("Cache-Control", "no-store")
        _expires(resp, found)

    def go_on(req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        _speaks_tus(req, resp)
        taken = req.env["wsgi.input"]
        if isinstance(taken, Piece):
            appending = taken.appending
        else:
            appending = _begin(service.uploads, upload_id, req.get_header, req.content_length)
            while data := req.bounded_stream.read(1 << 18):
                appending.append(data)
        now = appending.finish()
        resp.set_header("Upload-Offset", str(now.offset))
        _expires(resp, now)
        resp.status = 204

    def forget(req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        _speaks_tus(req, resp)
        service.uploads.drop(upload_id)
        resp.status = 204

    def overridden(req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """For clients whose network lets nothing through but `GET` and `POST`."""
        method = (req.get_header(_OVERRIDE) or "").upper()
        known = {"PATCH": go_on, "DELETE": forget, "HEAD": look}
        if method not in known:
            raise BadParameter(
                f"POST here needs {_OVERRIDE}: {', '.join(known)}; a new upload is POSTed to {PATH}"
            )
        known[method](req, resp, upload_id)

    one = f"{PATH}/{{upload_id}}"
    about = ("What resumable uploads may do here.", options)
    told: list[tuple[str, str, str, Callable[..., None], bool]] = [
        ("OPTIONS", PATH, *about, False),
        ("POST", PATH, "Begin a resumable upload (tus 1.0).", create, True),
        ("OPTIONS", one, *about, False),
        ("HEAD", one, "How far a resumable upload is.", look, True),
        ("PATCH", one, "Go on with a resumable upload.", go_on, True),
        ("POST", one, "PATCH, DELETE or HEAD for those who cannot.", overridden, False),
        ("DELETE", one, "Forget a resumable upload.", forget, True),
    ]
    return [
        Route(method, path, "files", summary, respond, listed=listed, scope="files")
        for method, path, summary, respond, listed in told
    ]


_ALLOWED = "OPTIONS, POST"


def _speaks_tus(req: falcon.Request, resp: falcon.Response) -> None:
    """Answer in tus, and only to who speaks this version of it."""
    resp.set_header("Tus-Resumable", VERSION)
    spoken = req.get_header("Tus-Resumable")
    if spoken != VERSION:
        raise falcon.HTTPPreconditionFailed(
            description=f"Tus-Resumable is {spoken!r}; this server speaks {VERSION}",
            headers={"Tus-Version": VERSION},
        )


def _begin(uploads: Uploads, upload_id: str, header: Header, length: int | None) -> Appending:
    """Check the header of a `PATCH`, and go on with its upload."""
    if header("Tus-Resumable") != VERSION:
        raise falcon.HTTPPreconditionFailed
    kind = (header("Content-Type") or "").partition(";")[0].strip().lower()
    if kind != MEDIA:
        raise UnknownFormat(f"a piece of an upload has the type {MEDIA}, not {kind or 'none'}")
    offset = _count(header("Upload-Offset"), "Upload-Offset")
    return uploads.begin(upload_id, offset, length, _checksum(header("Upload-Checksum")))


def _length(req: falcon.Request) -> int:
    if req.get_header("Upload-Defer-Length") is not None:
        raise BadParameter(
            "Upload-Defer-Length is not known here: say the size in Upload-Length",
            field="Upload-Defer-Length",
        )
    return _count(req.get_header("Upload-Length"), "Upload-Length")


def _count(text: str | None, name: str) -> int:
    """A header's number of bytes.

    Raises:
        BadParameter: it is none.
    """
    if text is None:
        raise BadParameter(f"{name} is missing", field=name)
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadParameter(f"{name} = {text[:40]!r} is not a number of bytes", field=name)
    return int(text)


def _path_in(metadata: str) -> str:
    """Where an upload will lie, as its `Upload-Metadata` says: keys with base64 of their values."""
    if len(metadata) > _MAX_METADATA:
        raise BadParameter(
            f"Upload-Metadata has more than {_MAX_METADATA} characters", field="Upload-Metadata"
        )
    known: dict[str, str] = {}
    for pair in metadata.split(",") if metadata.strip() else []:
        key, _, value = pair.strip().partition(" ")
        if not key or not key.isascii() or key in known:
            raise BadParameter(
                f"Upload-Metadata: {key[:40]!r} is no key, or is given twice",
                field="Upload-Metadata",
            )
        try:
            known[key] = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, UnicodeError):
            raise BadParameter(
                f"Upload-Metadata: {key[:40]} is not base64 of UTF-8 text", field="Upload-Metadata"
            ) from None
    path = known.get("filename") or known.get("name")
    if not path:
        raise MissingInput(
            "Upload-Metadata has no filename, which says where the file will lie",
            field="Upload-Metadata",
            hint="Upload-Metadata: filename <base64 of its path in the staging area>",
        )
    return path


def _checksum(text: str | None) -> Checksum | None:
    if text is None:
        return None
    algorithm, _, digest = text.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise BadParameter(
            f"Upload-Checksum: {algorithm[:40]!r} is not known; known: {', '.join(ALGORITHMS)}",
            field="Upload-Checksum",
        )
    try:
        return Checksum(algorithm, base64.b64decode(digest.strip(), validate=True))
    except (binascii.Error, UnicodeError):
        raise BadParameter(
            "Upload-Checksum: the checksum is not base64", field="Upload-Checksum"
        ) from None


def _expires(resp: falcon.Response, upload: PartialUpload) -> None:
    if upload.expires is not None:
        when = datetime.fromtimestamp(upload.expires, UTC)
        resp.set_header("Upload-Expires", format_datetime(when, usegmt=True))
