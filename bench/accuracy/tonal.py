"""Key, chords, melody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.accuracy.harmony import NAMES, QUALITIES
from bench.accuracy.tasks import Answer, Judged, Question
from bench.accuracy.truth import Truth

KRUMHANSL = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}
"""Krumhansl and Kessler's probe-tone ratings, from the tonic up."""


def _peer_key(path: Path) -> Answer:
    """`chroma_cqt`, averaged, against Krumhansl's profiles."""
    import librosa

    samples, rate = librosa.load(path)
    chroma = librosa.feature.chroma_cqt(y=samples, sr=rate).mean(axis=1)
    best = max(
        (float(np.corrcoef(np.roll(profile, tonic), chroma)[0, 1]), f"{NAMES[tonic]} {mode}")
        for mode, profile in KRUMHANSL.items()
        for tonic in range(12)
    )
    return {"key": best[1]}


def _peer_chords(path: Path) -> Answer:
    """`chroma_cqt`, frame by frame, against binary triads."""
    import librosa

    samples, rate = librosa.load(path)
    chroma = librosa.util.normalize(librosa.feature.chroma_cqt(y=samples, sr=rate), norm=2)
    labels, rows = [], []
    for tonic in range(12):
        for quality in ("maj", "min"):
            row = np.zeros(12)
            row[[(tonic + step) % 12 for step in QUALITIES[quality]]] = 1 / np.sqrt(3)
            rows.append(row)
            labels.append(f"{NAMES[tonic]}:{quality}")
    likes = librosa.decompose.nn_filter(chroma, aggregate=np.median, metric="cosine")
    best = (np.array(rows) @ likes).argmax(axis=0)
    edges = librosa.frames_to_time(np.arange(len(best) + 1), sr=rate)
    return {"chords": _runs(edges, [labels[b] for b in best])}


def _runs(edges: NDArray[np.float64], labels: list[str]) -> list[tuple[float, float, str]]:
    made: list[tuple[float, float, str]] = []
    for start, end, label in zip(edges[:-1].tolist(), edges[1:].tolist(), labels, strict=True):
        if made and made[-1][2] == label:
            made[-1] = (made[-1][0], end, label)
        else:
            made.append((start, end, label))
    return made


def _peer_melody(path: Path) -> Answer:
    import librosa

    samples, rate = librosa.load(path)
    f0, voiced, _ = librosa.pyin(
        samples, sr=rate, fmin=float(librosa.note_to_hz("C2")), fmax=float(librosa.note_to_hz("C7"))
    )
    times = librosa.times_like(f0, sr=rate)
    return {
        "times": times.round(6).tolist(),
        "hz": np.nan_to_num(f0).round(3).tolist(),
        "voiced": voiced.tolist(),
    }


def _our_key(path: Path) -> Answer:
    from handlers.codecs.reader import open_sound
    from handlers.hearing import Heard
    from handlers.listening.chords import KEY

    key = Heard(open_sound(path))[KEY]
    if key is None:
        return {"key": "C major", "key_confidence": 0.0}
    return {"key": key.name, "key_confidence": key.confidence}


def _our_chords(path: Path) -> Answer:
    from handlers.codecs.reader import open_sound
    from handlers.hearing import Heard
    from handlers.listening.chords import CHORDS, HARTE

    spans = Heard(open_sound(path))[CHORDS]
    return {
        "chords": [
            (s.start, s.end, f"{s.name}:{HARTE[s.quality.suffix]}", s.confidence) for s in spans
        ]
    }


def _our_melody(path: Path) -> Answer:
    from handlers.codecs.reader import open_sound
    from handlers.hearing import Heard
    from handlers.listening.melody import melody
    from handlers.listening.pitch import FRAME_S

    found = Heard(open_sound(path))[melody()]
    return {
        "times": (np.arange(len(found.hertz)) * FRAME_S).tolist(),
        "hz": found.hertz.tolist(),
        "voiced": found.voiced.tolist(),
    }


def _judged_key(truth: Truth, found: Answer) -> list[Judged]:
    import mir_eval

    right = float(mir_eval.key.weighted_score(truth.key, found["key"]) == 1)
    return [Judged("key", found["key_confidence"], right)]


