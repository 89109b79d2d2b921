"""Noise reduction: a gate for every spot of the spectrum."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from handlers.artifacts import Blocks, Result, Samples
from handlers.declare import Example, Params, Progress, operation
from handlers.engines.separator import Separator
from handlers.engines.shelf import Lent

if TYPE_CHECKING:
    from handlers.spectral import Spectra

_ENGINES = ("noise-reduce", "uvr-denoise")


class NoiseReduce(Params):
    """What to remove, and how much of it."""

    engine: str = Field(
        "noise-reduce",
        description="Spectral gate, or neural model.",
        json_schema_extra={"enum": list(_ENGINES)},
    )
    stationary: bool = Field(
        False,
        description="The noise never changes: learn it once, from the first 13 seconds "
        "(engine noise-reduce).",
    )
    prop_decrease: float = Field(
        1.0, ge=0, le=1, description="Share of the noise to remove (engine noise-reduce)."
    )


class Denoised(Result):
    """The sound, and what was done to it."""

    sound: Blocks
    engine: str
    stationary: bool
    prop_decrease: float


@operation(
    route="/v1/audio/noise-reduce/{engine}",
    category="restoration",
    engines=_ENGINES,
    lanes={"uvr-denoise": "gpu"},
    pipeline=True,
    examples=[
        Example("Take down noise that comes and goes.", engine="noise-reduce"),
        Example(
            "Half of a steady hiss.", engine="noise-reduce", stationary=True, prop_decrease=0.5
        ),
    ],
)
def noise_reduce(
    sound: Blocks, p: NoiseReduce, model: Lent[Separator], progress: Progress
) -> Denoised:
    """Reduce background noise.

    The engine noise-reduce is a gate: every spot of the spectrum that does not
    stand out of the noise floor of its frequency is turned down. The floor follows
    the sound within two seconds either way; with `stationary` it is learnt once.
    Keeps rate, channels and length; channels do not influence each other. The
    engine uvr-denoise is the model of `restore`, and does what is said there.

    Raises:
        WeightsMissing: the engine needs a model that is not there.

    Source: T. Sainburg, noisereduce 3 (constants and both kinds of mask), after
    Sainburg, Thielk and Gentner, PLOS Comput. Biol. 16(10), 2020. Its mask fades
    at 0 Hz and at both ends of a sound; this one does not.
    """
    if p.engine == "noise-reduce":
        passed = sound.like(lambda: _passing(sound, p))
    else:
        from handlers.stems import restored

        passed = restored(sound, model, progress)
    return Denoised(
        sound=passed,
        engine=p.engine,
        stationary=p.stationary,
        prop_decrease=p.prop_decrease,
    )


_LOOK_AHEAD_S = 10.0
_CHUNK_S = 8.0
_TIME_CONSTANT_S = 2.0
_ABOVE, _SLOPE = 2.0, 10.0
_DEVIATIONS = 1.5
_SMOOTH_HZ, _SMOOTH_S = 500.0, 0.05


class _Scale:
    """The gate's constants in frames and bins; those of 44.1 kHz last as long at any rate."""

    def __init__(self, rate: int) -> None:
        self.size = int(1024 * 2.0 ** max(-2, round(math.log2(rate / 44100))))
        self.hop = self.size // 4
        frames = _TIME_CONSTANT_S * rate / self.hop
        self.share = (math.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
        self.in_bins = _triangle(int(_SMOOTH_HZ / (rate / (self.size / 2))))
        self.in_time = _triangle(int(_SMOOTH_S * rate / self.hop))
        self.reach = len(self.in_time) // 2
        self.ahead = math.ceil(_LOOK_AHEAD_S * rate / self.hop)
        self.chunk = math.ceil(_CHUNK_S * rate / self.hop)
        self.profile = 600_000 * self.size // 1024


def _triangle(reach: int) -> Samples:
    """Weights that fall linearly to both sides; 1 in all."""
    weights = np.concatenate((np.arange(1, reach + 2), np.arange(reach, 0, -1))).astype(np.float32)
    return np.asarray(weights / weights.sum())


def _passing(sound: Blocks, p: NoiseReduce) -> Iterator[Samples]:
    from handlers.kernels.noise_gate import apply_smoothed
    from handlers.spectral import Held, Resynthesis, spectra

    scale = _Scale(sound.rate)
    gate = _SteadyFloor(sound, scale) if p.stationary else _MovingFloor(sound.channels, scale)
    synthesis = Resynthesis(sound.channels, scale.size, scale.hop)
    held = Held(sound.channels, scale.size // 2 + 1, np.complex64)
    frames = given = past = 0

    def counted() -> Iterator[Samples]:
        nonlocal frames
        for block in sound:
            frames += block.shape[1]
            yield block

    def advance(count: int) -> Samples:
        nonlocal past
        gated = held.frames[:, past : past + count].copy()
        # No further than promised, even if more is in hand: blocks must not be heard.
        known = min(len(held), past + count + scale.ahead)
        wanted = min(known, past + count + scale.reach)
        for channel in range(sound.channels):
            mask = gate.mask(channel, wanted, known)
            apply_smoothed(
                mask, scale.in_time, scale.in_bins, past, p.prop_decrease, gated[channel]
            )
        gone = max(0, past + count - scale.reach)
        past += count - gone
        held.drop(gone)
        gate.forget(gone)
        return synthesis.add(gated)

    for batch in spectra(counted(), sound.channels, scale.size, scale.hop):
        held.append(batch)
        gate.learn(batch)
        while len(held) - past >= scale.chunk + scale.ahead:
            piece = advance(scale.chunk)
            given += piece.shape[1]
            yield piece
    piece = advance(len(held) - past)
    given += piece.shape[1]
    if piece.shape[1]:
        yield piece
    rest = synthesis.rest(frames - given)
    if rest.shape[1]:
        yield rest


class _MovingFloor:
    """Holds the magnitudes of the frames in hand, and the forward half of their average."""

    def __init__(self, channels: int, scale: _Scale) -> None:
        from handlers.spectral import Held

        self._size = Held(channels, scale.size // 2 + 1, np.float32)
        self._followed = Held(channels, scale.size // 2 + 1, np.float32)
        self._state: Samples | None = None
        self._share = scale.share

    def learn(self, batch: Spectra) -> None:
        """Take further frames."""
        from handlers.kernels.noise_gate import follow

        size = np.abs(batch)
        if self._state is None:
            # As if the sound had always been what it is in its first frame.
            self._state = size[:, 0].copy()
        followed = np.empty_like(size)
        for channel, state in enumerate(self._state):
            follow(size[channel], self._share, state, followed[channel])
        self._size.append(size)
        self._followed.append(followed)

    def forget(self, frames: int) -> None:
        """Drop the first frames."""
        self._size.drop(frames)
        self._followed.drop(frames)

    def mask(self, channel: int, frames: int, known: int) -> Samples:
        """What of the first `frames` frames to keep, told by the first `known`."""
        from handlers.kernels.noise_gate import mask_above_floor

        size = self._size.frames[channel, :known]
        followed = self._followed.frames[channel, :known]
        mask = np.empty((frames, size.shape[1]), np.float32)
        mask_above_floor(size, followed, self._share, _ABOVE, _SLOPE, mask)
        return mask


class _SteadyFloor:
    """A threshold per channel and bin, learnt from the beginning of the sound."""

    def __init__(self, sound: Blocks, scale: _Scale) -> None:
        from handlers.spectral import Held, spectra

        self._size = Held(sound.channels, scale.size // 2 + 1, np.float32)
        profile = spectra(_first(sound, scale.profile), sound.channels, scale.size, scale.hop)
        parts = [np.abs(batch) for batch in profile]
        sizes = np.concatenate(parts, axis=1).astype(np.float64) / (scale.size / 2)
        levels_db = 20 * np.log10(sizes + np.finfo(np.float64).eps)
        # A gap in the noise counts as 80 dB below its loudest moment, not as minus infinity.
        levels_db = np.maximum(levels_db, levels_db.max(axis=1, keepdims=True) - 80)
        threshold_db = levels_db.mean(axis=1) + _DEVIATIONS * levels_db.std(axis=1)
        self._threshold = (10 ** (threshold_db / 20) * (scale.size / 2)).astype(np.float32)

    def learn(self, batch: Spectra) -> None:
        """Take further frames."""
        self._size.append(np.abs(batch))

    def forget(self, frames: int) -> None:
        """Drop the first frames."""
        self._size.drop(frames)

    def mask(self, channel: int, frames: int, _known: int) -> Samples:
        """What of the first `frames` frames to keep; the future has no say."""
        from handlers.kernels.noise_gate import mask_above_threshold

        size = self._size.frames[channel, :frames]
        mask = np.empty(size.shape, np.float32)
        mask_above_threshold(size, self._threshold[channel], mask)
        return mask


def _first(blocks: Iterable[Samples], frames: int) -> Iterator[Samples]:
    for block in blocks:
        yield block[:, :frames]
        frames -= block.shape[1]
        if frames <= 0:
            return
