"""What a network worker does with a job: fetch what it needs, or send what it made.

    net: fetch ─> cpu or gpu: the work ─> net: send

A job that names URLs visits the `net` lane before and after its work, as any
chain changes lanes; so it is cancelled, tried again and recovered like any
other job, an async request is answered at once, and no process that opens
sounds ever opens a connection. Nothing is decoded here. Chores are done here
too: they need the database, and no decoder may come near it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daemon.delivery import publish
from daemon.execution import (
    CHORE,
    Claim,
    Context,
    Errands,
    FetchErrand,
    Finished,
    HandOver,
    SendErrand,
)
from daemon.outgoing import Outgoing
from daemon.settings import Settings
from daemon.urls import Policy, without_secrets
from handlers.errors import (
    DISK_FULL,
    StorageFailed,
    StorageFull,
    TooLarge,
    TransferFailed,
    UnreadableInput,
    UrlRefused,
)
from rules.orders import path_from_text


def outgoing_for(settings: Settings) -> Outgoing:
    """The client for what jobs fetch and send."""
    policy = Policy(
        settings.fetch_mode,
        settings.fetch_hosts,
        settings.fetch_schemes,
        allow_private=settings.fetch_allow_private,
    )
    return Outgoing(
        policy,
        timeout=settings.fetch_timeout,
        max_bytes=settings.max_upload_bytes,
        max_redirects=settings.fetch_max_redirects,
    )


def run(claim: Claim, context: Context) -> HandOver | Finished:
    """Run one of the two network segments of a job.

    Raises:
        UrlRefused: the policy is not what it was when the job was submitted, or a redirect or an
            address breaks it.
        TransferFailed: a URL did not give or take what it should; `transient` if the job is
            patient and it may pass.
        TooLarge, UnreadableInput: a URL gave too much, or nothing.
    """
    if claim.order.startswith(CHORE):
        from daemon.schedules import housework

        return housework.run(claim, context)
    errands = claim.errands or Errands()
    client = outgoing_for(context.settings)
    if claim.intent is None:
        for errand in errands.fetch:
            with _named(errand.label, errand.field, errands):
                _fetch(client, errand, _progress(context, "fetch"))
        return HandOver(next_step=0, lane=errands.lane, carried=None, finished=[])
    # An attempt by hand may come here before the work's own attempt has named its files.
    publish(claim.intent)
    result = dict(claim.intent.result)
    outputs = [dict(output) for output in result["outputs"]]
    for send in errands.send:
        output = _meant(outputs, send)
        with _named("output_url", "output_url", errands):
            _send(client, send, output, _progress(context, "send"))
        output["url"] = without_secrets(send.url)
    return Finished(result=result | {"outputs": outputs})


def _fetch(client: Outgoing, errand: FetchErrand, heard: Callable[[int, int | None], None]) -> None:
    if errand.path.exists():
        return
    part = errand.path.with_name(errand.path.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as file:
            client.fetch(errand.url, file, heard)
        if not part.stat().st_size:
            raise UnreadableInput("the URL gives nothing", field=errand.field)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    part.rename(errand.path)


def _send(
    client: Outgoing,
    errand: SendErrand,
    output: dict[str, Any],
    heard: Callable[[int, int | None], None],
) -> None:
    path: Path = path_from_text(output["path"])
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise StorageFailed(f"{path.name} is not there any more") from None
    with file:
        size = os.fstat(file.fileno()).st_size
        media_type = output.get("media_type", "application/octet-stream")
        client.put(errand.url, file, size, media_type, heard)


def _meant(outputs: list[dict[str, Any]], errand: SendErrand) -> dict[str, Any]:
    """The output that goes to a URL: by its name, or the one that the job is about."""
    if errand.part:
        named = [output for output in outputs if output.get("name") == errand.part]
        if not named:
            raise TransferFailed(f"the job gave nothing called {errand.part} to send")
        return named[0]
    return next((output for output in outputs if output["role"] == "sound"), outputs[0])


def _progress(context: Context, what: str) -> Callable[[int, int | None], None]:
    def heard(done: int, total: int | None) -> None:
        context.progress(done / total if total else 0.0, what)

    return heard


@contextmanager
def _named(label: str, field: str, errands: Errands) -> Iterator[None]:
    """Say which URL an error is about, and whether the job is tried again for it."""
    try:
        yield
    except UrlRefused as refused:
        refused.detail, refused.field = f"{label} is refused: {refused.detail}", field
        raise
    except TransferFailed as failed:
        failed.detail, failed.field = f"{label}: {failed.detail}", field
        failed.transient = errands.patient and failed.may_pass
        raise
    except (TooLarge, UnreadableInput) as unusable:
        unusable.detail, unusable.field = f"{label}: {unusable.detail}", field
        raise
    except OSError as wrong:
        if wrong.errno in DISK_FULL:
            raise StorageFull(f"no space left for {label}") from wrong
        raise
