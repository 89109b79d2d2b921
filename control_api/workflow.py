"""`/v1/ops`, `/v1/presets`, `/v1/pipeline` and `/v1/batch`: several operations at once.

A pipeline and a preset are read, queued and answered as an operation is: what
they take is declared in the same words, only that its steps stand for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import falcon
from pydantic import Field

from control_api.caching import as_cached
from control_api.errors import UnknownPreset, error_of_job
from control_api.fields import WAITING, Chain, Fields, fields_of
from control_api.forms import Form, read_json
from control_api.intake import native, read_request
from control_api.ports import PIPELINE, PRESETS, Service, Submission
from control_api.replies import answer_json, result_of
from control_api.rest import WaitingRoom, gone, route
from control_api.routes import Route
from handlers.artifacts import Blocks
from handlers.declare import Example, Operation, Params, describe
from handlers.errors import AudiollaError, BadParameter, MistypedParameter
from handlers.registry import operations
from rules.presets import MAX_STEPS, Preset, PresetStep, as_written, chained


class ListedStep(Params):
    """One step of a pipeline."""

    op: str = Field(description="An operation of GET /v1/ops.")
    params: dict[str, Any] = Field({}, description="Its parameters, without inputs and outputs.")


class Pipeline(Params):
    """The chain."""

    steps: list[ListedStep] = Field(
        min_length=1,
        max_length=MAX_STEPS,
        description="Operations in order; each works on what the one before it gives.",
    )


class NamedPreset(Params):
    """Which one."""

    name: str = Field(description="Name of the preset.")


def pipeline(sound: Blocks, p: Pipeline) -> Blocks:
    """Run a chain of operations over one sound."""
    return _elsewhere(sound, p)


def preset(sound: Blocks, p: NamedPreset) -> Blocks:
    """Run a preset over one sound."""
    return _elsewhere(sound, p)


def _elsewhere(*_: object) -> Blocks:
    raise AssertionError("the steps of a chain run in its place")


PIPELINE_OPERATION: Operation = describe(
    pipeline,
    route=PIPELINE,
    category="workflow",
    tool="run_pipeline_tool",
    examples=[
        Example(
            "A short, loud clip.",
            steps=[
                {"op": "trim", "params": {"end_sec": 10}},
                {"op": "normalize", "params": {"target_lufs": -14}},
            ],
        )
    ],
)
PRESET_OPERATION: Operation = describe(
    preset,
    route=PRESETS + "{name}",
    category="workflow",
    tool="run_preset",
    examples=[Example("A mix for streaming.", name="master-for-spotify")],
)


def pipeline_fields() -> Fields:
    """The fields of `/v1/pipeline`."""

    def steps(p: Pipeline) -> Chain:
        return Chain(pipeline.__name__, [PresetStep(s.op, s.params) for s in p.steps])

    return fields_of(PIPELINE_OPERATION, steps)


def preset_fields(service: Service) -> Fields:
    """The fields of a preset that is run."""

    def steps(p: NamedPreset) -> Chain:
        found = find_preset(service, p.name)
        return Chain(found.name, found.steps)

    return fields_of(PRESET_OPERATION, steps)


def find_preset(service: Service, name: str) -> Preset:
    """The preset of this name.

    Raises:
        UnknownPreset: there is none.
    """
    known = {preset.name: preset for preset in service.presets()}
    if name not in known:
        raise UnknownPreset(f"unknown preset {name!r}; known are: {', '.join(known)}", field="name")
    return known[name]


def pipeline_ops() -> list[str]:
    """The operations that chains of one sound are made of."""
    return sorted(op.name for op in operations().values() if op.pipeline)


def routes(service: Service, waiting: WaitingRoom) -> list[Route]:
    """All of them."""

    def ops(_: falcon.Request, resp: falcon.Response) -> None:
        answer_json(resp, {"object": "list", "data": pipeline_ops()})

    def presets(_: falcon.Request, resp: falcon.Response) -> None:
        listed = [{"name": p.name, "description": p.description} for p in service.presets()]
        answer_json(resp, {"object": "list", "data": listed})

    def show_preset(_: falcon.Request, resp: falcon.Response, name: str) -> None:
        answer_json(resp, as_written(find_preset(service, name)))

    return [
        Route("GET", "/v1/ops", "workflow", "List the operations of pipelines.", ops),
        Route("GET", "/v1/presets", "workflow", "List the presets.", presets),
        Route("GET", PRESETS + "{name}", "workflow", "Show a preset's steps.", show_preset),
        route(preset_fields(service), service, waiting),
        route(pipeline_fields(), service, waiting),
        Route(
            "POST",
            "/v1/batch",
            "workflow",
            "Run operations on staged files, one after the other.",
            batch_taker(service, waiting),
            scope="run",
        ),
    ]


# -- batch -----------------------------------------------------------------------------------------
def batch_taker(service: Service, waiting: WaitingRoom) -> Callable[..., None]:
    """The responder of `/v1/batch`."""

    def on_post(req: falcon.Request, resp: falcon.Response) -> None:
        entries = read_json(req)
        if not isinstance(entries, list):
            raise BadParameter("the body must be a JSON array of objects")
        results: list[dict[str, Any]] = []
        is_gone = gone(req)
        with waiting.seat():
            for index, entry in enumerate(entries):
                if is_gone():
                    break
                results.append({"index": index, **_run_entry(entry, service, req, is_gone)})
        answer_json(resp, {"results": results})

    return on_post


def _run_entry(
    entry: Any, service: Service, req: falcon.Request, is_gone: Callable[[], bool]
) -> dict[str, Any]:
    named = entry.get("op") if isinstance(entry, dict) else None
    told: dict[str, Any] = {"op": named if isinstance(named, str) else None}
    job_id = service.new_job_id()
    try:
        submission = as_cached(_entry_submission(entry, job_id, service), req)
        service.submit(submission)
        job = service.wait(job_id, is_gone)
        if job.status != "completed":
            raise error_of_job(job)
        return told | {"status": "ok", "job_id": job_id, **result_of(job)}
    except AudiollaError as wrong:
        return told | {"error": wrong.detail}
    finally:
        service.discard(job_id)


def _entry_submission(entry: Any, job_id: str, service: Service) -> Submission:
    if not isinstance(entry, dict):
        raise BadParameter("an entry must be an object with op, file_path and parameters")
    op_name = entry.get("op")
    if not isinstance(op_name, str):
        raise BadParameter("op is required: the name of an operation", field="op")
    op = chained(op_name)
    values = {name: value for name, value in entry.items() if name != "op"}
    for name in sorted(set(WAITING) & set(values)):
        raise BadParameter(f"{name} is not for an entry of a batch", field=name)
    form = Form()
    # Nobody takes the bytes from here: without an output_path they are staged as a job's are.
    form.take_json(native(op, with_defaults(op, values)) | {"async_job": True})
    request = read_request(fields_of(op), form, {}, job_id, service)
    params = op.read_params(request.order.steps[0].params, strict=True)
    endpoint = op.route.format(**{name: getattr(params, name) for name in op.path_params})
    return Submission(id=job_id, endpoint=endpoint, order=request.order, background=False)


def with_defaults(op: Operation, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of an entry, with those that only a batch takes for granted.

    They stand in for what is required and not given: a profile that brings its
    own target is not overruled.
    """
    given = {name: value for name, value in values.items() if name in op.params.model_fields}
    try:
        op.read_params(native(op, given), strict=True)
    except MistypedParameter:
        return {**op.batch_defaults, **values}
    except AudiollaError:
        pass  # it is told once all of the entry is read
    return dict(values)
