"""Half the rate of `MONO`: enough for harmony, and half the work."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from handlers.artifacts import Samples
from handlers.hearing import MONO, MONO_RATE, Form, Stage

HALF_RATE = MONO_RATE // 2

#: Of the filter, on either side.
_TAPS = 12


class _Halver:
    """Every second sample, without what would come back from above half the rate."""

    def __init__(self, _form: Form) -> None:
        self.form = Form(HALF_RATE, 1)
        # A sinc at half of Nyquist under half a Hann window.
        k = np.arange(_TAPS)
        taps = np.sinc(k / 2) / 2 * np.cos(np.pi / 2 * k / _TAPS) ** 2
        self._taps = (taps / (2 * taps.sum() - taps[0])).astype(np.float32)
        self._waiting = np.zeros(_TAPS - 1, np.float32)

    def add(self, piece: Samples) -> Iterable[Samples]:
        """What can be said after this piece."""
        from handlers.kernels.flux import halved

        known = np.concatenate((self._waiting, piece))
        count = max(0, (known.size - 2 * (_TAPS - 1) + 1) // 2)
        out = np.empty(count, np.float32)
        if count:
            halved(known, self._taps, out)
        self._waiting = known[2 * count :]
        return (out,) if count else ()

    def end(self) -> Iterable[Samples]:
        """What waited for samples that do not come."""
        return self.add(np.zeros(_TAPS - 1, np.float32))


HALF = Stage("half", MONO, _Halver)
"""The mean of all channels, float32 `(n,)` at `HALF_RATE`, clean up to 4 kHz."""
