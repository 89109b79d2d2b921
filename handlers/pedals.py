"""The effects of an effects chain: their parameters, and how a sound runs through them.

Names, parameters and defaults are those of pedalboard, whose effects these are.
Plugin hosts are not among them: they would load code from a path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import numpy as np
from pydantic import Field, create_model, model_validator

from handlers.artifacts import Blocks, NamedSound, Samples
from handlers.declare import NamesSound, Params
from handlers.errors import BadParameter, CannotProcess
from handlers.units import Decibels, DecibelsFS, Hertz, Milliseconds, SampleRate, Seconds, Semitones

Quality = Literal[
    "ZeroOrderHold", "Linear", "CatmullRom", "Lagrange", "WindowedSinc", "WindowedSinc256",
    "WindowedSinc128", "WindowedSinc64", "WindowedSinc32", "WindowedSinc16", "WindowedSinc8",
]  # fmt: skip


class Knobs(Params):
    """The parameters of one effect."""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for name in given:
                if name not in cls.model_fields:
                    has = ", ".join(cls.model_fields) or "none"
                    raise ValueError(f"{cls.__name__} has no parameter {name}; it has: {has}")
        return given


def _share(default: float, description: str) -> Any:
    return Field(default, ge=0, le=1, description=description)


class Compressor(Knobs):
    """Turns loud passages down."""

    threshold_db: DecibelsFS = Field(0, description="Level above which it works.")
    ratio: float = Field(1, ge=1, description="dB above the threshold per dB that come out.")
    attack_ms: Milliseconds = Field(1.0, ge=0, description="Time to turn down.")
    release_ms: Milliseconds = Field(100, ge=0, description="Time to come back.")


class Limiter(Knobs):
    """Two compressors and a clipper, made louder by as much as they take."""

    threshold_db: DecibelsFS = Field(-10.0, description="Level above which it works.")
    release_ms: Milliseconds = Field(100.0, ge=0, description="Time to come back.")


class NoiseGate(Knobs):
    """Turns quiet passages down."""

    threshold_db: DecibelsFS = Field(-100.0, description="Level below which it works.")
    ratio: float = Field(10, ge=1, description="How hard it shuts.")
    attack_ms: Milliseconds = Field(1.0, ge=0, description="Time to open.")
    release_ms: Milliseconds = Field(100.0, ge=0, description="Time to shut.")


class Gain(Knobs):
    """Louder or quieter."""

    gain_db: Decibels = Field(1.0, le=200, description="By how much.")


class Clipping(Knobs):
    """Cuts off what is beyond a level."""

    threshold_db: DecibelsFS = Field(-6.0, description="The level.")


class Distortion(Knobs):
    """A hyperbolic tangent."""

    drive_db: Decibels = Field(25, le=200, description="Gain into it.")


class Bitcrush(Knobs):
    """Fewer bits."""

    bit_depth: float = Field(8, ge=0, le=32, description="Bits that are left.")


class Reverb(Knobs):
    """A room (Freeverb)."""

    room_size: float = _share(0.5, "From a cupboard to a hall.")
    damping: float = _share(0.5, "How dull the walls are.")
    wet_level: float = _share(0.33, "How loud the room is.")
    dry_level: float = _share(0.4, "How loud the sound itself is.")
    width: float = _share(1.0, "How far the room spreads in stereo.")
    freeze_mode: float = _share(0.0, "From 0.5 on the room never fades.")


class Chorus(Knobs):
    """Several of the same."""

    rate_hz: Hertz = Field(1.0, ge=0, le=100, description="How often it sways.")
    depth: float = Field(0.25, ge=0, description="How far it sways.")
    centre_delay_ms: Milliseconds = Field(7.0, ge=0, description="Delay about which it sways.")
    feedback: float = Field(0.0, ge=-1, le=1, description="How much goes round again.")
    mix: float = _share(0.5, "0 is the sound alone, 1 the effect alone.")


class Delay(Knobs):
    """Echoes."""

    delay_seconds: Seconds = Field(0.5, ge=0, le=30, description="Time between echoes.")
    feedback: float = _share(0.0, "How much goes round again.")
    mix: float = _share(0.5, "0 is the sound alone, 1 the echoes alone.")


class Phaser(Knobs):
    """Notches that wander."""

    rate_hz: Hertz = Field(1.0, ge=0, le=100, description="How often they wander.")
    depth: float = _share(0.5, "How far they wander.")
    centre_frequency_hz: Hertz = Field(1300.0, gt=0, description="About which they wander.")
    feedback: float = Field(0.0, ge=-1, le=1, description="How much goes round again.")
    mix: float = _share(0.5, "0 is the sound alone, 1 the effect alone.")


class PitchShift(Knobs):
    """Higher or lower in the same time; by our own phase vocoder, as in stretch."""

    semitones: Semitones = Field(0.0, ge=-72, le=72, description="By how much.")


class _Corner(Knobs):
    cutoff_frequency_hz: Hertz = Field(440, gt=0, description="The corner or centre.")
    gain_db: Decibels = Field(0.0, ge=-200, le=200, description="Boost or cut.")
    q: float = Field(0.7071, gt=0, description="The higher, the steeper or narrower.")


class HighShelfFilter(_Corner):
    """Boosts or cuts all above a corner."""


class LowShelfFilter(_Corner):
    """Boosts or cuts all below a corner."""


class PeakFilter(_Corner):
    """Boosts or cuts about a frequency."""


class HighpassFilter(Knobs):
    """Takes away the low end, 6 dB per octave."""

    cutoff_frequency_hz: Hertz = Field(50, gt=0, description="Where it is 3 dB down.")


class LowpassFilter(Knobs):
    """Takes away the high end, 6 dB per octave."""

    cutoff_frequency_hz: Hertz = Field(50, gt=0, description="Where it is 3 dB down.")


class LadderFilter(Knobs):
    """The filter of a synthesizer."""

    mode: Literal["LPF12", "HPF12", "BPF12", "LPF24", "HPF24", "BPF24"] = Field(
        "LPF12", description="Low-, high- or band-pass, 12 or 24 dB per octave."
    )
    cutoff_hz: Hertz = Field(200, gt=0, description="The corner.")
    resonance: float = _share(0, "How much the corner rings.")
    drive: float = Field(1.0, ge=1, description="How hard it is driven.")


class IIRFilter(Knobs):
    """Passes the sound on: the reference library gives it no parameters."""


class GSMFullRateCompressor(Knobs):
    """A mobile phone of 1990; every channel has its own."""

    quality: Quality = Field("WindowedSinc8", description="Resampling to 8 kHz and back.")


class MP3Compressor(Knobs):
    """What MP3 leaves of a sound; channels in pairs, at 32, 44.1 and 48 kHz."""

    vbr_quality: float = Field(2.0, ge=0, lt=10, description="0 is best, 9.9 smallest.")


class Resample(Knobs):
    """To another rate and back."""

    target_sample_rate: Annotated[float, *SampleRate.__metadata__] = Field(
        8000.0, ge=100, le=768_000, description="The other rate."
    )
    quality: Quality = Field("WindowedSinc32", description="How it is resampled.")


class Invert(Knobs):
    """Swaps plus and minus."""


class Convolution(Knobs):
    """The sound as an impulse response has it; all responses are brought to one energy."""

    impulse_response_filename: Annotated[str, NamesSound("impulses")] = Field(
        min_length=1, description="Staged path of the response, one or two channels."
    )
    mix: float = _share(1.0, "0 is the sound alone, 1 the effect alone.")


KINDS: tuple[type[Knobs], ...] = (
    Compressor, Limiter, NoiseGate, Gain, Clipping, Distortion, Bitcrush, Reverb, Chorus, Delay,
    Phaser, PitchShift, HighShelfFilter, LowShelfFilter, PeakFilter, HighpassFilter, LowpassFilter,
    LadderFilter, IIRFilter, GSMFullRateCompressor, MP3Compressor, Resample, Invert, Convolution,
)  # fmt: skip
"""All effects, in the contract's order."""


