"""A `Service` in memory: jobs end at once, as `outcome` says."""

import io
import itertools
import time
import zlib
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from control_api.errors import WrongState
from control_api.ports import (
    EngineState,
    Firing,
    Health,
    Job,
    Output,
    Removal,
    ScheduleState,
    StoredFile,
    Taken,
    Upload,
    Vitals,
)
from daemon.resumable import Resumable
from daemon.settings import Settings
from daemon.staging import Staging, copy_capped, normalized
from daemon.urls import Policy, without_secrets
from handlers.engines.registry import engines
from handlers.errors import BadParameter, NoSuchFile, UnreadableInput
from rules.orders import Delivery, Remote, SoundRef
from rules.presets import shipped


def leaving(app):
    """The application behind a server whose clients lose patience after a few looks."""

    def answer(environ, start_response):
        looks = itertools.count()
        environ.setdefault("waitress.client_disconnected", lambda: next(looks) > 20)
        return app(environ, start_response)

    return answer


def api_settings(**given):
    """`control_api.ports.ApiSettings`, as the daemon has them; uploads are small."""
    return Settings(**{"max_upload_bytes": 10_000, **given})


class FakeSchedules:
    """Schedules in a dictionary; their times are made up."""

    def __init__(self):
        self.made = {"sweep": self._state("sweep", {"cron": "17 4 * * *"}, "built-in")}
        self.fired = []
        self.wrong = []

    @staticmethod
    def _state(name, written, origin="api"):
        enabled = bool(written.get("enabled", True))
        kind = next((k for k in ("folder", "files", "chore") if k in written), "steps")
        return ScheduleState(
            name,
            origin,
            enabled,
            str(written["cron"]),
            "UTC",
            kind,
            written,
            60.0 * enabled or None,
        )

    def all(self):
        return list(self.made.values())

    def problems(self):
        return self.wrong

    def put(self, name, written, *, replace):
        if not isinstance(written.get("cron"), str):
            raise BadParameter("cron: is required", field="cron")
        if name in self.made and not replace:
            raise WrongState(f"there is a schedule {name!r}; PUT replaces it")
        self.made[name] = self._state(name, written)
        return self.made[name]

    def delete(self, name):
        if name in self.made and self.made[name].origin != "api":
            raise WrongState(f"schedule {name!r} comes with the program")
        return self.made.pop(name, None) is not None

    def upcoming(self, name, count):
        return [60.0 * n for n in range(1, count + 1)] if name in self.made else None

    def plan(self, name):
        return [{"chore": name}] if name in self.made else None

    def run(self, name):
        if name not in self.made:
            return None
        self.fired.append(Firing(name, 100.5, True, "fired", 0, 100.5, None, {"job-1": "pending"}))
        return self.fired[-1]

    def firings(self, name, limit):
        return [one for one in self.fired if one.schedule == name][-limit:]


