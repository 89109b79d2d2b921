"""Several sounds that are made by one pass over another."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from handlers.artifacts import Blocks, Samples

T = TypeVar("T")

KEPT_BYTES = 256 << 20
"""Memory for what waits while another branch is read: 12 minutes of stereo at 44.1 kHz."""


def forked(
    source: Blocks,
    make: Callable[[], Iterator[tuple[Samples, ...]]],
    branches: int,
    keep_bytes: int = KEPT_BYTES,
) -> tuple[Blocks, ...]:
    """The sounds that `make` yields side by side, each to be read on its own.

    Read side by side, they cost one pass and keep nothing. Read one after another,
    whoever is first makes the pass; what the others will want is kept, once, if it
    takes no more than `keep_bytes`. Else they make a pass of their own.

    Args:
        source: what the sounds are like in rate, channels and length.
        make: starts one pass; yields one block per branch.
        branches: how many.
        keep_bytes: memory for what is kept.
    """
    passes: list[_Pass] = []

    def reading(branch: int) -> Iterator[Samples]:
        shared = next((one for one in passes if one.awaits(branch)), None)
        if shared is None:
            shared = _Pass(make(), branches, keep_bytes)
            passes.append(shared)
        try:
            yield from shared.read(branch)
        finally:
            if shared.over and shared in passes:
                passes.remove(shared)

    def branch_of(branch: int) -> Blocks:
        return Blocks(
            lambda: reading(branch),
            rate=source.rate,
            channels=source.channels,
            frames=source.stated_frames,
            facts=source.facts,
            beside=passes,
        )

    return tuple(branch_of(branch) for branch in range(branches))


class _Pass:
    """One pass, and what some branches have not read of it yet."""

    def __init__(
        self, running: Iterator[tuple[Samples, ...]], branches: int, keep_bytes: int
    ) -> None:
        self._running = running
        self._limit = keep_bytes
        self._kept = 0
        self._waiting: dict[int, deque[Samples]] = {at: deque() for at in range(branches)}
        #: Branches whose reader has not come yet.
        self._absent = set(range(branches))

    def awaits(self, branch: int) -> bool:
        """True if nothing of this pass is lost for a branch, and nobody reads it."""
        return branch in self._absent

    @property
    def over(self) -> bool:
        """True when nobody reads and nobody can come."""
        return not self._waiting

    def read(self, branch: int) -> Iterator[Samples]:
        self._absent.discard(branch)
        mine = self._waiting[branch]
        try:
            while True:
                if not mine:
                    self._advance()
                if not mine:
                    return
                block = mine.popleft()
                self._kept -= block.nbytes
                yield block
        finally:
            self._kept -= sum(block.nbytes for block in self._waiting.pop(branch))

    def _advance(self) -> None:
        blocks = next(self._running, ())
        for branch, waiting in self._waiting.items():
            if blocks:
                waiting.append(blocks[branch])
                self._kept += blocks[branch].nbytes
        # The block that everyone reads next does not count: side by side nothing is kept.
        behind = any(len(waiting) > 1 for waiting in self._waiting.values())
        if behind and self._kept > self._limit:
            for branch in self._absent:
                self._kept -= sum(block.nbytes for block in self._waiting.pop(branch))
            self._absent.clear()


_DEPTH = 4
_PATIENCE = 0.1  # how long one waits for the other before it looks whether that one still works


def side_by_side(sounds: Sequence[Blocks], take: Callable[[int, Blocks], T]) -> list[T]:
    """Hand several sounds to takers that read them at the same time, in one pass together.

    This thread reads the sounds, block by block, one after another; each taker
    works in a thread of its own and may read the sound that it is given once.

    Args:
        sounds: of one `forked`, or wrapped around such.
        take: called with the number of a sound and the sound.

    Returns:
        What `take` returned, in order.

    Raises:
        BaseException: what reading raises, or the first taker that fails.
    """
    waiting: list[queue.Queue[Samples | None]] = [queue.Queue(_DEPTH) for _ in sounds]
    stopped = threading.Event()

    def arriving(at: int) -> Iterator[Samples]:
        while True:
            try:
                block = waiting[at].get(timeout=_PATIENCE)
            except queue.Empty:
                if stopped.is_set():
                    raise _Stopped from None
                continue
            if block is None:
                return
            yield block

    def hand(at: int, block: Samples | None, taker: Future[T]) -> None:
        while not taker.done():
            try:
                waiting[at].put(block, timeout=_PATIENCE)
            except queue.Full:
                continue
            return
        taker.result()  # raises what it failed with; one that wants no more is content

    with ThreadPoolExecutor(len(sounds), thread_name_prefix="side by side") as pool:
        takers = [
            pool.submit(take, at, sound.like(partial(arriving, at)))
            for at, sound in enumerate(sounds)
        ]
        try:
            for blocks in zip(*sounds, strict=True):
                for at, block in enumerate(blocks):
                    hand(at, block, takers[at])
            for at, taker in enumerate(takers):
                hand(at, None, taker)
            return [taker.result() for taker in takers]
        finally:
            stopped.set()


class _Stopped(BaseException):
    """Ends a taker whose sound will not go on; nobody sees it."""
