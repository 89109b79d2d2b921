"""Whose turn it is: start-time fair queueing.

Each job gets a tag when it joins the queue: the later of the queue's virtual
time and the end of its share's previous job. Jobs start in the order of
their tags. A share with a hundred thousand jobs spreads them far into virtual
time, and a share that was quiet gets the tag of now: it is next.

Source: Goyal, Vin and Cheng, "Start-time Fair Queueing", SIGCOMM 1996.
"""

from __future__ import annotations

_LEAST_COST = 1e-3  # seconds; a job that claims to cost nothing still uses up a turn
_PRUNE_ABOVE = 1000


class FairClock:
    """Tags for one queue: one lane at one priority."""

    def __init__(self, now: float = 0.0) -> None:
        #: Virtual time: the tag of the last job that started.
        self.now = now
        self._ends: dict[str, float] = {}

    def tag(self, share: str, cost: float, weight: float) -> float:
        """The tag of a job that joins the queue now.

        Args:
            share: whose turn it uses up.
            cost: estimated seconds of work.
            weight: turns of this share for one of a share with weight 1.
        """
        start = max(self.now, self._ends.get(share, 0.0))
        self.extend(share, start + max(cost, _LEAST_COST) / weight)
        return start

    def extend(self, share: str, end: float) -> None:
        """Remember that the tags of a share reach up to `end`."""
        self._ends[share] = max(end, self._ends.get(share, 0.0))
        if len(self._ends) > _PRUNE_ABOVE:
            self._ends = {name: end for name, end in self._ends.items() if end > self.now}

    def started(self, tag: float) -> None:
        """A job with this tag starts: virtual time moves on."""
        self.now = max(self.now, tag)
