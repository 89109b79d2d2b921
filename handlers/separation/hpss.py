"""Harmonic-percussive separation: what sounds on, and what strikes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from handlers.artifacts import Blocks, Result, Samples
from handlers.declare import Example, Params, operation

_SIZE = 2048
_HOP = 512


class Hpss(Params):
    """How the two layers are told apart."""

    margin: float = Field(
        1.0, ge=1, description="How clearly a layer must win a spot of the spectrum to get it."
    )
    kernel_size: int = Field(
        31, ge=3, le=1023, description="Neighbours that a median looks at: frames or bins, odd."
    )

    @field_validator("kernel_size")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"must be odd, such as {value - 1} or {value + 1}")
        return value


class Layers(Result):
    """What sounds on, and what strikes."""

    harmonic: Blocks
    percussive: Blocks
    engine: Literal["hpss"] = "hpss"
    stems: list[str] = Field(default=["harmonic", "percussive"])


@operation(
    route="/v1/audio/separate/hpss",
    category="separation",
    tool_parts="stems",
    engines=["hpss"],
    examples=[
        Example("Drums apart from the rest; together they are the sound again."),
        Example("Only what clearly belongs to a layer.", margin=3.0),
    ],
)
def hpss(sound: Blocks, p: Hpss) -> Layers:
    """Separate sustained, pitched sound from drums and other short strikes.

    Both layers keep rate, channels and length. With a margin of 1 they add up to
    the sound; with more, what belongs clearly to neither is in neither.

    Source: Fitzgerald, "Harmonic/percussive separation using median filtering",
    DAFx 2010; margins by Driedger, Mueller and Disch, "Extending harmonic-percussive
    separation of audio signals", ISMIR 2014. Spectra of 2048 samples every 512, as
    in librosa, whose result this equals.
    """
    from handlers.forked import forked

    return Layers(
        **dict(
            zip(
                ("harmonic", "percussive"),
                forked(sound, lambda: _layers(sound, p), branches=2),
                strict=True,
            )
        )
    )


def _layers(sound: Blocks, p: Hpss) -> Iterator[tuple[Samples, ...]]:
    from handlers.spectral import BATCH, Held, Resynthesis, spectra

    layers = [Resynthesis(sound.channels, _SIZE, _HOP) for _ in range(2)]
    reach = p.kernel_size // 2
    # Frames whose medians are still to come, behind `past` frames that these look back at.
    held = Held(sound.channels, _SIZE // 2 + 1, np.complex64)
    step = max(BATCH, p.kernel_size)
    frames = given = past = 0

    def counted() -> Iterator[Samples]:
        nonlocal frames
        for block in sound:
            frames += block.shape[1]
            yield block

    def advance(count: int, *, last: bool) -> tuple[Samples, ...]:
        nonlocal past, given
        split = _split(held.frames, past, count, reach, p.margin, last=last)
        gone = max(0, past + count - reach)
        past += count - gone
        held.drop(gone)
        pieces = tuple(layer.add(part) for layer, part in zip(layers, split, strict=True))
        given += pieces[0].shape[1]
        return pieces

    for batch in spectra(counted(), sound.channels, _SIZE, _HOP):
        held.append(batch)
        while len(held) - past >= step + reach:
            yield advance(step, last=False)
    pieces = advance(len(held) - past, last=True)
    if pieces[0].shape[1]:
        yield pieces
    rest = tuple(layer.rest(frames - given) for layer in layers)
    if rest[0].shape[1]:
        yield rest


def _split(
    held: np.ndarray, past: int, count: int, reach: int, margin: float, *, last: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The `count` frames after `past`, split in two; what lies beyond an end is mirrored."""
    from handlers.kernels.masks import magnitudes, split_softly
    from handlers.kernels.rank import running_median

    width = 2 * reach + 1
    total = held.shape[1]
    frames = _mirrored(np.arange(past - reach, past + count + reach), total if last else None)
    bins = _mirrored(np.arange(-reach, held.shape[2] + reach), held.shape[2])
    harmonic = np.empty((held.shape[0], count, held.shape[2]), np.complex64)
    percussive = np.empty_like(harmonic)
    size = np.empty((total, held.shape[2]), np.float32)
    along_time = np.empty(harmonic.shape[1:], np.float32)
    along_bins = np.empty(harmonic.shape[:0:-1], np.float32)
    for channel, spectrum in enumerate(held):
        magnitudes(np.ascontiguousarray(spectrum), size)
        now = size[past : past + count]
        running_median(size[frames], width, along_time)
        running_median(np.ascontiguousarray(now[:, bins].T), width, along_bins)
        split_softly(
            np.ascontiguousarray(spectrum[past : past + count]),
            along_time,
            np.ascontiguousarray(along_bins.T),
            margin,
            harmonic[channel],
            percussive[channel],
        )
    return harmonic, percussive


def _mirrored(indices: np.ndarray, total: int | None) -> np.ndarray:
    """Indices beyond an end, mirrored back: ... 1 0 | 0 1 2 ... n-1 | n-1 n-2 ..."""
    if total is None:
        return np.where(indices < 0, -indices - 1, indices)
    indices = indices % (2 * total)
    return np.where(indices < total, indices, 2 * total - 1 - indices)
