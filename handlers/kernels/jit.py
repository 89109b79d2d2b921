"""The one way our kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit, types

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

#: Arguments that are only read. numba hands writable arrays to these as well, but
#: not the other way round; blocks may be read-only (a memory-mapped file).
ROW = types.Array(types.float32, 1, "C", readonly=True)
ROWS = types.Array(types.float32, 2, "C", readonly=True)
TABLE = types.Array(types.float64, 1, "C", readonly=True)
TABLES = types.Array(types.float64, 2, "C", readonly=True)

#: Arguments that are written.
OUT_ROW = types.Array(types.float32, 1, "C")
OUT_ROWS = types.Array(types.float32, 2, "C")
STATE = types.Array(types.float64, 1, "C")
STATES = types.Array(types.float64, 2, "C")
STATES_3D = types.Array(types.float64, 3, "C")

#: Multiply-add in one rounding. Never reorders a sum, so recursive filters stay what they are.
FUSED = frozenset({"contract"})
#: Also reorders sums and takes NaN for impossible: only for maxima and finite convolutions.
VECTOR = frozenset({"contract", "reassoc", "nnan", "ninf", "nsz"})


def kernel(*signatures: Any, fast: frozenset[str] = FUSED) -> Callable[[Kernel], Kernel]:
    """Compile for exactly these signatures, cached where numba finds a folder to write to."""
    options: dict[str, Any] = {
        "nogil": True,
        "fastmath": set(fast),
        "error_model": "numpy",
    }

    def compiled(func: Kernel) -> Kernel:
        try:
            ready = njit(list(signatures), cache=True, **options)(func)
        except RuntimeError as wrong:
            # A read-only installation without a cache folder still has to work.
            if "cannot cache" not in str(wrong):
                raise
            ready = njit(list(signatures), **options)(func)
        return cast(Kernel, ready)

    return compiled
