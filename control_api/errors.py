"""Errors on the wire: the one table from error class to status, and the one body shape.

Every 4xx and 5xx answer is `{"detail": "<sentence>", ...}` as JSON. Around the
detail are the members of RFC 9457 (`type`, `title`, `status`) and, where they
are known, `field`, `hint`, `step`, `job_id` and `request_id`.
"""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import Any

import falcon

from control_api.idempotency import KeyReused, StillRunning
from control_api.ports import Job
from control_api.routes import App
from control_api.wire import to_json
from handlers import errors
from handlers.errors import DISK_FULL, AudiollaError

_LOG = logging.getLogger(__name__)

STATUS: dict[type[AudiollaError], int] = {
    errors.MissingInput: 400,
    errors.BadPath: 400,
    errors.UnreadableInput: 400,
    errors.BadParameter: 400,
    errors.CannotProcess: 400,
    errors.UrlRefused: 400,
    errors.TransferFailed: 400,
    errors.NoSuchFile: 404,
    errors.UnknownOperation: 404,
    errors.UnknownEngine: 404,
    errors.Cancelled: 409,
    errors.TooLarge: 413,
    errors.BudgetExceeded: 413,
    errors.UnknownFormat: 415,
    errors.MistypedParameter: 422,
    errors.WeightsMissing: 503,
    errors.WeightsCorrupt: 503,
    errors.EngineFailed: 503,
    errors.DeviceFull: 503,
    errors.StorageFailed: 503,
    errors.StorageFull: 507,
    errors.WorkerKilled: 500,
    errors.BrokenPlugin: 500,
    AudiollaError: 500,
}
"""The contract's statuses; 409, 500 and 507 where it is silent."""


class UnknownJob(AudiollaError):
    """No job has this id."""


class UnknownWebhook(AudiollaError):
    """No webhook has this id."""


class UnknownSchedule(AudiollaError):
    """No schedule has this name."""


class UnknownPreset(AudiollaError):
    """No preset has this name."""


class WrongState(AudiollaError):
    """A job is in no state for what is asked of it."""


class Busy(AudiollaError):
    """Too many requests wait for their job at once."""

    transient = True


class UnknownUpload(AudiollaError):
    """No upload has this id; or it has expired."""


class WrongOffset(AudiollaError):
    """A piece of an upload does not belong where the upload goes on."""


class UploadBusy(AudiollaError):
    """An upload is just being finished by another request."""

    transient = True


class ChecksumMismatch(AudiollaError):
    """A piece of an upload does not hash to what its client said."""


STATUS |= {UnknownUpload: 404, WrongOffset: 409, UploadBusy: 423, ChecksumMismatch: 460}
STATUS |= {UnknownJob: 404, UnknownPreset: 404, WrongState: 409, Busy: 503}
STATUS |= {UnknownSchedule: 404}
STATUS |= {UnknownWebhook: 404, KeyReused: 422, StillRunning: 409}


def status_of(error: type[AudiollaError]) -> int:
    """The HTTP status of an error class; a subclass has its parent's unless listed."""
    return next(STATUS[cls] for cls in error.__mro__ if cls in STATUS)


def body_of(error: AudiollaError, **extra: Any) -> dict[str, Any]:
    """The JSON body of an error."""
    known = {"field": error.field, "hint": error.hint, **extra}
    return {"detail": error.detail, **{k: v for k, v in known.items() if v is not None}}


def error_of_job(job: Job) -> AudiollaError:
    """The error that a job ended with, as an exception again."""
    if job.status == "cancelled":
        return errors.Cancelled(f"job {job.id} was cancelled")
    kind = errors.all_kinds().get(job.error_kind, AudiollaError)
    error = kind(error_text(job), field=job.error_field, hint=job.error_hint)
    error.step = job.error_step
    return error