class _Effect(Params):
    type: str
    params: Knobs


def _effect(kind: type[Knobs]) -> type[_Effect]:
    needs = any(info.is_required() for info in kind.model_fields.values())
    params: Any = Field(
        ... if needs else kind(), description="Settings; others keep their default."
    )
    name: Any = Literal[kind.__name__]
    return create_model(
        f"{kind.__name__}Effect",
        __base__=_Effect,
        __doc__=kind.__doc__,
        type=(name, Field(description="Which effect.")),
        params=(kind, params),
    )


if TYPE_CHECKING:
    Effect = _Effect
else:
    Effect = Annotated[
        Union[tuple(_effect(kind) for kind in KINDS)],  # noqa: UP007 - the union is computed
        Field(discriminator="type"),
    ]

#: Frames that go through an effect at a time, whatever blocks come: it is never heard.
_STEP = 8192
#: Effects that have no more than two channels, or mix those they are given.
_IN_PAIRS = (Reverb, MP3Compressor, Convolution)
#: Effects that hold samples back; what comes out is in step once these are pulled out.
_LATE = (GSMFullRateCompressor, MP3Compressor, Resample)
_MP3_RATES = (32000, 44100, 48000)


def through(sound: Blocks, effects: Sequence[Effect], impulses: Mapping[str, NamedSound]) -> Blocks:
    """The sound after a chain of effects, as long as before and in step with it.

    Args:
        sound: any number of channels.
        effects: in their order.
        impulses: the sounds that `Convolution` names.

    Raises:
        BadParameter: an effect cannot do this at the sound's rate, or names a sound that
            is not there.
        CannotProcess: an impulse response has no samples or too many channels.
    """
    rows: list[Callable[[], Any]] = []

    def closed() -> Blocks:
        nonlocal rows
        made, rows = rows, []
        return _together(sound, made) if made else sound

    for index, effect in enumerate(effects):
        knobs = effect.params
        _check(knobs, sound.rate, f"effects[{index}].params")
        if isinstance(knobs, IIRFilter):
            continue
        if isinstance(knobs, PitchShift):
            from handlers.stretching import stretched

            sound = stretched(closed(), semitones=knobs.semitones)
        elif isinstance(knobs, _IN_PAIRS + _LATE):
            before = closed()
            size = 2 if isinstance(knobs, _IN_PAIRS) else 1
            if isinstance(knobs, Resample):
                size = sound.channels
            make = _maker(knobs, impulses, f"effects[{index}]")
            sound = _apart(before, make, size, late=isinstance(knobs, _LATE))
        else:
            rows.append(_maker(knobs, impulses, f"effects[{index}]"))
    return closed()


