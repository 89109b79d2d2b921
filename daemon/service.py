"""The API's view of the daemon: `control_api.ports.Service` over queue and staging area.

What belongs to one job of the API alone (its uploads, its second names of
staged files, a result that somebody waits for) lies in `results/<job id>` and
goes with the job.
"""

from __future__ import annotations

import logging
import math
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote, urlsplit

import orjson

from control_api.asking import ASKING
from control_api.errors import WrongState
from control_api.ports import (
    EngineState,
    Event,
    Health,
    Job,
    Output,
    Removal,
    Source,
    Spooled,
    StoredFile,
    Submission,
    Taken,
    Upload,
    Vitals,
    Webhook,
    WebhookAttempt,
)
from control_api.replies import job_object
from control_api.wire import display_name, to_json
from daemon.answers.memory import Answers
from daemon.answers.question import sounds_of
from daemon.client import Client, QueueUnavailable, Subscription
from daemon.courier import outgoing_for
from daemon.delivering.undo import NothingToUndo
from daemon.execution import Errands, FetchErrand, SendErrand
from daemon.jobs import (
    ENDED,
    STATES,
    ForbiddenMove,
    NewJob,
    NoSuchJob,
    NoSuchWebhook,
    estimated_cost,
    new_id,
)
from daemon.jobs import Job as QueuedJob
from daemon.outbox import WEBHOOK_STATES, OutboxReader
from daemon.outbox import Webhook as QueuedWebhook
from daemon.presetfiles import PresetShelf
from daemon.reader import JobReader
from daemon.resumable import Resumable
from daemon.safekeeping.opening import reports
from daemon.schedules.service import ScheduleService
from daemon.settings import Settings
from daemon.shelves import enabled, models_of, resolved_device
from daemon.staging import Staging, copy_capped, normalized, too_large
from daemon.urls import without_secrets
from daemon.walls.level import reached
from daemon.webhooks import Deliverer, hooks_for
from handlers.engines.registry import find_engine
from handlers.engines.shelf import raise_unready, unready
from handlers.errors import BadParameter, StorageFailed, TransferFailed, UnreadableInput
from handlers.registry import find
from rules.budgets import budget_of
from rules.orders import Delivery, Order, Remote, SoundRef, path_from_text, path_to_text
from rules.presets import Preset

if TYPE_CHECKING:
    from daemon.folders import FolderManager
    from handlers.engines.declare import Lane

log = logging.getLogger(__name__)

_LOOK = 0.5
"""Seconds between two looks at whether a waiting client has hung up."""
_ASYNC_GROUP = "async"
_UNKNOWN_COST = 1.0
#: Bytes on the disk below which somebody should make room.
_LEAST_FREE = 1 << 30


