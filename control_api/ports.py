"""What the HTTP surface needs from the rest of the daemon: one protocol and its plain types.

`daemon.service` implements it over the queue and the staging area; tests
implement it in memory. Errors are `handlers.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, runtime_checkable
from urllib.parse import unquote

from handlers.engines.declare import Engine, Unready
from rules.orders import Delivery, Order, SoundRef
from rules.presets import Preset

PIPELINE, PRESETS = "/v1/pipeline", "/v1/presets/"
"""Endpoints of jobs whose steps are not the operation that the endpoint names."""

Status = Literal["pending", "running", "completed", "failed", "cancelled"]


class Source(Protocol):
    """Bytes on their way in."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end."""


@runtime_checkable
class Spooled(Source, Protocol):
    """Bytes that have arrived, and may already lie in a file of ours."""

    size: int

    def become(self, name: str | Path, folder: int | None = None) -> None:
        """Lie in a new file of this name, below an open folder if one is given.

        Raises:
            OSError: bytes were lost on their way in, or the file cannot be made.
        """


ENDED: frozenset[str] = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True)
class Output:
    """One file that a job delivered."""

    path: Path
    size: int
    #: `sound`, `picture`, `midi`, `video`, `file`, `markers` or `report`.
    role: str
    media_type: str
    #: Which of several named sounds of the last step it is.
    part: str | None = None
    #: Its path inside the staging area; None for a file anywhere else.
    staged: str | None = None
    #: The URL that it was sent to, without what may be secret in it.
    url: str | None = None


@dataclass(frozen=True)
class Job:
    """One job as the queue has it. Times are Unix seconds."""

    id: str
    status: Status
    created_at: float
    started_at: float | None = None
    completed_at: float | None = None
    #: Door it came through: `rest`, `mcp`, `folder`, `cli`.
    source: str = "rest"
    #: Path of the operation for a job of the API, else "".
    endpoint: str = ""
    #: Name of its sound as the user knows it.
    name: str = ""
    #: Operations in order.
    ops: tuple[str, ...] = ()
    webhook_url: str | None = None
    attempt: int = 0
    #: 0 to 1, and the step that is being worked on.
    progress: float = 0.0
    step: str = ""
    #: The facts of the last step, with its scalar parameters.
    descriptor: Mapping[str, Any] = field(default_factory=dict)
    #: One entry per step: `{step, op, params, result}`.
    steps: Sequence[Mapping[str, Any]] = ()
    outputs: Sequence[Output] = ()
    #: Format that its sound was asked for in.
    output_format: str | None = None
    #: Class name of a `handlers.errors` error and its sentence, once failed.
    error_kind: str = ""
    error: str = ""
    error_field: str | None = None
    error_hint: str | None = None
    error_step: int | None = None
    #: Hash of the request that made it, if that may be sent again.
    request: str = ""
    #: Its result was known when it was submitted; nothing ran.
    recalled: bool = False
    #: What its door needs to answer whoever asks later, as JSON.
    call: str = ""

    @property
    def is_chain(self) -> bool:
        """True when its client listed its steps, be it only one, or named a preset."""
        return self.endpoint == PIPELINE or self.preset is not None

    @property
    def preset(self) -> str | None:
        """The preset that it ran."""
        if not self.endpoint.startswith(PRESETS):
            return None
        return unquote(self.endpoint.removeprefix(PRESETS))

    @property
    def ended(self) -> bool:
        """True when it will not change any more."""
        return self.status in ENDED


@dataclass(frozen=True)
class WebhookAttempt:
    """One try at delivering a webhook. Times are Unix seconds."""

    attempt: int
    at: float
    seconds: float
    #: Status of the answer, or why there was none.
    status: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Webhook:
    """One message about the end of a job. Times are Unix seconds."""

    id: str
    event: str
    job_id: str
    #: Without what may be secret in it.
    url: str
    #: `pending`, `delivered`, `refused` or `failed`.
    status: str
    created_at: float
    next_attempt_at: float | None = None
    ended_at: float | None = None
    attempts: Sequence[WebhookAttempt] = ()


@dataclass(frozen=True)
class Removal:
    """What removing a job did. Neither: it was too late, its files are being delivered."""

    cancelled: bool
    deleted: bool


@dataclass(frozen=True)
class Submission:
    """A checked order on its way to the queue."""

    id: str
    endpoint: str
    order: Order
    #: True when nobody waits: at most `job_max_concurrent` of these run at once.
    background: bool
    webhook_url: str | None = None
    #: Submitting a key again gives the job that exists.
    key: str | None = None
    #: Door it came through: `rest` or `mcp`.
    source: Literal["rest", "mcp"] = "rest"
    #: A result that is known already will do.
    known_will_do: bool = True
    #: The result may be kept, to be given again.
    may_be_kept: bool = True


