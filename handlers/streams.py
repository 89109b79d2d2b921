"""Ways to read a sound other than in the blocks that it happens to come in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np

from handlers.artifacts import BLOCK_FRAMES, Blocks, Samples
from handlers.errors import AudiollaError, CannotProcess


class Feed:
    """One pass over a sound, read in whatever amounts are asked for."""

    def __init__(self, sound: Blocks) -> None:
        """Nothing is read before the first `read`."""
        self.channels = sound.channels
        self._blocks = iter(sound)
        self._rest = np.zeros((sound.channels, 0), np.float32)
        self.position = 0

    def read(self, frames: int) -> Samples:
        """The next frames `(channels, n)`, contiguous; fewer only where the sound ends."""
        parts = [self._rest]
        have = self._rest.shape[1]
        while have < frames:
            block = next(self._blocks, None)
            if block is None:
                break
            parts.append(block)
            have += block.shape[1]
        # The usual case, a block as it is asked for, is passed on without a copy.
        full = [part for part in parts if part.shape[1]] or parts[:1]
        joined = full[0] if len(full) == 1 else np.concatenate(full, axis=1)
        self._rest = joined[:, frames:]
        self.position += min(frames, have)
        return np.ascontiguousarray(joined[:, :frames])

    def rest(self, size: int = BLOCK_FRAMES) -> Iterator[Samples]:
        """All that is left, in blocks of `size` frames."""
        while (block := self.read(size)).shape[1]:
            yield block


class Strip:
    """One pass over a sound, read in spans that overlap, none starting before the one before."""

    def __init__(self, sound: Blocks) -> None:
        """Nothing is read before the first `span`."""
        self._feed = Feed(sound)
        self._held = np.zeros((sound.channels, 0), np.float32)
        self._start = 0

    def span(self, start: int, end: int) -> Samples:
        """Frames `start` to `end` as an array of its own; zeros beyond both ends of the sound."""
        inside = max(start, 0)
        while self._start < inside:
            if not self._held.shape[1]:
                self._held = self._feed.read(min(BLOCK_FRAMES, inside - self._start))
            gone = min(inside - self._start, self._held.shape[1])
            if not gone:
                break
            self._held = self._held[:, gone:]
            self._start += gone
        missing = end - self._start - self._held.shape[1]
        if missing > 0:
            fresh = self._feed.read(missing)
            self._held = np.concatenate((self._held, fresh), axis=1)
        span = np.zeros((self._held.shape[0], end - start), np.float32)
        found = self._held[:, : max(end - self._start, 0)]
        at = self._start - start
        span[:, at : at + found.shape[1]] = found
        return span


def surrounded(sound: Blocks, size: int, before: int, after: int) -> Iterator[tuple[Samples, int]]:
    """Stretches of a sound together with what is around them.

    Yields:
        `(channels, before + n + after)` and `n`, where `n` is `size` but for the
        last stretch. Zeros stand for what would lie outside of the sound. The
        array is used again for the next stretch.
    """
    feed = Feed(sound)
    window = np.zeros((sound.channels, before + size + after), np.float32)
    # What is known so far ends here, counted from the start of the window.
    known = before
    while True:
        fresh = feed.read(window.shape[1] - known)
        window[:, known : known + fresh.shape[1]] = fresh
        known += fresh.shape[1]
        window[:, known:] = 0
        count = min(size, known - before)
        if count <= 0:
            return
        yield window, count
        window[:, : known - count] = window[:, count:known].copy()
        known -= count


def sections(sound: Blocks, bounds: Sequence[tuple[int, int]]) -> list[Blocks]:
    """Parts of a sound, each `[start, end)` in frames, as sounds of their own.

    Read one after the other in the order of time, as a writer does, all parts
    together cost one pass over the sound; in another order each begins at its start.
    """
    running: Feed | None = None

    def part(start: int, end: int) -> Iterator[Samples]:
        nonlocal running
        # Taken away while it is read: a second reader meanwhile starts a pass of its own.
        feed, running = running, None
        if feed is None or feed.position > start:
            feed = Feed(sound)
        while feed.position < start:
            if not feed.read(min(BLOCK_FRAMES, start - feed.position)).shape[1]:
                return
        while feed.position < end:
            block = feed.read(min(BLOCK_FRAMES, end - feed.position))
            if not block.shape[1]:
                return
            yield block
        running = feed

    return [sound.like(partial(part, start, end), frames=end - start) for start, end in bounds]


def joined(sounds: Sequence[Blocks], overlap: int = 0) -> Blocks:
    """Sounds of one rate and channel count one after another.

    With `overlap` frames, the end of each is blended into the beginning of the
    next with constant power, and the whole is shorter by as much.

    Raises:
        CannotProcess: a sound is shorter than the overlap (when it is read, if
            its length is not known before).
    """
    for number, sound in enumerate(sounds):
        if sound.stated_frames is not None:
            _check_overlap(number, sound.stated_frames, sound.rate, overlap)
    frames: int | None = -overlap * (len(sounds) - 1)
    for sound in sounds:
        known = sound.stated_frames
        frames = None if frames is None or known is None else frames + known

    def passing() -> Iterator[Samples]:
        if not overlap:
            for sound in sounds:
                yield from sound
            return
        angle = (np.arange(overlap) + 0.5) * (math.pi / 2 / overlap)
        rising, falling = np.sin(angle).astype(np.float32), np.cos(angle).astype(np.float32)
        tail: Samples | None = None
        for number, sound in enumerate(sounds):
            feed = Feed(sound)
            held = feed.read(overlap)
            _check_overlap(number, held.shape[1], sound.rate, overlap)
            if tail is not None:
                held = held * rising + tail * falling
            last = number == len(sounds) - 1
            for block in feed.rest():
                # The last `overlap` frames wait: they may be the end, which is blended.
                held = np.concatenate((held, block), axis=1)
                if held.shape[1] > overlap:
                    yield np.ascontiguousarray(held[:, :-overlap])
                    held = held[:, -overlap:]
            if last:
                yield np.ascontiguousarray(held)
            tail = held

    first = sounds[0]
    return Blocks(
        passing, rate=first.rate, channels=first.channels, frames=frames, facts=first.facts
    )


def _check_overlap(number: int, frames: int, rate: int, overlap: int) -> None:
    if frames < overlap:
        raise CannotProcess(
            f"file {number} lasts {frames / rate:.3g} s: "
            f"too short for a crossfade of {overlap / rate:.3g} s"
        )


def fitted(sound: Blocks, frames: int) -> Iterator[Samples]:
    """The same sound with so many frames, in arrays that may be written into.

    For a sound that is long or short by a few frames at most, after a way there and back
    between two rates.
    """
    left = frames
    for block in sound:
        piece = block[:, :left]
        left -= piece.shape[1]
        if piece.shape[1]:
            yield np.array(piece, np.float32)
    if left:
        yield np.zeros((sound.channels, left), np.float32)


def finite(sound: Blocks) -> Iterator[Samples]:
    """One pass over a sound for those who could not work with anything but numbers.

    Raises:
        CannotProcess: a sample is NaN or infinite.
    """
    for block in sound:
        if not np.isfinite(block).all():
            raise CannotProcess("the sound has samples that are no numbers (NaN or infinite)")
        yield block


def named(sound: Blocks, name: str) -> Blocks:
    """The same sound; a refusal while it is read begins with `name`."""

    def passing() -> Iterator[Samples]:
        with said_of(name):
            yield from sound

    return sound.like(passing)


@contextmanager
def said_of(name: str) -> Iterator[None]:
    """A refusal from inside begins with `name`, which of several sounds it is about."""
    try:
        yield
    except AudiollaError as wrong:
        raise type(wrong)(f"{name}: {wrong.detail}", field=wrong.field, hint=wrong.hint) from wrong
