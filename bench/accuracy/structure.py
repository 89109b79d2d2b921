"""Sections: where they begin, and which are the same."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from bench.accuracy.tasks import Answer, Question
from bench.accuracy.truth import Truth


def _peer(path: Path) -> Answer:
    """Agglomerative clustering of beat-synchronous chroma and MFCC, as librosa's examples do."""
    import librosa

    samples, rate = librosa.load(path)
    chroma = librosa.feature.chroma_cqt(y=samples, sr=rate)
    mfcc = librosa.feature.mfcc(y=samples, sr=rate)
    _, beats = librosa.beat.beat_track(y=samples, sr=rate, trim=False)
    marks = librosa.util.fix_frames(beats, x_min=0)
    both = np.vstack((librosa.util.normalize(mfcc, axis=1), chroma))
    synced = librosa.util.sync(both, marks.tolist())
    count = max(1, min(synced.shape[1], round(len(samples) / rate / 8)))
    bounds = librosa.segment.agglomerative(synced, count)
    times = [*librosa.frames_to_time(marks[bounds], sr=rate).tolist(), len(samples) / rate]
    return {"sections": [(start, end, str(i)) for i, (start, end) in enumerate(pairwise(times))]}


def _score(truth: Truth, found: Answer) -> dict[str, float | None]:
    """Boundaries within 3 s and 0.5 s, the first and the last left out; labels by pairs."""
    import mir_eval

    reference = np.array([s[:2] for s in truth.sections])
    names = [s[2] for s in truth.sections]
    said = [s for s in found["sections"] if s[1] > s[0]]
    estimate = np.array([s[:2] for s in said])
    labels = [str(s[2]) for s in said]
    wide = mir_eval.segment.detection(reference, estimate, window=3, trim=True)[2]
    narrow = mir_eval.segment.detection(reference, estimate, window=0.5, trim=True)[2]
    end = float(reference[-1, 1])
    fitted = mir_eval.util.adjust_intervals(estimate, labels, t_min=0, t_max=end)
    whole = mir_eval.util.adjust_intervals(reference, names, t_min=0, t_max=end)
    pairs = mir_eval.segment.pairwise(*whole, *fitted)[2]
    return {"segments F 3 s": wide, "segments F 0.5 s": narrow, "labels pairwise F": pairs}


def _ours(path: Path) -> Answer:
    """As the operation does unless told otherwise: six parts, whatever the piece has."""
    return _parts(path, 6, adaptive=False)


def _ours_adaptive(path: Path) -> Answer:
    """As many parts as there are signs of."""
    return _parts(path, 12, adaptive=True)


def _parts(path: Path, count: int, *, adaptive: bool) -> Answer:
    from handlers.analysis.segments import Segments, segments
    from handlers.codecs.reader import open_sound
    from handlers.hearing import Heard

    told = segments(Heard(open_sound(path)), Segments(num_segments=count, adaptive=adaptive))
    return {"sections": [(s.start_sec, s.end_sec, s.label) for s in told.segments]}


_COLUMNS = ("segments F 3 s", "segments F 0.5 s", "labels pairwise F")

# `ours` answers like its peer: {"sections": [(start, end, label), ...]}
QUESTIONS = [
    Question("sections", _COLUMNS, _score, ours=_ours, peer=_peer),
    Question("sections, adaptive", _COLUMNS, _score, ours=_ours_adaptive, peer=_peer),
]
