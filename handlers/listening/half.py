"""Half the rate of `MONO`: enough for harmony, and half the work."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from handlers.artifacts import Samples
from handlers.hearing import MONO, MONO_RATE, Form, Stage

HALF_RATE = MONO_RATE // 2

#: Of the filter on either side, without those that are zero.
_TAPS = 10
_REACH = 2 * _TAPS - 1


class _Halver:
    """Every second sample, without what would come back from above half the rate."""

    def __init__(self, _form: Form) -> None:
        self.form = Form(HALF_RATE, 1)
        # A sinc at half of Nyquist under half a Hann window, its sum a half on either side.
        k = np.arange(1, _REACH + 1, 2)
        taps = np.sinc(k / 2) * np.cos(np.pi / 2 * k / (_REACH + 1)) ** 2
        self._taps = (taps / (4 * taps.sum())).astype(np.float32)
        self._waiting = np.zeros(_REACH, np.float32)

    def add(self, piece: Samples) -> Iterable[Samples]:
        """What can be said after this piece."""
        from handlers.kernels.harmony import halved

        known = np.concatenate((self._waiting, piece))
        count = max(0, (known.size - 2 * _REACH + 1) // 2)
        if not count:
            self._waiting = known
            return ()
        out = np.empty(count, np.float32)
        halved(known, self._taps, out)
        self._waiting = known[2 * count :]
        return (out,)

    def end(self) -> Iterable[Samples]:
        """What waited for samples that do not come."""
        return self.add(np.zeros(_REACH, np.float32))


HALF = Stage("half", MONO, _Halver)
"""The mean of all channels, float32 `(n,)` at `HALF_RATE`, clean up to 4 kHz."""
