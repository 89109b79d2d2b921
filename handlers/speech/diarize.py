"""Who speaks when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from handlers.artifacts import Blocks, Result, TextFile
from handlers.declare import Example, Params, Progress, operation
from handlers.engines.shelf import Lent
from handlers.markers import Marked, Marker, Timed, marker_file
from handlers.units import Seconds

if TYPE_CHECKING:
    from handlers.engines.diarizer import Diarizer
else:
    Diarizer = object


class Diarize(Params):
    """How many speakers there are, as far as that is known."""

    engine: str = Field(
        description="Model that tells speakers apart; its publisher wants to be asked first.",
        json_schema_extra={"enum": ["pyannote"]},
    )
    num_speakers: int | None = Field(
        None, ge=1, description="Number of speakers, where it is known; goes before the bounds."
    )
    min_speakers: int | None = Field(None, ge=1, description="Number of speakers, at least.")
    max_speakers: int | None = Field(None, ge=1, description="Number of speakers, at most.")
    markers: Literal["none", "audacity", "csv", "jams", "webvtt", "cue", "rttm"] = Field(
        "none",
        description="Also write the turns to a file: Audacity labels, CSV, JAMS, WebVTT, RTTM, or "
        "a WAV without samples that holds a cue chunk.",
    )

    @model_validator(mode="after")
    def _bounds_hold_a_number(self) -> Diarize:
        fewest, most = self.min_speakers, self.max_speakers
        if self.num_speakers is None and fewest is not None and most is not None and fewest > most:
            raise PydanticCustomError(
                "no_number_between",
                "min_speakers is {fewest}, more than max_speakers, which is {most}",
                {"fewest": fewest, "most": most, "field": "min_speakers"},
            )
        return self


class Turn(BaseModel):
    """A stretch in which somebody speaks."""

    model_config = ConfigDict(frozen=True)

    speaker: str
    start_sec: Seconds
    end_sec: Seconds
    duration_sec: Seconds


class Diarization(Result):
    """Who speaks when, by start. Turns of different speakers may overlap."""

    num_speakers: int
    #: In the order in which they are first heard.
    speakers: list[str]
    duration: Seconds
    segments: list[Turn]
    marker_file: TextFile | None = None


@operation(
    route="/v1/audio/diarize/{engine}",
    category="speech",
    lane="gpu",
    engines=["pyannote"],
    examples=[
        Example("An interview.", engine="pyannote", num_speakers=2),
        Example("A meeting, as RTTM.", engine="pyannote", max_speakers=8, markers="rttm"),
    ],
)
def diarize(sound: Blocks, model: Lent[Diarizer], p: Diarize, progress: Progress) -> Diarization:
    """Find out who speaks when.

    All channels are heard as one, in windows of 10 s that begin every second; speakers are
    numbered as they come. Where there is less speech than it takes to tell so many speakers
    apart, there may be fewer than asked for.

    Raises:
        BadParameter: min_speakers is more than max_speakers.
        CannotProcess: a sample is no number.
        WeightsMissing: the model is not there; its publisher asks to accept terms first.

    Source: pyannote.audio, speaker-diarization-community-1 (Bredin, Interspeech 2023; Landini,
    Profant, Diez and Burget, Computer Speech & Language 71, 2022).
    """
    fewest = p.num_speakers or p.min_speakers or 1
    most = p.num_speakers or p.max_speakers or float("inf")
    with model() as diarizer:
        found = diarizer.turns(sound, fewest, most, progress)
    turns = [
        Turn(
            speaker=f"SPEAKER_{turn.speaker:02d}",
            start_sec=round(turn.start, 6),
            end_sec=round(turn.end, 6),
            duration_sec=round(turn.end - turn.start, 6),
        )
        for turn in found
    ]
    speakers = list(dict.fromkeys(turn.speaker for turn in turns))
    return Diarization(
        num_speakers=len(speakers),
        speakers=speakers,
        duration=sound.duration,
        segments=turns,
        marker_file=_file(p, sound, turns),
    )


def _file(p: Diarize, sound: Timed, turns: Sequence[Turn]) -> TextFile | None:
    if p.markers == "rttm":
        return TextFile(rttm(turns, sound), ext="rttm", media_type="text/plain; charset=utf-8")
    return marker_file(
        Marked(markers=p.markers),
        sound,
        (Marker(turn.start_sec, turn.end_sec, turn.speaker, "speech") for turn in turns),
    )


def rttm(turns: Sequence[Turn], sound: Timed) -> bytes:
    """A line per turn: file, channel, start, duration and speaker.

    Source: NIST, "The 2009 (RT-09) Rich Transcription Meeting Recognition Evaluation Plan",
    appendix A.
    """
    # Fields are told apart by blanks, so a name has none.
    name = "_".join(sound.facts.name.split()) if sound.facts else "sound"
    lines = (
        f"SPEAKER {name} 1 {turn.start_sec:.6f} {turn.duration_sec:.6f} "
        f"<NA> <NA> {turn.speaker} <NA> <NA>\n"
        for turn in turns
    )
    return "".join(lines).encode()
