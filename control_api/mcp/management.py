"""The tools of the server itself: engines, jobs and the staging area."""

from __future__ import annotations

import base64
import binascii
import io
import threading
import time
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from control_api.engines import engine_object
from control_api.files import content_type, file_object
from control_api.jobs import DEFAULT_LIMIT, found, removed
from control_api.mcp.results import too_much
from control_api.mcp.tools import Answer, Caller, Link, Scope, Tool
from control_api.paging import MAX_LIMIT
from control_api.ports import Service, Status
from control_api.replies import job_object
from control_api.schemas import model_schema
from control_api.workflow import find_preset, pipeline_ops
from handlers.declare import field_path
from handlers.errors import BadParameter, MistypedParameter, TooLarge
from rules.presets import as_written

_LOOK = 0.25
"""Seconds between two looks at a job that is waited for."""


class Arguments(BaseModel):
    """Arguments of a tool that is no operation: no unknown names, JSON's types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


A = TypeVar("A", bound=Arguments)


class _None(Arguments):
    pass


class _Jobs(Arguments):
    status: str | None = Field(
        None,
        description="Only jobs in this state.",
        json_schema_extra={"enum": [*get_args(Status), None]},
    )
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="At most, the newest.")


class _Job(Arguments):
    job_id: str = Field(description="As a call with async_job gave it.")


class _Wait(_Job):
    timeout_sec: float = Field(
        60, gt=0, le=600, description="Seconds after which the job is given as it then is."
    )


class _Path(Arguments):
    path: str = Field(description="Path in the staging area.")


class _Preset(Arguments):
    name: str = Field(description="As list_presets has it.")


class _Put(_Path):
    content_base64: str = Field(description="The bytes, as base64.")


def management_tools(service: Service, inline_bytes: int) -> list[Tool]:
    """Engines, operations of chains, presets, jobs and files."""
    desk = _Desk(service, inline_bytes)
    files = {"files": {"type": "array", "items": {"type": "object", "properties": _FILE}}}
    jobs = {"jobs": {"type": "array", "items": {"type": "object", "properties": _JOB}}}
    removal = {"job_id": _TEXT, "cancelled": _FLAG, "deleted": _FLAG}
    content = {"content_base64": _TEXT, "staged_because": _TEXT}
    engines = {"engines": {"type": "array", "items": {"type": "object"}}}
    return [
        tool("list_engines", "List the engines that operations stand on, and how each stands: "
             "loaded, ready, or why it is not.", _None, engines, desk.engines, reads=True),
        tool("list_ops", "List the operations that presets and pipelines are made of.", _None,
             {"ops": {"type": "array", "items": _TEXT}}, desk.ops, reads=True),
        tool("list_presets", "List the presets: chains of operations that have a name.", _None,
             {"presets": {"type": "array", "items": {"type": "object"}}}, desk.presets,
             reads=True),
        tool("describe_preset", "Show the steps of a preset.", _Preset,
             {"name": _TEXT, "description": _TEXT, "steps": {"type": "array"}}, desk.preset,
             reads=True),
        tool("list_jobs", "List jobs, oldest first.", _Jobs, jobs, desk.jobs, reads=True),
        tool("get_job", "Look at one job: its state, progress, result or error.", _Job, _JOB,
             desk.job, reads=True),
        tool("cancel_job", "Cancel a job that is pending or running; forget one that has ended.",
             _Job, removal, desk.cancel, destroys=True),
        tool("list_files", "List the files of the staging area.", _None, files, desk.files,
             reads=True, scope="files"),
        tool("put_file", "Store a file in the staging area, in place of what is there.", _Put,
             {k: _FILE[k] for k in ("path", "size")}, desk.put, destroys=True, scope="files"),
        tool("get_file", "Read a staged file, as base64. One that is too large for an answer is "
             "linked.", _Path, {"path": _TEXT, "size": _COUNT, **content}, desk.get,
             reads=True, scope="files"),
        tool("delete_file", "Delete a staged file.", _Path, {"deleted": _TEXT}, desk.delete,
             destroys=True, scope="files"),
    ]  # fmt: skip


def wait_tool(service: Service) -> Tool:
    """For clients that have nothing else to do until a job has ended."""

    def wait(given: _Wait, caller: Caller) -> Answer:
        end = time.monotonic() + given.timeout_sec
        pause = threading.Event()
        told: tuple[float, str] | None = None
        while True:
            job = found(service, given.job_id)
            if job.ended or caller.gone() or time.monotonic() > end:
                return Answer(job_object(job))
            if caller.tell and (job.progress, job.step) != told:
                told = (job.progress, job.step)
                caller.tell(*told)
            pause.wait(_LOOK)

    sentence = "Wait until a job has ended, or for some time; the job."
    return tool("wait_for_job", sentence, _Wait, _JOB, wait, reads=True)


def tool(
    name: str,
    description: str,
    arguments: type[Arguments],
    gives: Mapping[str, Any],
    do: Any,
    *,
    reads: bool = False,
    destroys: bool = False,
    reaches_out: bool = False,
    scope: Scope | None = None,
) -> Tool:
    """A tool whose arguments are a model of its own; `do(arguments, caller)` gives the answer."""

    def run(given: Mapping[str, Any], caller: Caller) -> Answer:
        answer: Answer = do(checked(arguments, given), caller)
        return answer

    return Tool(
        name=name,
        description=description,
        arguments={k: v for k, v in model_schema(arguments).items() if k != "description"},
        gives={"type": "object", "properties": dict(gives)},
        run=run,
        reads_only=reads,
        destroys=destroys,
        reaches_out=reaches_out,
        scope=scope or ("read" if reads else "run"),
    )


def checked(model: type[A], given: Mapping[str, Any]) -> A:
    """The arguments as their model.

    Raises:
        MistypedParameter: one is missing, unknown or of another type.
        BadParameter: one is out of range.
    """
    try:
        return model.model_validate({k: v for k, v in given.items() if v is not None})
    except ValidationError as wrong:
        first = wrong.errors()[0]
        where = field_path(first["loc"])
        mistyped = first["type"].endswith(("_type", "missing", "extra_forbidden"))
        error = MistypedParameter if mistyped else BadParameter
        raise error(f"{where}: {first['msg']}", field=where) from None


class _Desk:
    """What the tools do."""

    def __init__(self, service: Service, inline_bytes: int) -> None:
        self._service, self._limit = service, inline_bytes

    def engines(self, _: _None, __: Caller) -> Answer:
        return Answer({"engines": [engine_object(s) for s in self._service.engines()]})

    def ops(self, _: _None, __: Caller) -> Answer:
        return Answer({"ops": pipeline_ops()})

    def presets(self, _: _None, __: Caller) -> Answer:
        listed = [{"name": p.name, "description": p.description} for p in self._service.presets()]
        return Answer({"presets": listed})

    def preset(self, given: _Preset, _: Caller) -> Answer:
        return Answer(as_written(find_preset(self._service, given.name)))

    def jobs(self, given: _Jobs, _: Caller) -> Answer:
        jobs = self._service.jobs(given.status, given.limit)
        return Answer({"jobs": [job_object(job) for job in jobs]})

    def job(self, given: _Job, _: Caller) -> Answer:
        job = found(self._service, given.job_id)
        links = [Link(o.staged, o.size, o.media_type) for o in job.outputs if o.staged is not None]
        return Answer(job_object(job), links)

    def cancel(self, given: _Job, _: Caller) -> Answer:
        return Answer(removed(self._service, given.job_id))

    def files(self, _: _None, __: Caller) -> Answer:
        return Answer({"files": [file_object(f) for f in self._service.files()]})

    def put(self, given: _Put, _: Caller) -> Answer:
        if len(given.content_base64) * 3 // 4 > self._limit:
            raise TooLarge(
                f"content_base64 holds more than {self._limit} bytes "
                "(AUDIOLLA_MCP_INLINE_BYTES); PUT larger files to /v1/files",
                field="content_base64",
            )
        try:
            data = base64.b64decode(given.content_base64, validate=True)
        except binascii.Error as wrong:
            raise BadParameter(
                f"content_base64 is no base64: {wrong}", field="content_base64"
            ) from None
        stored = self._service.put_file(given.path, io.BytesIO(data))
        link = Link(stored.path, stored.size, content_type(stored.path))
        return Answer({"path": stored.path, "size": stored.size}, [link])

    def get(self, given: _Path, caller: Caller) -> Answer:
        file, stored = self._service.open_file(given.path)
        told: dict[str, Any] = {"path": stored.path, "size": stored.size}
        link = Link(stored.path, stored.size, content_type(stored.path))
        with file:
            if stored.size > caller.inline_bytes:
                told["staged_because"] = too_much(stored.size, caller.inline_bytes)
            else:
                told["content_base64"] = base64.b64encode(file.read()).decode()
        return Answer(told, [link])

    def delete(self, given: _Path, _: Caller) -> Answer:
        return Answer({"deleted": self._service.delete_file(given.path)})


_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_COUNT = {"type": "integer"}
_NUMBER = {"type": "number"}
_FILE = {"path": _TEXT, "size": _COUNT, "modified": _TEXT}
_JOB: dict[str, Any] = {
    "id": _TEXT,
    "endpoint": _TEXT,
    "status": {"type": "string", "enum": list(get_args(Status))},
    "created_at": _NUMBER,
    "started_at": _NUMBER,
    "completed_at": _NUMBER,
    "duration_sec": _NUMBER,
    "progress": _NUMBER,
    "step": _TEXT,
    "result": {"type": "object"},
    "error": _TEXT,
    "webhook_url": _TEXT,
}
