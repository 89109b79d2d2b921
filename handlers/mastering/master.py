"""Mastering: like a reference, or through a preset chain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter, model_validator

from handlers.artifacts import Blocks, Result, Samples
from handlers.declare import Example, Params, operation
from handlers.errors import BadParameter, CannotProcess, MissingInput
from handlers.leveling import Levelled, levelled
from handlers.loudness_profiles import ProfileName, profiles
from handlers.pedals import Compressor, Effect, through
from handlers.units import Decibels, DecibelsTP, LoudnessUnitsFS

Mode = Literal["reference", "chain"]
Preset = Literal["transparent", "loud"]


class Master(Params):
    """The way to go, and where to."""

    mode: Mode | None = Field(
        None, description="Told by what is given if left out: a reference or a preset."
    )
    preset: Preset | None = Field(
        None, description="Required for mode chain: hardly to be heard, or dense and loud."
    )
    target_lufs: LoudnessUnitsFS | None = Field(
        None,
        ge=-70,
        le=-0.1,
        description="Final loudness; else that of the reference, -14 for transparent, -8 for loud.",
    )
    profile: ProfileName | None = Field(
        None, description="Whose target and ceiling to meet; in place of target_lufs."
    )
    true_peak_dbtp: DecibelsTP = Field(
        -1.0, ge=-20, le=0, description="Ceiling of the limiter. A profile brings its own."
    )

    @model_validator(mode="after")
    def _fits(self) -> Master:
        if self.mode == "chain" and self.preset is None:
            raise ValueError("mode chain needs a preset: transparent or loud")
        if self.mode == "reference" and self.preset is not None:
            raise ValueError(f"preset {self.preset} belongs to mode chain, not to mode reference")
        if self.profile and profiles()[self.profile].target_lufs is None:
            raise ValueError(f"profile {self.profile} is no loudness target; use normalize for it")
        return self


class Mastered(Result):
    """The sound, and what was done to it."""

    sound: Blocks
    engine: Literal["matchering", "pedalboard-chain"]
    mode: Mode
    preset: Preset | None
    profile: str | None
    target_lufs: LoudnessUnitsFS
    loudness_lufs: LoudnessUnitsFS
    #: False where the ceiling left no way to the target.
    target_reached: bool
    #: How much the limiter took where it took most.
    limited_db: Decibels


@operation(
    route="/v1/audio/master",
    category="mastering",
    engines=["matchering", "pedalboard-chain"],
    passes=3,
    pipeline=True,
    examples=[
        Example("Ready for streaming, hardly touched.", preset="transparent"),
        Example("Dense and loud.", mode="chain", preset="loud", true_peak_dbtp=-0.5),
        Example("To the letter of a publisher.", preset="transparent", profile="podcast-apple"),
    ],
)
def master(
    sound: Blocks,
    reference: Annotated[Blocks | None, "A finished master to sound like."],
    p: Master,
) -> Mastered:
    """Finish a mix: like a reference, or through a chain of equaliser and compressor.

    In both modes the result has the target loudness, and a look-ahead limiter holds
    its true peaks below the ceiling; where these exclude each other `target_reached`
    is false. Keeps rate, channels and length. The chain compresses all channels alike.

    Mode reference needs both sounds whole, and takes 2 s to 15 minutes of mono or stereo.

    Source: see `handlers.matched`; true-peak limiter as in `normalize`.

    Raises:
        MissingInput: neither a reference nor a preset.
        BadParameter: a reference and a preset.
        CannotProcess: a sound is silent, or too short or long to be matched.
    """
    if reference is not None and p.preset is not None:
        raise BadParameter("give a reference or a preset, not both", field="preset")
    if reference is None and p.preset is None:
        field = "reference" if p.mode == "reference" else "mode"
        raise MissingInput("give a reference to sound like, or a preset", field=field)
    profile = profiles()[p.profile] if p.profile else None
    ceiling: float | None = p.true_peak_dbtp
    if (
        profile
        and profile.true_peak_dbtp is not None
        and "true_peak_dbtp" not in p.model_fields_set
    ):
        ceiling = profile.true_peak_dbtp
    target = profile.target_lufs if profile else p.target_lufs
    if reference is not None:
        from handlers.matched import matched

        wanted = reference.whole()
        made = matched(sound.whole(), wanted).blocks()
        if target is None:
            target = _loudness(reference, "The reference")[0]
    else:
        assert p.preset is not None
        made = _chained(sound, p.preset).remembered(_REMEMBERED)
        if target is None:
            target = _TARGETS[p.preset]
    done = _finished(made, target, ceiling)
    return Mastered(
        sound=done.sound,
        engine="pedalboard-chain" if reference is None else "matchering",
        mode="chain" if reference is None else "reference",
        preset=p.preset,
        profile=p.profile,
        target_lufs=round(target, 2),
        loudness_lufs=round(done.loudness, 2),
        target_reached=done.reached,
        limited_db=round(done.limited_db, 2),
    )


#: Bytes of the processed sound that are kept while the limiter's gain is searched.
_REMEMBERED = 256 << 20
_TARGETS = {"transparent": -14.0, "loud": -8.0}
#: The chains expect a sound at this loudness, whatever it came with.
_WORKING_LUFS = -18.0


def _effects(*chain: dict[str, Any]) -> list[Effect]:
    return TypeAdapter(list[Effect]).validate_python(list(chain))


def _presets() -> dict[str, tuple[list[Effect], Compressor, list[Effect]]]:
    """Equaliser, compressor and saturation of each preset."""
    return {
        "transparent": (
            _effects(
                {"type": "HighpassFilter", "params": {"cutoff_frequency_hz": 20}},
            ),
            Compressor(threshold_db=-16, ratio=1.5, attack_ms=30, release_ms=250),
            [],
        ),
        "loud": (
            _effects(
                {"type": "HighpassFilter", "params": {"cutoff_frequency_hz": 30}},
                {"type": "LowShelfFilter", "params": {"cutoff_frequency_hz": 90, "gain_db": 1.5}},
                {
                    "type": "PeakFilter",
                    "params": {"cutoff_frequency_hz": 300, "gain_db": -1.5, "q": 0.8},
                },
                {"type": "PeakFilter", "params": {"cutoff_frequency_hz": 3500, "gain_db": 1.5}},
            ),
            Compressor(threshold_db=-22, ratio=3, attack_ms=10, release_ms=120),
            # Rounds peaks off, so that the limiter has less to take.
            _effects({"type": "Distortion", "params": {"drive_db": 11}}),
        ),
    }


def _chained(sound: Blocks, preset: str) -> Blocks:
    measured, _ = _loudness(sound, "The sound")
    factor = np.float32(10 ** ((_WORKING_LUFS - measured) / 20))
    before, compressor, after = _presets()[preset]
    level = sound.like(lambda: (block * factor for block in sound))
    return through(_compressed(through(level, before, {}), compressor), after, {})


def _compressed(sound: Blocks, settings: Compressor) -> Blocks:
    """All channels turned down together, by what the loudest of them asks for.

    pedalboard's compressor listens to each channel alone, which would pull the image to
    the softer side; so it is given the loudest, and what it does to that is done to all.
    """

    def passing() -> Iterator[Samples]:
        import pedalboard

        effect = pedalboard.Compressor(**settings.model_dump())
        for block in sound:
            # Never 0: what the compressor did can always be told from what came out.
            loudest = np.abs(block).max(axis=0, keepdims=True) + np.float32(1e-6)
            yield block * (effect.process(loudest, sound.rate, reset=False) / loudest)

    return sound.like(passing)


def _loudness(sound: Blocks, name: str) -> tuple[float, float | None]:
    """Integrated loudness and true peak."""
    from handlers.kernels.loudness import Meter

    meter = Meter(sound.rate, sound.channels)
    for block in sound:
        meter.add(block)
    if meter.integrated is None:
        raise CannotProcess(
            f"{name} is silent or too quiet to measure: no part of it reaches -70 LUFS."
        )
    return meter.integrated, meter.true_peak_dbtp


def _finished(sound: Blocks, target: float, ceiling: float | None) -> Levelled:
    measured, peak = _loudness(sound, "The processed sound")
    return levelled(sound, target - measured, target, peak=peak, ceiling=ceiling)
