"""A song as data: what compose, generate and whatever else writes notes have in common.

Times are beats (quarter notes) from the beginning, of any fraction. Whatever is
wrong is refused under its path: `tracks[0].notes[1].pitch`.

    song = Song(tempo_bpm=96, tracks=[SongTrack(name="Bass", notes=[
        SongNote(pitch=36, duration_beats=1),
        SongNote(pitch=43, start_beats=1, duration_beats=0.5, velocity=80),
    ])])
    midi = written(song)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from handlers.artifacts import Midi
from handlers.declare import Spec
from handlers.smf import file as smf
from handlers.smf.making import SLOWEST_BPM, TOO_SLOW, Sheet, Track
from handlers.units import Beats, BeatsPerMinute

#: Half of what fits between two events of a file, so that every rest can be written.
LONGEST_BEATS = 65536
"""More than nine hours at 120 BPM."""

_DENOMINATORS = (1, 2, 4, 8, 16, 32)


def _denominator(value: int) -> int:
    if value not in _DENOMINATORS:
        raise ValueError("must be 1, 2, 4, 8, 16 or 32")
    return value


def _sayable(bpm: float) -> float:
    if bpm < SLOWEST_BPM:
        raise ValueError(TOO_SLOW)
    return bpm


def _pair(value: Any) -> Any:
    """JSON has lists only; as a tuple each part is checked, and named, by itself."""
    return tuple(value) if isinstance(value, list) else value


Tempo = Annotated[BeatsPerMinute, AfterValidator(_sayable)]
Numerator = Annotated[int, Field(ge=1, le=32)]
Denominator = Annotated[
    int, AfterValidator(_denominator), Field(json_schema_extra={"enum": list(_DENOMINATORS)})
]
Signature = Annotated[tuple[Numerator, Denominator], BeforeValidator(_pair)]
Key = Annotated[str, Field(pattern=r"^[A-G][#b]?m?$")]
Text = Annotated[str, Field(max_length=10_000)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Moment(_Part):
    start_beats: Beats = Field(
        0.0, ge=0, le=LONGEST_BEATS, description="When, from the beginning of the song."
    )


class SongNote(_Moment):
    """One note."""

    pitch: int = Field(ge=0, le=127, description="Key; 60 is middle C.")
    duration_beats: Beats = Field(
        ge=0.015625, le=LONGEST_BEATS, description="How long the key is held."
    )
    velocity: int = Field(100, ge=1, le=127, description="How hard the key is struck.")
    release_velocity: int = Field(64, ge=0, le=127, description="How fast the key is let go.")


class ProgramChange(_Moment):
    """Another instrument from here on."""

    program: int = Field(ge=0, le=127, description="General MIDI instrument, counted from 0.")
    bank: int | None = Field(
        None, ge=0, le=16383, description="Bank that it is chosen from (controllers 0 and 32)."
    )


class ControllerChange(_Moment):
    """Another value of a controller from here on."""

    controller: int = Field(ge=0, le=127, description="Number: 1 modulation, 11 expression, 64 ...")
    value: int = Field(ge=0, le=127, description="Its value.")


class PitchBend(_Moment):
    """Another place of the pitch wheel from here on."""

    value: int = Field(
        ge=-8192, le=8191, description="0 is the middle; the ends are usually two semitones away."
    )


class SongText(_Moment):
    """A text at a moment: a marker, a syllable."""

    text: Text = Field(description="The text.")


class TempoChange(_Moment):
    """Another tempo from here on."""

    tempo_bpm: Tempo = Field(ge=1, le=999, description="Quarter notes per minute.")


class TimeSignatureChange(_Moment):
    """Another time signature from here on."""

    time_signature: Signature = Field(description="Numerator and denominator.")


class KeySignatureChange(_Moment):
    """Another key from here on."""

    key_signature: Key = Field(description="Key, like C, Am, F#m.")


class SongTrack(_Part):
    """What one player plays."""

    name: Text = Field("", description="Name of the track.")
    program: int = Field(
        0, ge=0, le=127, description="General MIDI instrument, counted from 0; 0 is a piano."
    )
    bank: int | None = Field(None, ge=0, le=16383, description="Bank that it is chosen from.")
    channel: int = Field(0, ge=0, le=15, description="Channel; 9 plays drums.")
    volume: int = Field(100, ge=0, le=127, description="Channel volume (controller 7).")
    pan: int = Field(64, ge=0, le=127, description="Place (controller 10): 0 left, 127 right.")
    notes: list[SongNote] = Field(description="The notes, in any order.")
    program_changes: list[ProgramChange] = Field([], description="Further instruments.")
    controllers: list[ControllerChange] = Field([], description="Movements of controllers.")
    pitch_bends: list[PitchBend] = Field([], description="Movements of the pitch wheel.")
    lyrics: list[SongText] = Field([], description="Syllables, each where it is sung.")


class Song(Spec):
    """A whole song."""

    tempo_bpm: Tempo = Field(120, ge=1, le=999, description="Quarter notes per minute.")
    time_signature: Signature = Field((4, 4), description="Numerator and denominator.")
    key_signature: Key | None = Field(None, description="Key, like C, Am, F#m.")
    ticks_per_beat: int = Field(480, ge=24, le=1920, description="Resolution of the file.")
    tracks: list[SongTrack] = Field(min_length=1, description="The tracks.")
    name: Text = Field("", description="Title of the song.")
    tempo_changes: list[TempoChange] = Field([], description="Further tempos.")
    time_signature_changes: list[TimeSignatureChange] = Field(
        [], description="Further time signatures."
    )
    key_signature_changes: list[KeySignatureChange] = Field([], description="Further keys.")
    markers: list[SongText] = Field([], description="Named places: Verse, Chorus, Drop.")
    length_beats: Beats | None = Field(
        None, ge=0, le=2 * LONGEST_BEATS, description="How long the file lasts at least."
    )

    @model_validator(mode="after")
    def _each_change_once(self) -> Song:
        for name in ("tempo_changes", "time_signature_changes", "key_signature_changes"):
            seen: set[float] = set()
            for index, change in enumerate(getattr(self, name)):
                if change.start_beats in seen:
                    field = f"{name}[{index}].start_beats"
                    raise PydanticCustomError(
                        "twice",
                        "{field} = {beats}: another one stands there already",
                        {"field": field, "beats": change.start_beats},
                    )
                seen.add(change.start_beats)
        return self


def written(song: Song) -> Midi:
    """The song as a file of type 1, the conductor's track first.

    What stands at beat 0 of a list of changes takes the place of the song's own value.
    """
    scale = song.ticks_per_beat
    sheet = Sheet(scale, length=_tick(song.length_beats or 0.0, scale))
    conductor = sheet.track(song.name)
    tempos = ((c.start_beats, c.tempo_bpm) for c in song.tempo_changes)
    for beats, bpm in _from_start(song.tempo_bpm, tempos):
        conductor.tempo(_tick(beats, scale), bpm)
    signatures = ((c.start_beats, c.time_signature) for c in song.time_signature_changes)
    for beats, (numerator, denominator) in _from_start(song.time_signature, signatures):
        conductor.time_signature(_tick(beats, scale), numerator, denominator)
    keys = ((c.start_beats, c.key_signature) for c in song.key_signature_changes)
    for beats, key in _from_start(song.key_signature, keys):
        if key is not None:
            conductor.key_signature(_tick(beats, scale), key)
    for marker in song.markers:
        conductor.text(_tick(marker.start_beats, scale), smf.MARKER, marker.text)
    for part in song.tracks:
        _write_track(part, sheet.track(part.name), scale)
    return sheet.midi()


def _write_track(part: SongTrack, track: Track, scale: int) -> None:
    channel = part.channel
    track.program(0, channel=channel, program=part.program, bank=part.bank)
    track.controller(0, channel=channel, controller=smf.VOLUME, value=part.volume)
    track.controller(0, channel=channel, controller=smf.PAN, value=part.pan)
    for change in part.program_changes:
        tick = _tick(change.start_beats, scale)
        track.program(tick, channel=channel, program=change.program, bank=change.bank)
    for move in part.controllers:
        tick = _tick(move.start_beats, scale)
        track.controller(tick, channel=channel, controller=move.controller, value=move.value)
    for bend in part.pitch_bends:
        track.pitch_bend(_tick(bend.start_beats, scale), channel=channel, value=bend.value)
    for syllable in part.lyrics:
        track.text(_tick(syllable.start_beats, scale), smf.LYRIC, syllable.text)
    for note in part.notes:
        track.note(
            _tick(note.start_beats, scale),
            # Rounded where it ends, not how long it lasts: what follows without a gap stays so.
            _tick(note.start_beats + note.duration_beats, scale),
            channel=channel,
            pitch=note.pitch,
            velocity=note.velocity,
            release=note.release_velocity,
        )


def _tick(beats: float, ticks_per_beat: int) -> int:
    return round(beats * ticks_per_beat)


def _from_start(first: Any, changes: Iterable[tuple[float, Any]]) -> Iterator[tuple[float, Any]]:
    listed = sorted(changes, key=lambda change: change[0])
    if not listed or listed[0][0] > 0:
        yield 0.0, first
    yield from listed
