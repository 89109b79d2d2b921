"""Work that a tool asks for: the order that REST would have built, on the same queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from control_api.fields import SPEC, Fields
from control_api.forms import Form
from control_api.intake import read_request
from control_api.mcp.tools import Answer, Caller
from control_api.ports import Job, Service, Submission
from handlers.declare import Operation
from handlers.errors import AudiollaError, BadParameter
from rules.orders import Order


def form_of(fields: Fields, arguments: Mapping[str, Any], defaults: Mapping[str, Any]) -> Form:
    """What REST would have read from a JSON body with these arguments.

    `defaults` are values for parameters that are required and not given.

    Raises:
        BadParameter: `spec` is no object, or says what is said beside it.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    if fields.takes_spec and SPEC in given:
        document = given.pop(SPEC)
        if not isinstance(document, dict):
            raise BadParameter(f"{SPEC} must be an object of names and values", field=SPEC)
        twice = sorted(set(given) & set(document))
        if twice:
            raise BadParameter(f"{twice[0]} is given beside {SPEC} and in it", field=twice[0])
        given |= document
    form = Form()
    form.take_json(_filled(fields, given, defaults))
    return form


def _filled(fields: Fields, given: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with the defaults that they need: only what would be missed is filled in."""
    left = {name: value for name, value in defaults.items() if name not in given}
    while left:
        params = {name: value for name, value in given.items() if name in fields.params}
        try:
            fields.op.read_params(params, strict=True)
        except AudiollaError as wrong:
            if wrong.field not in left:
                break
            given = {**given, wrong.field: left.pop(wrong.field)}
        else:
            break
    return given


def run(
    fields: Fields,
    form: Form,
    caller: Caller,
    service: Service,
    tell: Callable[[Job], Answer],
) -> Answer:
    """Have one operation done, and say what came out; at once with `async_job`.

    Raises:
        AudiollaError: what is wrong with the arguments, or what the job ended with.
    """

    def built(job_id: str) -> Submission:
        request = read_request(fields, form, {}, job_id, service)
        return Submission(
            id=job_id,
            endpoint=_endpoint(fields.op, request.order),
            order=request.order,
            background=request.background,
            webhook_url=request.webhook_url,
            source="mcp",
        )

    return submitted(built, caller, service, tell)


def submitted(
    build: Callable[[str], Submission],
    caller: Caller,
    service: Service,
    tell: Callable[[Job], Answer],
) -> Answer:
    """Build an order for a new job, queue it, and wait for it unless it says otherwise.

    Raises:
        AudiollaError: what is wrong with it, or what the job ended with.
    """
    job_id = service.new_job_id()
    waits = True
    try:
        submission = build(job_id)
        waits = not submission.background
        service.submit(submission)
        if not waits:
            url = f"/v1/jobs/{job_id}"
            return Answer({"job_id": job_id, "status": "pending", "status_url": url})
        return tell(service.wait(job_id, watching(job_id, caller, service)))
    except BaseException:
        waits = True
        raise
    finally:
        if waits:
            service.discard(job_id)


def watching(job_id: str, caller: Caller, service: Service) -> Callable[[], bool]:
    """Tells the caller how far a job is whenever it is asked whether the caller has gone."""
    told: tuple[float, str] | None = None

    def look() -> bool:
        nonlocal told
        if caller.gone():
            return True
        job = service.job(job_id) if caller.tell else None
        if caller.tell and job is not None and job.status == "running":
            now = (job.progress, job.step)
            if now != told:
                told = now
                caller.tell(*now)
        return False

    return look


def _endpoint(op: Operation, order: Order) -> str:
    """The path under which REST would have taken the order."""
    params = op.read_params(order.steps[0].params, strict=True)
    return op.route.format(**{name: getattr(params, name) for name in op.path_params})
