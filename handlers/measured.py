"""Measures a sound while it passes by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from handlers.artifacts import Blocks, Samples


class Measured:
    """A tap on a sound: the first whole pass over `sound` is metered on the way.

    Costs one loudness and true-peak pass inside the pass that happens anyway.
    """

    def __init__(self, source: Blocks) -> None:
        self._source = source
        self._facts: dict[str, Any] | None = None
        self.sound = source.like(self._passing)

    def facts(self) -> dict[str, Any]:
        """Duration in s, rate in Hz, channels, integrated loudness in LUFS, true peak in dBTP.

        Loudness and peak are None for silence. A sound that nobody has read
        to its end (it was trimmed, say) is read now.
        """
        if self._facts is None:
            for _ in self._passing():
                pass
        return self._facts or {}

    def _passing(self) -> Iterator[Samples]:
        if self._facts is not None:
            yield from self._source
            return
        from handlers.kernels.loudness import Meter

        meter = Meter(self._source.rate, self._source.channels)
        for block in self._source:
            meter.add(block)
            yield block
        self._facts = {
            "duration": meter.frames / self._source.rate,
            "sample_rate": self._source.rate,
            "channels": self._source.channels,
            "lufs": meter.integrated,
            "true_peak_dbtp": meter.true_peak_dbtp,
        }
