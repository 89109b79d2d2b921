"""Who speaks when: windows through two networks, and what they say put together.

Windows, masks and the way back to one time line are those of pyannote.audio's
`SpeakerDiarization`. It keeps the sound and runs the larger network over a window once for
each of its voices; here a window is read, heard once by each network and let go, and what is
kept of it is which voices are heard when (2 kB) and where they are (3 kB).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from handlers.engines.declare import Device
from handlers.engines.speakers import Speakers

if TYPE_CHECKING:
    from handlers.artifacts import Blocks

RATE = 16000
"""Samples per second that the networks hear."""
_PLACES = 256
"""Dimensions of the space of voices."""
_LISTENING = 0.98
"""Share of the work that is done when all windows are heard."""


@dataclass(frozen=True)
class Turn:
    """A stretch in which somebody speaks."""

    start: float
    end: float
    #: Counted from 0, in the order in which speakers are first heard.
    speaker: int


class Diarizer:
    """Finds who speaks when."""

    def __init__(
        self,
        who: Any,
        voice: Any,
        speakers: Speakers,
        device: Device,
        *,
        classes: list[tuple[int, ...]],
        seconds: float,
        alone: bool,
        shortest_pause: float,
    ) -> None:
        """Two networks and how to use them.

        Args:
            who: says which voices are heard in a window.
            voice: says where voices are.
            speakers: puts voices together.
            device: where the networks are.
            classes: voices that are heard in each class of `who`.
            seconds: length of a window; the next begins after a tenth of it.
            alone: tell a voice where nobody else speaks, if that is long enough.
            shortest_pause: a shorter one does not end a turn.
        """
        self._who, self._voice, self._speakers = who, voice, speakers
        self._device = device
        self._size = round(seconds * RATE)
        self._step = round(0.1 * seconds * RATE)
        self._alone = alone
        self._pause = shortest_pause
        count = 1 + max((max(voices) for voices in classes if voices), default=0)
        self._heard = np.zeros((len(classes), count), np.uint8)
        for number, voices in enumerate(classes):
            self._heard[number, list(voices)] = 1

    def turns(
        self,
        sound: Blocks,
        fewest: int = 1,
        most: float = np.inf,
        progress: Callable[[float], None] = lambda _: None,
    ) -> list[Turn]:
        """Who speaks when, in order; turns of several speakers may overlap.

        Args:
            sound: any rate and channels; the mean of its channels is heard.
            fewest: speakers, at least, where there is speech of so many.
            most: speakers, at most.
            progress: told the share that is done; may raise to stop.
        """
        if not sound.frames:
            return []
        heard, voices = self._listen(sound, progress)
        if not heard.any():
            return []
        speakers = self._speakers.of(voices, heard, fewest, most)
        counts = np.minimum(self._counted(heard), most).astype(np.int64)
        active = self._timeline(heard, speakers, counts)
        return _in_order(self._stretches(active, sound.duration))

    # -- windows -------------------------------------------------------------------------------
    def _listen(
        self, sound: Blocks, progress: Callable[[float], None]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """When voices are heard, `(windows, frames, voices)`, and where they are."""
        import torch

        from handlers.codecs.resample import resampled_frames

        samples = resampled_frames(sound.frames, sound.rate, RATE)
        windows = 1 + -(-max(samples - self._size, 0) // self._step)
        frames = self._who.frames(self._size)
        voices = self._heard.shape[1]
        heard = np.zeros((windows, frames, voices), np.uint8)
        places = np.zeros((windows, voices, _PLACES), np.float32)
        for number, samples_of_it in enumerate(self._windows(sound, windows)):
            with torch.inference_mode():
                window = torch.from_numpy(samples_of_it).to(self._device)
                heard[number] = self._heard[self._who(window[None])[0].cpu().numpy()]
                spoken = np.flatnonzero(heard[number].any(axis=0))
                if spoken.size:
                    masks = torch.from_numpy(self._masks(heard[number])[spoken]).to(self._device)
                    places[number, spoken] = self._voice(window, masks).cpu().numpy()
            progress(_LISTENING * (number + 1) / windows)
        return heard, places

    def _windows(self, sound: Blocks, count: int) -> Iterator[NDArray[np.float32]]:
        from handlers.engines.windows import mono
        from handlers.streams import Strip, finite

        strip = Strip(mono(sound.like(lambda: finite(sound)), RATE))
        for number in range(count):
            start = number * self._step
            yield strip.span(start, start + self._size)

    def _masks(self, heard: NDArray[np.uint8]) -> NDArray[np.float32]:
        """When each voice of a window is listened to, `(voices, frames)`."""
        if not self._alone:
            return np.ascontiguousarray(heard.T, np.float32)
        least = -(-len(heard) * self._voice.shortest // self._size)
        alone = heard * (heard.sum(axis=1, keepdims=True) < 2)
        enough = alone.sum(axis=0) > least
        return np.ascontiguousarray(np.where(enough, alone, heard).T, np.float32)

    # -- one time line -------------------------------------------------------------------------
    def _starts(self, windows: int) -> NDArray[np.int64]:
        """The frame of the time line that each window begins with."""
        starts = np.arange(windows) * self._step / self._who.step
        return np.asarray(np.rint(starts), np.int64)

    def _frames(self, windows: int) -> int:
        """Frames of the time line."""
        end = (self._size + (windows - 1) * self._step) / self._who.step
        return int(np.rint(end)) + 1

    def _counted(self, heard: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How many voices are heard in each frame: the mean over its windows."""
        total = np.zeros(self._frames(len(heard)), np.float32)
        windows = np.zeros_like(total)
        for start, window in zip(self._starts(len(heard)), heard, strict=True):
            total[start : start + len(window)] += window.sum(axis=1)
            windows[start : start + len(window)] += 1
        return np.asarray(np.rint(total / np.maximum(windows, 1)))

    def _timeline(
        self, heard: NDArray[np.uint8], speakers: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Who is active in each frame, `(frames, speakers)`: those whom most windows hear.

        Of two whom equally many hear, the one who says more; the package takes whom its
        clustering happens to number first. And nobody is active whom no window hears, where
        the package fills up their number when two voices turned out to be one speaker's.
        """
        votes = np.zeros((len(counts), int(speakers.max()) + 1), np.float32)
        for start, window, mine in zip(self._starts(len(heard)), heard, speakers, strict=True):
            for speaker in np.unique(mine[mine >= 0]):
                found = window[:, mine == speaker].max(axis=1)
                votes[start : start + len(found), speaker] += found
        votes = votes[:, np.argsort(-votes.sum(axis=0), kind="stable")]
        rank = np.argsort(np.argsort(-votes, axis=1, kind="stable"), axis=1)
        return np.asarray((rank < counts[:, None]) & (votes > 0))

    def _stretches(self, active: NDArray[np.bool_], duration: float) -> Iterator[Turn]:
        """Where each speaker is active; times are those of the middle of frames."""
        step, middle = self._who.step / RATE, self._who.reach / 2 / RATE
        for speaker, row in enumerate(active.T):
            edges = np.flatnonzero(np.diff(row, prepend=False, append=False))
            times = np.minimum(edges, len(row) - 1) * step + middle
            merged: list[list[float]] = []
            for start, end in times.reshape(-1, 2):
                if merged and start - merged[-1][1] < self._pause:
                    merged[-1][1] = end
                else:
                    merged.append([start, end])
            for start, end in merged:
                if start < min(end, duration):
                    yield Turn(float(start), float(min(end, duration)), speaker)


def _in_order(turns: Iterator[Turn]) -> list[Turn]:
    """By time, speakers counted as they come."""
    ordered = sorted(turns, key=lambda turn: (turn.start, turn.end, turn.speaker))
    numbers: dict[int, int] = {}
    for turn in ordered:
        numbers.setdefault(turn.speaker, len(numbers))
    return [Turn(turn.start, turn.end, numbers[turn.speaker]) for turn in ordered]
