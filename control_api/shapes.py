"""What the routes that are no operations take and answer, for OpenAPI and for who reads it.

A route that is not in `SHAPES` is described by its path alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, get_args

from pydantic import Field
from typing_extensions import TypedDict

from control_api.ports import Status
from control_api.schedule_shapes import (
    DeletedSchedule,
    FiringList,
    FiringObject,
    NewSchedule,
    ScheduleBody,
    ScheduledWork,
    ScheduleList,
    ScheduleObject,
    Upcoming,
)


@dataclass(frozen=True)
class Shape:
    """One route beyond its path."""

    #: Type of the JSON that it answers with; `bytes` for another media type; None for no body.
    reply: Any
    status: int = 200
    #: Type of the JSON body that it takes, or `bytes`.
    body: Any = None
    #: Media type of a body that is `bytes`.
    body_media: str = "application/octet-stream"
    #: Query parameters by name.
    query: Mapping[str, Any] = field(default_factory=dict)
    #: Headers by name: those that it takes, and those that it answers with. One that it takes is
    #: required unless it may be None.
    headers: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    #: Statuses beside those that any route may have.
    errors: tuple[int, ...] = ()
    #: Of `bytes`.
    media: str = "*/*"
    #: May answer with events of that JSON instead, or with nothing.
    streams: bool = False
    silent: bool = False
    #: Gives parts, and nothing to who has it.
    parts: bool = False
    #: Of `bytes`: where there is no file, the answer is JSON.
    or_json: bool = False


class Problem(TypedDict):
    """Every 4xx and 5xx answer."""

    detail: Annotated[str, Field(description="What was wrong, and what would be right.")]
    type: NotRequired[Annotated[str, Field(description="A URN for the kind of problem.")]]
    title: NotRequired[Annotated[str, Field(description="The kind of problem in words.")]]
    status: NotRequired[Annotated[int, Field(description="The HTTP status.")]]
    field: NotRequired[Annotated[str, Field(description="The field that it is about.")]]
    hint: NotRequired[Annotated[str, Field(description="What to do next.")]]
    step: NotRequired[Annotated[int, Field(description="The step of a chain, from 0.")]]
    job_id: NotRequired[Annotated[str, Field(description="The job that failed.")]]
    request_id: NotRequired[Annotated[str, Field(description="As in X-Request-Id.")]]


class RpcMessage(TypedDict):
    """One message of JSON-RPC 2.0, as the Model Context Protocol has it."""

    jsonrpc: Literal["2.0"]
    id: NotRequired[str | int | None]
    method: NotRequired[Annotated[str, Field(description="As in `tools/call`.")]]
    params: NotRequired[dict[str, Any]]
    result: NotRequired[dict[str, Any]]
    error: NotRequired[dict[str, Any]]


class Submitted(TypedDict):
    """A job that runs in the background."""

    job_id: str
    status: Literal["pending"]
    status_url: str
    result_url: str


class Submission(TypedDict):
    """A job that waits again."""

    job_id: str
    status: Literal["pending"]


class Readiness(TypedDict):
    """What the server lacks to take work, and what a person should see to."""

    ok: bool
    problems: dict[str, str]
    notes: list[str]
    #: What stands between the workers, which open strangers' files, and the rest of the machine.
    sandbox: str


class Health(TypedDict):
    """How the server is."""

    ok: bool
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")]
    engines: list[str]


class EngineObject(TypedDict):
    """What operations stand on."""

    slug: str
    executor: str
    variant: str | None
    stems: list[str] | None
    presets: list[str] | None
    description: str
    loaded: bool
    idle_seconds: float | None
    lane: Literal["cpu", "gpu"]
    licence: str | None
    ready: bool
    reason: str | None
    hint: str | None


class Engines(TypedDict):
    """All of them."""

    object: Literal["list"]
    data: list[EngineObject]


class LoadedEngine(TypedDict):
    """One whose weights are in memory."""

    slug: str
    executor: str
    loaded: Literal[True]
    idle_seconds: float | None


class LoadedEngines(TypedDict):
    """Those in memory."""

    engines: list[LoadedEngine]


class Evicted(TypedDict):
    """The engine that was let go."""

    unloaded: str


class Unloaded(TypedDict):
    """The engines that were let go."""

    unloaded: list[str]


class Endpoint(TypedDict):
    """One route."""

    method: str
    path: str
    summary: str


class CategoryObject(TypedDict):
    """One category."""

    name: str
    description: str
    endpoints: list[Endpoint]


class Catalog(TypedDict):
    """Every route by category."""

    object: Literal["catalog"]
    categories: list[CategoryObject]


class Ops(TypedDict):
    """The operations that chains are made of."""

    object: Literal["list"]
    data: list[str]


class NamedPreset(TypedDict):
    """A preset in a list."""

    name: str
    description: str


class PresetList(TypedDict):
    """All presets."""

    object: Literal["list"]
    data: list[NamedPreset]


class WrittenStep(TypedDict):
    """One step as it was written."""

    op: str
    params: dict[str, Any]


class PresetObject(TypedDict):
    """A preset with its steps."""

    name: str
    description: str
    steps: list[WrittenStep]


class StepObject(TypedDict):
    """One step that ran."""

    step: int
    op: str
    params: dict[str, Any]
    result: NotRequired[dict[str, Any]]
    size_after: NotRequired[int]


class ChainObject(TypedDict):
    """What a chain did, where its sound is not the reply."""

    preset: NotRequired[str]
    path: NotRequired[str]
    url: NotRequired[str]
    size: NotRequired[int]
    output_format: str
    steps: list[StepObject]


class PlannedEngine(TypedDict):
    """Whether an engine could run."""

    slug: str
    ready: bool
    reason: str | None
    hint: str | None


class PlannedStep(TypedDict):
    """One step that would run, with all of its parameters."""

    step: int
    op: str
    params: dict[str, Any]
    lane: Literal["cpu", "gpu"]
    engines: list[PlannedEngine]
    gives: str


class PlannedOutput(TypedDict):
    """What would come out."""

    kind: str
    path: str | None
    format: NotRequired[str]
    media_type: str
    name: NotRequired[str]


class Plan(TypedDict):
    """What a request with plan=true would run."""

    object: Literal["plan"]
    endpoint: str
    ready: Annotated[bool, Field(description="Nothing is missing and every engine could run.")]
    missing: Annotated[list[str], Field(description="Sounds that are yet to be given.")]
    steps: list[PlannedStep]
    output: PlannedOutput
    background: bool


class BatchEntry(TypedDict):
    """One operation on one staged file; further keys are its parameters."""

    op: Annotated[str, Field(description="An operation of GET /v1/ops.")]
    file_path: NotRequired[str]
    file_url: NotRequired[str]
    output_path: NotRequired[Annotated[str, Field(description="Where the result is staged.")]]
    output_format: NotRequired[Annotated[str, Field(json_schema_extra={"default": "wav"})]]


class BatchResult(TypedDict):
    """What became of one entry: `status` ok with the result's fields, or `error`."""

    index: int
    op: str | None
    status: NotRequired[Literal["ok"]]
    error: NotRequired[str]
    job_id: NotRequired[str]
    path: NotRequired[str]
    url: NotRequired[str]
    size: NotRequired[int]


