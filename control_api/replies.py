"""From an ended job to an answer: bytes, a descriptor or a report."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from typing import Any

import falcon

from control_api.errors import error_of_job, error_text
from control_api.ports import Job, Output, Service
from control_api.wire import attachment, header_text, to_json
from handlers.artifacts import Audio, Blocks
from handlers.declare import Kind, Operation
from handlers.errors import StorageFailed, TooLarge
from handlers.registry import operations

MAX_INLINE = 64 << 20
"""Bytes of a file that a reply may hold as base64."""

_ROLES: Mapping[Kind, str] = {
    "audio": "sound",
    "zip": "sound",
    "png": "picture",
    "svg": "picture",
    "midi": "midi",
    "video": "video",
}


def answer_json(resp: falcon.Response, body: Any, status: int = 200) -> None:
    """Answer with JSON."""
    resp.status = status
    resp.content_type = falcon.MEDIA_JSON
    resp.data = to_json(body)


def answer(
    resp: falcon.Response,
    op: Operation,
    job: Job,
    service: Service,
    *,
    as_json: bool = False,
    keep: bool = False,
    url: str | None = None,
) -> None:
    """Answer a request whose job has ended.

    Args:
        as_json: a sound that a report gives is not the reply but in it, as base64.
        keep: the same may be asked for again; else what the job kept for its answer goes.
        url: the whole `output_url`, which only whoever gave it gets to see again.

    Raises:
        AudiollaError: the one that the job ended with.
    """
    resp.set_header("X-Job-Id", job.id)
    try:
        _put(resp, op, job, as_json=as_json, url=url)
    finally:
        if not keep:
            service.discard(job.id)  # an open file outlives its name


def _put(resp: falcon.Response, op: Operation, job: Job, *, as_json: bool, url: str | None) -> None:
    if job.status != "completed":
        raise error_of_job(job)
    output = main_output(op, job)
    elsewhere = output is None or output.staged is not None or output.url is not None
    if elsewhere or output is None or (op.kind == "json" and as_json):
        result = result_of(job)
        answer_json(resp, result | {"url": url} if url and "url" in result else result)
        return
    resp.content_type = output.media_type
    resp.set_header("Content-Disposition", attachment(output.path.name))
    for field, header in op.headers.items():
        if job.descriptor.get(field) is not None:
            resp.set_header(header, header_text(job.descriptor[field]))
    try:
        # Not a `with`: the server closes it when the last byte has been sent.
        file = output.path.open("rb")
    except FileNotFoundError:
        raise StorageFailed(f"the result of job {job.id} is not there any more") from None
    if os.fstat(file.fileno()).st_size != output.size:
        file.close()  # only a power failure does that
        raise StorageFailed(f"the result of job {job.id} is not whole any more")
    resp.set_stream(file, output.size)


def in_base64(name: str, output: Output) -> dict[str, Any]:
    """A file that a report gave, within the report.

    Raises:
        TooLarge: it has more than `MAX_INLINE` bytes.
    """
    if output.size > MAX_INLINE:
        raise TooLarge(
            f"{name} has {output.size} bytes, and {MAX_INLINE} may be part of a JSON "
            "reply; name an output_path to have it there",
            field="output_path",
        )
    encoded = base64.b64encode(output.path.read_bytes()).decode()
    return {f"{name}_base64": encoded, f"{name}_size": output.size}


def result_of(
    job: Job, embed: Callable[[str, Output], dict[str, Any]] = in_base64
) -> dict[str, Any]:
    """The JSON result of a completed job, as the contract has it for its operation.

    What a report gave beside its facts, if it was put nowhere, is told by `embed`.
    """
    if job.is_chain:
        return _chain_result(job)
    op = _only_operation(job)
    if op is not None and op.kind == "json":
        facts = job.steps[-1]["result"] if job.steps else job.descriptor
        return _placed(op, job, embed) | dict(facts)
    result = _file_object(main_output(op, job) if op is not None else None)
    if job.output_format is not None and (op is None or op.changes_sound):
        result["output_format"] = job.output_format
    result |= {k: v for k, v in job.descriptor.items() if k not in ("path", "url", "size")}
    if op is None:
        result["outputs"] = [_output_object(o) for o in job.outputs]
        result["steps"] = list(job.steps)
    return result


def _chain_result(job: Job) -> dict[str, Any]:
    result = {} if job.preset is None else {"preset": job.preset}
    sound = next((o for o in job.outputs if o.role == "sound"), None)
    steps = [dict(step) for step in job.steps]
    if sound is not None and steps:
        # Between two steps there is no file whose size could be told.
        steps[-1]["size_after"] = sound.size
    return result | _file_object(sound) | {"output_format": job.output_format, "steps": steps}


def _file_object(output: Output | None) -> dict[str, Any]:
    if output is None:
        return {}
    where = {"path": output.staged} if output.staged else {}
    return where | ({"url": output.url} if output.url else {}) | {"size": output.size}


def job_object(job: Job) -> dict[str, Any]:
    """A job as the contract has it, with what else is known of it."""
    known: dict[str, Any] = {
        "id": job.id,
        "endpoint": job.endpoint,
        "status": job.status,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "completed_at": job.completed_at if job.ended else None,
        "webhook_url": job.webhook_url,
        "source": job.source,
        "name": job.name or None,
        "ops": list(job.ops) or None,
        "attempt": job.attempt,
        "progress": round(job.progress, 4),
        "step": job.step or None,
    }
    if job.recalled:
        known["recalled"] = True
    if job.status == "completed":
        if job.started_at is not None and job.completed_at is not None:
            known["duration_sec"] = round(job.completed_at - job.started_at, 3)
        # A reply that somebody waited for is theirs, and gone; its size is what is left.
        known["result"] = result_of(job, lambda name, output: {f"{name}_size": output.size})
    if job.status == "failed":
        known |= {
            "error": error_text(job),
            "error_kind": job.error_kind,
            "error_field": job.error_field,
            "error_hint": job.error_hint,
            "error_step": job.error_step,
        }
    return {k: v for k, v in known.items() if v is not None}


def _only_operation(job: Job) -> Operation | None:
    """The operation of a job of the API; None for a chain or a folder's job."""
    if job.source == "folder" or job.is_chain or len(job.ops) != 1:
        return None
    return operations().get(job.ops[0])


def main_output(op: Operation, job: Job) -> Output | None:
    """The file that a request for one operation is answered with, if there is one."""
    # A report may give a sound, if asked for; pictures and such are said beside its facts.
    role = "sound" if op.kind == "json" else _ROLES[op.kind]
    return next((o for o in job.outputs if o.role == role), None)


def _placed(
    op: Operation, job: Job, embed: Callable[[str, Output], dict[str, Any]]
) -> dict[str, Any]:
    """What a report gave beside its facts: where it is, or itself."""
    told: dict[str, Any] = {}
    first = next(iter(op.extras), None)
    for output in job.outputs:
        name = output.part or next(n for n, kind in op.extras.items() if kind in (Blocks, Audio))
        if output.url is not None:
            told |= {"url": output.url, "size": output.size}
        elif output.staged is None:
            told |= embed(name, output)
        elif name == first:
            told |= {"path": output.staged, "size": output.size}
        else:
            told |= {f"{name}_path": output.staged, f"{name}_size": output.size}
        if output.role == "sound":
            told["output_format"] = job.output_format
    return told


def _output_object(output: Output) -> dict[str, Any]:
    shown = {
        "path": output.staged,
        "url": output.url,
        "file": output.path.name,
        "size": output.size,
        "role": output.role,
        "name": output.part,
    }
    return {k: v for k, v in shown.items() if v is not None}
