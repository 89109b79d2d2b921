"""Finds every engine that this package declares."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from handlers.engines.declare import Engine
from handlers.errors import UnknownEngine


@cache
def engines() -> Mapping[str, Engine[Any]]:
    """All engines by slug, in its order.

    Raises:
        TypeError: two have the same slug, or a file declares none.
    """
    found: dict[str, Engine[Any]] = {}
    for info in pkgutil.iter_modules([str(Path(__file__).parent)]):
        module = importlib.import_module(f"handlers.engines.{info.name}")
        declared = getattr(module, "ENGINES", None) or [getattr(module, "ENGINE", None)]
        for engine in declared:
            if engine is None:
                continue
            if engine.slug in found:
                raise TypeError(f"engine {engine.slug} is declared twice")
            found[engine.slug] = engine
    return dict(sorted(found.items()))


def find_engine(slug: str) -> Engine[Any]:
    """The engine of this slug.

    Raises:
        UnknownEngine: there is none.
    """
    known = engines()
    if slug not in known:
        raise UnknownEngine(
            f"there is no engine {slug!r}; known are: {', '.join(known)}", field="engine"
        )
    return known[slug]
