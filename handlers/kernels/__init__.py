"""Compiled inner loops: float32 in and out, float64 inside, the GIL released.

Each kernel is compiled at import for the types in its signature, or loaded
from numba's cache, so a wrong dtype is a TypeError and never a slow surprise.
The cache lies in `NUMBA_CACHE_DIR` if set, else beside the source, else in the
user's cache folder.
"""

from __future__ import annotations

import importlib
import pkgutil


def warm_all() -> None:
    """Import every kernel module and compile all its kernels, into the cache if there is one."""
    for module in sorted(found.name for found in pkgutil.iter_modules(__path__)):
        if not module.startswith("_"):
            loaded = importlib.import_module(f"{__name__}.{module}")
            # Kernels with signatures are compiled by the import; others say how to.
            if hasattr(loaded, "warm"):
                loaded.warm()
