"""Looks at what audiolla stands on and says how to mend what is wrong.

Every finding is one of three: it works, it works but somebody should know, or
the daemon cannot do its work with it. Nothing is changed; the one file that is
written (to see how long a durable write takes) is removed again.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import resource
import shutil
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from daemon.mounts import mount_of
from daemon.settings import Settings
from daemon.shelves import enabled, models_of, resolved_device
from handlers import chromaprint
from handlers.engines.shelf import unready
from handlers.errors import AudiollaError

Verdict = Literal["ok", "note", "problem"]

_GIB = 2**30
#: A path to a Unix socket must fit into `sun_path`, its closing NUL included.
_SOCKET_PATH_BYTES = 107


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    area: str
    subject: str
    verdict: Verdict
    #: What is there, in words and figures.
    detail: str
    #: What to do about it; empty when there is nothing to do.
    mend: str = ""

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, one by one, in the order that a reader wants them."""
    looks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _machine,
        _device,
        _sandbox,
        _packages,
        _codecs,
        _kernels,
        _programs,
        _instruments,
        _engines,
        _places,
        _database,
        _watching,
        _rules,
        _port,
    )
    for look in looks:
        try:
            yield from look(settings)
        except Exception as wrong:  # noqa: BLE001 - one look that fails must not hide the others
            area = look.__name__.strip("_")
            yield Finding(area, "look", "problem", f"{type(wrong).__name__}: {wrong}")


# ---- the machine -------------------------------------------------------------------------------


def _machine(settings: Settings) -> Iterator[Finding]:
    version = platform.python_version()
    yield Finding("machine", "python", "ok", f"{version} at {sys.executable}")
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    workers = settings.worker_count
    detail = f"{_count(cores, 'core')}, {memory / _GIB:.1f} GiB, {_count(workers, 'CPU worker')}"
    if memory < workers * _GIB:
        yield Finding(
            "machine",
            "memory",
            "note",
            f"{detail}: less than 1 GiB for each worker",
            "set AUDIOLLA_CPU_WORKERS to a smaller number",
        )
    else:
        yield Finding("machine", "memory", "ok", detail)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < 1024:
        yield Finding(
            "machine",
            "open files",
            "note",
            f"limit {soft}",
            f"raise it: ulimit -n {min(hard, 4096)}",
        )
    else:
        yield Finding("machine", "open files", "ok", f"limit {soft}")


def _device(settings: Settings) -> Iterator[Finding]:
    found, why_not = cuda_devices()
    wanted = settings.device
    if wanted == "cpu":
        yield Finding("machine", "device", "ok", "cpu, as AUDIOLLA_DEVICE says")
        return
    number = int(wanted.partition(":")[2] or 0)
    if number < len(found):
        yield Finding("machine", "device", "ok", f"cuda:{number}, {found[number]}")
    elif wanted == "auto":
        yield Finding("machine", "device", "ok", f"cpu ({why_not})")
    else:
        yield Finding(
            "machine",
            "device",
            "problem",
            f"AUDIOLLA_DEVICE = {wanted}, but {why_not or _count(len(found), 'device') + ' found'}",
            "install the NVIDIA driver, or set AUDIOLLA_DEVICE=auto",
        )


def _sandbox(settings: Settings) -> Iterator[Finding]:
    from daemon.walls import level

    can, lacks = level.possible()
    if settings.sandbox == "off":
        yield Finding(
            "machine",
            "sandbox",
            "note",
            f"off, as AUDIOLLA_SANDBOX says; this kernel can: {can}",
            "set AUDIOLLA_SANDBOX=auto",
        )
    elif lacks:
        verdict: Verdict = "problem" if level.wanted(settings) else "note"
        mend = "a kernel from 5.13 on with Landlock enabled (lsm=...,landlock)"
        yield Finding("machine", "sandbox", verdict, f"{can}; {'; '.join(lacks)}", mend)
    else:
        yield Finding("machine", "sandbox", "ok", f"workers are confined: {can}")


