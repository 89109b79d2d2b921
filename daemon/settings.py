"""Every setting, declared once: name, type, default, unit, sentence, secret or not.

Help text, the docs table and start-up errors are computed from this model.
Nothing else in the program reads the environment.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from daemon.urls import Mode, check_pattern
from handlers.units import Unit
from rules.budgets import FIGURES, Budget

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")


def read_duration(value: Any) -> Any:
    """Seconds from `90`, `90s`, `45m` or `3h30m5s`; anything else is left to fail."""
    if isinstance(value, str):
        text = value.strip()
        match = _DURATION.fullmatch(text)
        if text and match and any(match.groups()):
            hours, minutes, seconds = (float(part or 0) for part in match.groups())
            return hours * 3600 + minutes * 60 + seconds
    return value


def read_list(value: Any) -> Any:
    """A list from comma separated text."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def check_secret(text: str) -> str:
    """A secret that webhooks can be signed with, as it was given.

    Raises:
        ValueError: it is not base64 of enough bytes.
    """
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if not 24 <= len(key) <= 64:
        raise ValueError("not base64 of 24 to 64 bytes; `openssl rand -base64 32` makes one")
    return text


Duration = Annotated[float, BeforeValidator(read_duration), Unit("s")]
Names = Annotated[list[str], BeforeValidator(read_list)]
ByteCount = Annotated[int, Unit("bytes")]
Hosts = Annotated[list[Annotated[str, AfterValidator(check_pattern)]], BeforeValidator(read_list)]
Secrets = Annotated[list[Annotated[str, AfterValidator(check_secret)]], BeforeValidator(read_list)]
Schemes = Annotated[list[Literal["https", "http"]], BeforeValidator(read_list)]


def _setting(
    default: Any, description: str, *, env: str = "", secret: bool = False, **limits: Any
) -> Any:
    extra: dict[str, JsonValue] = {"secret": secret, **({"env": env} if env else {})}
    return Field(default, description=description, json_schema_extra=extra, **limits)


