"""Another sample rate, another number of channels, another format."""

from __future__ import annotations

from pydantic import Field

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, Params, operation
from handlers.units import SampleRate


class Convert(Params):
    """What the result is to have; what is left out stays as it is."""

    sample_rate: SampleRate | None = Field(
        None, ge=1, le=768_000, description="Sample rate of the result; default as the source."
    )
    channels: int | None = Field(
        None, ge=1, le=2, description="1 for mono, 2 for stereo; default as the source."
    )


class Converted(Result):
    """The sound, and what was asked for."""

    sound: Blocks
    sample_rate: SampleRate | None
    channels: int | None


@operation(
    route="/v1/audio/convert",
    category="editing",
    examples=[
        Example("For a phone system.", sample_rate=8000, channels=1),
        Example("Another format only."),
    ],
    pipeline=True,
    batch=True,
)
def convert(sound: Blocks, p: Convert) -> Converted:
    """Change sample rate, channel count or file format.

    Channels are mixed down as ITU-R BS.775-3 has it; mono is copied to both
    sides at its level. Without parameters the samples stay as they are and
    only the output format counts.

    Raises:
        CannotProcess: there is no agreed way to mix so many channels down.
    """
    from handlers.codecs.channels import remixed
    from handlers.codecs.resample import resampled

    channels = p.channels or sound.channels
    result = remixed(sound, channels) if channels < sound.channels else sound
    result = resampled(result, p.sample_rate or sound.rate)
    return Converted(
        sound=remixed(result, channels), sample_rate=p.sample_rate, channels=p.channels
    )
