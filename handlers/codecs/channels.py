"""A sound with another number of channels, streaming."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Blocks, Samples
from handlers.errors import CannotProcess

_S = 0.5**0.5
#: How a layout of so many channels (in WAVE order) comes down to left and right: ITU-R BS.775-3,
#: centre and surrounds 3 dB down, LFE left out; a lone rear centre goes to both sides.
_DOWN: dict[int, tuple[tuple[float, ...], tuple[float, ...]]] = {
    3: ((1, 0, _S), (0, 1, _S)),
    4: ((1, 0, _S, 0), (0, 1, 0, _S)),
    5: ((1, 0, _S, _S, 0), (0, 1, _S, 0, _S)),
    6: ((1, 0, _S, 0, _S, 0), (0, 1, _S, 0, 0, _S)),
    7: ((1, 0, _S, 0, _S / 2**0.5, _S, 0), (0, 1, _S, 0, _S / 2**0.5, 0, _S)),
    8: ((1, 0, _S, 0, _S, 0, _S, 0), (0, 1, _S, 0, 0, _S, 0, _S)),
}


def remixed(sound: Blocks, channels: int) -> Blocks:
    """The sound with `channels` channels; itself if it has so many.

    - Mono to any number: the channel is copied to each, at its level.
    - Stereo to mono: the mean of both.
    - 3 to 8 channels (WAVE order: 3.0, quad, 5.0, 5.1, 6.1, 7.1) to stereo:
      ITU-R BS.775-3, scaled so that full scale in every channel is full scale
      still. To mono: the mean of that stereo.
    - More than 8 channels to mono: the mean of all.

    Raises:
        CannotProcess: any other change; nobody could say which speaker is meant.
    """
    matrix = mixing_matrix(sound.channels, channels)
    if matrix is None:
        return sound

    def mixed() -> Iterator[Samples]:
        for block in sound:
            yield np.ascontiguousarray(matrix @ block)

    return sound.like(mixed, channels=channels)


def mixing_matrix(old: int, new: int) -> NDArray[np.float32] | None:
    """Gains `(new, old)`; None where nothing changes.

    Raises:
        CannotProcess: there is no agreed way from `old` to `new` channels.
    """
    if new == old:
        return None
    if old == 1:
        return np.ones((new, 1), np.float32)
    if new == 1 and (old == 2 or old not in _DOWN):
        return np.full((1, old), 1 / old, np.float32)
    if new <= 2 and old in _DOWN:
        stereo = np.array(_DOWN[old])
        stereo /= np.abs(stereo).sum(axis=1, keepdims=True)
        return (stereo if new == 2 else stereo.mean(axis=0, keepdims=True)).astype(np.float32)
    raise CannotProcess(
        f"{old} channels cannot be made {new}: known are mono to any, up to 8 channels to stereo, "
        "and any to mono",
        field="channels",
    )
