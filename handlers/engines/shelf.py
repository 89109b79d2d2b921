"""Keeps models loaded, lends them, and lets go of what nobody asked for in a while.

One shelf per worker process. A model is loaded once, under a lock, and lent to
as many as ask. It is evicted when it has lain idle for `ttl` seconds since its
last return, when somebody asks for that, or when the memory budget needs its
place; never while it is lent.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, TypeVar

from handlers.engines.declare import Device, Engine, Unready
from handlers.engines.files import Models, weights_missing
from handlers.errors import (
    AudiollaError,
    BadParameter,
    EngineFailed,
    UnknownEngine,
    WeightsCorrupt,
)

M = TypeVar("M")

#: Resident bytes that may stay behind when all models of a process are gone: less than the import
#: of any of the large libraries, which only the end of the process gives back.
_KEPT_AT_MOST = 32 * 2**20


@dataclass(frozen=True)
class Loaded:
    """One model in memory."""

    slug: str
    executor: str
    lent: int
    #: Seconds since its last return; 0 while it is lent.
    idle_seconds: float
    #: Resident memory that loading it took.
    bytes: int = 0


@dataclass
class _Entry:
    engine: Engine[Any]
    model: Any
    returned: float
    lent: int = 0
    #: To be dropped with its last return.
    leaving: bool = False
    #: Resident bytes that loading took.
    took: int = field(default=0)


class Shelf:
    """The models of one process."""

    def __init__(
        self,
        models: Models,
        known: Mapping[str, Engine[Any]],
        *,
        device: Device = "cpu",
        enabled: Collection[str] = (),
        ttl: float = 600.0,
        budget: int = 0,
        clock: Callable[[], float] = time.monotonic,
        changed: Callable[[list[Loaded]], None] = lambda _: None,
    ) -> None:
        """An empty shelf.

        Args:
            models: finds their files.
            known: engines by slug.
            device: where models run.
            enabled: slugs that may be used; empty means all.
            ttl: seconds after which an idle model goes; 0 or less never.
            budget: bytes that all models together may take; 0 is no limit.
            clock: seconds.
            changed: told whenever a model was loaded, lent, returned or dropped.
        """
        self.device = device
        self._models = models
        self._known = known
        self._enabled = frozenset(enabled)
        self._ttl = ttl
        self._budget = budget
        self._clock = clock
        self._changed = changed
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.RLock()
        self._loading = False
        #: Resident bytes that evictions did not give back.
        self.kept_back = 0

    # -- asking -------------------------------------------------------------------------------
    def loaded(self) -> list[Loaded]:
        """What is in memory, by slug."""
        with self._lock:
            now = self._clock()
            return [
                Loaded(slug, e.engine.executor, e.lent, 0.0 if e.lent else now - e.returned, e.took)
                for slug, e in sorted(self._entries.items())
            ]

    def unready(self, slug: str) -> Unready | None:
        """Why an engine cannot run here; None if it can."""
        return unready(self._engine(slug), self._models, device=self.device, enabled=self._enabled)

    @property
    def spent(self) -> str:
        """Why this process is worth replacing: what libraries keep of models; "" if it is not."""
        with self._lock:
            # While one makes room for another, the process is needed.
            if self._entries or self._loading or self.kept_back <= _KEPT_AT_MOST:
                return ""
            return f"{self.kept_back / 2**20:.0f} MiB of evicted engines are still in use"

    # -- lending ------------------------------------------------------------------------------
    @contextmanager
    def borrow(self, slug: str) -> Iterator[Any]:
        """The model, loaded if need be; it stays as long as it is lent.

        Raises:
            UnknownEngine: there is no such engine, or it is not enabled.
            BadParameter: it needs another device.
            WeightsMissing: its files are not there.
            EngineFailed: its library is missing, or it could not be loaded.
        """
        with self._lock:
            entry = self._entries.get(slug) or self._load(self._engine(slug))
            entry.lent += 1
        self._changed(self.loaded())
        try:
            yield entry.model
        finally:
            with self._lock:
                entry.lent -= 1
                entry.returned = self._clock()
                if entry.leaving and not entry.lent:
                    self._drop(entry)
            self._changed(self.loaded())

    def _engine(self, slug: str) -> Engine[Any]:
        if slug not in self._known:
            known = ", ".join(self._known)
            raise UnknownEngine(f"there is no engine {slug!r}; known are: {known}", field="engine")
        return self._known[slug]

    def _load(self, engine: Engine[Any]) -> _Entry:
        raise_unready(engine, self._models, device=self.device, enabled=self._enabled)
        assert engine.load is not None
        files = self._models.located(engine)
        self._loading = True
        try:
            self._make_room(engine.memory)
            before = resident()
            model = engine.load(files, self.device)
        except (AudiollaError, MemoryError):
            raise
        except (Exception, SystemExit) as wrong:
            # Several libraries end the process where they cannot load; that is only a refusal.
            raise WeightsCorrupt(
                f"engine {engine.slug} could not be loaded: {type(wrong).__name__}: {wrong}",
                hint=f"audiolla models verify {engine.slug}",
            ) from wrong
        finally:
            self._loading = False
        entry = _Entry(engine, model, self._clock(), took=max(resident() - before, 0))
        self._entries[engine.slug] = entry
        return entry

    # -- letting go ---------------------------------------------------------------------------
    def sweep(self) -> list[str]:
        """Drop what has lain idle too long; the slugs."""
        if self._ttl <= 0:
            return []
        with self._lock:
            now = self._clock()
            idle = [e for e in self._entries.values() if not e.lent]
            return self._drop_all([e for e in idle if now - e.returned >= self._ttl])

    def evict(self, slug: str) -> bool:
        """Drop a model, as soon as it is not lent; False if it is not loaded."""
        with self._lock:
            entry = self._entries.get(slug)
            if entry is None:
                return False
            if entry.lent:
                entry.leaving = True
                return True
            self._drop_all([entry])
            return True

    def evict_all(self) -> list[str]:
        """Drop all models; those that are lent go with their return."""
        with self._lock:
            slugs = list(self._entries)
            for slug in slugs:
                self.evict(slug)
            return slugs

    def _make_room(self, wanted: int) -> None:
        if not self._budget:
            return
        idle = sorted(
            (e for e in self._entries.values() if not e.lent), key=lambda entry: entry.returned
        )
        for entry in idle:
            taken = sum(max(e.took, e.engine.memory) for e in self._entries.values())
            if taken + wanted <= self._budget:
                return
            self._drop_all([entry])

    def _drop_all(self, entries: list[_Entry]) -> list[str]:
        for entry in entries:
            self._drop(entry)
        if entries:
            self._changed(self.loaded())
        return [entry.engine.slug for entry in entries]

    def _drop(self, entry: _Entry) -> None:
        del self._entries[entry.engine.slug]
        before = resident()
        if entry.engine.unload is not None:
            entry.engine.unload(entry.model)
        entry.model = None
        give_back_memory()
        given = max(before - resident(), 0)
        self.kept_back += max(round(0.9 * entry.took) - given, 0)


Borrow = Callable[[str], AbstractContextManager[Any]]
"""Lends the model of a slug as long as the context lasts; `Shelf.borrow` is one."""


@cache
def _packaged() -> Shelf:
    from handlers.engines.registry import engines

    return Shelf(Models([]), engines())


def packaged(slug: str) -> AbstractContextManager[Any]:
    """Borrow an engine whose weights an installed package carries, where no worker lends any."""
    return _packaged().borrow(slug)


@dataclass(frozen=True)
class Lent(Generic[M]):
    """What an operation gets of an engine: it may be borrowed as long as work on it lasts.

        with model() as separator:
            ...

    A streaming operation borrows inside its generator, so that the model is not
    held between two passes.
    """

    slug: str
    borrow: Borrow

    def __call__(self) -> Any:
        """Borrow it (a context manager that gives the model)."""
        return self.borrow(self.slug)


# -- readiness -----------------------------------------------------------------------------------
def unready(
    engine: Engine[Any], models: Models, *, device: Device, enabled: Collection[str] = ()
) -> Unready | None:
    """Why an engine cannot run on this machine; None if it can. Imports nothing heavy."""
    if enabled and engine.slug not in enabled:
        return Unready(
            "disabled", f"engine {engine.slug} is not enabled (AUDIOLLA_ENABLED_ENGINES)"
        )
    if engine.cuda_only and not device.startswith("cuda"):
        return Unready("device", f"engine {engine.slug} needs CUDA; this server runs on {device}")
    for library in engine.libraries:
        if importlib.util.find_spec(library) is None:
            return Unready(
                "library",
                f"engine {engine.slug} needs the package that holds {library}, "
                "which is not installed",
                "./audiolla setup --engines",
            )
    missing = models.missing(engine)
    if missing:
        refusal = weights_missing(engine, missing, models.home)
        return Unready("weights", refusal.detail, refusal.hint or "")
    return None


def raise_unready(
    engine: Engine[Any], models: Models, *, device: Device, enabled: Collection[str] = ()
) -> None:
    """Refuse an engine that cannot run on this machine.

    Raises:
        UnknownEngine: it is not enabled.
        BadParameter: it needs another device.
        EngineFailed: its library is not installed.
        WeightsMissing: its files are not there.
    """
    why = unready(engine, models, device=device, enabled=enabled)
    if why is None:
        return
    if why.kind == "weights":
        raise weights_missing(engine, models.missing(engine), models.home)
    kinds: Mapping[str, type[AudiollaError]] = {
        "disabled": UnknownEngine,
        "device": BadParameter,
        "library": EngineFailed,
    }
    raise kinds[why.kind](why.detail, field="engine", hint=why.hint or None)


# -- memory --------------------------------------------------------------------------------------
def resident() -> int:
    """Resident bytes of this process."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * 4096


def give_back_memory() -> None:
    """Return freed memory to the system, of the processor and of a GPU."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)
