"""Work that a tool asks for: the order that REST would have built, on the same queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from control_api.fields import SPEC, Fields
from control_api.forms import Form
from control_api.intake import Request, native, read_request
from control_api.mcp.tools import Answer, Call, Caller, Tell
from control_api.plans import plan_of
from control_api.ports import Service, Submission
from control_api.wire import to_json
from handlers.errors import AudiollaError, BadParameter


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
    params = {name: value for name, value in given.items() if name in fields.params}
    form = Form()
    # Some models write arrays and objects as text, though they are asked not to.
    form.take_json(_filled(fields, given | native(fields.op, params), defaults))
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
    tell: Tell,
    call: Call,
    destined: Callable[[str, Request], Request] = lambda _, request: request,
) -> Answer:
    """Have one operation done, and say what came out; at once with `async_job`.

    A caller whose patience ends before the job does gets the job as a task.

    Args:
        tell: says what came out.
        call: what is to be known of the call when somebody asks later.
        destined: changes where the job (of this id) puts its result.

    Raises:
        AudiollaError: what is wrong with the arguments, or what the job ended with.
    """
    job_id = service.new_job_id()
    in_background = False
    try:
        request = destined(job_id, read_request(fields, form, {}, job_id, service))
        endpoint = _endpoint(fields, form)
        if request.plan:
            return Answer(plan_of(fields, request, endpoint, service))
        service.submit(
            Submission(
                id=job_id,
                endpoint=endpoint,
                order=request.order.model_copy(update={"call": to_json(asdict(call)).decode()}),
                background=request.background,
                webhook_url=request.webhook_url,
                source="mcp",
            )
        )
        in_background = request.background
        if in_background:
            url = f"/v1/jobs/{job_id}"
            urls = {"status_url": url, "result_url": f"{url}/result"}
            return Answer({"job_id": job_id, "status": "pending", **urls})
        try:
            job = service.wait(job_id, watching(job_id, caller, service), caller.patience)
        except TimeoutError:
            in_background = True
            return Answer({}, task=job_id)
        return tell(job, call, caller)
    finally:
        if not in_background:
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


def _endpoint(fields: Fields, form: Form) -> str:
    """The path under which REST would have taken the request."""
    given = {name: form.values[name] for name in fields.params & form.names}
    params = fields.op.read_params(given, strict=True)
    named = {n: quote(str(getattr(params, n)), safe="") for n in fields.op.path_params}
    return fields.op.route.format(**named)
