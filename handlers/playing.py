"""MIDI played by FluidSynth, as a sound that is read piece by piece.

FluidSynth computes 64 frames at once and hears a message at the next of them, so
an event is played at the multiple of 64 frames that is nearest to its time: at
44.1 kHz not more than 0.73 ms off.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from handlers.artifacts import BLOCK_FRAMES, Blocks, Midi, Samples
from handlers.codecs.decoding import reblocked
from handlers.codecs.files import InputFile
from handlers.declare import NamesSound, Params
from handlers.errors import TooLarge
from handlers.fluidsynth import QUANTUM, Page, Synth
from handlers.smf import file as smf
from handlers.smf.clock import clocks_of, seconds_of
from handlers.smf.reading import read
from handlers.soundfonts import shelf
from handlers.units import Milliseconds, SampleRate, Seconds

RATES = (22050, 44100, 48000, 88200, 96000)
LONGEST_S = 12 * 3600.0
"""Seconds. A file may say that its last event comes after years."""

_INAUDIBLE = 1e-5  # -100 dBFS: below the smallest step of 16 bits
_LOOK = 16  # quanta between two looks at whether it is silent
_VOICES = 512  # nothing is played live: what sounds need not make room for what begins
#: What ends every note: pedals up, all notes off.
_RELEASES = ((64, 0), (66, 0), (123, 0))


class Playing(Params):
    """How MIDI becomes sound."""

    soundfont_path: Annotated[str | None, NamesSound("fonts")] = Field(
        None, description="SoundFont 2 to play with; default that of the server."
    )
    gain: float = Field(0.5, ge=0, le=5, description="Volume of the synthesiser; 0 is silence.")
    samplerate: SampleRate = Field(
        44100,
        description="Sample rate of the result.",
        json_schema_extra={"enum": list(RATES)},
    )
    reverb_level: float = Field(
        0.9, ge=0, le=1, description="Share of the room that instruments ask for; 0 is none."
    )
    reverb_room_size: float = Field(0.2, ge=0, le=1, description="0 a small room, 1 a cathedral.")
    chorus_level: float = Field(
        2.0, ge=0, le=10, description="Share of the chorus that instruments ask for; 0 is none."
    )
    chorus_depth_ms: Milliseconds = Field(
        8.0, ge=0, le=20, description="How far the chorus moves its voices."
    )
    tail_s: Seconds = Field(
        10.0,
        ge=0,
        le=120,
        description="How long the last notes may ring after the end; less where all is silent.",
    )

    @field_validator("samplerate")
    @classmethod
    def _is_usual(cls, rate: int) -> int:
        if rate not in RATES:
            raise ValueError(f"must be one of {', '.join(map(str, RATES))}")
        return rate

    def settings(self) -> Mapping[str, float]:
        """The same in FluidSynth's words."""
        return {
            "synth.sample-rate": float(self.samplerate),
            "synth.gain": float(self.gain),
            "synth.polyphony": _VOICES,
            "synth.reverb.active": int(self.reverb_level > 0),
            "synth.reverb.level": float(self.reverb_level),
            "synth.reverb.room-size": float(self.reverb_room_size),
            "synth.chorus.active": int(self.chorus_level > 0),
            "synth.chorus.level": float(self.chorus_level),
            "synth.chorus.depth": float(self.chorus_depth_ms),
        }


@dataclass(frozen=True)
class _Score:
    """What is to be played, in the order of time."""

    #: Quantum that each message is nearest to.
    quanta: NDArray[np.int64]
    #: uint8 `(n, 3)`: status and data bytes.
    messages: NDArray[np.uint8]
    #: System exclusive messages, by their place among the others.
    system: Mapping[int, bytes]
    #: Frames until the end of the file.
    frames: int


def played(midi: Midi, font: InputFile, how: Playing) -> Blocks:
    """A MIDI file as stereo.

    It begins with the file and lasts until its end, and on until what rings is
    silent; notes that it leaves on end with it. Several tracks of a file of type
    2 are played together. The same file always gives the same samples.

    Raises:
        UnreadableInput: the MIDI file or the SoundFont is damaged.
        TooLarge: it lasts longer than twelve hours.
        UnknownEngine: FluidSynth is not installed.
    """
    score = _score(midi, how.samplerate)
    longest = score.frames + round(how.tail_s * how.samplerate)
    # A refusal comes at once, not when somebody reads.
    with shelf.borrow(font):
        pass

    def passes() -> Iterator[Samples]:
        with shelf.borrow(font) as loaded, Synth(loaded, how.settings()) as synth:
            left = longest
            for piece in _performed(synth, score, longest):
                yield piece[:, :left]
                left -= piece.shape[1]

    return Blocks(
        lambda: reblocked(passes(), 2),
        rate=how.samplerate,
        channels=2,
        frames=None if longest > score.frames else score.frames,
        about_frames=min(longest, score.frames + 2 * how.samplerate),
    )


def _score(midi: Midi, rate: int) -> _Score:
    file = read(midi)
    seconds = seconds_of(file)
    if seconds > LONGEST_S:
        raise TooLarge(
            f"the MIDI file lasts {seconds / 3600:.4g} hours; "
            f"up to {LONGEST_S / 3600:g} hours are rendered"
        )
    events = file.events[file.events["status"] < smf.ESCAPE]
    at = np.empty(events.size)
    for track, clock in enumerate(clocks_of(file)):
        mine = events["track"] == track
        at[mine] = clock.seconds_at(events["tick"][mine])
    # Stable: what is at one time is played in the order of tracks, and within one in its own.
    order = np.argsort(at, kind="stable")
    events, at = events[order], at[order]
    system = {
        int(index): file.pool[start : start + size].removesuffix(b"\xf7")
        for index in np.flatnonzero(events["status"] == smf.SYSEX)
        for start, size in [(int(events["start"][index]), int(events["size"][index]))]
    }
    messages = np.stack([events["status"], events["data1"], events["data2"]], axis=1)
    quanta = np.rint(at * (rate / QUANTUM)).astype(np.int64)
    return _Score(quanta, messages, system, round(seconds * rate))


def _performed(synth: Synth, score: _Score, longest: int) -> Iterator[Samples]:
    """The sound in pieces of whole quanta, `longest` frames of it or a few more."""
    now = 0
    page = Page(BLOCK_FRAMES // QUANTUM)
    starts = np.unique(score.quanta, return_index=True)[1].tolist()
    for start, end in pairwise([*starts, len(score.quanta)]):
        due = int(score.quanta[start])
        yield from _stretch(synth, page, due - now)
        now = due
        for index, (status, data1, data2) in enumerate(score.messages[start:end].tolist(), start):
            if status == smf.SYSEX:
                synth.send_system(score.system[index])
            else:
                synth.send(status, data1, data2)
    end = math.ceil(score.frames / QUANTUM)
    yield from _stretch(synth, page, end - now)
    yield page.take()
    for channel in range(16):
        for controller, value in _RELEASES:
            synth.send(smf.CONTROLLER | channel, controller, value)
    page = Page(_LOOK)
    for _ in range(math.ceil((longest / QUANTUM - end) / _LOOK)):
        synth.play(page, _LOOK)
        piece = page.take()
        yield piece
        if not synth.voices and np.abs(piece).max() < _INAUDIBLE:
            return


def _stretch(synth: Synth, page: Page, quanta: int) -> Iterator[Samples]:
    while quanta > 0:
        count = min(quanta, page.room)
        synth.play(page, count)
        quanta -= count
        if not page.room:
            yield page.take()
