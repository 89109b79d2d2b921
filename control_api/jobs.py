"""`/v1/jobs`: what is queued, running and done."""

from __future__ import annotations

import falcon

from control_api.errors import UnknownJob
from control_api.ports import Service
from control_api.replies import answer_json, job_object
from control_api.routes import Route
from handlers.errors import BadParameter, MistypedParameter

_DEFAULT_LIMIT = 1000
_MAX_LIMIT = 10_000


def routes(service: Service) -> list[Route]:
    """List, look at, cancel or forget jobs."""

    def list_jobs(req: falcon.Request, resp: falcon.Response) -> None:
        status = req.get_param("status") or None
        jobs = service.jobs(status, limit_of(req))
        answer_json(resp, {"jobs": [job_object(job) for job in jobs]})

    def get_job(_: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        job = service.job(job_id)
        if job is None:
            raise _unknown(job_id)
        answer_json(resp, job_object(job))

    def delete_job(_: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        removal = service.remove(job_id)
        if removal is None:
            raise _unknown(job_id)
        done = {"deleted": True} if removal.deleted else {"cancelled": removal.cancelled}
        answer_json(resp, {"job_id": job_id, **done})

    def retry_job(_: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        if not service.retry(job_id):
            raise _unknown(job_id)
        answer_json(resp, {"job_id": job_id, "status": "pending"}, 202)

    return [
        Route("GET", "/v1/jobs", "jobs", "List jobs, oldest first.", list_jobs),
        Route("GET", "/v1/jobs/{job_id}", "jobs", "Look at one job.", get_job),
        Route(
            "DELETE",
            "/v1/jobs/{job_id}",
            "jobs",
            "Cancel a job, or forget one that has ended.",
            delete_job,
            scope="run",
        ),
        Route(
            "POST",
            "/v1/jobs/{job_id}/retry",
            "jobs",
            "Run a failed or cancelled job again.",
            retry_job,
            scope="run",
        ),
    ]


def _unknown(job_id: str) -> UnknownJob:
    return UnknownJob(f"there is no job {job_id!r}")


def limit_of(req: falcon.Request) -> int:
    """How many entries a list may have.

    Raises:
        MistypedParameter, BadParameter: `limit` is no number, or too high.
    """
    text = req.get_param("limit") or str(_DEFAULT_LIMIT)
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise MistypedParameter(f"limit = {text!r} is not a whole number", field="limit")
    if not 1 <= int(text) <= _MAX_LIMIT:
        raise BadParameter(f"limit = {text} is outside 1..{_MAX_LIMIT}", field="limit")
    return int(text)
