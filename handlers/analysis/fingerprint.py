"""What identifies a recording, whatever it is encoded as."""

from __future__ import annotations

from pydantic import Field

from handlers.artifacts import Blocks, Result
from handlers.chromaprint import Fingerprinter
from handlers.declare import Example, Params, operation
from handlers.units import Seconds


class Fingerprint(Params):
    """How much of the sound counts, and in which form the fingerprint is wanted."""

    return_raw: bool = Field(
        False, description="Add the fingerprint as 32-bit integers, eight for each second."
    )
    analyze_seconds: Seconds = Field(
        120.0, ge=0, description="How much is listened to from the start; 0 means everything."
    )


class Fingerprinted(Result):
    """The fingerprint, and the length of the whole sound, which a look-up needs too."""

    duration: Seconds
    fingerprint: str
    fingerprint_raw: list[int] | None = None


@operation(
    route="/v1/audio/fingerprint",
    category="analysis",
    engines=("audio-fingerprint",),
    examples=[
        Example("What AcoustID is asked with."),
        Example("Bits to compare with.", return_raw=True, analyze_seconds=0.0),
    ],
)
def fingerprint(sound: Blocks, p: Fingerprint) -> Fingerprinted:
    """Compute the Chromaprint fingerprint, which is the same whatever the encoding.

    It equals what `fpcalc` prints for the same file, and AcoustID takes it.
    Reading stops where enough has been heard. Two recordings are the same
    where few bits of their integers differ: under a tenth for an MP3 of the
    same master, about half for different music.

    Raises:
        CannotProcess: the sound is shorter than about 3 seconds.
        UnknownEngine: the system's library Chromaprint is missing.

    Source: Chromaprint 1.5, algorithm 2 (the default of AcoustID).
    """
    fmt = sound.facts.sample_fmt if sound.facts else "flt"
    small = fmt.startswith(("u8", "s16"))
    printer = Fingerprinter(sound.rate, sound.channels, small=small, seconds=p.analyze_seconds)
    for block in sound:
        printer.add(block)
        if printer.full:
            break
    found = printer.done()
    return Fingerprinted(
        duration=sound.duration,
        fingerprint=found.text,
        fingerprint_raw=found.raw.tolist() if p.return_raw else None,
    )
