"""`/v1/jobs`: what is queued, running and done."""

from __future__ import annotations

from typing import Any

import falcon

from control_api.errors import UnknownJob, WrongState, error_of_job
from control_api.paging import link_next, page_of
from control_api.ports import Job, Service
from control_api.replies import answer_json, job_object
from control_api.routes import Route
from control_api.serving import send_file
from control_api.wire import attachment
from handlers.errors import NoSuchFile

DEFAULT_LIMIT = 1000


def routes(service: Service) -> list[Route]:
    """List, look at, cancel or forget jobs."""

    def list_jobs(req: falcon.Request, resp: falcon.Response) -> None:
        status, page = req.get_param("status") or None, page_of(req)
        limit = page.limit or DEFAULT_LIMIT
        # One more than is shown: is there another page, of older ones?
        jobs = service.jobs(status, limit + 1, before=page.cursor)
        if len(jobs) > limit:
            jobs = jobs[1:]
            link_next(req, resp, jobs[0].id)
        answer_json(resp, {"jobs": [job_object(job) for job in jobs]})

    def get_job(_: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        answer_json(resp, job_object(found(service, job_id)))

    def get_result(req: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        _send_result(req, resp, found(service, job_id))

    def delete_job(_: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        answer_json(resp, removed(service, job_id))

    def retry_job(_: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        if not service.retry(job_id):
            raise _unknown(job_id)
        answer_json(resp, {"job_id": job_id, "status": "pending"}, 202)

    def undo_job(_: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        answer_json(resp, service.undo(job_id))

    return [
        Route("GET", "/v1/jobs", "jobs", "List jobs, oldest first.", list_jobs),
        Route("GET", "/v1/jobs/{job_id}", "jobs", "Look at one job.", get_job),
        Route("GET", "/v1/jobs/{job_id}/result", "jobs", "Fetch what a job made.", get_result),
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
        # It takes files out of folders that people look into: more than running something.
        Route(
            "POST",
            "/v1/jobs/{job_id}/undo",
            "jobs",
            "Put everything back as it was before a job of a hot folder.",
            undo_job,
            scope="admin",
        ),
    ]


def _send_result(req: falcon.Request, resp: falcon.Response, job: Job) -> None:
    """Answer with what somebody who had waited would have got.

    Raises:
        WrongState: the job has not ended.
        NoSuchFile: its file was fetched, or deleted, since.
    """
    if not job.ended:
        raise WrongState(f"job {job.id} is {job.status}; its result is there once it has completed")
    if job.status != "completed":
        raise error_of_job(job)
    # Files of folders and of the command lie where their owner wanted them.
    ours = [o for o in job.outputs if o.url is None] if job.source in ("rest", "mcp") else []
    output = next((o for o in ours if o.role == "sound"), ours[0] if ours else None)
    if output is None:
        answer_json(resp, job_object(job)["result"])
        return
    try:
        file = output.path.open("rb")
    except FileNotFoundError:
        raise NoSuchFile(f"the result of job {job.id} is not there any more") from None
    resp.content_type = output.media_type
    resp.set_header("Content-Disposition", attachment(output.path.name))
    send_file(req, resp, file, output.size, tag=f"{job.id}-{output.size:x}")


def found(service: Service, job_id: str) -> Job:
    """A job.

    Raises:
        UnknownJob: there is none.
    """
    job = service.job(job_id)
    if job is None:
        raise _unknown(job_id)
    return job


def removed(service: Service, job_id: str) -> dict[str, Any]:
    """Cancel or forget a job, and say which.

    Raises:
        UnknownJob: there is none.
    """
    removal = service.remove(job_id)
    if removal is None:
        raise _unknown(job_id)
    done = {"deleted": True} if removal.deleted else {"cancelled": removal.cancelled}
    return {"job_id": job_id, **done}


def _unknown(job_id: str) -> UnknownJob:
    return UnknownJob(f"there is no job {job_id!r}")
