"""The engines that take sounds apart, with small random weights in the real formats."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from handlers.engines.declare import Engine
from handlers.engines.registry import find_engine
from tests.handlers.engines.tiny_demucs import write_hdemucs, write_htdemucs
from tests.handlers.engines.tiny_roformer import BS, MEL_BAND, settings_of, write_roformer
from tests.handlers.engines.tiny_vr import WIDTH, write_vr


def places(slug: str, root: Path) -> list[Path]:
    """Where the weights of an engine belong below a models folder."""
    engine = find_engine(slug)
    return [root / engine.home / file.path for file in engine.weights]


def _demucs(slug: str, root: Path) -> Path:
    stems = find_engine(slug).stems
    for seed, path in enumerate(places(slug, root)):
        if slug == "mdx_extra":
            write_hdemucs(path, stems, seed, cac=seed % 2 == 0)
        else:
            write_htdemucs(path, stems, seed)
    return places(slug, root)[0].parent


def _roformer(model: dict[str, Any], target: str, other: str, slug: str, root: Path) -> Path:
    write_roformer(*places(slug, root), settings_of(model, target, other))
    return places(slug, root)[0].parent


def _vr(slug: str, root: Path) -> Path:
    write_vr(*places(slug, root))
    return places(slug, root)[0].parent


_WRITERS: Mapping[str, Callable[[str, Path], Path]] = {
    "htdemucs": _demucs,
    "htdemucs_6s": _demucs,
    "htdemucs_ft": _demucs,
    "mdx_extra": _demucs,
    "uvr-vocal-bsr": partial(_roformer, BS, "Vocals", "Instrumental"),
    "uvr-karaoke": partial(_roformer, MEL_BAND, "Vocals", "Instrumental"),
    "uvr-denoise": partial(_roformer, MEL_BAND, "dry", "other"),
    "uvr-dereverb": partial(_roformer, BS, "noreverb", "reverb"),
    "uvr-deecho": _vr,
    "uvr-deecho-aggressive": _vr,
}

SEPARATORS: Mapping[str, Callable[[Path], Path]] = {
    slug: partial(writer, slug) for slug, writer in _WRITERS.items()
}
"""Writes the weights of each engine below a models folder; gives their folder."""


def smaller(engine: Engine[Any]) -> Engine[Any]:
    """The engine, told of what is smaller about its small weights, and on any device."""
    load: Any = engine.load
    if engine.slug in ("uvr-deecho", "uvr-deecho-aggressive"):
        load = partial(load, **WIDTH)
    if engine.slug == "mdx_extra":
        # Its windows of 44 s say nothing that shorter ones do not.
        load = partial(load, segment=2)
    return replace(engine, load=load, cuda_only=False)
