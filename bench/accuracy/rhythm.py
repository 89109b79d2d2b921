"""Tempo, beats, downbeats, onsets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from bench.accuracy.tasks import Answer, Judged, Question
from bench.accuracy.truth import Truth
from handlers.artifacts import Audio
from handlers.hearing import Heard


def _peer(path: Path) -> Answer:
    import librosa

    samples, rate = librosa.load(path)
    tempo, beats = librosa.beat.beat_track(y=samples, sr=rate, units="time")
    onsets = librosa.onset.onset_detect(y=samples, sr=rate, units="time")
    return {
        "tempo": float(np.atleast_1d(tempo)[0]),
        "beats": beats.tolist(),
        "onsets": onsets.tolist(),
    }


def _ours_beats(path: Path) -> Answer:
    from handlers.listening.rhythm import PULSE

    found = _heard(path)[PULSE]
    return {
        "tempo": found.tempo or 0.0,
        "beats": found.beats.tolist(),
        "downbeats": found.downbeats.tolist(),
        "beats_per_bar": found.beats_per_bar,
        "tempo_confidence": found.tempo_confidence,
        "beats_confidence": found.beats_confidence,
        "downbeats_confidence": found.downbeats_confidence,
    }


def _ours_onsets(path: Path) -> Answer:
    from handlers.listening.onsets import ONSETS

    return {"onsets": _heard(path)[ONSETS].times.tolist()}


def _heard(path: Path) -> Heard:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return Heard(Audio(np.ascontiguousarray(samples.T), rate).blocks())


def tempo_right(found: float, truth: float, factors: tuple[float, ...] = (1.0,)) -> bool:
    """Within 4 % of the truth, or of one of its multiples."""
    return any(abs(found - truth * f) <= 0.04 * truth * f for f in factors)


_OCTAVES = (1.0, 2.0, 0.5, 3.0, 1 / 3)


def _score_beats(truth: Truth, found: Answer) -> dict[str, float | None]:
    import mir_eval

    reference = mir_eval.beat.trim_beats(np.array(truth.beats))
    estimate = mir_eval.beat.trim_beats(np.array(found["beats"]))
    downbeats = found.get("downbeats")
    down = None
    if downbeats is not None:
        down = mir_eval.beat.f_measure(
            mir_eval.beat.trim_beats(np.array(truth.downbeats)),
            mir_eval.beat.trim_beats(np.array(downbeats)),
        )
    cmlt, amlt = mir_eval.beat.continuity(reference, estimate)[1::2]
    return {
        "tempo acc 1": float(tempo_right(found["tempo"], truth.tempo)),
        "tempo acc 2": float(tempo_right(found["tempo"], truth.tempo, _OCTAVES)),
        "beat F": mir_eval.beat.f_measure(reference, estimate),
        "CMLt": cmlt,
        "AMLt": amlt,
        "downbeat F": down,
        "meter": None
        if "beats_per_bar" not in found
        else float(found["beats_per_bar"] == {"4/4": 4, "3/4": 3, "6/8": 2}[truth.meter]),
    }


def _judged_beats(truth: Truth, found: Answer) -> list[Judged]:
    """The tempo's confidence against its being right, the beats' against their F-measure."""
    marks = _score_beats(truth, found)
    made = []
    for kind, column in [
        ("tempo", "tempo acc 1"),
        ("beats", "beat F"),
        ("downbeats", "downbeat F"),
    ]:
        confidence, right = found.get(f"{kind}_confidence"), marks[column]
        if confidence is not None and right is not None:
            made.append(Judged(kind, confidence, right))
    return made


def _score_onsets(truth: Truth, found: Answer) -> dict[str, float | None]:
    import mir_eval

    f, precision, recall = mir_eval.onset.f_measure(
        np.array(truth.onsets), np.array(found["onsets"])
    )
    return {"onset F": f, "onset P": precision, "onset R": recall}


QUESTIONS = [
    Question(
        "beats",
        ("tempo acc 1", "tempo acc 2", "beat F", "CMLt", "AMLt", "downbeat F", "meter"),
        _score_beats,
        ours=_ours_beats,
        peer=_peer,
        judged=_judged_beats,
    ),
    Question(
        "onsets", ("onset F", "onset P", "onset R"), _score_onsets, ours=_ours_onsets, peer=_peer
    ),
]