class Settings(BaseModel):
    """The settings of one daemon. Each is read from `AUDIOLLA_<NAME>`."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    host: str = _setting("127.0.0.1", "Address that the API listens on.")
    port: int = _setting(8000, "Port of the API; 0 takes a free one.", ge=0, le=65535)
    data_dir: Path = _setting(
        Path.home() / ".audiolla", "Database, staged files, results, scratch, models and folders."
    )
    folders_dir: Path | None = _setting(
        None,
        "Folder whose sub-folders with a rules.yaml are hot folders; default <data dir>/folders.",
    )
    rules_dir: Path | None = _setting(
        None, "Central rule files, each naming its folder; default <data dir>/rules."
    )
    presets_dir: Path | None = _setting(
        None, "Presets of your own, one YAML file each; default <data dir>/presets."
    )
    device: str = _setting(
        "auto",
        "Compute device: auto, cpu, cuda or cuda:N; auto picks cuda when present.",
        pattern=r"^(auto|cpu|cuda|cuda:\d+)$",
    )
    cpu_fallback: bool = _setting(
        False,
        "When a GPU has no memory for even one piece of a sound, go on with the CPU, which is much "
        "slower; otherwise the job is tried again later.",
    )
    enabled_engines: Names = _setting([], "Engines that may be used; empty means all.")
    preload: Names = _setting([], "Engines that are loaded when a worker starts.")
    engine_ttl: Duration = _setting(
        600.0, "How long an idle model stays in memory; 0 or less keeps it."
    )
    sweeper_interval: Duration = _setting(60.0, "How often idle models are looked for.", gt=0)
    engine_memory: ByteCount = _setting(
        0, "Memory that the models of one worker may take together; 0 is no limit.", ge=0
    )
    uvr_models_dir: Path | None = _setting(
        None, "Another folder with models, as other programs keep them."
    )
    huggingface_token: str = _setting(
        "",
        "Token for weights that their publisher guards (diarize); HF_TOKEN is taken too.",
        env="HUGGINGFACE_TOKEN",
        secret=True,
    )
    auth_token: str = _setting("", "Bearer token; empty means no authentication.", secret=True)
    cpu_workers: int | None = _setting(
        None, "CPU worker processes; default one per core, at least two.", ge=1, le=256
    )
    worker_max_jobs: int = _setting(2000, "Jobs after which a worker process is replaced.", ge=1)
    worker_max_memory: ByteCount = _setting(
        4 * 2**30, "Resident memory after which a worker process is replaced.", ge=2**28
    )
    worker_memory: ByteCount = _setting(
        4 * 2**30,
        "Memory that a CPU worker may take at once. A job that wants more is failed; the kernel "
        "holds the limit.",
        ge=2**30,
    )
    job_cpu_seconds: Duration = _setting(
        86_400.0,
        "Processor time after which the kernel ends a worker in the middle of a job.",
        ge=1,
    )
    sandbox: Literal["auto", "require", "off"] = _setting(
        "auto",
        "Workers give up all files but the program, the models and what jobs are about, before "
        "they open anything: auto as far as the kernel can, require refuses to start where it "
        "cannot, off leaves them as they are.",
    )
    require_sandbox: bool = _setting(False, "The same as AUDIOLLA_SANDBOX=require.")
    drain_timeout: Duration = _setting(
        30.0, "How long running jobs may finish at shutdown before they are put back.", ge=0
    )
    job_ttl: Duration = _setting(3600.0, "How long ended jobs of the API are kept.", ge=0)
    job_max_concurrent: int = _setting(8, "Async jobs of the API running at once.", ge=1)
    job_max_attempts: int = _setting(
        5, "How often a job is tried when a fault may pass (disk full, network, GPU memory).", ge=1
    )
    job_max_deaths: int = _setting(
        2, "Worker processes that a job may kill before it is failed.", ge=1
    )
    job_max_wall: Duration = _setting(
        21_600.0,
        "Time that one attempt at a job may take; then it is failed. 0 is no limit, as with the "
        "three below; folders (`budget`) and tokens may have smaller ones.",
        ge=0,
    )
    job_max_cpu: Duration = _setting(
        0.0, "Processor time that one attempt at a job may take.", ge=0
    )
    job_max_memory: ByteCount = _setting(
        0, "Resident memory that a worker may have while it runs a job, its models included.", ge=0
    )
    job_max_disk: ByteCount = _setting(
        12 * 2**30,
        "Room that a job may take in scratch files and in results that are being written.",
        ge=0,
    )
    job_retry_delay: Duration = _setting(
        1.0, "Longest wait before the first retry; doubles with each further one.", ge=0
    )
    job_retry_delay_max: Duration = _setting(300.0, "Longest wait before any retry.", ge=0)
    max_upload_bytes: ByteCount = _setting(
        209_715_200, "Cap on uploads, staged results and fetched bodies.", ge=1
    )
    upload_inflight: ByteCount = _setting(
        2 * 2**30,
        "Cap on all uploads that are on their way at once; further ones are asked to come again "
        "(503, Retry-After) before they send anything. One alone is always taken.",
        ge=1,
    )
    allowed_hosts: Names = _setting(
        [],
        "Names that the API is reached under (as a reverse proxy passes them on), beside addresses "
        "and names of the home network; others are refused where no token is needed, and with a "
        "list here in any case.",
    )
    trust_shared_folders: bool = _setting(
        False,
        "Believe rule files, presets and schedules in folders that others may write to: whoever "
        "may do so could put a file of their own making in the place of yours.",
    )
    mcp_tools: Literal["full", "compact"] = _setting(
        "full",
        "Tools that agents see at /v1/mcp: full is one per operation; compact is few enough for "
        "clients that take only some, and runs every operation through them.",
    )
    mcp_inline_bytes: ByteCount = _setting(
        8 * 2**20,
        "Result of a tool up to this size comes within the answer (base64); a larger one is "
        "staged and linked. Also caps what put_file takes.",
        ge=0,
    )
    upload_ttl: Duration = _setting(
        86_400.0,
        "How long an unfinished resumable upload is kept after its last byte.",
        gt=0,
    )
    max_decoded_bytes: ByteCount = _setting(
        16 * 2**30, "Cap on one sound once decoded (float32), checked while decoding.", ge=2**20
    )
    max_decoded_seconds: Duration = _setting(
        43_200.0, "Cap on the length of one sound, checked while decoding.", ge=1
    )
    max_channels: int = _setting(32, "Cap on the channels of one sound.", ge=1, le=32)
    max_output_bytes: ByteCount = _setting(
        16 * 2**30, "Cap on one file that a worker writes, results and scratch alike.", ge=2**20
    )
    memory_per_sound: ByteCount = _setting(
        96 * 2**20,
        "A sound up to this size is kept in memory between two passes; larger ones are read again.",
        ge=0,
    )
    soundfont: Path = _setting(
        Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"),
        "SoundFont that MIDI is played with where a job names none.",
    )
    recall_bytes: ByteCount = _setting(
        256 * 2**20,
        "What analyses found is kept up to this size, so that asking again is a look-up; 0 keeps "
        "nothing.",
        ge=0,
    )
    cache_bytes: ByteCount = _setting(
        2 * 2**30,
        "Results are kept up to this size and given again for the same question (X-Cache: HIT); 0 "
        "keeps none.",
        ge=0,
    )
    cache_ttl: Duration = _setting(
        86_400.0, "How long a kept result may be given again for the same question.", ge=0
    )
    fetch_mode: Mode = _setting(
        "disabled",
        "Policy for file_url and output_url: disabled refuses every URL, allowlist takes the hosts "
        "of AUDIOLLA_FETCH_HOSTS, denylist takes all others.",
    )
    fetch_hosts: Hosts = _setting(
        [], "Host patterns: a name, an address, or *.suffix for the sub-domains of a name."
    )
    fetch_schemes: Schemes = _setting(
        ["https"], "URL schemes that are allowed: https, http.", min_length=1
    )
    fetch_allow_private: bool = _setting(
        False,
        "Allow URLs (of webhooks too) with private, loopback and other not public addresses.",
    )
    fetch_timeout: Duration = _setting(
        30.0, "Time that one fetch or upload may take as a whole.", gt=0
    )
    fetch_max_redirects: int = _setting(5, "Redirects followed per fetch.", ge=0, le=20)
    fetch_workers: int = _setting(
        4, "Processes that fetch and upload, started when a URL is first used.", ge=1, le=64
    )
    webhook_hosts: Hosts = _setting(
        [], "Host patterns that webhooks may go to; empty means any host that is not denied."
    )
    webhook_secret: Secrets = _setting(
        [],
        "Signs webhooks (Standard Webhooks 1.0): base64 of 24 to 64 random bytes, whsec_ before it "
        "or not; several while one replaces the other.",
        secret=True,
    )
    webhook_timeout: Duration = _setting(
        10.0, "Time that one attempt at a webhook may take as a whole.", gt=0
    )
    webhook_ttl: Duration = _setting(
        86_400.0,
        "How long webhooks are kept after their last attempt, to be looked at or sent again.",
        ge=0,
    )
    notify_commands: bool = _setting(
        False,
        "Let `notify:` of rule files run programs. Whoever may write a rule file of a hot folder "
        "may then run anything as the daemon's user.",
    )
    smtp_host: str = _setting("", "Mail server that notices are sent over; empty sends none.")
    smtp_port: int = _setting(587, "Its port; 465 is usual for implicit TLS.", ge=1, le=65535)
    smtp_tls: Literal["starttls", "implicit", "none"] = _setting(
        "starttls", "How the connection is encrypted; a certificate that does not fit is refused."
    )
    smtp_user: str = _setting("", "Name to log in with; empty does not log in.")
    smtp_password: str = _setting("", "Password to log in with.", secret=True)
    smtp_from: str = _setting("audiolla@localhost", "Sender of the notices.", pattern=r"^[^\r\n]+$")
    smtp_timeout: Duration = _setting(
        30.0, "How long the mail server may take for an answer.", gt=0
    )
    min_free: ByteCount = _setting(
        256 * 2**20,
        "A hot folder pauses while the disk that its results go to has less room than this (of "
        "small disks a twentieth).",
        ge=0,
    )
    rescan_interval: Duration = _setting(
        2.0, "How often a hot folder is looked through whatever events say.", ge=0.05
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = _setting(
        "INFO", "Log verbosity.", env="LOG_LEVEL"
    )
    log_format: Literal["text", "json"] = _setting(
        "text",
        "Lines on standard error: text for people, or json, one object per line for programs.",
    )
    log_bytes: ByteCount = _setting(
        4 * 2**20,
        "The last lines of the log are kept up to this size in <data dir>/log, for bug reports; 0 "
        "keeps none.",
        ge=0,
    )

    @field_validator("enabled_engines")
    @classmethod
    def _known_engines(cls, slugs: list[str]) -> list[str]:
        from handlers.engines.registry import engines

        unknown = [slug for slug in slugs if slug not in engines()]
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: no such engine; known: {', '.join(engines())}")
        return slugs

    @model_validator(mode="after")
    def _hosts_to_allow(self) -> Settings:
        if self.fetch_mode == "allowlist" and not self.fetch_hosts:
            raise ValueError("AUDIOLLA_FETCH_MODE = allowlist needs AUDIOLLA_FETCH_HOSTS")
        return self

    # -- places below the data directory -------------------------------------------------
    @property
    def database(self) -> Path:
        """The queue's SQLite file."""
        return self.data_dir / "audiolla.db"

    @property
    def socket(self) -> Path:
        """The dispatcher's socket."""
        return self.data_dir / "run" / "dispatcher.sock"

    @property
    def files(self) -> Path:
        """The staging area."""
        return self.data_dir / "files"

    @property
    def uploads(self) -> Path:
        """Uploads that belong to one job each."""
        return self.data_dir / "uploads"

    @property
    def results(self) -> Path:
        """Results that somebody is waiting for."""
        return self.data_dir / "results"

    @property
    def tokens(self) -> Path:
        """The hashes of the named tokens."""
        return self.data_dir / "tokens.json"

    @property
    def recall(self) -> Path:
        """What analyses found."""
        return self.data_dir / "recall"

    @property
    def journal(self) -> Path:
        """What became of every file of the hot folders."""
        return self.data_dir / "journal"

    @property
    def notices(self) -> Path:
        """Notices that are still to be told."""
        return self.data_dir / "notices"

    @property
    def days(self) -> Path:
        """The last day that each folder has begun, for its summary."""
        return self.data_dir / "days.json"

    @property
    def mounts(self) -> Path:
        """Which mounts the folders lay on that results go to."""
        return self.data_dir / "mounts.json"

    @property
    def kept(self) -> Path:
        """The files that stay in an inbox and are not taken again."""
        return self.data_dir / "kept.jsonl"

    @property
    def logs(self) -> Path:
        """The last lines of each process' log."""
        return self.data_dir / "log"

    @property
    def cache(self) -> Path:
        """Results that are given again for the same question."""
        return self.data_dir / "cache"

    @property
    def models(self) -> Path:
        """Weights of the engines."""
        return self.data_dir / "models"

    @property
    def scratch(self) -> Path:
        """Sounds between two steps."""
        return self.data_dir / "scratch"

    @property
    def folders(self) -> Path:
        """The root of the hot folders."""
        return self.folders_dir or self.data_dir / "folders"

    @property
    def rules(self) -> Path:
        """The folder of central rule files."""
        return self.rules_dir or self.data_dir / "rules"

    @property
    def presets(self) -> Path:
        """The folder of presets."""
        return self.presets_dir or self.data_dir / "presets"

    @property
    def budget(self) -> Budget:
        """What one attempt at any job may use up."""
        given = (self.job_max_wall, self.job_max_cpu, self.job_max_memory, self.job_max_disk)
        limits = {name: value for name, value in zip(FIGURES, given, strict=True) if value}
        return Budget(**limits)

    @property
    def worker_count(self) -> int:
        """CPU worker processes to run."""
        return self.cpu_workers or max(2, len(os.sched_getaffinity(0)))