def _check(knobs: Knobs, rate: int, where: str) -> None:
    for name in ("cutoff_frequency_hz", "cutoff_hz", "centre_frequency_hz"):
        freq = getattr(knobs, name, None)
        if freq is not None and freq >= rate / 2:
            raise BadParameter(
                f"{where}.{name}: {freq} Hz is too high for {rate} samples/s; "
                f"it must be below {rate / 2:g} Hz",
                field=f"{where}.{name}",
            )
    if isinstance(knobs, MP3Compressor) and rate not in _MP3_RATES:
        raise BadParameter(
            f"{where}: MP3Compressor works at 32000, 44100 and 48000 samples/s, not at {rate}; "
            "convert the sound first",
            field=where,
        )


def _maker(knobs: Knobs, impulses: Mapping[str, NamedSound], where: str) -> Callable[[], Any]:
    """What makes a fresh pedalboard effect; made once now, so that a refusal comes at the call."""
    import pedalboard

    given = knobs.model_dump()
    if "mode" in given:
        given["mode"] = getattr(pedalboard.LadderFilter.Mode, given["mode"])
    if "quality" in given:
        given["quality"] = getattr(pedalboard.Resample.Quality, given["quality"])
    if isinstance(knobs, Convolution):
        response, own_rate = _response(knobs.impulse_response_filename, impulses, where)
        given["impulse_response_filename"] = response
        given["sample_rate"] = own_rate
    build = getattr(pedalboard, type(knobs).__name__)

    def make() -> Any:
        return build(**given)

    try:
        make()
    except ValueError as wrong:
        raise BadParameter(f"{where}.params: {wrong}", field=f"{where}.params") from None
    return make


