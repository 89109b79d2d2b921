"""One route per operation, computed from the declarations.

A request becomes a checked order, the order a job; a synchronous request is a
job that somebody waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import BoundedSemaphore

import falcon

from control_api.caching import as_cached, say
from control_api.errors import Busy
from control_api.fields import Fields, fields_of
from control_api.forms import read_form
from control_api.idempotency import KeyReused, StillRunning, fingerprint, key_of
from control_api.intake import Request, read_request
from control_api.plans import plan_of
from control_api.ports import Job, Service, Source, Submission, Upload
from control_api.prefer import wishes
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
    return Route("POST", op.route, op.category, op.summary, respond, fields=fields, scope="run")


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
        wished = wishes(req)
        try:
            request = _read(fields, req, path_params, job_id, service, at_once=wished.at_once)
            if request.plan:
                answer_json(resp, plan_of(fields, request, req.path, service))
                service.discard(job_id)
                return
            if wished.wait is None:
                request = _fleeting(request)
            submission = as_cached(_submission(request, req.path, job_id), req)
            job: Job | None = None
            if submission.background:
                taken = service.submit(submission)
                known = taken.id
            else:
                with waiting.seat():
                    taken = service.submit(submission)
                    known = taken.id
                    if known != job_id:
                        # Sent again: what became of the first one?
                        job = service.job(known)
                    else:
                        unwanted = _never if submission.key else gone(req)
                        with suppress(TimeoutError):
                            job = service.wait(job_id, unwanted, wished.wait)
        except BaseException:
            service.discard(job_id)
            raise
        if known != job_id:
            service.discard(job_id)
            _check_same(service.job(known), submission, resp)
        wished.granted(resp)
        say(resp, taken.cache, again=known != job_id)
        if job is None:
            accepted(resp, known)
            return
        # Only who asks for nothing but JSON gets sound inside of it.
        as_json = req.get_header("Accept", default="") == falcon.MEDIA_JSON
        delivery = submission.order.delivery
        url = delivery.urls.get("") if delivery else None
        keep = submission.key is not None
        answer(resp, fields.op, job, service, as_json=as_json, keep=keep, url=url)

    return on_post


def accepted(resp: falcon.Response, job_id: str) -> None:
    """Answer with a job that is on the queue."""
    where = f"/v1/jobs/{job_id}"
    resp.set_header("Location", where)
    urls = {"status_url": where, "result_url": f"{where}/result"}
    answer_json(resp, {"job_id": job_id, "status": "pending", **urls}, 202)


def _check_same(job: Job | None, submission: Submission, resp: falcon.Response) -> None:
    """Refuse a key that was used before, unless for the same request, which is answered by now.

    Raises:
        KeyReused, StillRunning.
    """
    if job is None or job.request != submission.order.request:
        raise KeyReused(
            "this Idempotency-Key came with another request before", field="Idempotency-Key"
        )
    if not job.ended and not submission.background:
        resp.set_header("Location", f"/v1/jobs/{job.id}")
        raise StillRunning(f"the first request with this key is still at work: job {job.id}")


def _read(
    fields: Fields,
    req: falcon.Request,
    path_params: dict[str, str],
    job_id: str,
    service: Service,
    *,
    at_once: bool,
) -> Request:
    def receive(source: Source, name: str) -> Upload:
        return service.receive(job_id, source, name)

    form = read_form(req, fields.uploads, receive)
    if at_once and "async_job" not in form.names:
        if form.is_json:
            form.values["async_job"] = True
        else:
            form.put("async_job", "true")
    request = read_request(fields, form, path_params, job_id, service)
    key = key_of(req)
    if key is None:
        return request
    order = request.order.model_copy(update={"request": fingerprint(req, form)})
    return replace(request, order=order, key=key)


def _fleeting(request: Request) -> Request:
    """The same request; where its result is the reply and nothing else, that is not kept for long.

    Who can ask again (with a key, or for the job) finds it whole, even after a power failure.
    """
    delivery = request.order.delivery
    elsewhere = request.output_path is not None or (delivery is not None and delivery.urls)
    if delivery is None or elsewhere or request.background or request.key is not None:
        return request
    soon = delivery.model_copy(update={"fleeting": True})
    return replace(request, order=request.order.model_copy(update={"delivery": soon}))


def _submission(request: Request, endpoint: str, job_id: str) -> Submission:
    return Submission(
        id=job_id,
        endpoint=endpoint,
        order=request.order,
        background=request.background,
        webhook_url=request.webhook_url,
        key=request.key,
    )


def _never() -> bool:
    """Who has a key may ask again, so the work is not in vain."""
    return False


def gone(req: falcon.Request) -> Callable[[], bool]:
    """Tells whether the client has hung up; waitress knows, other servers may not."""
    known: Callable[[], bool] = req.env.get("waitress.client_disconnected", lambda: False)
    return known