def cuda_devices() -> tuple[list[str], str]:
    """Names of the CUDA devices that the driver reports, and why there are none.

    Asks the driver's own library, so it needs neither torch nor the toolkit.
    """
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return [], "no NVIDIA driver"
    code = cuda.cuInit(0)
    count = ctypes.c_int()
    if code == 0:
        code = cuda.cuDeviceGetCount(ctypes.byref(count))
    if code != 0:
        return [], f"the NVIDIA driver answers with error {code}"
    names: list[str] = []
    for index in range(count.value):
        device = ctypes.c_int()
        name = ctypes.create_string_buffer(128)
        size = ctypes.c_size_t()
        cuda.cuDeviceGet(ctypes.byref(device), index)
        cuda.cuDeviceGetName(name, len(name), device)
        cuda.cuDeviceTotalMem_v2(ctypes.byref(size), device)
        names.append(f"{name.value.decode(errors='replace')}, {size.value / _GIB:.0f} GiB")
    return names, "" if names else "the NVIDIA driver sees no device"


# ---- what is installed -------------------------------------------------------------------------


def _packages(_: Settings) -> Iterator[Finding]:
    try:
        ours = metadata.distribution("audiolla")
    except metadata.PackageNotFoundError:
        yield Finding(
            "installed", "audiolla", "problem", "runs without being installed", "./audiolla setup"
        )
        return
    yield Finding("installed", "audiolla", "ok", ours.version)
    versions: list[str] = []
    for requirement in ours.requires or []:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            yield Finding("installed", name, "problem", "missing", "./audiolla setup")
    yield Finding("installed", "packages", "ok", ", ".join(versions))


def _codecs(_: Settings) -> Iterator[Finding]:
    import av
    import soundfile

    yield Finding("installed", "ffmpeg library", "ok", f"{av.ffmpeg_version_info} (inside av)")
    yield Finding("installed", "libsndfile", "ok", soundfile.__libsndfile_version__)
    can = {
        "opus": "libopus" in av.codecs_available,
        "aac": "aac" in av.codecs_available,
        "ogg": soundfile.check_format("OGG", "VORBIS"),
        "mp3": find_spec("lameenc") is not None,
    }
    missing = [name for name, there in can.items() if not there]
    if missing:
        yield Finding(
            "installed",
            "encoders",
            "note",
            f"these builds of av and soundfile cannot write {', '.join(missing)}",
            "use the packages that requirements/base.txt names: ./audiolla setup",
        )
    else:
        yield Finding("installed", "encoders", "ok", ", ".join(can))


def _kernels(_: Settings) -> Iterator[Finding]:
    import numba

    spec = find_spec("handlers.kernels")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    sources = [p for p in folder.glob("*.py") if "@kernel(" in p.read_text(encoding="utf-8")]
    caches = Path(vars(numba.config)["CACHE_DIR"] or folder / "__pycache__")
    cold = [
        source.stem
        for source in sources
        if not any(
            index.stat().st_mtime >= source.stat().st_mtime
            for index in caches.rglob(f"{source.stem}.*.nbi")
        )
    ]
    if cold:
        yield Finding(
            "installed",
            "sound kernels",
            "note",
            f"not compiled yet: {', '.join(sorted(cold))}; the first job will wait for that",
            f"{sys.executable} -m handlers.kernels",
        )
    else:
        yield Finding("installed", "sound kernels", "ok", f"compiled, in {caches}")


def _programs(_: Settings) -> Iterator[Finding]:
    present = [name for name in ("ffmpeg", "sox") if shutil.which(name)]
    if len(present) == 2:
        yield Finding("installed", "ffmpeg, sox", "ok", "only the tests compare with them")
    else:
        missing = " ".join(sorted({"ffmpeg", "sox"} - set(present)))
        yield Finding(
            "installed",
            "ffmpeg, sox",
            "note",
            f"{missing} missing: only the tests need them",
            f"apt-get install {missing}",
        )
    if chromaprint.installed():
        yield Finding("installed", "chromaprint", "ok", "the system's library")
    else:
        yield Finding(
            "installed",
            "chromaprint",
            "note",
            "the library is not there: fingerprint will refuse, nothing else needs it",
            chromaprint.INSTALL,
        )


