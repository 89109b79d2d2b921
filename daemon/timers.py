"""Things to do later, for a loop that sleeps until the next of them."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from daemon.clock import Clock


class Timers:
    """Callbacks by the moment they are due."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once, `seconds` from now. What is no longer wanted must find out for itself."""
        due = self._clock.monotonic() + seconds
        heapq.heappush(self._heap, (due, next(self._order), call))

    def wait(self) -> float | None:
        """Seconds until the next one; None when there is none."""
        if not self._heap:
            return None
        return max(self._heap[0][0] - self._clock.monotonic(), 0.0)

    def run(self) -> None:
        """Call everything that is due."""
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()