class BatchReply(TypedDict):
    """One result per entry, in order."""

    results: list[BatchResult]


class FileObject(TypedDict):
    """A staged file."""

    path: str
    size: int
    modified: Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class FileList(TypedDict):
    """All staged files."""

    files: list[FileObject]


class StoredObject(TypedDict):
    """A file that was stored."""

    path: str
    size: int


class DeletedFile(TypedDict):
    """A file that was deleted."""

    deleted: str


class JobObject(TypedDict):
    """One job. Times are Unix seconds."""

    id: str
    endpoint: Annotated[str, Field(description="Path of the operation.")]
    status: Status
    created_at: float
    started_at: NotRequired[float]
    completed_at: NotRequired[float]
    duration_sec: NotRequired[float]
    result: NotRequired[dict[str, Any]]
    error: NotRequired[str]
    error_kind: NotRequired[str]
    error_field: NotRequired[str]
    error_hint: NotRequired[str]
    error_step: NotRequired[int]
    webhook_url: NotRequired[str]
    source: NotRequired[str]
    name: NotRequired[str]
    ops: NotRequired[list[str]]
    attempt: NotRequired[int]
    recalled: NotRequired[Annotated[bool, Field(description="Its result was known before.")]]
    progress: NotRequired[float]
    step: NotRequired[str]


