"""One route per operation, computed from the declarations.

A request becomes a checked order, the order a job; a synchronous request is a
job that somebody waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

import falcon

from control_api.errors import Busy
from control_api.fields import Fields, fields_of
from control_api.forms import read_form
from control_api.intake import Request, read_request
from control_api.plans import plan_of
from control_api.ports import Service, Source, Submission, Upload
from control_api.replies import answer, answer_json
from control_api.routes import Route
from handlers.declare import Operation

MAX_WAITING = 56
"""Requests that may wait for their job at once; the server has a few threads more than that."""


def routes(operations: Iterable[Operation], service: Service, waiting: WaitingRoom) -> list[Route]:
    """A route for each operation."""
    return [route(fields_of(op), service, waiting) for op in operations]


def route(fields: Fields, service: Service, waiting: WaitingRoom) -> Route:
    """The route of one operation, or of what stands for a chain."""
    op = fields.op
    respond = taker(fields, service, waiting)
    return Route("POST", op.route, op.category, op.summary, respond, fields=fields)


class WaitingRoom:
    """Keeps some of the server's threads free for requests that do not wait."""

    def __init__(self, seats: int = MAX_WAITING) -> None:
        self._seats = BoundedSemaphore(seats)

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Wait inside.

        Raises:
            Busy: all seats are taken.
        """
        if not self._seats.acquire(blocking=False):
            raise Busy(
                "too many requests wait for their result; try again, or send async_job=true",
                hint="async_job=true answers at once with a job id",
            )
        try:
            yield
        finally:
            self._seats.release()


def taker(fields: Fields, service: Service, waiting: WaitingRoom) -> Callable[..., None]:
    """The responder of one operation."""

    def on_post(req: falcon.Request, resp: falcon.Response, **path_params: str) -> None:
        job_id = service.new_job_id()
        try:
            request = _read(fields, req, path_params, job_id, service)
            if request.plan:
                answer_json(resp, plan_of(fields, request, req.path, service))
                service.discard(job_id)
                return
            submission = _submission(request, req.path, job_id)
            if submission.background:
                service.submit(submission)
            else:
                with waiting.seat():
                    service.submit(submission)
                    job = service.wait(job_id, gone(req))
                # Only who asks for nothing but JSON gets sound inside of it.
                as_json = req.get_header("Accept", default="") == falcon.MEDIA_JSON
                answer(resp, fields.op, job, service, as_json=as_json)
        except BaseException:
            service.discard(job_id)
            raise
        if submission.background:
            resp.set_header("Location", f"/v1/jobs/{job_id}")
            body = {"job_id": job_id, "status": "pending", "status_url": f"/v1/jobs/{job_id}"}
            answer_json(resp, body, 202)
        else:
            service.discard(job_id)

    return on_post


def _read(
    fields: Fields,
    req: falcon.Request,
    path_params: dict[str, str],
    job_id: str,
    service: Service,
) -> Request:
    def receive(source: Source, name: str) -> Upload:
        return service.receive(job_id, source, name)

    form = read_form(req, fields.uploads, receive)
    return read_request(fields, form, path_params, job_id, service)


def _submission(request: Request, endpoint: str, job_id: str) -> Submission:
    return Submission(
        id=job_id,
        endpoint=endpoint,
        order=request.order,
        background=request.background,
        webhook_url=request.webhook_url,
    )


def gone(req: falcon.Request) -> Callable[[], bool]:
    """Tells whether the client has hung up; waitress knows, other servers may not."""
    known: Callable[[], bool] = req.env.get("waitress.client_disconnected", lambda: False)
    return known