def _judged_chords(truth: Truth, found: Answer) -> list[Judged]:
    """Each chord's confidence against the share of its time in which root and triad are right."""
    import mir_eval

    made = []
    for start, end, label, confidence in found["chords"]:
        right = total = 0.0
        for begins, ends, name in truth.chords:
            shared = min(end, ends) - max(start, begins)
            if shared > 0:
                match = float(mir_eval.chord.majmin([name], [label])[0])
                if match >= 0:  # neither major nor minor: nothing is said
                    right, total = right + shared * match, total + shared
        if total:
            made.append(Judged("chords", confidence, right / total))
    return made


def _peer_melody_in_the_mix(path: Path) -> Answer:
    return _peer_melody(path)


def _score_key(truth: Truth, found: Answer) -> dict[str, float | None]:
    import mir_eval

    score = mir_eval.key.weighted_score(truth.key, found["key"])
    return {"key MIREX": score, "key exact": float(score == 1)}


def _score_chords(truth: Truth, found: Answer) -> dict[str, float | None]:
    """mir_eval's weighted shares, over the time in which the truth has a chord."""
    import mir_eval

    said = _without_gaps([entry for entry in found["chords"] if entry[1] > entry[0]])
    reference = np.array([c[:2] for c in truth.chords])
    names = [c[2] for c in truth.chords]
    marks = mir_eval.chord.evaluate(
        reference, names, np.array([c[:2] for c in said]).reshape(-1, 2), [c[2] for c in said]
    )
    return {
        "chords majmin": marks["majmin"],
        "chords sevenths": marks["sevenths"],
        "chords root": marks["root"],
        "chords segments": marks["seg"],
    }


def _without_gaps(said: list[Any]) -> list[tuple[float, float, str]]:
    """What lies between two chords, as mir_eval wants it said: no chord."""
    made: list[tuple[float, float, str]] = []
    for start, end, label, *_ in said:
        if made and start > made[-1][1] + 1e-6:
            made.append((made[-1][1], start, "N"))
        made.append((made[-1][1] if made else start, end, label))
    return made


#: Distance of the melody truth's frames: 10 ms, as is usual.
_STEP_S = 0.01


def melody_truth(truth: Truth) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times, and Hz at each, 0 where the lead is silent."""
    times = np.arange(0, truth.duration, _STEP_S)
    hz = np.zeros(len(times))
    for start, end, pitch in truth.melody:
        hz[(times >= start) & (times < end)] = pitch
    return times, hz


def _score_melody(truth: Truth, found: Answer) -> dict[str, float | None]:
    import mir_eval

    hz = np.array(found["hz"], float)
    # mir_eval's sign: a pitch that is guessed where nothing is said to sound is negative.
    hz = np.where(np.array(found["voiced"], bool), hz, -np.abs(hz))
    # Rounded times are not even ones to mir_eval, which would draw lines through silences.
    times = np.linspace(found["times"][0], found["times"][-1], len(hz))
    marks = mir_eval.melody.evaluate(*melody_truth(truth), times, hz)
    return {
        "melody RPA": marks["Raw Pitch Accuracy"],
        "melody RCA": marks["Raw Chroma Accuracy"],
        "melody OA": marks["Overall Accuracy"],
    }


# `ours` answers like its peer:
#   key     {"key": "F# minor", "key_confidence": 0..1}
#   chords  {"chords": [(start, end, "F#:min7"), ...]} in Harte's syntax
#   melody  {"times": [s], "hz": [Hz or 0], "voiced": [bool]}
QUESTIONS = [
    Question(
        "key",
        ("key MIREX", "key exact"),
        _score_key,
        ours=_our_key,
        peer=_peer_key,
        judged=_judged_key,
    ),
    Question(
        "chords",
        ("chords majmin", "chords sevenths", "chords root", "chords segments"),
        _score_chords,
        ours=_our_chords,
        peer=_peer_chords,
        judged=_judged_chords,
    ),
    Question(
        "melody",
        ("melody RPA", "melody RCA", "melody OA"),
        _score_melody,
        ours=_our_melody,
        peer=_peer_melody,
        hears="lead",
    ),
    Question(
        "melody in the mix",
        ("melody RPA", "melody RCA", "melody OA"),
        _score_melody,
        ours=_our_melody,
        peer=_peer_melody_in_the_mix,
    ),
]