class QueueService:
    """One daemon, for the threads of the API."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        reader: JobReader,
        manager: FolderManager | None = None,
    ) -> None:
        self._settings = settings
        self._client = client
        self._reader = reader
        self._manager = manager
        self._presets = PresetShelf(settings)
        self._staging = Staging(settings.files, settings.max_upload_bytes)
        self._uploads = Resumable(
            settings.uploads / "resumable",
            self._staging,
            max_bytes=settings.max_upload_bytes,
            ttl=settings.upload_ttl,
            now=time.time,
        )
        self._outgoing = outgoing_for(settings)
        self._hooks = hooks_for(settings)
        self._outbox = OutboxReader(settings.database)
        self.schedules = ScheduleService(settings, client, folders=manager)
        self.answers = Answers(settings, self._device)
        self._by_key = [threading.Lock() for _ in range(64)]
        self.deliverer = Deliverer(
            settings, client, self._outbox, self.message, outgoing=self._hooks
        )

    # -- jobs --------------------------------------------------------------------------------
    def new_job_id(self) -> str:
        """A time-sorted id."""
        return new_id()

    def receive(self, job_id: str, source: Source, name: str) -> Upload:
        """Store an upload under a name of ours."""
        path = self._inputs(job_id) / uuid.uuid4().hex
        path.parent.mkdir(parents=True, exist_ok=True)
        limit = self._settings.max_upload_bytes
        if isinstance(source, Spooled):
            if source.size > limit:
                raise too_large(name, limit)
            source.become(path)
            return Upload(path, source.size, name)
        with path.open("xb") as file:
            size = copy_capped(source, file, limit, name)
        return Upload(path, size, name)

    def staged_sound(self, job_id: str, path: str) -> SoundRef:
        """A second name of a staged file: what is put or deleted meanwhile does not change it."""
        kept, size = self._staging.snapshot(path, self._inputs(job_id))
        if not size:
            raise UnreadableInput(f"{path!r} is empty")
        return SoundRef(path=kept, name=path.rpartition("/")[2])

    def remote_sound(self, job_id: str, url: str, *, label: str, field: str) -> SoundRef:
        """Room for what a network worker will fetch, once the policy has nothing against it."""
        self._outgoing.check(url)
        name = unquote(urlsplit(url).path.rpartition("/")[2], errors="replace")
        return SoundRef(
            path=self._inputs(job_id) / uuid.uuid4().hex,
            name=display_name(name, "download"),
            remote=Remote(url=url, label=label, field=field),
        )

    def check_webhook(self, url: str) -> None:
        """By the policy for webhooks; a name that is not known now may be when it is needed."""
        with suppress(TransferFailed):
            self._hooks.check(url)

    def remote_delivery(self, job_id: str, filename: str, urls: Mapping[str, str]) -> Delivery:
        """Into a folder of the job's own, from where a network worker sends it."""
        for url in urls.values():
            self._outgoing.check(url)
        return Delivery(
            folder=self._sent(job_id),
            name=filename,
            exact=True,
            conflict="replace",
            urls=dict(urls),
        )

    def reply_delivery(self, job_id: str, filename: str) -> Delivery:
        """Into the job's own folder."""
        return Delivery(
            folder=self._settings.results / job_id, name=filename, exact=True, conflict="replace"
        )

    def staged_delivery(self, path: str) -> tuple[Delivery, str]:
        """Into the staging area, in place of what is there."""
        folder, name = self._staging.target(path)
        delivery = Delivery(
            folder=folder,
            name=name,
            exact=True,
            conflict="replace",
            max_bytes=self._settings.max_upload_bytes,
        )
        return delivery, normalized(path)

    def staged_name(self, path: str) -> str:
        """The path, if it breaks no rule."""
        return normalized(path)

    def submit(self, submission: Submission) -> Taken:
        """Durable when it returns; completed, too, if the same was asked before."""
        answers, key = self.answers, submission.key
        if not answers.on:
            return Taken(self._submitted(submission, None))
        question = answers.question(submission.order)
        # What has a key is published only if it is the first that has it.
        lock = self._by_key[hash(key) % len(self._by_key)] if key else nullcontext()
        with lock:
            known = None
            if question is not None and submission.known_will_do:
                seen_before = key is not None and self._reader.has_key(key)
                known = None if seen_before else answers.give(submission.id, question)
            if known is not None:
                return Taken(self._submitted(submission, known), "HIT")
            if question is not None and submission.may_be_kept:
                waited_for = not submission.background
                answers.expect(submission.id, question, waited_for=waited_for)
            try:
                submitted = self._submitted(submission, None)
            except BaseException:
                answers.forget(submission.id)
                raise
        if submitted != submission.id:
            answers.forget(submission.id)
        looked = question is not None and submission.known_will_do
        return Taken(submitted, "MISS" if looked else "BYPASS")

    def _submitted(self, submission: Submission, known: dict[str, Any] | None) -> str:
        order = submission.order
        holder = ASKING.get().holder
        limits = budget_of(holder.limits) if holder is not None else None
        if limits is not None:
            order = order.model_copy(update={"budget": limits})
        sounds = list(sounds_of(order))
        lane = find(order.steps[0].op).lane_for(order.steps[0].params)
        errands = _errands(order, sounds, lane, patient=submission.background)
        new = NewJob(
            id=submission.id,
            order=order.model_dump_json(exclude_defaults=True),
            source=submission.source,
            endpoint=submission.endpoint,
            input_name=sounds[0].name if sounds else "",
            lane="net" if errands.fetch else lane,
            share="api",
            cost=_cost(sounds),
            errands=_stored(errands),
            group=_ASYNC_GROUP if submission.background else "",
            group_limit=self._settings.job_max_concurrent if submission.background else 0,
            max_attempts=self._settings.job_max_attempts,
            webhook_url=submission.webhook_url,
            idempotency_key=submission.key,
            result=None if known is None else orjson.dumps(known).decode(),
        )
        try:
            (submitted,) = self._client.submit([new])
        except QueueUnavailable as wrong:
            raise StorageFailed(str(wrong)) from wrong
        log.info("%s is asked for", submission.endpoint, extra={"job": submitted.id})
        return submitted.id

    def wait(self, job_id: str, gone: Callable[[], bool], seconds: float | None = None) -> Job:
        """Wait for the end; a client that hangs up ends its job."""
        unwanted = False
        end = math.inf if seconds is None else time.monotonic() + seconds
        while True:
            left = max(end - time.monotonic(), 0.0)
            try:
                job = self._client.wait(job_id, timeout=min(_LOOK, left))
                self.answers.ended(job)
                return self._job(job)
            except TimeoutError:
                if left <= _LOOK:
                    self.answers.unattended(job_id)
                    raise
                if gone() and not unwanted:
                    unwanted = True
                    self._client.cancel(job_id)
            except QueueUnavailable as wrong:
                raise StorageFailed(str(wrong)) from wrong

    def cancel(self, job_id: str) -> bool:
        """Pending or running, it ends; what has ended stays as it is."""
        try:
            self._client.cancel(job_id)
        except NoSuchJob:
            return False
        except QueueUnavailable as wrong:
            raise StorageFailed(str(wrong)) from wrong
        return True

    def discard(self, job_id: str) -> None:
        """Remove the job's own folder."""
        self.answers.forget(job_id)
        shutil.rmtree(self._settings.results / job_id, ignore_errors=True)

    def job(self, job_id: str) -> Job | None:
        """From the database; no message to the dispatcher."""
        found = self._reader.job(job_id)
        return None if found is None else self._job(found)

    def jobs(self, status: str | None, limit: int, *, before: str = "") -> list[Job]:
        """The newest of them, oldest first."""
        state = next((s for s in STATES if s == status), None)
        if status is not None and state is None:
            return []
        edge = self._reader.job(before) if before else None
        if before and edge is None:
            raise BadParameter(f"cursor: job {before} is not there any more", field="cursor")
        found = self._reader.jobs(state, limit, edge.seq if edge else 0, newest_first=True)
        return [self._job(job) for job in reversed(found)]

    def remove(self, job_id: str) -> Removal | None:
        """Cancel or forget, as the job stands."""
        try:
            removed = self._client.remove(job_id)
        except NoSuchJob:
            return None
        except QueueUnavailable as wrong:
            raise StorageFailed(str(wrong)) from wrong
        return Removal(removed.cancelled, removed.deleted)

    def retry(self, job_id: str) -> bool:
        """Run a failed or cancelled job again; a folder's file comes back to be processed."""
        found = self._reader.job(job_id)
        if found is None:
            return False
        if found.state not in ("failed", "cancelled"):
            raise WrongState(
                f"job {job_id} is {found.state}; only failed or cancelled ones run again"
            )
        if found.source == "folder" and self._manager is not None:
            try:
                self._manager.bring_back(job_id)
            except OSError as wrong:
                raise StorageFailed(f"{wrong.filename}: {wrong.strerror}") from wrong
        try:
            self._client.retry(job_id)
        except NoSuchJob:
            return False
        except ForbiddenMove as wrong:
            raise WrongState(str(wrong)) from wrong
        except QueueUnavailable as wrong:
            raise StorageFailed(str(wrong)) from wrong
        return True

    def undo(self, job_id: str) -> dict[str, Any]:
        """By the journal, between two turns of the hot folders."""
        if self._manager is None:
            raise WrongState("the hot folders are not running")
        try:
            done = self._manager.undo(job_id)
        except NothingToUndo as nothing:
            raise WrongState(nothing.detail) from nothing
        except OSError as wrong:
            raise StorageFailed(f"{wrong.filename}: {wrong.strerror}") from wrong
        told: dict[str, Any] = plain(asdict(done))
        return told

    def events(self, job_id: str | None, after: int, limit: int) -> list[Event]:
        """From the database."""
        return [
            Event(one.id, one.state, one.number, one.at, one.attempt, one.text)
            for one in self._reader.events(job_id, after, limit)
        ]

    @contextmanager
    def listen(self) -> Iterator[_Hearing]:
        """Subscribe to the dispatcher's news."""
        try:
            news = self._client.subscribe()
        except QueueUnavailable as wrong:
            raise StorageFailed(str(wrong)) from wrong
        try:
            yield _Hearing(news)
        finally:
            news.close()

    def tidy_up(self) -> Subscription:
        """Remove the inputs of jobs as they are done; close what is returned to stop.

        A failed job keeps them: it may be retried.
        """
        news = self._client.subscribe(lambda one: one.state in ENDED and one.progress is None)

        def watch() -> None:
            for one in news:
                self._keep_answer(one.id)
                if one.state in ("completed", "cancelled"):
                    shutil.rmtree(self._inputs(one.id), ignore_errors=True)
                    self._forget_sent(one.id)

        threading.Thread(target=watch, name="inputs", daemon=True).start()
        self._uploads.start()
        return news

    def _keep_answer(self, job_id: str) -> None:
        """Keep what a job has found that nobody waits for."""
        if not self.answers.wanted(job_id):
            return
        job = self._reader.job(job_id)
        if job is not None and job.ended:
            self.answers.ended(job)
        elif job is None:
            self.answers.forget(job_id)

    def _forget_sent(self, job_id: str) -> None:
        """Remove the files that now lie where a URL says; those that nobody wanted sent stay."""
        if self._sent(job_id).is_dir() and (job := self.job(job_id)) is not None:
            for output in job.outputs:
                if output.url is not None:
                    output.path.unlink(missing_ok=True)

    # -- webhooks --------------------------------------------------------------------------------
    def webhooks(self, status: str | None, job_id: str | None, limit: int) -> list[Webhook]:
        """The newest of them, oldest first."""
        state = next((s for s in WEBHOOK_STATES if s == status), None)
        if status is not None and state is None:
            return []
        return [_webhook(one) for one in self._outbox.webhooks(state, job_id, limit)]

    def webhook(self, webhook_id: str) -> Webhook | None:
        """From the database."""
        found = self._outbox.webhook(webhook_id)
        return None if found is None else _webhook(found)

    def redeliver(self, webhook_id: str) -> bool:
        """Begin a new round of attempts."""
        try:
            self._client.webhook_again(webhook_id)
        except NoSuchWebhook:
            return False
        except QueueUnavailable as wrong:
            raise StorageFailed(str(wrong)) from wrong
        self.deliverer.wake()
        return True

    def message(self, webhook: QueuedWebhook) -> bytes:
        """The body of a webhook: the job as it was at its end, the same bytes every time."""
        told = orjson.loads(webhook.job)
        at = datetime.fromtimestamp(webhook.created, UTC).isoformat(timespec="milliseconds")
        about = {"type": webhook.event, "timestamp": at.replace("+00:00", "Z")}
        if "seq" not in told:
            return to_json(told | about)  # a day, or a file whose job is known no more
        return to_json(job_object(self._job(QueuedJob(**told))) | about)

    # -- presets -------------------------------------------------------------------------------
    def presets(self) -> list[Preset]:
        """From the folder of one's own, then those shipped."""
        return self._presets.all()

    # -- hot folders ---------------------------------------------------------------------------
    def folders(self, *, scan: bool) -> dict[str, Any]:
        """What `FolderManager` says of itself."""
        if self._manager is None:
            return {"folders": [], "broken": [], "trouble": "the hot folders are not running"}
        status = self._manager.scan() if scan else self._manager.status()
        told: dict[str, Any] = plain(asdict(status))
        return told

    def release_folder(self, name: str) -> int | None:
        """Let the jobs that a folder holds start."""
        return None if self._manager is None else self._manager.release(name)

    # -- staging area ----------------------------------------------------------------------------
    def files(self) -> list[StoredFile]:
        """Regular files, sorted by path."""
        return self._staging.list()

    def put_file(self, path: str, source: Source) -> StoredFile:
        """Store atomically."""
        return self._staging.put(path, source)

    def open_file(self, path: str) -> tuple[BinaryIO, StoredFile]:
        """Open for reading."""
        return self._staging.open(path)

    def delete_file(self, path: str) -> str:
        """Remove, with the folders that become empty."""
        return self._staging.delete(path)

    @property
    def uploads(self) -> Resumable:
        """Files that are sent in pieces."""
        return self._uploads

    # -- the server itself -------------------------------------------------------------------------
    def health(self) -> Health:
        """Well means that the dispatcher answers."""
        slugs = [engine.slug for engine in enabled(self._settings)]
        try:
            self._client.stats()
        except QueueUnavailable:
            return Health(False, self._device, slugs)
        return Health(True, self._device, slugs)

    def vitals(self) -> Vitals:
        """Asks the dispatcher, the database, the disk and the folders."""
        problems: dict[str, str] = {}
        notes: list[str] = []
        stats: dict[str, Any] = {"workers": [], "totals": []}
        try:
            stats = self._client.stats()
        except QueueUnavailable as wrong:
            problems["queue"] = str(wrong)
        if stats.get("disk_full"):
            problems["disk"] = "the disk of the queue is full"
        for lane, trouble in stats.get("trouble", {}).items():
            problems[f"{lane} workers"] = trouble
        if stats["workers"] and not any(w["state"] == "ready" for w in stats["workers"]):
            problems["workers"] = "none is warm yet"
        free = shutil.disk_usage(self._settings.data_dir).free
        if free < _LEAST_FREE:
            notes.append(f"{free / 2**20:.0f} MiB are left below {self._settings.data_dir}")
        if self._manager is not None:
            folders = self._manager.status()
            notes += [f"{one.file}: {one.problems[0]}" for one in folders.broken if one.problems]
            notes += [folders.trouble] if folders.trouble else []
            notes += [f"{f.name} is paused: {f.problem}" for f in folders.folders if f.problem]
        notes += self.schedules.problems()
        sandbox, lacks = reached(stats["workers"])
        notes += [f"sandbox: {lack}" for lack in lacks]
        notes += [
            f"the database was damaged and is rebuilt; read {report}, then take its folder away"
            for report in reports(self._settings)
        ]
        oldest = self._reader.oldest_pending()
        return Vitals(
            problems=problems,
            notes=notes,
            jobs={str(state): count for state, count in self._reader.counts().items()},
            oldest_pending=0.0 if oldest is None else max(time.time() - oldest, 0.0),
            totals=stats["totals"],
            workers=stats["workers"],
            engines=_idle(stats["workers"]),
            disk_free=free,
            sandbox=sandbox,
        )

    def engines(self) -> list[EngineState]:
        """The enabled engines, and which of them are loaded in any worker."""
        loaded = _idle(self._client.stats()["workers"])
        models = models_of(self._settings)
        return [
            EngineState(
                engine,
                loaded.get(engine.slug),
                unready(engine, models, device=self._device),
            )
            for engine in enabled(self._settings)
        ]

    def check_engines(self, slugs: Sequence[str]) -> None:
        """Refuse work for an engine that cannot run here."""
        for slug in slugs:
            raise_unready(
                find_engine(slug),
                models_of(self._settings),
                device=self._device,
                enabled=self._settings.enabled_engines,
            )

    def unload(self, slugs: Sequence[str]) -> list[str]:
        """Have models dropped wherever they are; all of them if none is named."""
        return self._client.unload(list(slugs))

    @cached_property
    def _device(self) -> str:
        return resolved_device(self._settings.device)

    # -- from the queue's types to the API's -------------------------------------------------------
    def _inputs(self, job_id: str) -> Path:
        return self._settings.results / job_id / "inputs"

    def _sent(self, job_id: str) -> Path:
        return self._settings.results / job_id / "sent"

    def _job(self, job: QueuedJob) -> Job:
        result = job.result or {}
        outputs = [self._output(about) for about in result.get("outputs", [])]
        formats = (o.get("output_format") for o in result.get("outputs", []))
        steps = result.get("steps") or orjson.loads(job.order).get("steps", [])
        return Job(
            id=job.id,
            status=job.state,
            created_at=job.created,
            started_at=job.started,
            completed_at=job.completed,
            source=job.source,
            endpoint=job.endpoint,
            name=job.input_name,
            ops=tuple(step["op"] for step in steps),
            webhook_url=without_secrets(job.webhook_url) if job.webhook_url else None,
            attempt=job.attempt,
            progress=job.progress,
            step=job.step or "",
            descriptor=result.get("descriptor", {}),
            steps=result.get("steps", []),
            outputs=outputs,
            output_format=next((f for f in formats if f), None),
            error_kind=job.error_kind or "",
            error=job.error or "",
            error_field=job.error_field,
            error_hint=job.error_hint,
            error_step=job.error_step,
            request=orjson.loads(job.order).get("request", "") if job.idempotency_key else "",
            recalled=result.get("recalled", False),
            call=orjson.loads(job.order).get("call", "") if job.source == "mcp" else "",
        )

    def _output(self, about: dict[str, Any]) -> Output:
        path = path_from_text(about["path"])
        return Output(
            path=path,
            size=about["size"],
            role=about["role"],
            media_type=about.get("media_type", "application/octet-stream"),
            part=about.get("name"),
            staged=self._staging.relative(path),
            url=about.get("url"),
        )