def error_text(job: Job) -> str:
    """What a failed job says; of a chain, with the step that it is about."""
    if job.error_step is None or not job.is_chain:
        return job.error
    op = job.ops[job.error_step] if job.error_step < len(job.ops) else "?"
    return f"step {job.error_step} ({op}): {job.error}"


def refusal_of(error: Exception) -> str:
    """A sentence for an error that nobody foresaw; it tells nothing of the server's insides."""
    if isinstance(error, MemoryError):
        return "the server is out of memory; try again later"
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return "the server's disk is full"
    return f"unexpected {type(error).__name__}; the server's log has the details"


def install(app: App) -> None:
    """Make every error of the application one of our JSON bodies."""
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(UnicodeError, _not_utf8)
    app.add_error_handler(MemoryError, _no_memory)
    app.add_error_handler(OSError, _storage)
    app.add_error_handler(AudiollaError, _refusal)
    app.add_error_handler(falcon.HTTPError, _falcon_error)


def problem(
    status: int, body: dict[str, Any], kind: type[AudiollaError] | None = None
) -> dict[str, Any]:
    """The body of an error as problem details: which kind it is, beside what it says."""
    if kind is None:
        return {
            "type": "about:blank",
            "title": _PHRASES.get(status, "Error"),
            "status": status,
            **body,
        }
    words = re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()
    title = (kind.__doc__ or "").split("\n", 1)[0].rstrip(".")
    return {"type": f"urn:audiolla:problem:{words}", "title": title, "status": status, **body}


_PHRASES = {status.value: status.phrase for status in HTTPStatus}


def _write(
    resp: falcon.Response,
    status: int,
    body: dict[str, Any],
    kind: type[AudiollaError] | None = None,
) -> None:
    ids = {"job_id": resp.get_header("X-Job-Id"), "request_id": resp.get_header("X-Request-Id")}
    resp.status = status
    resp.content_type = falcon.MEDIA_JSON
    resp.stream = None
    resp.data = to_json(problem(status, body, kind) | {k: v for k, v in ids.items() if v})
    if status == 503:
        resp.set_header("Retry-After", "2")


def _refusal(
    _: falcon.Request, resp: falcon.Response, error: AudiollaError, _params: dict[str, Any]
) -> None:
    _write(resp, status_of(type(error)), body_of(error, step=error.step), type(error))


def _falcon_error(
    req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, _params: dict[str, Any]
) -> None:
    for name, value in dict(error.headers or {}).items():
        resp.set_header(name, value)
    detail = error.description or error.title or falcon.code_to_http_status(error.status_code)
    if isinstance(error, falcon.HTTPRouteNotFound):
        detail = f"there is nothing at {req.path}; GET /v1/catalog lists what is there"
    elif isinstance(error, falcon.HTTPMethodNotAllowed):
        detail = f"{req.method} is not allowed here; allowed: {resp.get_header('Allow')}"
    _write(resp, error.status_code, {"detail": detail})


def _not_utf8(
    _: falcon.Request, resp: falcon.Response, _error: UnicodeError, _params: dict[str, Any]
) -> None:
    _write(resp, 400, {"detail": "the request has text that is not UTF-8"})


def _no_memory(
    req: falcon.Request, resp: falcon.Response, error: MemoryError, _params: dict[str, Any]
) -> None:
    _LOG.error("%s %s: out of memory", req.method, req.path)
    _write(resp, 503, {"detail": refusal_of(error)})


def _storage(
    req: falcon.Request, resp: falcon.Response, error: OSError, params: dict[str, Any]
) -> None:
    if error.errno in DISK_FULL:
        _write(resp, 507, {"detail": refusal_of(error)})
    else:
        _unexpected(req, resp, error, params)


def _unexpected(
    req: falcon.Request, resp: falcon.Response, error: Exception, _params: dict[str, Any]
) -> None:
    named = resp.get_header("X-Request-Id")
    _LOG.error("%s %s failed (request %s)", req.method, req.path, named, exc_info=error)
    _write(resp, 500, {"detail": refusal_of(error)})