class JobList(TypedDict):
    """Jobs, oldest first."""

    jobs: list[JobObject]


class RemovedJob(TypedDict):
    """What became of a job: cancelled, or deleted as it had ended."""

    job_id: str
    cancelled: NotRequired[bool]
    deleted: NotRequired[bool]


_ANY = dict[str, Any]
_STATES = ", ".join(get_args(Status))
_STATUS = Annotated[
    str, Field(description=f"Only jobs in this state: {_STATES}. Any other gives none.")
]
_TEXT = Annotated[str, Field(description="Only those.")]
_PAGE = {
    "limit": Annotated[int, Field(ge=1, le=10_000, description="How many at most.")],
    "cursor": Annotated[str, Field(description="From the Link of the page before.")],
}

_COUNT = Annotated[int, Field(ge=1, le=1000, description="How many; default 10.")]

#: Those that a job may have ended with.
_OF_A_JOB = (400, 404, 409, 413, 415, 422, 507)

_TUS = {"Tus-Resumable": Annotated[Literal["1.0.0"], Field(description="The protocol.")]}
_BYTES = Annotated[int, Field(ge=0, lt=10**18)]
_TUS_OF = {"Tus-Resumable": "The protocol."}
_OFFSET_OF = _TUS_OF | {"Upload-Offset": "Bytes that the server has.", "Upload-Expires": "When."}
_TUS_TELLS = _TUS_OF | {
    "Tus-Version": "Versions of tus that it speaks.",
    "Tus-Extension": "Extensions of tus that it knows.",
    "Tus-Max-Size": "Bytes that one upload may have.",
    "Tus-Checksum-Algorithm": "Algorithms of Upload-Checksum.",
}
_PIECE_HEADERS = {
    "Upload-Offset": Annotated[_BYTES, Field(description="Where these bytes belong.")],
    "Upload-Checksum": Annotated[
        str | None, Field(description="Algorithm (sha1, sha256, md5) and base64 of the digest.")
    ],
}

