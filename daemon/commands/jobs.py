"""`audiolla jobs`: list, show, cancel, retry."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import orjson

from daemon.client import Client, QueueUnavailable
from daemon.commands.api import ask
from daemon.commands.choosing import is_running
from daemon.commands.console import local_time, show_facts, show_json, show_table, size
from daemon.commands.outcome import FAILED, OK, Misused, Unreachable, complain
from daemon.jobs import STATES, Job, NoSuchJob
from daemon.reader import JobReader
from daemon.settings import Settings, load
from daemon.urls import without_secrets
from rules.orders import path_from_text


def configure(parser: argparse.ArgumentParser, _: Sequence[str] = ()) -> None:
    """Add the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="the newest jobs, oldest first")
    listed.add_argument("--status", choices=STATES, help="only those in this state")
    listed.add_argument("--limit", type=int, default=50, metavar="N", help="at most N (50)")
    show = actions.add_parser("show", help="everything about one job, with its log")
    cancel = actions.add_parser("cancel", help="cancel pending and running jobs")
    retry = actions.add_parser("retry", help="run failed or cancelled jobs again")
    show.add_argument("ids", metavar="ID", nargs="+", help="job, or the end of its id")
    cancel.add_argument("ids", metavar="ID", nargs="+", help="job, or the end of its id")
    retry.add_argument("ids", metavar="ID", nargs="*", help="job, or the end of its id")
    retry.add_argument("--failed", action="store_true", help="every failed job")
    for action in (listed, show, cancel, retry):
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
        action.add_argument("--data-dir", metavar="DIR", default=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Do what is asked."""
    settings = load(data_dir=args.data_dir)
    if not settings.database.is_file():
        raise Unreachable(f"there is no queue in {settings.data_dir}: no daemon has run there yet")
    reader = JobReader(settings.database)
    try:
        if args.action == "list":
            return _list(reader, args)
        if args.action == "retry" and args.failed:
            found = reader.jobs("failed")
        else:
            found = [_named(reader, wanted) for wanted in args.ids]
        if args.action == "show":
            return _show(reader, found, args)
        return _change(settings, found, args)
    finally:
        reader.close()


def _list(reader: JobReader, args: argparse.Namespace) -> int:
    if args.limit < 1:
        raise Misused(f"--limit {args.limit}: at least 1")
    found = reader.jobs(args.status, args.limit, newest_first=True)[::-1]
    if args.json:
        for job in found:
            show_json(_plain(job))
        return OK
    rows = [
        [
            job.id,
            job.state,
            _done(job),
            job.source,
            job.input_name,
            local_time(job.created),
            _said(job),
        ]
        for job in found
    ]
    show_table(["ID", "STATE", "DONE", "SOURCE", "FILE", "CREATED", ""], rows)
    counts = ", ".join(f"{count} {state}" for state, count in reader.counts().items() if count)
    print(f"in all: {counts or 'no jobs'}")
    return OK


def _done(job: Job) -> str:
    return f"{job.progress:.0%}" if job.state == "running" else ""


def _said(job: Job) -> str:
    if job.state == "running":
        return job.step or ""
    if job.error:
        return job.error if len(job.error) <= 80 else job.error[:77] + "..."
    outputs = (job.result or {}).get("outputs", [])
    return ", ".join(path_from_text(o["path"]).name for o in outputs)


def _show(reader: JobReader, found: list[Job], args: argparse.Namespace) -> int:
    for job in found:
        events = reader.events(job.id)
        if args.json:
            show_json(_plain(job) | {"events": [asdict(event) for event in events]})
            continue
        print(f"job {job.id}: {job.state}")
        show_facts(_facts(job))
        print("  log")
        for event in events:
            about = " ".join(part for part in (event.worker, event.text) if part)
            print(f"    {local_time(event.at)}  {event.state:<10} {about}".rstrip())
    return OK


def _facts(job: Job) -> dict[str, Any]:
    order = orjson.loads(job.order)
    result = job.result or {}
    steps = result.get("steps") or order.get("steps", [])
    outputs = [
        f"{path_from_text(o['path'])} ({size(o['size'])})" for o in result.get("outputs", [])
    ]
    facts: dict[str, Any] = {
        "file": job.input_name or None,
        "from": f"{job.source} {job.endpoint}",
        "steps": " > ".join(step["op"] for step in steps) or None,
        "attempt": job.attempt,
        "created": local_time(job.created),
        "started": local_time(job.started),
        "ended": local_time(job.completed),
        "done": f"{job.progress:.0%} {job.step or ''}".strip() if job.state == "running" else None,
        "error": job.error,
        "hint": job.error_hint,
        "failed step": job.error_op,
        "before": result.get("before"),
        "after": result.get("after"),
        "output": outputs[0] if len(outputs) == 1 else outputs or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _change(settings: Settings, found: list[Job], args: argparse.Namespace) -> int:
    if not found and not args.ids and not args.failed:
        raise Misused("name the jobs to retry, or give --failed")
    if not is_running(settings):
        raise Unreachable(f"no daemon is running on {settings.data_dir}; start `audiolla serve`")
    code = OK
    with Client(settings.socket) as client:
        for job in found:
            said, ok = (
                _cancelled(client, job) if args.action == "cancel" else _retried(settings, job)
            )
            code = code if ok else FAILED
            if args.json:
                show_json({"id": job.id, "ok": ok, "detail": said})
            elif ok:
                print(f"{job.id}  {said}")
            else:
                complain(f"{job.id}: {said}")
    return code


def _cancelled(client: Client, job: Job) -> tuple[str, bool]:
    try:
        outcome = client.cancel(job.id)
    except (NoSuchJob, QueueUnavailable) as wrong:
        return str(wrong), False
    said = {
        "cancelled": "cancelled",
        "cancelling": "is being cancelled",
        "delivering": "is too far: its files are being delivered",
        "ended": f"has ended already ({job.state})",
    }
    return said[outcome], outcome in ("cancelled", "cancelling")


def _retried(settings: Settings, job: Job) -> tuple[str, bool]:
    from handlers.errors import AudiollaError

    try:
        ask(settings, "POST", f"/v1/jobs/{job.id}/retry")
    except AudiollaError as wrong:
        return wrong.detail, False
    return "runs again", True


def _named(reader: JobReader, wanted: str) -> Job:
    found = reader.job(wanted)
    if found is not None:
        return found
    # Ids of one moment begin alike and end at random, so their end is what tells them apart.
    ending = [
        job for job in reader.jobs(newest_first=True, limit=10_000) if job.id.endswith(wanted)
    ]
    if len(ending) > 1:
        raise Misused(f"{wanted} is the end of {len(ending)} job ids; give more of it")
    if not ending or len(wanted) < 4:
        raise Misused(f"there is no job {wanted}")
    return ending[0]


def _plain(job: Job) -> dict[str, Any]:
    shown = asdict(job) | {"order": orjson.loads(job.order)}
    del shown["errands"]  # URLs that may hold secrets
    if job.webhook_url is not None:
        shown["webhook_url"] = without_secrets(job.webhook_url)
    return shown
