"""Notes as people play them."""

from __future__ import annotations

import secrets

import numpy as np
from pydantic import Field

from handlers.artifacts import Midi, Result
from handlers.declare import Example, Params, operation
from handlers.units import Bytes, Milliseconds, PercentOfVelocity


class MidiHumanize(Params):
    """How far from the machine."""

    timing_ms: Milliseconds = Field(
        10.0, ge=0.0, le=500.0, description="Largest shift of a note, earlier or later."
    )
    velocity_pct: PercentOfVelocity = Field(
        10.0,
        ge=0.0,
        le=50.0,
        description="Largest change of a velocity, softer or harder.",
    )
    seed: int | None = Field(
        None, description="The same seed gives the same bytes; without one, each take is new."
    )


class Humanised(Result):
    """The file, and what gives it again."""

    midi: Midi
    size: Bytes
    seed: int


@operation(
    route="/v1/midi/humanize",
    category="midi",
    engines=("midi-compose",),
    varies=lambda p: p.seed is None,
    examples=[
        Example("A relaxed player.", timing_ms=12, velocity_pct=8, seed=1),
        Example("Only the touch.", timing_ms=0, velocity_pct=15, seed=7),
    ],
)
def midi_humanize(file: Midi, p: MidiHumanize) -> Humanised:
    """Shift each note a little and strike it a little softer or harder, by chance.

    Shifts are evenly spread over the ticks within `timing_ms`, at the tempo
    that the file has there; a note's end moves with its beginning. Notes of one
    key keep their order and do not run into each other, and none overtakes a
    change of its instrument. Velocities stay within 1 to 127. All else stays
    as it is; with both amounts 0 the file stays byte for byte.

    Raises:
        UnreadableInput: the file is no Standard MIDI File, or damaged.
    """
    from handlers.smf.jitter import shifted, struck
    from handlers.smf.notes import moved, notes_of
    from handlers.smf.reading import read
    from handlers.smf.writing import write

    # 53 bits: the largest whole number that every reader of JSON keeps.
    seed = secrets.randbits(53) if p.seed is None else p.seed
    before = read(file)
    after = before
    if p.timing_ms or p.velocity_pct:
        # Streams of their own: the one amount does not change what the other does.
        timing, touch = np.random.SeedSequence((abs(seed), seed < 0)).spawn(2)
        after = struck(before, p.velocity_pct, np.random.default_rng(touch))
        notes = notes_of(after)
        after = moved(
            after, notes, shifted(after, notes, p.timing_ms / 1000, np.random.default_rng(timing))
        )
    midi = file if after is before else write(after)
    return Humanised(midi=midi, size=len(midi.data), seed=seed)
