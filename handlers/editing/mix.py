"""Several sounds at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import numpy as np
from annotated_types import MinLen
from pydantic import Field

from handlers.artifacts import BLOCK_FRAMES, Blocks, Result, Samples, SoundItem
from handlers.declare import Example, operation
from handlers.errors import AudiollaError, BadParameter
from handlers.units import Decibels


class Track(SoundItem):
    """One sound of a mix."""

    gain_db: Decibels = Field(0.0, description="How much louder or softer than it is.")


class Mixed(Result):
    """The sum, and of how many."""

    sound: Blocks
    track_count: int


@operation(
    route="/v1/audio/mix",
    category="editing",
    examples=[Example("A voice over a bed.")],
)
def mix(tracks: Annotated[list[Track], MinLen(2), "The sounds to add up."]) -> Mixed:
    """Add up two or more sounds, each with a gain of its own.

    The sum is not renormalised. It lasts as long as the longest track and has
    the highest rate and the most channels among them; other tracks are
    converted to these. All begin together.

    Raises:
        BadParameter: fewer than two tracks, or a gain beyond what a sample
            can hold.
    """
    from handlers.codecs.channels import remixed
    from handlers.codecs.resample import resampled

    if len(tracks) < 2:
        raise BadParameter(f"a mix needs at least 2 tracks; got {len(tracks)}", field="tracks")
    rate = max(track.sound.rate for track in tracks)
    channels = max(track.sound.channels for track in tracks)
    gains: list[np.float32] = []
    sounds: list[Blocks] = []
    for index, track in enumerate(tracks):
        # Beyond this, a full-scale sample is no longer a float32.
        if track.gain_db > 700:
            raise BadParameter(
                f"track {index}: gain_db = {track.gain_db:g} is too much; 700 is the limit",
                field=f"tracks[{index}].gain_db",
            )
        gains.append(np.float32(10 ** (track.gain_db / 20)))
        with _of_track(index):
            sounds.append(remixed(resampled(track.sound, rate), channels))
    frames = max(sound.frames for sound in sounds)

    def mixed() -> Iterator[Samples]:
        readers = [_Reader(sound, index) for index, sound in enumerate(sounds)]
        for at in range(0, frames, BLOCK_FRAMES):
            total = np.zeros((channels, min(BLOCK_FRAMES, frames - at)), np.float32)
            for reader, gain in zip(readers, gains, strict=True):
                reader.add_to(total, gain)
            yield total

    whole = Blocks(mixed, rate=rate, channels=channels, frames=frames, facts=tracks[0].sound.facts)
    return Mixed(sound=whole, track_count=len(tracks))


class _Reader:
    """Adds one track to blocks of any length, whatever the length of its own."""

    def __init__(self, sound: Blocks, index: int) -> None:
        self._index = index
        self._blocks = iter(sound)
        self._left = np.zeros((sound.channels, 0), np.float32)

    def add_to(self, total: Samples, gain: np.float32) -> None:
        """Add the next frames, times `gain`; nothing after the track's end."""
        at = 0
        while at < total.shape[1]:
            if self._left.shape[1] == 0:
                with _of_track(self._index):
                    block = next(self._blocks, None)
                if block is None:
                    return
                self._left = block
            part = self._left[:, : total.shape[1] - at]
            total[:, at : at + part.shape[1]] += part * gain
            self._left = self._left[:, part.shape[1] :]
            at += part.shape[1]


@contextmanager
def _of_track(index: int) -> Iterator[None]:
    """Refusals from inside name the track."""
    try:
        yield
    except AudiollaError as wrong:
        raise type(wrong)(
            f"track {index}: {wrong.detail}", field=wrong.field, hint=wrong.hint
        ) from wrong