class FakeService:
    def __init__(self, folder: Path, max_upload_bytes: int = 10_000) -> None:
        self.folder = folder
        self.max_upload_bytes = max_upload_bytes
        self.submitted = []
        self.schedules = FakeSchedules()
        self.discarded = []
        #: Events that were, and that will be heard; how many listen.
        self.log = []
        self.live = iter(())
        self.listening = 0
        self.vital = Vitals({}, (), {"pending": 3}, 1.5, (), (), {}, 1000)
        #: Idempotency keys and their jobs.
        self.keys = {}
        #: What is said of each result: HIT, MISS, BYPASS.
        self.cache = None
        #: Seconds that jobs take.
        self.patience_needed = 0
        self.all_jobs = {}
        self.stored = {}
        self.healthy = Health(True, "cpu", ())
        #: Facts of the last step, or an error to end with.
        self.outcome = {}
        #: Engines by slug, as `EngineState`; those that refuse work, with their error.
        self.shelf = {}
        self.refused = {}
        self.policy = Policy("disabled", (), ("https",))
        self.hook_policy = Policy("denylist", (), ("http", "https"))
        #: Webhooks by id.
        self.hooks = {}
        self.known_presets = list(shipped())
        self._numbers = itertools.count(1)

    # -- jobs
    def new_job_id(self):
        return f"job-{next(self._numbers)}"

    def receive(self, job_id, source, name):
        path = self.folder / f"upload-{next(self._numbers)}"
        with path.open("wb") as file:
            count = copy_capped(source, file, self.max_upload_bytes, name)
        return Upload(path, count, name)

    def staged_sound(self, job_id, path):
        path = normalized(path)
        if path not in self.stored:
            raise NoSuchFile(f"no file {path!r} in the staging area")
        if not self.stored[path]:
            raise UnreadableInput(f"{path!r} is empty")
        return SoundRef(path=Path("/staged") / path, name=path.rpartition("/")[2])

    def remote_sound(self, job_id, url, *, label, field):
        self.policy.check(url)
        remote = Remote(url=url, label=label, field=field)
        return SoundRef(path=self.folder / "fetched", name=url.rpartition("/")[2], remote=remote)

    def remote_delivery(self, job_id, filename, urls):
        for url in urls.values():
            self.policy.check(url)
        return Delivery(folder=self.folder / job_id, name=filename, exact=True, urls=dict(urls))

    def check_webhook(self, url):
        self.hook_policy.check(url)

    def reply_delivery(self, job_id, filename):
        return Delivery(folder=self.folder / job_id, name=filename, exact=True)

    def staged_delivery(self, path):
        path = normalized(path)
        target = Path("/staged") / path
        return Delivery(folder=target.parent, name=target.name, exact=True), path

    def staged_name(self, path):
        return normalized(path)

    def submit(self, submission):
        known = self.keys.get(submission.key)
        if known is not None:
            return Taken(known, self.cache)
        self.submitted.append(submission)
        self.all_jobs[submission.id] = self._ended(submission)
        if submission.key is not None:
            self.keys[submission.key] = submission.id
        return Taken(submission.id, self.cache)

    def _ended(self, submission):
        step = submission.order.steps[-1]
        about = {
            "id": submission.id,
            "created_at": 100.0,
            "started_at": 101.0,
            "completed_at": 103.5,
            "endpoint": submission.endpoint,
            "ops": tuple(s.op for s in submission.order.steps),
            "webhook_url": submission.webhook_url,
            "request": submission.order.request,
            "source": submission.source,
            "call": submission.order.call,
        }
        if isinstance(self.outcome, Exception):
            about |= {
                "error_kind": type(self.outcome).__name__,
                "error": str(self.outcome),
                "error_step": self.outcome.step,
            }
            return Job(status="failed", **about)
        delivery = submission.order.delivery
        outputs = []
        if delivery is not None and delivery.sound != "changed":
            staged = delivery.folder.is_relative_to("/staged")
            path = delivery.folder / delivery.name
            if not staged:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"result")
            inside = path.relative_to("/staged").as_posix() if staged else None
            role = "sound" if step.op != "waveform" else "picture"
            kind = delivery.encoding.target.content_type if role == "sound" else "image/png"
            url = delivery.urls.get("")
            sent = without_secrets(url) if url else None
            outputs = [Output(path, 6, role, kind, staged=inside, url=sent)]
        return Job(
            status="completed",
            descriptor=self.outcome,
            steps=[
                {"step": number, "op": s.op, "params": s.params, "result": self.outcome}
                for number, s in enumerate(submission.order.steps)
            ],
            outputs=outputs,
            output_format=delivery.encoding.format if delivery else None,
            **about,
        )

    def wait(self, job_id, gone, seconds=None):
        if seconds is not None and self.patience_needed > seconds:
            raise TimeoutError
        return self.all_jobs[job_id]

    def cancel(self, job_id):
        job = self.all_jobs.get(job_id)
        if job is not None and not job.ended:
            self.all_jobs[job_id] = replace(job, status="cancelled")
        return job is not None

    def discard(self, job_id):
        self.discarded.append(job_id)

    def job(self, job_id):
        return self.all_jobs.get(job_id)

    def jobs(self, status, limit, *, before=""):
        found = list(self.all_jobs.values())
        if before:
            found = found[: [j.id for j in found].index(before)]
        return [j for j in found if status in (None, j.status)][-limit:]

    def remove(self, job_id):
        job = self.all_jobs.get(job_id)
        if job is None:
            return None
        if not job.ended:
            return Removal(cancelled=True, deleted=False)
        del self.all_jobs[job_id]
        return Removal(cancelled=False, deleted=True)

    def undo(self, job_id):
        if job_id not in self.all_jobs:
            raise WrongState(f"the journal knows of no job {job_id} of a hot folder")
        return {"job": job_id, "original": "/inbox/take.wav"}

    def retry(self, job_id):
        job = self.all_jobs.get(job_id)
        if job is None:
            return False
        if job.status not in ("failed", "cancelled"):
            raise WrongState(f"job {job_id} is {job.status}")
        return True

    def webhooks(self, status, job_id, limit):
        wanted = [
            w
            for w in self.hooks.values()
            if status in (None, w.status) and job_id in (None, w.job_id)
        ]
        return wanted[-limit:]

    def webhook(self, webhook_id):
        return self.hooks.get(webhook_id)

    def redeliver(self, webhook_id):
        return webhook_id in self.hooks

    def events(self, job_id, after, limit):
        found = [e for e in self.log if e.number > after and job_id in (None, e.job_id)]
        return found[:limit]

    @contextmanager
    def listen(self):
        self.listening += 1
        try:
            yield self
        finally:
            self.listening -= 1

    def get(self, seconds):
        return next(self.live, None)

    def vitals(self):
        return self.vital

    def presets(self):
        return self.known_presets

    def engines(self):
        return list(self.shelf.values())

    def check_engines(self, slugs):
        for slug in slugs:
            if slug in self.refused:
                raise self.refused[slug]

    def unload(self, slugs):
        loaded = [s for s, state in self.shelf.items() if state.idle_seconds is not None]
        dropped = [slug for slug in loaded if not slugs or slug in slugs]
        for slug in dropped:
            self.shelf[slug] = replace(self.shelf[slug], idle_seconds=None)
        return dropped

    def release_folder(self, name):
        return 2 if name == "podcast" else None

    def folders(self, *, scan):
        return {"folders": [], "scanned": scan}

    # -- files
    def files(self):
        return [StoredFile(p, len(d), 0.5) for p, d in sorted(self.stored.items())]

    def put_file(self, path, source):
        path, data = normalized(path), io.BytesIO()
        copy_capped(source, data, self.max_upload_bytes, path)
        self.stored[path] = data.getvalue()
        return StoredFile(path, len(self.stored[path]), 0.5)

    def open_file(self, path):
        path = normalized(path)
        if path not in self.stored:
            raise NoSuchFile(f"no file {path!r} in the staging area")
        data = self.stored[path]
        return io.BytesIO(data), StoredFile(path, len(data), 0.5, f"{zlib.crc32(data):x}")

    def delete_file(self, path):
        path = normalized(path)
        if self.stored.pop(path, None) is None:
            raise NoSuchFile(f"no file {path!r} in the staging area")
        return path

    @cached_property
    def uploads(self):
        return Resumable(
            self.folder / "resumable",
            Staging(self.folder / "arrived", self.max_upload_bytes),
            max_bytes=self.max_upload_bytes,
            ttl=3600,
            now=time.time,
        )

    def health(self):
        return self.healthy


def all_ready():
    """Every engine as one that can run."""
    return {slug: EngineState(engine, None, None) for slug, engine in engines().items()}