Cached = Literal["HIT", "MISS", "BYPASS"]
"""Given again; made; made without looking, because chance, a URL or the client wants it so."""


@dataclass(frozen=True)
class Taken:
    """A submission that is on the queue, or has been answered from before."""

    id: str
    #: None where the server keeps no results.
    cache: Cached | None = None


@dataclass(frozen=True)
class Upload:
    """Bytes that a client sent for one job, in a file of ours."""

    path: Path
    size: int
    #: The client's name for them, as printable text.
    name: str


@dataclass(frozen=True)
class StoredFile:
    """A file of the staging area; `modified` is in Unix seconds."""

    path: str
    size: int
    modified: float
    #: Another one as soon as any byte may be another.
    tag: str = ""


@dataclass(frozen=True)
class PartialUpload:
    """A file of the staging area that is still on its way."""

    id: str
    #: Where it will lie in the staging area.
    path: str
    #: Bytes that it will have, and those that it has.
    length: int
    offset: int
    #: What its client said of it, as it was said (`Upload-Metadata`).
    metadata: str
    #: Unix seconds; later it is forgotten. None once it is complete.
    expires: float | None


@dataclass(frozen=True)
class Checksum:
    """What a client says that its bytes hash to."""

    algorithm: str
    digest: bytes


class Appending(Protocol):
    """One run of bytes on its way into a partial upload."""

    def append(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes. Never raises: `finish` does."""

    def finish(self) -> PartialUpload:
        """Make them durable; the last ones make the file appear in the staging area.

        Raises:
            WrongOffset: another request goes on with this upload.
            ChecksumMismatch: none of them is kept.
            TooLarge: they are more than were announced; none of them is kept.
            BadPath, StorageFailed, OSError: what has arrived is kept.
        """

    def abandon(self) -> None:
        """No more will come; what has arrived is kept, unless it was to be checked."""


class Uploads(Protocol):
    """Files on their way into the staging area, piece by piece."""

    @property
    def max_bytes(self) -> int:
        """Cap on one."""

    def create(self, path: str, length: int, metadata: str) -> PartialUpload:
        """Begin one; durable when it returns. Of no bytes at all it is complete at once.

        Raises:
            BadPath, TooLarge.
            StorageFull: the disk has no room for it.
        """

    def look(self, upload_id: str) -> PartialUpload:
        """How far it is.

        Raises:
            UnknownUpload: there is none, or it has expired.
        """

    def begin(
        self, upload_id: str, offset: int, length: int | None, checksum: Checksum | None
    ) -> Appending:
        """Go on with it. Whoever was at it and did not finish is sent away.

        Args:
            offset: where the bytes belong.
            length: how many will come, if that is known.
            checksum: what they hash to.

        Raises:
            UnknownUpload, TooLarge.
            WrongOffset: it has more or fewer bytes than `offset`.
            UploadBusy: somebody is just finishing it.
        """

    def drop(self, upload_id: str) -> None:
        """Forget it with its bytes; a file that is complete stays.

        Raises:
            UnknownUpload, UploadBusy.
        """


@dataclass(frozen=True)
class Health:
    """What `/healthz` says."""

    ok: bool
    #: `cpu`, `cuda` or `cuda:N`; never `auto`.
    device: str
    engines: Sequence[str] = ()


@dataclass(frozen=True)
class Event:
    """Something that happened to a job: it entered a state, or went on."""

    job_id: str
    #: `missed`: an unknown number of events of any job was lost on the way; the log has them.
    state: str
    #: Its place in the log, rising over all jobs; None for progress, which no log keeps.
    number: int | None
    #: Unix seconds.
    at: float
    attempt: int = 0
    #: Why, in words.
    text: str | None = None
    #: 0 to 1, and the step that is being worked on.
    progress: float | None = None
    step: str | None = None


class Listener(Protocol):
    """Hears of every job."""

    def get(self, seconds: float) -> Event | None:
        """The next event; None when there is none in time."""


@dataclass(frozen=True)
class Vitals:
    """How the daemon is, in detail."""

    #: What keeps it from working, by name of the part; empty when it is ready.
    problems: Mapping[str, str]
    #: What a person should look at, though work goes on.
    notes: Sequence[str]
    #: Jobs in each state.
    jobs: Mapping[str, int]
    #: Seconds that the oldest pending job has waited; 0 when there is none.
    oldest_pending: float
    #: `{endpoint, outcome, count, seconds}` since the dispatcher started.
    totals: Sequence[Mapping[str, Any]]
    #: `{name, lane, state, memory, jobs_done}` of each worker process.
    workers: Sequence[Mapping[str, Any]]
    #: Seconds that each loaded engine has been idle.
    engines: Mapping[str, float]
    #: Bytes free where the data lie.
    disk_free: int
    #: What stands around the workers.
    sandbox: str = ""


@dataclass(frozen=True)
class EngineState:
    """One enabled engine, and how it stands."""

    engine: Engine[Any]
    #: Seconds since its model was last used, 0 while it is; None while it is not loaded.
    idle_seconds: float | None
    #: Why it cannot run; None if it can.
    unready: Unready | None


class ApiSettings(Protocol):
    """What the API needs of the settings."""

    @property
    def auth_token(self) -> str:
        """Bearer token; empty means none is needed."""

    @property
    def max_upload_bytes(self) -> int:
        """Cap on one upload."""

    @property
    def upload_inflight(self) -> int:
        """Cap on all bodies that are on their way at once, in bytes."""

    @property
    def allowed_hosts(self) -> Sequence[str]:
        """Names that the server is reached under, beside its addresses."""

    @property
    def mcp_tools(self) -> Literal["full", "compact"]:
        """Which tools agents see."""

    @property
    def mcp_inline_bytes(self) -> int:
        """Cap on sound, pictures and files within an answer to an agent."""

    @property
    def job_ttl(self) -> float:
        """Seconds that an ended job is kept."""


@dataclass(frozen=True)
class ScheduleState:
    """One schedule, and how it stands. Times are Unix seconds."""

    name: str
    #: `built-in`, `file` (only whoever edits that can change it) or `api`.
    origin: Literal["built-in", "file", "api"]
    enabled: bool
    cron: str
    timezone: str
    #: What it runs: `folder`, `files`, `chore` or `steps`.
    runs: str
    #: As it was written, with the name.
    written: Mapping[str, Any]
    #: The next tick; None while it is switched off.
    next_at: float | None = None


@dataclass(frozen=True)
class Firing:
    """What a schedule did at one tick. Times are Unix seconds."""

    schedule: str
    #: When it was due; when somebody asked for it, if `manual`.
    tick: float
    manual: bool
    #: `fired`, `skipped`, `missed` or `failed`.
    state: str
    #: Ticks before it that it stands for.
    missed: int
    at: float
    note: str | None = None
    #: Its jobs and their states; `gone` for those that were forgotten since.
    jobs: Mapping[str, str] = field(default_factory=dict)


class Schedules(Protocol):
    """What is done by the clock."""

    def all(self) -> list[ScheduleState]:
        """Those in force, by name."""

    def problems(self) -> Sequence[str]:
        """What is wrong with those that are written but not in force."""

    def put(self, name: str, written: Mapping[str, Any], *, replace: bool) -> ScheduleState:
        """Make a schedule, or change one that was made here.

        Raises:
            BadParameter: it cannot be used; the detail has all that is wrong.
            WrongState: there is one of this name (unless `replace`), or the file has it.
        """

    def delete(self, name: str) -> bool:
        """Forget one that was made here; False when there is none.

        Raises:
            WrongState: it is written in the file, or comes with the program.
        """

    def upcoming(self, name: str, count: int) -> list[float] | None:
        """Its next ticks, also while it is switched off; None when there is none of this name."""

    def plan(self, name: str) -> list[dict[str, Any]] | None:
        """What it would do now, for each file; nothing is written."""

    def run(self, name: str) -> Firing | None:
        """Fire it now, whatever its times.

        Raises:
            WrongState: its jobs are still at work, and it says not to overlap.
            AudiollaError: no jobs could be made.
        """

    def firings(self, name: str | None, limit: int) -> list[Firing]:
        """The newest of the history, oldest first."""


class Service(Protocol):
    """The daemon, as the API sees it."""

    @property
    def schedules(self) -> Schedules:
        """What is done by the clock."""

    # -- jobs --------------------------------------------------------------------------------
    def new_job_id(self) -> str:
        """An id for a job that is about to be put together."""

    def receive(self, job_id: str, source: Source, name: str) -> Upload:
        """Store an upload for one job, streaming.

        Raises:
            TooLarge: more bytes than `max_upload_bytes`; nothing is kept.
        """

    def staged_sound(self, job_id: str, path: str) -> SoundRef:
        """A reference to a staged file, kept as it is now until the job has ended.

        Raises:
            BadPath, NoSuchFile, UnreadableInput (empty), TooLarge.
        """

    def remote_sound(self, job_id: str, url: str, *, label: str, field: str) -> SoundRef:
        """A reference to what a URL holds; it is fetched before the job begins.

        Args:
            label: how messages call it, e.g. `track 1: file_url`.
            field: the field that an error is about.

        Raises:
            UrlRefused: the fetch policy refuses it.
            TransferFailed: its host has no address.
        """

    def remote_delivery(self, job_id: str, filename: str, urls: Mapping[str, str]) -> Delivery:
        """Delivery to URLs, by the name of the part; an empty name for what the job is about.

        Raises:
            UrlRefused, TransferFailed: as `remote_sound`.
        """

    def check_webhook(self, url: str) -> None:
        """Refuse a webhook that would not be delivered.

        Raises:
            UrlRefused: the policy for webhooks refuses it.
        """

    def reply_delivery(self, job_id: str, filename: str) -> Delivery:
        """Delivery of a result that somebody waits for."""

    def staged_delivery(self, path: str) -> tuple[Delivery, str]:
        """Delivery to a path in the staging area, and that path, normalised.

        Raises:
            BadPath: the path breaks a rule.
        """

    def staged_name(self, path: str) -> str:
        """A path in the staging area, normalised; nothing is made there.

        Raises:
            BadPath: the path breaks a rule.
        """

    def submit(self, submission: Submission) -> Taken:
        """Put a job on the queue; returns its id when it is durable.

        Another id than the submission's is that of the job which has its key. One whose
        result is known is completed at once.

        Raises:
            StorageFailed: the queue does not answer.
        """

    def wait(self, job_id: str, gone: Callable[[], bool], seconds: float | None = None) -> Job:
        """Wait until a job has ended. When `gone()` turns true, cancel it.

        Raises:
            TimeoutError: it has not ended within `seconds`. It goes on.
        """

    def cancel(self, job_id: str) -> bool:
        """Cancel a job unless it has ended, or is too late; False when there is none."""

    def discard(self, job_id: str) -> None:
        """Remove the files that were kept for one job alone."""

    def job(self, job_id: str) -> Job | None:
        """One job; None when there is none."""

    def jobs(self, status: str | None, limit: int, *, before: str = "") -> list[Job]:
        """The newest jobs (of those submitted before the job `before`), oldest first.

        An unknown status gives none.
        """

    def remove(self, job_id: str) -> Removal | None:
        """Cancel a job that is pending or running, forget one that has ended; None: no such job."""

    def retry(self, job_id: str) -> bool:
        """Run a failed or cancelled job again; False when there is none.

        Raises:
            WrongState: it has not failed and was not cancelled.
        """

    def undo(self, job_id: str) -> dict[str, Any]:
        """Put everything back as it was before a job of a hot folder; what was done, as JSON.

        Raises:
            WrongState: it cannot be undone; nothing was changed.
        """

    # -- webhooks -----------------------------------------------------------------------------
    def webhooks(self, status: str | None, job_id: str | None, limit: int) -> list[Webhook]:
        """The newest webhooks, oldest first; an unknown status gives none."""

    def webhook(self, webhook_id: str) -> Webhook | None:
        """One webhook; None when there is none."""

    def redeliver(self, webhook_id: str) -> bool:
        """Send a webhook again, whatever became of it; False when there is none."""

    # -- events -------------------------------------------------------------------------------
    def events(self, job_id: str | None, after: int, limit: int) -> list[Event]:
        """The log of one job, or of all, behind the event with number `after`."""

    def listen(self) -> AbstractContextManager[Listener]:
        """Hear of every event from now on."""

    # -- engines ------------------------------------------------------------------------------
    def engines(self) -> list[EngineState]:
        """The enabled engines, by slug."""

    def check_engines(self, slugs: Sequence[str]) -> None:
        """Refuse work for an engine that cannot run here.

        Raises:
            UnknownEngine, BadParameter, WeightsMissing, EngineFailed.
        """

    def unload(self, slugs: Sequence[str]) -> list[str]:
        """Have models dropped as soon as nobody uses them (all, if none is named).

        Returns:
            The slugs of those that were loaded.
        """

    # -- presets ------------------------------------------------------------------------------
    def presets(self) -> Sequence[Preset]:
        """All presets, by name."""

    # -- hot folders --------------------------------------------------------------------------
    def folders(self, *, scan: bool) -> dict[str, Any]:
        """How the hot folders stand, as JSON; after looking through all of them if `scan`."""

    def release_folder(self, name: str) -> int | None:
        """Let the jobs that a hot folder holds start: how many; None if there is no such folder."""

    # -- staging area --------------------------------------------------------------------------
    def files(self) -> list[StoredFile]:
        """Regular files, sorted by path."""

    def put_file(self, path: str, source: Source) -> StoredFile:
        """Store a file atomically; its path comes back normalised.

        Raises:
            BadPath, TooLarge.
        """

    def open_file(self, path: str) -> tuple[BinaryIO, StoredFile]:
        """Open a staged file for reading.

        Raises:
            BadPath, NoSuchFile.
        """

    def delete_file(self, path: str) -> str:
        """Remove a file and the folders that it leaves empty; the normalised path.

        Raises:
            BadPath, NoSuchFile.
        """

    @property
    def uploads(self) -> Uploads:
        """Files that are sent in pieces."""

    # -- the server itself -----------------------------------------------------------------------
    def health(self) -> Health:
        """How the daemon is."""

    def vitals(self) -> Vitals:
        """How it is, in detail; takes longer."""