def _response(name: str, impulses: Mapping[str, NamedSound], where: str) -> tuple[Samples, float]:
    field = f"{where}.params.impulse_response_filename"
    if name not in impulses:
        raise BadParameter(f"{field}: there is no sound {name!r}", field=field)
    response = impulses[name].sound.whole()
    if response.channels > 2 or not response.frames:
        raise CannotProcess(
            f"{field}: {name} has {response.channels} channels and {response.frames} frames; "
            "an impulse response has one or two channels, and at least one frame",
            field=field,
        )
    return response.samples, float(response.rate)


def _steps(sound: Iterable[Samples], channels: int) -> Iterator[Samples]:
    """The same sound in pieces of `_STEP` frames; the last one may be shorter."""
    waiting = np.zeros((channels, 0), np.float32)
    for block in sound:
        waiting = np.concatenate((waiting, block), axis=1) if waiting.shape[1] else block
        whole = waiting.shape[1] // _STEP * _STEP
        for at in range(0, whole, _STEP):
            yield np.ascontiguousarray(waiting[:, at : at + _STEP])
        waiting = waiting[:, whole:]
    if waiting.shape[1]:
        yield np.ascontiguousarray(waiting)


def _together(sound: Blocks, makers: Sequence[Callable[[], Any]]) -> Blocks:
    """Effects that give as many samples as they get, on all channels, one after another."""

    def passing() -> Iterator[Samples]:
        # The package exports it without saying so to type checkers.
        from pedalboard._pedalboard import Pedalboard

        board = Pedalboard([make() for make in makers])
        for piece in _steps(sound, sound.channels):
            yield board.process(piece, sound.rate, buffer_size=_STEP, reset=False)

    return sound.like(passing)


def _apart(sound: Blocks, make: Callable[[], Any], size: int, *, late: bool) -> Blocks:
    """One effect for every `size` channels; what it holds back is pulled out with silence."""

    def passing() -> Iterator[Samples]:
        groups = [(slice(first, first + size), make()) for first in range(0, sound.channels, size)]
        read = given = 0

        def processed(piece: Samples) -> Samples:
            parts = [
                effect.process(
                    np.ascontiguousarray(piece[channels]),
                    sound.rate,
                    buffer_size=_STEP,
                    reset=False,
                )
                for channels, effect in groups
            ]
            return np.ascontiguousarray(np.concatenate(parts))

        for piece in _steps(sound, sound.channels):
            read += piece.shape[1]
            # Always whole steps: some effects' delay depends on them.
            missing = _STEP - piece.shape[1] if late else 0
            out = processed(np.pad(piece, ((0, 0), (0, missing))))[:, : read - given]
            given += out.shape[1]
            if out.shape[1]:
                yield np.ascontiguousarray(out)
        # What is still inside comes out as silence goes in.
        while given < read:
            out = processed(np.zeros((sound.channels, _STEP), np.float32))[:, : read - given]
            given += out.shape[1]
            if out.shape[1]:
                yield np.ascontiguousarray(out)

    return sound.like(passing)
