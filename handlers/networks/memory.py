"""What a causal network must remember between two blocks of one sound.

A network that is meant for whole sounds puts zeros before the first frame and lets its
recurrent layers begin at rest. With these modules in their places it goes on where the
block before ended.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Memory:
    """Which sound a network works on at the moment: several may be in work at a time."""

    def __init__(self) -> None:
        self.now: dict[nn.Module, Any] = {}


class Past(nn.Module):
    """In place of `frames` zeros before a block, `(batch, channels, frames, bins)`."""

    def __init__(self, frames: int, memory: Memory) -> None:
        super().__init__()
        self._frames = frames
        self._memory = memory

    def forward(self, block: Tensor) -> Tensor:
        """The block, after the last frames of the one before it."""
        past = self._memory.now.get(self)
        if past is None:
            past = block.new_zeros((*block.shape[:2], self._frames, block.shape[3]))
        joined = torch.cat((past, block), 2)
        self._memory.now[self] = joined[:, :, joined.shape[2] - self._frames :].clone()
        return joined


class Continued(nn.Module):
    """A recurrent layer that begins in the state that it ended in."""

    def __init__(self, layer: nn.Module, memory: Memory) -> None:
        super().__init__()
        self._layer = layer
        self._memory = memory

    def forward(self, block: Tensor) -> tuple[Tensor, Tensor]:
        """What the layer gives, and its state."""
        found, state = self._layer(block, self._memory.now.get(self))
        self._memory.now[self] = state
        return found, state


def remembering(network: nn.Module, memory: Memory, recurrent: tuple[str, ...]) -> None:
    """Put memory in the place of each padding in time, and around the layers of these names.

    Raises:
        ValueError: a padding is not only before the frames.
    """
    for name in recurrent:
        where, _, last = name.rpartition(".")
        owner = network.get_submodule(where)
        setattr(owner, last, Continued(getattr(owner, last), memory))
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.ConstantPad2d):
            left, right, before, after = layer.padding
            if left or right or after:
                raise ValueError(f"{name} pads {layer.padding}, not only before the frames")
            where, _, last = name.rpartition(".")
            setattr(network.get_submodule(where), last, Past(before, memory))
