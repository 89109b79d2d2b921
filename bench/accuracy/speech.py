"""Where somebody speaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.accuracy.tasks import Answer, Question
from bench.accuracy.truth import Truth

_STEP_S = 0.01


def _peer(path: Path) -> Answer:
    """librosa's split at 30 dB below the peak: a plain rule, which knows loud from quiet."""
    import librosa

    samples, rate = librosa.load(path)
    found = librosa.effects.split(samples, top_db=30)
    return {"speech": (found / rate).tolist()}


def _frames(spans: list[tuple[float, float]], duration: float) -> NDArray[np.bool_]:
    times = np.arange(0, duration, _STEP_S)
    held = np.zeros(len(times), bool)
    for start, end in spans:
        held |= (times >= start) & (times < end)
    return held


def _score(truth: Truth, found: Answer) -> dict[str, float | None]:
    """Frames of 10 ms, and borders within 0.2 s."""
    import mir_eval

    held, said = _frames(truth.speech, truth.duration), _frames(found["speech"], truth.duration)
    right = float((held == said).mean())
    if not truth.speech:
        return {"VAD accuracy": right, "VAD F": None, "VAD borders F": None}
    both = 2 * float((held & said).sum()) / max(float(held.sum() + said.sum()), 1)
    borders = mir_eval.onset.f_measure(
        np.array(truth.speech).ravel(), np.sort(np.array(found["speech"]).ravel()), window=0.2
    )[0]
    return {"VAD accuracy": right, "VAD F": both, "VAD borders F": borders}


def _ours(path: Path) -> Answer:
    from handlers.codecs.reader import open_sound
    from handlers.hearing import Heard
    from handlers.speech.vad import Vad, vad

    told = vad(Heard(open_sound(path)), Vad())
    return {"speech": [(s.start_sec, s.end_sec) for s in told.speech_segments]}


# `ours` answers like its peer: {"speech": [(start, end), ...]}
QUESTIONS = [
    Question(
        "speech",
        ("VAD accuracy", "VAD F", "VAD borders F"),
        _score,
        ours=_ours,
        peer=_peer,
        corpus="talk",
    )
]
