"""A sound taken apart by a model, in the form that it came in.

Models know stereo at 44.1 kHz. Every sound is made into pairs of channels at that
rate for them, and every stem is brought back: rate, channels and length are those
of the sound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from handlers.artifacts import Blocks, Samples
from handlers.codecs.resample import resampled
from handlers.engines.separator import RATE, Separator
from handlers.engines.shelf import Lent
from handlers.forked import forked
from handlers.streams import Feed, finite, fitted


def stems_of(
    sound: Blocks,
    model: Lent[Separator],
    stems: Sequence[str],
    progress: Callable[[float], None],
) -> dict[str, Blocks]:
    """The wanted stems of a sound, each as a sound of its own; one pass makes all.

    A mono sound goes through the model as both channels of a stereo one, and the mean
    of what comes out is the stem. Of more than two channels, neighbours are pairs.
    A stem that the model does not give is what the ones that it gives leave of the sound,
    at the sound's own rate: together they are the sound, to the bit depth of a float.

    Args:
        sound: any rate and channels.
        model: lends the separator.
        stems: names, in the engine's words.
        progress: told the share that is done; may raise to stop.
    """
    branches = forked(sound, lambda: _apart(sound, model, stems, progress), len(stems))
    return dict(zip(stems, branches, strict=True))


def restored(sound: Blocks, model: Lent[Separator], progress: Callable[[float], None]) -> Blocks:
    """What a model that gives one thing makes of a sound; else as `stems_of`."""
    return sound.like(lambda: (block for (block,) in _apart(sound, model, None, progress)))


def _apart(
    sound: Blocks,
    model: Lent[Separator],
    stems: Sequence[str] | None,
    progress: Callable[[float], None],
) -> Iterator[tuple[Samples, ...]]:
    with model() as separator:
        stems = separator.outputs if stems is None else stems
        left = [stem for stem in stems if stem not in separator.outputs]
        # What is left of the sound needs everything that the model gives.
        given = list(separator.outputs if left else stems)
        at_rate = resampled(_in_pairs(sound), RATE)
        channels = len(given) * at_rate.channels
        apart = at_rate.like(
            lambda: separator.separate(at_rate, given, progress), channels=channels
        )
        original = Feed(sound)
        for block in fitted(resampled(apart, sound.rate), sound.frames):
            found = dict(zip(given, _out_of_pairs(block, sound.channels), strict=True))
            if left:
                rest = original.read(block.shape[1])
                found |= dict.fromkeys(left, rest - sum(found.values()))
            yield tuple(found[stem] for stem in stems)


def _in_pairs(sound: Blocks) -> Blocks:
    """An even number of channels: the last of an odd number twice."""

    def passing() -> Iterator[Samples]:
        for block in finite(sound):
            yield np.concatenate((block, block[-1:])) if sound.channels % 2 else block

    return sound.like(passing, channels=sound.channels + sound.channels % 2, frames=sound.frames)


def _out_of_pairs(block: Samples, channels: int) -> Iterator[Samples]:
    """Each stem of a block, with as many channels as the sound has."""
    even = channels + channels % 2
    for stem in block.reshape(-1, even, block.shape[1]):
        if channels % 2:
            stem[-2] = (stem[-2] + stem[-1]) / 2
        yield np.ascontiguousarray(stem[:channels])
