"""How an engine is declared, once.

An engine is what an operation stands on: a library, or a model with weights. A
file of this package declares one engine as `ENGINE` (or, where several differ
only in their weights, some as `ENGINES`). Nobody calls `load` but the shelf.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

M = TypeVar("M")

Lane = Literal["cpu", "gpu"]
"""Which workers run it."""

Device = str
"""`cpu`, `cuda` or `cuda:N`; never `auto`."""


@dataclass(frozen=True)
class WeightsFile:
    """One file that an engine needs before it can be loaded."""

    #: Path below the engine's folder.
    path: str
    #: Its published home: `https://...`, `hf:<repository>@<revision>/<path>`, or
    #: `package:<package>/<path>` for one that an installed package carries.
    source: str
    #: Bytes; None where the publisher does not say.
    size: int | None = None
    #: Of the whole file, hexadecimal; None where no one has published it yet.
    sha256: str | None = None

    @property
    def packaged(self) -> bool:
        """True when an installed package carries it."""
        return self.source.startswith("package:")


@dataclass(frozen=True)
class Engine(Generic[M]):
    """Everything that anybody needs to know about one engine."""

    slug: str
    #: What kind of thing runs it, as the contract names it.
    executor: str
    description: str
    lane: Lane = "cpu"
    #: What it is lent for: `separate`, `restore`, `enhance`, ...; "" for a library without weights.
    capability: str = ""
    #: Modules that must be installed.
    libraries: tuple[str, ...] = ()
    weights: tuple[WeightsFile, ...] = ()
    #: Under which terms its weights are given.
    licence: str = ""
    #: Whoever fetches its weights must say that they accept `licence`.
    ask: bool = False
    #: What must be accepted, and where, before its weights can be fetched; "" if nothing.
    gate: str = ""
    #: A token for its publisher is needed to fetch its weights.
    wants_token: bool = False
    #: Folder of its weights below a models folder; the slug unless several share one.
    folder: str = ""
    stems: tuple[str, ...] = ()
    presets: tuple[str, ...] = ()
    cuda_only: bool = False
    #: Bytes that it takes when loaded, about.
    memory: int = 0
    #: Makes the model from its files, by `WeightsFile.path`.
    load: Callable[[Mapping[str, Path], Device], M] | None = None
    #: Lets go of what garbage collection would not.
    unload: Callable[[M], None] | None = None

    @property
    def loadable(self) -> bool:
        """True when it has something to load."""
        return self.load is not None

    @property
    def home(self) -> str:
        """Its folder below a models folder."""
        return self.folder or self.slug


@dataclass(frozen=True)
class Unready:
    """Why an engine cannot run here."""

    kind: Literal["disabled", "device", "library", "weights"]
    detail: str
    #: What would make it ready.
    hint: str = ""


def described(engine: Engine[Any]) -> dict[str, Any]:
    """An engine as `/v1/engines` and the catalogue show it."""
    return {
        "slug": engine.slug,
        "executor": engine.executor,
        "variant": None,
        "stems": list(engine.stems) or None,
        "presets": list(engine.presets) or None,
        "description": engine.description,
    }
