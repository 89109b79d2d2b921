"""Several sounds that are made by one pass over another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from handlers.artifacts import Blocks, Samples

KEPT_BYTES = 256 << 20
"""Memory for what waits while another branch is read: 12 minutes of stereo at 44.1 kHz."""


def forked(
    source: Blocks,
    make: Callable[[], Iterator[tuple[Samples, ...]]],
    branches: int,
    keep_bytes: int = KEPT_BYTES,
) -> tuple[Blocks, ...]:
    """The sounds that `make` yields side by side, each to be read on its own.

    Whoever is read first makes the pass; what the others will want is kept, once,
    if it takes no more than `keep_bytes`. Else they make a pass of their own.

    Args:
        source: what the sounds are like in rate, channels and length.
        make: starts one pass; yields one block per branch.
        branches: how many.
        keep_bytes: memory for what is kept.
    """
    kept: dict[int, list[Samples]] = {}

    def passing(branch: int) -> Iterator[Samples]:
        if branch in kept:
            yield from kept.pop(branch)
            return
        others = [other for other in range(branches) if other != branch]
        keeping: dict[int, list[Samples]] = {other: [] for other in others}
        size = 0
        for blocks in make():
            size += sum(blocks[other].nbytes for other in others)
            if size > keep_bytes:
                keeping = {}
            for other, pieces in keeping.items():
                pieces.append(blocks[other])
            yield blocks[branch]
        kept.update(keeping)

    def branch_of(branch: int) -> Blocks:
        return source.like(lambda: passing(branch))

    return tuple(branch_of(branch) for branch in range(branches))
