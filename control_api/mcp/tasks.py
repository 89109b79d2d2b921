"""Long work for clients that know tasks: a task is a job, under the job's id.

The server decides: a call that is not done within `PATIENCE` is answered with
its job as a task. The job is durable before that, so the task is; it is asked
about as long as the job is kept, over any restart. Clients that did not say
that they know tasks wait, or say `async_job`.

Source: the extension `io.modelcontextprotocol/tasks`, SEP-2663, as of 2026-07-28.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import mcp_types as types
import orjson
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from control_api.mcp.tools import Call
from control_api.ports import Job, Status

EXTENSION = "io.modelcontextprotocol/tasks"
PATIENCE = 3.0
"""Seconds that a call may take before it is answered with a task."""
_POLL_MS = 1000
_MISSING_CAPABILITY = -32021

_STATUS: dict[Status, types.TaskStatus] = {
    "pending": "working",
    "running": "working",
    "completed": "completed",
    # A tool that refuses has answered; a task fails only where the protocol does.
    "failed": "completed",
    "cancelled": "cancelled",
}


class Task(types.Result):
    """A task as it stands."""

    task_id: str
    status: types.TaskStatus
    status_message: str | None = None
    created_at: str
    last_updated_at: str
    #: From creation; None as long as the work is not done.
    ttl_ms: int | None
    poll_interval_ms: int = _POLL_MS


class CreateTaskResult(Task):
    """The answer to a call that goes on."""

    result_type: Literal["task"] = "task"


class UpdateTaskParams(types.RequestParams):
    """Answers to what a task has asked for."""

    task_id: str
    input_responses: dict[str, Any]


def known_to(context: ServerRequestContext[Any, Any]) -> bool:
    """True when the client of this request said that it knows tasks."""
    if context.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        return False
    capabilities = context.session.client_capabilities
    return capabilities is not None and EXTENSION in (capabilities.extensions or {})


def require(context: ServerRequestContext[Any, Any]) -> None:
    """Refuse a client that did not say that it knows tasks.

    Raises:
        MCPError: it did not.
    """
    if not known_to(context):
        raise MCPError(
            _MISSING_CAPABILITY,
            "Missing required client capability",
            {"requiredCapabilities": {"extensions": {EXTENSION: {}}}},
        )


def state_of(job: Job, ttl: float) -> dict[str, Any]:
    """The fields of a `Task`; `ttl` is how many seconds an ended job is kept."""
    ended = job.completed_at if job.ended else None
    last = ended or job.started_at or job.created_at
    doing = f"{job.step}: {job.progress:.0%}" if job.status == "running" and job.step else None
    return {
        "task_id": job.id,
        "status": _STATUS[job.status],
        "status_message": doing,
        "created_at": _iso(job.created_at),
        "last_updated_at": _iso(last),
        "ttl_ms": None if ended is None else round((ended - job.created_at + ttl) * 1000),
    }


def on_the_wire(task: Task) -> dict[str, Any]:
    """A task as JSON. An unlimited time is said, which the package would leave out as null."""
    told = task.model_dump(by_alias=True, mode="json", exclude_none=True)
    return {"ttlMs": None, **told}


def call_of(job: Job) -> Call:
    """What is known of the call that made a job."""
    return Call(**orjson.loads(job.call)) if job.call else Call()


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