class BadSettings(Exception):
    """One or more settings cannot be used; `problems` has a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def environment_name(field: str) -> str:
    """The variable that sets a field."""
    extra = Settings.model_fields[field].json_schema_extra
    named = extra.get("env") if isinstance(extra, dict) else None
    return str(named) if named else f"AUDIOLLA_{field.upper()}"


def load(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Settings from the environment; `overrides` (from the command line) win.

    Raises:
        BadSettings: every problem at once, each with the variable's name, its
            value and what would be right. An unknown `AUDIOLLA_*` name is one.
    """
    env = os.environ if environment is None else environment
    by_variable = {environment_name(name): name for name in Settings.model_fields}
    raw: dict[str, Any] = {
        name: env[variable] for variable, name in by_variable.items() if env.get(variable)
    }
    if env.get("HF_TOKEN"):
        raw.setdefault("huggingface_token", env["HF_TOKEN"])
    raw.update({name: value for name, value in overrides.items() if value is not None})
    problems = [
        f"{name}: there is no such setting; see `audiolla settings`"
        for name in env
        if name.startswith("AUDIOLLA_") and name not in by_variable and name not in _OUTSIDE
    ]
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as wrong:
        for error in wrong.errors():
            if not error["loc"]:
                problems.append(error["msg"].removeprefix("Value error, "))
                continue
            name = str(error["loc"][0])
            hidden = "(secret)" if name in SECRET else repr(error["input"])
            problems.append(f"{environment_name(name)} = {hidden}: {error['msg']}")
        raise BadSettings(problems) from None
    if problems:
        raise BadSettings(problems)
    return settings


SECRET = frozenset(
    name
    for name, field in Settings.model_fields.items()
    if isinstance(field.json_schema_extra, dict) and field.json_schema_extra["secret"]
)
"""Names of the settings that nobody is told."""

#: Read by the launcher script before Python starts, not by the daemon.
_OUTSIDE = frozenset({"AUDIOLLA_PYTHON", "AUDIOLLA_VENV"})