def _idle(workers: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Seconds that each loaded model has been idle, in the worker that used it last."""
    idle: dict[str, float] = {}
    for worker in workers:
        for one in worker["shelf"]:
            seconds = one["idle_seconds"]
            idle[one["slug"]] = min(seconds, idle.get(one["slug"], seconds))
    return idle


class _Hearing:
    """News of the queue as the API's events."""

    def __init__(self, news: Subscription) -> None:
        self._news = news

    def get(self, seconds: float) -> Event | None:
        """The next one; None when there is none in time."""
        one = self._news.get(timeout=seconds)
        return (
            None
            if one is None
            else Event(
                one.id, one.state, one.number, one.at, one.attempt, one.text, one.progress, one.step
            )
        )


def plain(value: Any) -> Any:
    """Paths inside dicts and lists as text."""
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return path_to_text(value) if isinstance(value, Path) else value


def _webhook(webhook: QueuedWebhook) -> Webhook:
    return Webhook(
        id=webhook.id,
        event=webhook.event,
        job_id=webhook.job_id,
        url=without_secrets(webhook.url),
        status=webhook.state,
        created_at=webhook.created,
        next_attempt_at=webhook.next_at,
        ended_at=webhook.ended,
        attempts=[WebhookAttempt(**asdict(one)) for one in webhook.tries],
    )


def _errands(order: Order, sounds: list[SoundRef], lane: Lane, *, patient: bool) -> Errands:
    """What the network workers do for an order, before and after its work."""
    fetch = [
        FetchErrand(path=sound.path, **sound.remote.model_dump())
        for sound in sounds
        if sound.remote is not None
    ]
    urls = order.delivery.urls if order.delivery is not None else {}
    send = [SendErrand(url=url, part=part) for part, url in urls.items()]
    return Errands(fetch=fetch, send=send, lane=lane, patient=patient)


def _stored(errands: Errands) -> str | None:
    return errands.model_dump_json() if errands.fetch or errands.send else None


def _cost(sounds: list[SoundRef]) -> float:
    """Estimated seconds; a sound that is yet to come may be of any size."""
    if any(sound.remote is not None for sound in sounds):
        return _UNKNOWN_COST
    return estimated_cost(sum(sound.path.stat().st_size for sound in sounds))