def _instruments(settings: Settings) -> Iterator[Finding]:
    from handlers.fluidsynth import library

    try:
        library()
    except AudiollaError as missing:
        mend = "apt-get install libfluidsynth3"
        yield Finding("installed", "fluidsynth", "note", f"{missing}", mend)
    else:
        yield Finding("installed", "fluidsynth", "ok", "renders MIDI")
    if settings.soundfont.is_file():
        yield Finding("installed", "soundfont", "ok", str(settings.soundfont))
    else:
        yield Finding(
            "installed",
            "soundfont",
            "note",
            f"{settings.soundfont} is not there: a job that renders MIDI must name another",
            "apt-get install fluid-soundfont-gm, or set AUDIOLLA_SOUNDFONT",
        )


# ---- places ------------------------------------------------------------------------------------


def _engines(settings: Settings) -> Iterator[Finding]:
    device, models = resolved_device(settings.device), models_of(settings)
    ready: list[str] = []
    waiting: dict[str, list[str]] = {}
    for engine in enabled(settings):
        if engine.weights:
            why = unready(engine, models, device=device)
            (waiting.setdefault(why.kind, []) if why else ready).append(engine.slug)
    yield Finding("engines", "ready", "ok", ", ".join(ready) or "none with weights")
    says = {
        "library": ("without their packages", "./audiolla setup --engines"),
        "weights": ("without their weights", "audiolla models pull ENGINE"),
        "device": ("CUDA only", "a machine with an NVIDIA GPU"),
    }
    for kind, slugs in waiting.items():
        detail, mend = says[kind]
        yield Finding("engines", detail, "note", ", ".join(slugs), mend)


def _places(settings: Settings) -> Iterator[Finding]:
    for subject, place in (
        ("data directory", settings.data_dir),
        ("hot folders", settings.folders),
    ):
        mount = mount_of(place)
        there = next(p for p in (place, *place.parents) if p.exists())
        free = shutil.disk_usage(there).free
        detail = f"{place}, {free / _GIB:.1f} GiB free, {mount.kind}"
        if not os.access(there, os.W_OK | os.X_OK) or not there.is_dir():
            yield Finding(
                "places",
                subject,
                "problem",
                f"{place}: {'no folder' if not there.is_dir() else 'no permission to write'} "
                f"at {there}",
                "change its owner, or set AUDIOLLA_DATA_DIR to a folder of yours",
            )
        elif free < _GIB:
            yield Finding("places", subject, "note", detail, "make room: under 1 GiB is left")
        else:
            yield Finding("places", subject, "ok", detail)
    address = os.fsencode(settings.socket)
    if len(address) > _SOCKET_PATH_BYTES:
        yield Finding(
            "places",
            "socket",
            "note",
            f"{settings.socket} is {len(address)} bytes long; "
            f"programs other than ours can reach {_SOCKET_PATH_BYTES}",
            "set AUDIOLLA_DATA_DIR to a shorter path",
        )


def _database(settings: Settings) -> Iterator[Finding]:
    there = next(p for p in (settings.data_dir, *settings.data_dir.parents) if p.is_dir())
    mount = mount_of(settings.data_dir)
    if not mount.local:
        yield Finding(
            "queue",
            "file system",
            "note",
            f"{settings.data_dir} lies on {mount.kind} ({mount.point}), where locks and fsync "
            "cannot be trusted: the queue's database could be damaged",
            "set AUDIOLLA_DATA_DIR to a local disk; hot folders may stay where they are "
            "(AUDIOLLA_FOLDERS_DIR)",
        )
    if os.access(there, os.W_OK):
        took = sorted(_durable_write(there) for _ in range(5))[2] * 1000
        slow = "" if took < 50 else "a faster disk takes more jobs per second"
        verdict: Verdict = "note" if slow else "ok"
        yield Finding("queue", "durable write", verdict, f"{took:.1f} ms at {there}", slow)
    state = "no database yet"
    if settings.database.exists():
        answer = _quick_check(settings.database)
        if answer != "ok":
            yield Finding(
                "queue",
                "database",
                "problem",
                f"{settings.database}: {answer}",
                "start the daemon again, which sets the file aside and rebuilds it, or stop it and "
                "restore a backup: audiolla restore FILE",
            )
            return
        state = f"{settings.database}, {settings.database.stat().st_size / 1e6:.1f} MB, whole"
    yield Finding("queue", "database", "ok", f"SQLite {sqlite3.sqlite_version}, {state}")


