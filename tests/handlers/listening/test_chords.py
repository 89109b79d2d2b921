import itertools

import numpy as np
import pytest

from handlers.hearing import Heard
from handlers.kernels.paths import advance, trace
from handlers.listening.chords import KEY, QUALITIES, Key, Span, gridded, merged
from handlers.listening.notes import NAMES
from tests.sounds import as_blocks, played

MAJOR, MINOR = QUALITIES[:2]


def test_the_camelot_code_of_every_key_is_that_of_the_wheel():
    wheel = (
        "C major 8B, G major 9B, D major 10B, A major 11B, E major 12B, B major 1B, F# major 2B,"
        " C# major 3B, G# major 4B, D# major 5B, A# major 6B, F major 7B, A minor 8A, E minor 9A,"
        " B minor 10A, F# minor 11A, C# minor 12A, G# minor 1A, D# minor 2A, A# minor 3A,"
        " F minor 4A, C minor 5A, G minor 6A, D minor 7A"
    )
    told = {}
    for tonic, minor in itertools.product(range(12), (False, True)):
        key = Key(tonic, minor, 1.0)
        told[key.name] = key.camelot
    assert told == dict(entry.strip().rsplit(" ", 1) for entry in wheel.split(","))
    assert Key(9, True, 1.0).neighbours == ["8A", "8B", "7A", "9A"]
    assert Key(11, False, 1.0).neighbours == ["1B", "1A", "12B", "2B"]


@pytest.mark.parametrize(("tonic", "minor"), [(0, False), (4, True), (6, False), (10, True)])
def test_the_key_is_that_of_a_cadence(tonic, minor):
    third = 3 if minor else 4
    steps = [(0, third, 7), (5, 5 + third, 12), (7, 11, 14), (0, third, 7)] * 2
    notes = [
        (i * 0.75, i * 0.75 + 0.75, 48 + tonic + step)
        for i, chord in enumerate(steps)
        for step in (*chord, chord[0] - 12)
    ]
    key = Heard(as_blocks(played(notes, rate=22050), 5000))[KEY]
    assert (NAMES[key.tonic], key.minor) == (NAMES[tonic], minor)
    assert key.confidence > 0.5


def test_a_scale_alone_tells_its_key():
    tune = (60, 62, 64, 65, 67, 65, 64, 62, 60, 64, 67, 72, 67, 64, 60)
    notes = [(i * 0.4, i * 0.4 + 0.4, pitch + 2) for i, pitch in enumerate(tune)]
    key = Heard(as_blocks(played(notes, rate=22050), 5000))[KEY]
    assert key.name == "D major"


def test_the_path_is_the_best_of_all_paths():
    rng = np.random.default_rng(5)
    for _ in range(20):
        scores = rng.random((6, 3)).astype(np.float32)
        change = rng.uniform(0, 0.6, 6).astype(np.float32)

        def worth(path, scores=scores, change=change):
            kept = sum(scores[i, s] for i, s in enumerate(path))
            moves = [i for i in range(1, 6) if path[i] != path[i - 1]]
            return kept - sum(change[i] for i in moves)

        back = np.empty((6, 3), np.int16)
        best = np.zeros(3)
        for part in (slice(0, 4), slice(4, 6)):  # as a long sound is gone through
            advance(scores[part], change[part], best, back[part])
        path = np.empty(6, np.int32)
        trace(back, int(best.argmax()), path)
        highest = max(itertools.product(range(3), repeat=6), key=worth)
        assert worth(path) == pytest.approx(worth(highest), abs=1e-5)


def span(start, end, root, quality=MAJOR, confidence=0.9):
    return Span(start, end, root, quality, confidence)


def test_short_chords_go_to_the_neighbour_with_more_common_tones():
    spans = [span(0, 2, 0), span(2, 2.3, 9, MINOR), span(2.3, 5, 2)]
    found = merged(spans, 0.5, sevenths=False)
    assert [(s.start, s.end, s.root) for s in found] == [(0, 2.3, 0), (2.3, 5, 2)]
    assert merged(spans, 0.2, sevenths=False) == spans


def test_equal_labels_are_joined_and_silence_between_chords_stays():
    spans = [span(0, 1, 0), span(1, 2, 0, QUALITIES[2]), span(3, 3.2, 5), span(4, 6, 7)]
    triads = merged(spans, 0.5, sevenths=False)
    assert [(s.start, s.end, s.label(False)) for s in triads] == [
        (0, 2, "C"),
        (3, 3.2, "F"),
        (4, 6, "G"),
    ]
    assert [s.label(True) for s in merged(spans, 0.5, sevenths=True)] == ["C", "C7", "F", "G"]


def test_changes_lie_on_the_grid_or_on_beats():
    spans = [span(0.0, 1.03, 0), span(1.03, 2.5, 5), span(2.5, 4.0, 7)]
    found = gridded(spans, 22050, [2.5], 4.0)
    assert [(s.start, s.end) for s in found] == [(0, 1), (1, 2.5), (2.5, 4)]
    # A grid coarser than the sound leaves the longest chord.
    assert [s.root for s in gridded(spans[:2], 10**9, [], 2.5)] == [5]
