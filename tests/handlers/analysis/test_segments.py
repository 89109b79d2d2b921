import numpy as np
import pytest

from handlers.analysis.segments import Segments, segments
from handlers.artifacts import Svg
from handlers.hearing import Heard
from tests.sounds import as_blocks, noise, one_after_another, played, silence, sound

BEAT = 0.5


def section(chords, tune):
    """Eight bars of 4/4 at 120: a chord a bar, the tune above, a bass note on each beat."""
    notes = []
    for bar in range(8):
        steps = chords[bar % len(chords)]
        at = bar * 4 * BEAT
        notes += [(at, at + 4 * BEAT, 60 + step) for step in steps]
        for beat in range(4):
            begin = at + beat * BEAT
            notes.append((begin, begin + BEAT * 0.9, 36 + steps[0]))
            notes.append((begin, begin + BEAT * 0.9, 72 + tune[(bar * 4 + beat) % len(tune)]))
    return played(notes, seconds=32 * BEAT, rate=22050)


A = section([(0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14)], (0, 4, 7, 4, 9, 7, 4, 2))
B = section([(2, 5, 9), (4, 7, 11), (2, 5, 9), (-1, 3, 6)], (14, 12, 17, 9, 11, 16))
C = section([(8, 12, 15), (10, 14, 17)], (3, 8, 3, 10, 12, 15, 10))
SONG = one_after_another(A, B, A, B, C)


HEARD = Heard(as_blocks(SONG, 8000))


def report(heard=HEARD, **params):
    return segments(heard, Segments(**params))


def test_parts_that_recur_share_a_letter():
    told = report(num_segments=5)
    assert [s.label for s in told.segments] == ["A", "B", "A", "B", "C"]
    assert [s.cluster_id for s in told.segments] == [0, 1, 0, 1, 2]
    for number, part in enumerate(told.segments):
        assert part.start_sec == pytest.approx(16 * number, abs=1.1)
    assert told.tempo_bpm == pytest.approx(120, rel=0.02)


@pytest.mark.parametrize("count", [2, 3, 6, 9])
def test_there_are_as_many_as_asked_for_and_they_cover_the_sound(count):
    told = report(num_segments=count)
    assert len(told.segments) == count
    assert told.segments[0].start_sec == 0
    assert told.segments[-1].end_sec == told.duration == 80
    for before, after in zip(told.segments, told.segments[1:], strict=False):
        assert before.end_sec == after.start_sec
        assert before.start_sec < before.end_sec
    assert told.note is None


def test_the_music_may_decide_how_many_there_are():
    told = report(num_segments=32, adaptive=True)
    assert 5 <= len(told.segments) <= 15
    begins = [s.start_sec for s in told.segments]
    assert all(min(abs(b - 16 * n) for b in begins) < 1.1 for n in range(5))


@pytest.mark.parametrize("audio", [
    noise(seconds=2), silence(seconds=1), sound(np.array([0.5])), sound(np.zeros(0))
], ids=["two seconds", "silence", "one sample", "no sample"])  # fmt: skip
def test_what_is_too_short_is_one_part(audio):
    told = report(Heard(as_blocks(audio, 8000)))
    (only,) = told.segments
    assert (only.label, only.start_sec) == ("A", 0)
    assert only.end_sec == pytest.approx(audio.duration, abs=1e-6)
    assert told.note.startswith("too short for 6 segments")


def test_parts_can_be_drawn_and_written_as_markers():
    told = report(num_segments=5, plot=True, markers="csv")
    assert isinstance(told.plot, Svg)
    assert told.marker_file.data.decode().splitlines()[2].split(",")[2] == "B"