def _quick_check(database: Path) -> str:
    """`ok`, or what is wrong with the file."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
        ) as connection:
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as wrong:
        return str(wrong)
    return str(answer)


def _durable_write(folder: Path) -> float:
    """Seconds that one small write takes until it is on the disk."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".audiolla-doctor-") as file:
        file.write(b"\0" * 4096)
        file.flush()
        began = time.perf_counter()
        os.fsync(file.fileno())
        return time.perf_counter() - began


def _watching(settings: Settings) -> Iterator[Finding]:
    limits = Path("/proc/sys/fs/inotify")
    if not limits.is_dir():
        yield Finding("folders", "inotify", "note", "not available: folders are rescanned instead")
        return
    watches = int((limits / "max_user_watches").read_text())
    instances = int((limits / "max_user_instances").read_text())
    folders = 0
    if settings.folders.is_dir():
        folders = sum(1 for _ in os.walk(settings.folders))
    detail = f"{folders} folders to watch, limit {watches} (and {instances} watchers)"
    if folders > watches * 0.8:
        yield Finding(
            "folders",
            "inotify",
            "note",
            f"{detail}: beyond it, new files are only found by rescans",
            f"sysctl fs.inotify.max_user_watches={max(2 * folders, 524288)}",
        )
    else:
        yield Finding("folders", "inotify", "ok", detail)


def _rules(settings: Settings) -> Iterator[Finding]:
    from daemon.presetfiles import PresetShelf
    from rules.load import Surroundings, load_rules
    from rules.written import RulesBroken

    files: list[tuple[Path, Path | None]] = [
        (path, path.parent) for path in sorted(settings.folders.glob("*/rules.yaml"))
    ]
    files += [(path, None) for path in sorted(settings.rules.glob("*.yaml"))]
    presets = PresetShelf(settings)
    good: list[str] = []
    for path, folder in files:
        around = Surroundings(folder, settings.folders, settings.files, presets.find)
        try:
            good.append(load_rules(path.read_bytes(), path, around).name)
        except RulesBroken as wrong:
            for problem in wrong.problems:
                mend = "correct the file; `audiolla rules check` tells when it is right"
                yield Finding("folders", "rules", "problem", str(problem), mend)
    listed = f"{_count(len(good), 'hot folder')}{': ' if good else ''}{', '.join(good)}"
    mend = "" if files else f"put a rules.yaml into a folder below {settings.folders}"
    yield Finding("folders", "rules", "ok", listed, mend)


# ---- the daemon --------------------------------------------------------------------------------


def _port(settings: Settings) -> Iterator[Finding]:
    where = f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        if probe.connect_ex((settings.host, settings.port)) != 0:
            yield Finding("daemon", "API", "ok", f"nobody listens at {where}: the daemon is not up")
            return
        with contextlib.suppress(OSError):
            probe.sendall(f"GET /healthz HTTP/1.0\r\nHost: {where}\r\n\r\n".encode())
            if b" 200 " in probe.recv(64):
                yield Finding("daemon", "API", "ok", f"answers at http://{where}")
                return
    yield Finding(
        "daemon",
        "API",
        "problem",
        f"another program listens at {where}",
        "stop it, or set AUDIOLLA_PORT to another port (0 takes a free one)",
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