SHAPES: Mapping[str, Shape] = {
    "GET /healthz": Shape(Health),
    "GET /v1/engines": Shape(Engines),
    "GET /v1/ps": Shape(LoadedEngines),
    "DELETE /v1/ps/{engine}": Shape(Evicted, errors=(404,)),
    "POST /v1/unload": Shape(Unloaded),
    "GET /v1/catalog": Shape(Catalog),
    "GET /v1/openapi.json": Shape(_ANY),
    "GET /v1/ops": Shape(Ops),
    "GET /v1/presets": Shape(PresetList),
    "GET /v1/presets/{name}": Shape(PresetObject, errors=(404,)),
    "POST /v1/batch": Shape(BatchReply, body=list[BatchEntry], errors=(400, 413)),
    "GET /v1/files": Shape(FileList, query=_PAGE, errors=(400, 422)),
    "PUT /v1/files/{path}": Shape(
        StoredObject, status=201, body=bytes, errors=(400, 404, 413, 507)
    ),
    "GET /v1/files/{path}": Shape(bytes, errors=(400, 404, 416), parts=True),
    "HEAD /v1/files/{path}": Shape(None, errors=(400, 404, 416), parts=True),
    "DELETE /v1/files/{path}": Shape(DeletedFile, errors=(400, 404)),
    "POST /v1/mcp": Shape(
        RpcMessage,
        body=RpcMessage,
        headers={
            "MCP-Protocol-Version": Annotated[
                str | None, Field(description="The revision, as in 2026-07-28.")
            ],
        },
        streams=True,
        silent=True,
        errors=(400, 404, 406, 413, 415, 421),
    ),
    "OPTIONS /v1/uploads": Shape(None, status=204, told=_TUS_TELLS),
    "OPTIONS /v1/uploads/{upload_id}": Shape(None, status=204, told=_TUS_TELLS),
    "POST /v1/uploads": Shape(
        None,
        status=201,
        headers={
            **_TUS,
            "Upload-Length": Annotated[_BYTES, Field(description="Bytes of the whole file.")],
            "Upload-Metadata": Annotated[
                str, Field(description="`filename`, and base64 of its path in the staging area.")
            ],
        },
        told=_OFFSET_OF | {"Location": "Where the bytes go."},
        errors=(400, 412, 413, 507),
    ),
    "HEAD /v1/uploads/{upload_id}": Shape(
        None,
        headers=_TUS,
        told=_OFFSET_OF | {"Upload-Length": "Bytes of the whole.", "Upload-Metadata": "As given."},
        errors=(404, 412),
    ),
    "PATCH /v1/uploads/{upload_id}": Shape(
        None,
        status=204,
        body=bytes,
        body_media="application/offset+octet-stream",
        headers=_TUS | _PIECE_HEADERS,
        told=_OFFSET_OF,
        errors=(400, 404, 409, 412, 413, 415, 423, 460, 507),
    ),
    "POST /v1/uploads/{upload_id}": Shape(
        None,
        status=204,
        headers={
            **_TUS,
            "X-HTTP-Method-Override": Annotated[
                Literal["PATCH", "DELETE", "HEAD"], Field(description="What is meant.")
            ],
        },
        told=_OFFSET_OF,
        errors=(400, 404, 409, 412, 413, 415, 423, 460, 507),
    ),
    "DELETE /v1/uploads/{upload_id}": Shape(
        None, status=204, headers=_TUS, told=_TUS_OF, errors=(404, 412, 423)
    ),
    "GET /v1/jobs": Shape(JobList, query={"status": _STATUS, **_PAGE}, errors=(400, 422)),
    "GET /v1/jobs/{job_id}/events": Shape(bytes, errors=(404,), media="text/event-stream"),
    "GET /v1/events": Shape(bytes, media="text/event-stream"),
    "GET /v1/webhooks": Shape(
        _ANY, query={"status": _TEXT, "job_id": _TEXT, **_PAGE}, errors=(400, 422)
    ),
    "GET /v1/webhooks/{webhook_id}": Shape(_ANY, errors=(404,)),
    "POST /v1/webhooks/{webhook_id}/redeliver": Shape(_ANY, status=202, errors=(404,)),
    "GET /readyz": Shape(Readiness),
    "GET /metrics": Shape(bytes, media="text/plain"),
    "GET /v1/jobs/{job_id}": Shape(JobObject, errors=(404,)),
    "GET /v1/jobs/{job_id}/result": Shape(
        bytes, errors=(*_OF_A_JOB, 416), parts=True, or_json=True
    ),
    "DELETE /v1/jobs/{job_id}": Shape(RemovedJob, errors=(404,)),
    "POST /v1/jobs/{job_id}/retry": Shape(Submission, status=202, errors=(404, 409)),
    "POST /v1/jobs/{job_id}/undo": Shape(_ANY, errors=(409,)),
    "GET /v1/schedules": Shape(ScheduleList),
    "POST /v1/schedules": Shape(
        ScheduleObject, status=201, body=NewSchedule, errors=(400, 409, 413, 422)
    ),
    "GET /v1/schedules/{name}": Shape(ScheduleObject, errors=(404,)),
    "PUT /v1/schedules/{name}": Shape(
        ScheduleObject, body=ScheduleBody, errors=(400, 409, 413, 422)
    ),
    "DELETE /v1/schedules/{name}": Shape(DeletedSchedule, errors=(404, 409)),
    "GET /v1/schedules/{name}/next": Shape(
        Upcoming, query={"count": _COUNT}, errors=(400, 404, 422)
    ),
    "GET /v1/schedules/{name}/plan": Shape(ScheduledWork, errors=(400, 404)),
    "POST /v1/schedules/{name}/run": Shape(FiringObject, status=202, errors=(400, 404, 409, 507)),
    "GET /v1/schedules/{name}/history": Shape(
        FiringList, query={"limit": _PAGE["limit"]}, errors=(400, 404, 422)
    ),
    "GET /v1/folders": Shape(_ANY),
    "POST /v1/folders/scan": Shape(_ANY),
    "POST /v1/folders/{name}/release": Shape(_ANY, errors=(404,)),
}
