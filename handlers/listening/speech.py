"""How likely it is that somebody speaks, 31 times per second.

The model is silero VAD's, of the engine of that name.

Source: Silero Team, "Silero VAD", github.com/snakers4/silero-vad (MIT), version 6.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlers.hearing import Form, Listened, mono_at

RATE = 16000
"""Samples per second that the model hears."""
FRAME = 512
"""Samples per probability: 32 ms."""
_CONTEXT = 64
#: Frames for one call: 16 s. The state goes on from one call to the next.
_BATCH = 512


class _Speech:
    """Runs the model over whole batches of frames."""

    def __init__(self, _form: Form, model: Any) -> None:
        """`model` is a session of ONNX Runtime."""
        self._model = model
        self._state = np.zeros((2, 1, 1, 128), np.float32)
        self._before = np.zeros(_CONTEXT, np.float32)
        self._waiting = np.zeros(_BATCH * FRAME, np.float32)
        self._filled = 0
        self._found: list[NDArray[np.float32]] = []

    def add(self, piece: NDArray[np.float32]) -> None:
        """Hear the next samples, `(n,)`."""
        at = 0
        while at < piece.size:
            part = piece[at : at + self._waiting.size - self._filled]
            self._waiting[self._filled : self._filled + part.size] = part
            self._filled += part.size
            at += part.size
            if self._filled == self._waiting.size:
                self._run(self._waiting)
                self._filled = 0

    def done(self) -> NDArray[np.float32]:
        """The probabilities; the last frame is filled up with silence."""
        if self._filled:
            frames = -(-self._filled // FRAME)
            self._waiting[self._filled :] = 0
            self._run(self._waiting[: frames * FRAME])
        return np.concatenate([np.zeros(0, np.float32), *self._found])

    def _run(self, samples: NDArray[np.float32]) -> None:
        frames = samples.reshape(-1, FRAME)
        tails = np.concatenate((self._before[None], frames[:-1, -_CONTEXT:]))
        self._before = frames[-1, -_CONTEXT:].copy()
        given = np.concatenate((tails, frames), axis=1)
        h, c = self._state
        found, h, c = self._model.run(None, {"input": given, "h": h, "c": c})
        self._state = np.stack((h, c))
        self._found.append(found)


SPEECH = Listened("speech", version=1, stage=mono_at(RATE), begin=_Speech, engine="silero-vad")
"""Probability of speech in each `FRAME` of the sound at `RATE`: float32 `(frames,)`."""


def speech_parts(
    probabilities: NDArray[np.float32],
    samples: int,
    *,
    threshold: float,
    min_speech_ms: float,
    min_silence_ms: float,
    pad_ms: float = 30,
) -> list[tuple[int, int]]:
    """Where somebody speaks, `[start, end)` in samples at `RATE`.

    Speech begins with a frame that reaches the threshold, and ends with one
    0.15 below it (at least 0.01) if for the least silence none reaches the
    threshold again. What is not longer than the least speech is left out; the
    rest is made longer by the pad at both sides, or meets half way.

    Args:
        probabilities: one for each `FRAME`, in order.
        samples: length of the sound at `RATE`.

    Source: `get_speech_timestamps_from_probs` of silero-vad 6.2.3; the same for
    the same probabilities.
    """
    exit_below = max(threshold - 0.15, 0.01)
    shortest, least_silence = min_speech_ms * RATE / 1000, min_silence_ms * RATE / 1000
    found: list[tuple[int, int]] = []
    start: int | None = None
    quiet: int | None = None
    for number, probability in enumerate(probabilities.tolist()):
        at = number * FRAME
        if probability >= threshold:
            quiet = None
            if start is None:
                start = at
                continue
        if probability < exit_below and start is not None:
            quiet = at if quiet is None else quiet
            if at - quiet >= least_silence:
                if quiet - start > shortest:
                    found.append((start, quiet))
                start = quiet = None
    if start is not None and samples - start > shortest:
        found.append((start, samples))
    return _padded(found, samples, pad_ms * RATE / 1000)


def _padded(parts: list[tuple[int, int]], samples: int, pad: float) -> list[tuple[int, int]]:
    starts, ends = [start for start, _ in parts], [end for _, end in parts]
    for i in range(len(parts)):
        if i == 0:
            starts[0] = int(max(0, starts[0] - pad))
        if i == len(parts) - 1:
            ends[i] = int(min(samples, ends[i] + pad))
            continue
        pause = starts[i + 1] - ends[i]
        if pause < 2 * pad:
            ends[i] += pause // 2
            starts[i + 1] -= pause // 2
        else:
            ends[i] = int(ends[i] + pad)
            starts[i + 1] = int(starts[i + 1] - pad)
    return list(zip(starts, ends, strict=True))
