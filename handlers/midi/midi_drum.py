"""A drum machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from handlers.artifacts import Midi, Result
from handlers.declare import Example, Spec, operation
from handlers.smf.file import DRUMS
from handlers.song import Song, SongNote, SongTrack, Tempo, written
from handlers.units import Bytes

VOICES: Mapping[str, int] = {
    "kick": 36,
    "rim": 37,
    "snare": 38,
    "clap": 39,
    "hihat": 42,
    "hihat_closed": 42,
    "tom_low": 45,
    "open_hihat": 46,
    "hihat_open": 46,
    "tom_mid": 47,
    "crash": 49,
    "tom_hi": 50,
    "tom_high": 50,
    "ride": 51,
    "tambourine": 54,
    "cowbell": 56,
    "shaker": 69,
    "wood_block": 76,
}
"""General MIDI's percussion keys by name."""

_BAR_BEATS = 4
#: Velocity of a hit that is just 1.
_HIT = 100


def _key(voice: str) -> int | None:
    if voice.isascii() and voice.isdigit() and int(voice) < 128:
        return int(voice)
    return VOICES.get(voice)


def _known(pattern: dict[str, list[int]]) -> dict[str, list[int]]:
    for voice in pattern:
        if _key(voice) is None:
            raise PydanticCustomError(
                "voice",
                "{voice} is no voice; there are {known}, and note numbers from 0 to 127",
                {"voice": repr(voice), "known": ", ".join(VOICES)},
            )
    return pattern


Step = Annotated[int, Field(ge=0, le=127)]


class MidiDrum(Spec):
    """One bar, and how it is played."""

    tempo_bpm: Tempo = Field(120, ge=1, le=999, description="Quarter notes per minute.")
    steps: int = Field(16, ge=1, le=64, description="Steps per bar of four beats.")
    bars: int = Field(1, ge=1, le=64, description="How often the bar is played.")
    swing: float = Field(
        0.0,
        ge=0.0,
        le=0.5,
        description="Delay of every second step, as a share of a step; a third is a triplet's.",
    )
    pattern: Annotated[dict[str, list[Step]], AfterValidator(_known)] = Field(
        min_length=1,
        description="By voice (or note number) a list of steps: 0 rest, 1 hit, 2 to 127 hit at "
        "that velocity. Steps beyond the list are rests.",
    )

    @model_validator(mode="after")
    def _steps_fit(self) -> MidiDrum:
        for voice, hits in self.pattern.items():
            if len(hits) > self.steps:
                raise PydanticCustomError(
                    "steps",
                    "{field} has {count} steps; a bar has {steps}",
                    {"field": f"pattern.{voice}", "count": len(hits), "steps": self.steps},
                )
        return self


class Drummed(Result):
    """The file."""

    midi: Midi
    size: Bytes


@operation(
    route="/v1/midi/drum",
    category="midi",
    tool="drum_pattern",
    tool_aliases={"midi_drum": {}},
    engines=("midi-compose",),
    examples=[
        Example(
            "Two bars of house.",
            tempo_bpm=124,
            bars=2,
            pattern={
                "kick": [1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0],
                "clap": [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
                "hihat": [0, 0, 70, 0, 0, 0, 70, 0, 0, 0, 70, 0, 0, 0, 90, 40],
            },
        ),
        Example(
            "A shuffle in eighths.",
            tempo_bpm=96,
            steps=8,
            swing=0.33,
            pattern={"kick": [1, 0, 0, 0, 1], "snare": [0, 0, 1, 0, 0, 0, 1], "51": [80, 50] * 4},
        ),
    ],
)
def midi_drum(p: MidiDrum) -> Drummed:
    """Write a drum pattern as MIDI: voices by name, steps, swing, bars.

    The file has 480 ticks per beat and plays on channel 9; it lasts whole
    bars, so it loops. A hit lasts half a step. Where two names stand for one
    key, the harder hit counts.
    """
    part = SongTrack(name="Drums", channel=DRUMS, notes=list(_hits(p)))
    midi = written(Song(tempo_bpm=p.tempo_bpm, tracks=[part], length_beats=_BAR_BEATS * p.bars))
    return Drummed(midi=midi, size=len(midi.data))


def _hits(p: MidiDrum) -> Iterator[SongNote]:
    bar: dict[tuple[int, int], int] = {}
    for voice, hits in p.pattern.items():
        key = _key(voice)
        assert key is not None
        for step, hit in enumerate(hits):
            if hit:
                velocity = _HIT if hit == 1 else hit
                bar[step, key] = max(velocity, bar.get((step, key), 0))
    length = _BAR_BEATS / p.steps
    for number in range(p.bars):
        for (step, key), velocity in bar.items():
            late = p.swing if step % 2 else 0.0
            yield SongNote(
                pitch=key,
                velocity=velocity,
                start_beats=number * _BAR_BEATS + (step + late) * length,
                duration_beats=length / 2,
            )
