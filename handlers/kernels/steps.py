"""Energies of a sound in steps of equal length."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import ROWS, STATES, VECTOR, kernel

AddTo = Callable[[Samples, int, int, NDArray[np.float64]], None]


class Steps:
    """Sums over steps of equal length, wherever the blocks begin and end."""

    def __init__(self, add: AddTo, step: int, sums: int) -> None:
        """`add` is one of the kernels below, `sums` how many it adds up of each step."""
        self._add, self._step = add, step
        self._done: list[NDArray[np.float64]] = []
        self._open = np.zeros((1, sums))
        self._filled = 0

    def add(self, block: Samples) -> None:
        """Add up the next block `(channels, n)`."""
        steps, filled = divmod(self._filled + block.shape[1], self._step)
        sums = np.zeros((steps + 1, self._open.shape[1]))
        sums[0] = self._open[0]
        self._add(block, self._filled, self._step, sums)
        if steps:
            self._done.append(sums[:steps])
        self._open, self._filled = sums[steps:], filled

    def done(self) -> tuple[NDArray[np.float64], int]:
        """`(steps, sums)`, and the frames that the last step has; all others are full."""
        last = [self._open] if self._filled else []
        return np.concatenate([np.zeros((0, self._open.shape[1])), *self._done, *last]), (
            self._filled or self._step
        )


@kernel(types.void(ROWS, types.int64, types.int64, STATES), fast=VECTOR)
def add_energies(sound: Samples, filled: int, step: int, sums: NDArray[np.float64]) -> None:
    """Add the sum of squares, over all channels, of each step.

    Args:
        sound: the next block, `(channels, n)`.
        filled: frames that the first step has already.
        step: frames per step.
        sums: `(steps, 1)`, one row for each step that the block has frames of; added to.
    """
    for channel in range(sound.shape[0]):
        row = sound[channel]
        at, filled_now, number = 0, filled, 0
        while at < row.size:
            end = min(row.size, at + step - filled_now)
            total = 0.0
            for i in range(at, end):
                x = np.float64(row[i])
                total += x * x
            sums[number, 0] += total
            at, filled_now, number = end, 0, number + 1


@kernel(types.void(ROWS, types.int64, types.int64, STATES), fast=VECTOR)
def add_products(sound: Samples, filled: int, step: int, sums: NDArray[np.float64]) -> None:
    """Add up left, right, left squared, right squared and left times right of each step.

    Args:
        sound: the next block; its first two rows are left and right.
        filled: frames that the first step has already.
        step: frames per step.
        sums: `(steps, 5)`, one row for each step that the block has frames of; added to.
    """
    left, right = sound[0], sound[1]
    at, number = 0, 0
    while at < left.size:
        end = min(left.size, at + step - filled)
        l1, r1, l2, r2, lr = 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(at, end):
            x, y = np.float64(left[i]), np.float64(right[i])
            l1 += x
            r1 += y
            l2 += x * x
            r2 += y * y
            lr += x * y
        sums[number, 0] += l1
        sums[number, 1] += r1
        sums[number, 2] += l2
        sums[number, 3] += r2
        sums[number, 4] += lr
        at, filled, number = end, 0, number + 1
