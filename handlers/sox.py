"""Ten steps as SoX has them: their parameters, and how a sound goes through them.

No SoX is needed; what these steps do is measured against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from handlers.artifacts import Blocks, Samples
from handlers.declare import Params
from handlers.errors import BadParameter
from handlers.units import Decibels, Hertz, Milliseconds, SampleRate, Seconds, Semitones


class Gain(Params):
    """Louder or quieter."""

    db: Decibels = Field(le=200, description="By how much.")


class Equalizer(Params):
    """A bell in the spectrum."""

    frequency: Hertz = Field(gt=0, description="Its middle.")
    width_q: float = Field(1.0, gt=0, description="Its Q: the higher, the narrower.")
    gain_db: Decibels = Field(ge=-200, le=200, description="Its height.")


class Compand(Params):
    """Another level for each level."""

    attack_time: Seconds = Field(0.02, ge=0, description="Time to follow a rise.")
    decay_time: Seconds = Field(0.2, ge=0, description="Time to follow a fall.")
    soft_knee_db: Decibels = Field(6.0, ge=0, description="How round the curve's corners are.")
    tf_points: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        default=[[-70.0, -70.0], [-30.0, -30.0], [-20.0, -15.0], [0.0, -10.0]],
        min_length=1,
        max_length=256,
        description="The curve: pairs of level in and level out in dB, rising, none above 0 in.",
    )

    @model_validator(mode="after")
    def _rises(self) -> Compand:
        levels = [point[0] for point in self.tf_points]
        if any(a >= b for a, b in pairwise(levels)):
            raise ValueError(f"tf_points must rise in their first number, not {levels}")
        if levels[-1] > 0:
            raise ValueError(f"tf_points: {levels[-1]:g} dB in is above 0 dB")
        return self


class Reverb(Params):
    """A room."""

    reverberance: int = Field(50, ge=0, le=100, description="How long it rings, in percent.")
    pre_delay_ms: Annotated[int, *Milliseconds.__metadata__] = Field(
        0, ge=0, le=500, description="Time before it answers."
    )
    room_scale: int = Field(100, ge=0, le=100, description="How large it is, in percent.")


class Pitch(Params):
    """Higher or lower in the same time."""

    n_semitones: Semitones = Field(ge=-120, le=120, description="By how much.")


class Tempo(Params):
    """Faster or slower at the same pitch."""

    factor: float = Field(gt=0, description="2 is twice as fast.")


class Rate(Params):
    """Another sample rate."""

    samplerate: SampleRate = Field(ge=1, le=768_000, description="The new rate.")


class Channels(Params):
    """Another number of channels: copied in turn, or every so many averaged."""

    n_channels: int = Field(ge=1, le=8, description="How many.")


class Trim(Params):
    """Keeps what lies between two times."""

    start_time: Seconds = Field(ge=0, description="Where it begins.")
    end_time: Seconds | None = Field(None, description="Where it ends; default the end.")


class Pad(Params):
    """Silence before and after."""

    start_duration: Seconds = Field(0.0, ge=0, le=86_400, description="Before.")
    end_duration: Seconds = Field(0.0, ge=0, le=86_400, description="After.")


class _Step(Params):
    op: str
    params: Any


class GainStep(_Step):
    """Louder or quieter."""

    op: Literal["gain"] = Field(description="Which step.")
    params: Gain = Field(description="Its settings.")


class EqualizerStep(_Step):
    """A bell in the spectrum."""

    op: Literal["equalizer"] = Field(description="Which step.")
    params: Equalizer = Field(description="Its settings.")


class CompandStep(_Step):
    """Another level for each level."""

    op: Literal["compand"] = Field(description="Which step.")
    params: Compand = Field(Compand(), description="Its settings.")


class ReverbStep(_Step):
    """A room."""

    op: Literal["reverb"] = Field(description="Which step.")
    params: Reverb = Field(Reverb(), description="Its settings.")


class PitchStep(_Step):
    """Higher or lower in the same time."""

    op: Literal["pitch"] = Field(description="Which step.")
    params: Pitch = Field(description="Its settings.")


class TempoStep(_Step):
    """Faster or slower at the same pitch."""

    op: Literal["tempo"] = Field(description="Which step.")
    params: Tempo = Field(description="Its settings.")


class RateStep(_Step):
    """Another sample rate."""

    op: Literal["rate"] = Field(description="Which step.")
    params: Rate = Field(description="Its settings.")


class ChannelsStep(_Step):
    """Another number of channels."""

    op: Literal["channels"] = Field(description="Which step.")
    params: Channels = Field(description="Its settings.")


class TrimStep(_Step):
    """Keeps what lies between two times."""

    op: Literal["trim"] = Field(description="Which step.")
    params: Trim = Field(description="Its settings.")


class PadStep(_Step):
    """Silence before and after."""

    op: Literal["pad"] = Field(description="Which step.")
    params: Pad = Field(Pad(), description="Its settings.")


Step = Annotated[
    GainStep
    | EqualizerStep
    | CompandStep
    | ReverbStep
    | PitchStep
    | TempoStep
    | RateStep
    | ChannelsStep
    | TrimStep
    | PadStep,
    Field(discriminator="op"),
]


def stepped(sound: Blocks, steps: Sequence[_Step]) -> Blocks:
    """The sound after these steps.

    Raises:
        BadParameter: a frequency is beyond half the rate, or nothing is left of the sound;
            names the step.
    """
    for index, step in enumerate(steps):
        try:
            sound = _MAKE[step.op](sound, step.params)
        except BadParameter as wrong:
            where = f"operations[{index}]"
            raise BadParameter(f"{where} ({step.op}): {wrong.detail}", field=where) from None
    return sound


def _gain(sound: Blocks, p: Gain) -> Blocks:
    factor = np.float32(10 ** (p.db / 20))
    return sound.like(lambda: (block * factor for block in sound))


def _equalizer(sound: Blocks, p: Equalizer) -> Blocks:
    from handlers.kernels.biquad import Cascade, peaking

    if p.frequency >= sound.rate / 2:
        raise BadParameter(
            f"{p.frequency:g} Hz is too high for {sound.rate} samples/s; "
            f"it must be below {sound.rate / 2:g} Hz"
        )
    bell = peaking(p.frequency, p.gain_db, p.width_q, sound.rate)

    def passing() -> Iterator[Samples]:
        cascade = Cascade([bell], sound.channels)
        for block in sound:
            yield cascade.filtered(block)

    return sound.like(passing)


def _compand(sound: Blocks, p: Compand) -> Blocks:
    from handlers.kernels.compander import compand, transfer_curve

    pieces = transfer_curve([(x, y) for x, y in p.tf_points], max(p.soft_knee_db, 0.01))
    attack, decay = (
        1 - math.exp(-1 / (seconds * sound.rate)) if seconds > 1 / sound.rate else 1.0
        for seconds in (p.attack_time, p.decay_time)
    )

    def passing() -> Iterator[Samples]:
        # As SoX: a sound is taken to have been at full scale before it began.
        level = np.ones(1)
        for block in sound:
            out = np.empty_like(block)
            compand(block, pieces, attack, decay, level, out)
            yield out

    return sound.like(passing)


def _reverb(sound: Blocks, p: Reverb) -> Blocks:
    from handlers.kernels.room import Room

    channels = sound.channels
    sides = 1 if channels > 2 else 2
    delay = int(p.pre_delay_ms / 1000 * sound.rate + 0.5)

    def passing() -> Iterator[Samples]:
        rooms = [
            [Room(sound.rate, p.reverberance, p.room_scale, side) for side in range(sides)]
            for _ in range(channels)
        ]
        late = np.zeros((channels, delay), np.float32)
        for block in sound:
            waiting = np.concatenate((late, block), axis=1) if delay else block
            heard = np.ascontiguousarray(waiting[:, : block.shape[1]])
            late = waiting[:, block.shape[1] :]
            wet = [
                [room.heard(row) for room in ears] for row, ears in zip(heard, rooms, strict=True)
            ]
            if channels == 2:
                heard = _HALF * np.stack([a + b for a, b in zip(*wet, strict=True)])
            elif channels == 1:
                # Both sides in one, as SoX writes it to a mono file.
                heard = _HALF * (wet[0][0] + wet[0][1])[None]
            else:
                heard = np.stack([ears[0] for ears in wet])
            yield block + heard.astype(np.float32)

    return sound.like(passing)


def _pitch(sound: Blocks, p: Pitch) -> Blocks:
    from handlers.stretching import stretched

    return stretched(sound, semitones=p.n_semitones)


def _tempo(sound: Blocks, p: Tempo) -> Blocks:
    from handlers.stretching import stretched

    return stretched(sound, tempo=p.factor)


def _rate(sound: Blocks, p: Rate) -> Blocks:
    from handlers.codecs.resample import resampled

    return resampled(sound, p.samplerate)


def _channels(sound: Blocks, p: Channels) -> Blocks:
    wanted, given = p.n_channels, sound.channels
    if wanted == given:
        return sound
    matrix = np.zeros((wanted, given), np.float32)
    for out in range(wanted):
        sources = range(out, given, wanted) if out < given else [out % given]
        for source in sources:
            matrix[out, source] = 1 / len(sources)
    return sound.like(lambda: (matrix @ block for block in sound), channels=wanted)


def _trim(sound: Blocks, p: Trim) -> Blocks:
    from handlers.editing.trim import Trim as Stretch
    from handlers.editing.trim import Trimmed, trim

    if p.end_time is not None and p.end_time <= p.start_time:
        raise BadParameter(
            f"end_time = {p.end_time:g} must be greater than start_time = {p.start_time:g}"
        )
    made: Trimmed = trim(sound, Stretch(start_sec=p.start_time, end_sec=p.end_time))
    return made.sound


def _pad(sound: Blocks, p: Pad) -> Blocks:
    before, after = (round(s * sound.rate) for s in (p.start_duration, p.end_duration))
    stated = sound.stated_frames

    def silence(frames: int) -> Iterator[Samples]:
        for at in range(0, frames, _SILENCE):
            yield np.zeros((sound.channels, min(_SILENCE, frames - at)), np.float32)

    def passing() -> Iterator[Samples]:
        yield from silence(before)
        yield from sound
        yield from silence(after)

    return sound.like(passing, frames=None if stated is None else before + stated + after)


_HALF = np.float32(0.5)
#: Frames of silence at a time.
_SILENCE = 32768

_MAKE: dict[str, Callable[[Blocks, Any], Blocks]] = {
    "gain": _gain,
    "equalizer": _equalizer,
    "compand": _compand,
    "reverb": _reverb,
    "pitch": _pitch,
    "tempo": _tempo,
    "rate": _rate,
    "channels": _channels,
    "trim": _trim,
    "pad": _pad,
}
