"""Engines whose weights are small and random, loaded and run by the real code.

`write_weights` puts them where the real ones would lie; `lent` gives an operation
what the shelf of a worker would.
"""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from handlers.engines.declare import Engine
from handlers.engines.files import Models
from handlers.engines.registry import engines
from handlers.engines.shelf import Lent, Shelf
from tests.handlers.engines.tiny_demucs import write_hdemucs, write_htdemucs
from tests.handlers.engines.tiny_roformer import BS, MEL_BAND, settings_of, write_roformer
from tests.handlers.engines.tiny_vr import WIDTH, write_vr


def _htdemucs(engine: Engine[Any], files: list[Path]) -> None:
    for seed, path in enumerate(files):
        write_htdemucs(path, engine.stems, seed)


def _hdemucs(engine: Engine[Any], files: list[Path]) -> None:
    for seed, path in enumerate(files):
        write_hdemucs(path, engine.stems, seed, cac=seed % 2 == 0)


def _roformer(
    model: dict[str, Any], target: str, other: str, _: Engine[Any], files: list[Path]
) -> None:
    write_roformer(*files, settings_of(model, target, other))


def _vr(_: Engine[Any], files: list[Path]) -> None:
    write_vr(*files)


MAKERS: Mapping[str, Callable[[Engine[Any], list[Path]], None]] = {
    "htdemucs": _htdemucs,
    "htdemucs_6s": _htdemucs,
    "htdemucs_ft": _htdemucs,
    "mdx_extra": _hdemucs,
    "uvr-vocal-bsr": partial(_roformer, BS, "Vocals", "Instrumental"),
    "uvr-karaoke": partial(_roformer, MEL_BAND, "Vocals", "Instrumental"),
    "uvr-denoise": partial(_roformer, MEL_BAND, "dry", "other"),
    "uvr-dereverb": partial(_roformer, BS, "noreverb", "reverb"),
    "uvr-deecho": _vr,
    "uvr-deecho-aggressive": _vr,
}


def engine(slug: str) -> Engine[Any]:
    """The declared engine, for weights of any size and on any device."""
    declared = engines()[slug]
    weights = tuple(replace(file, size=None, sha256=None) for file in declared.weights)
    load = declared.load
    if isinstance(load, partial) and "nout" in load.keywords:
        load = partial(load, **WIDTH)
    if slug == "mdx_extra":
        # Its windows of 44 s say nothing that shorter ones do not.
        load = partial(load, segment=2)
    return replace(declared, weights=weights, load=load, cuda_only=False, memory=0)


def write_weights(slug: str, root: Path) -> list[Path]:
    """Small weights of an engine below a models folder, named like the real ones."""
    declared = engine(slug)
    files = [root / declared.home / file.path for file in declared.weights]
    MAKERS[slug](declared, files)
    return files


def shelf_with(root: Path, *slugs: str, **about: Any) -> Shelf:
    """A shelf that finds weights of engines below `root`."""
    known = {slug: engine(slug) for slug in slugs}
    return Shelf(Models([root]), known, **about)


@cache
def _root() -> Path:
    root = Path(tempfile.mkdtemp(prefix="tiny-models-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


@cache
def _shelf(slug: str) -> Shelf:
    """One per engine, kept for the session: loading takes longer than running."""
    if slug in MAKERS:
        write_weights(slug, _root())
    return shelf_with(_root(), slug)


def lent(slug: str) -> Lent[Any]:
    """What an operation gets for an engine."""
    return Lent(slug, _shelf(slug).borrow)
