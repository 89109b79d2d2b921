import json

import pytest

from handlers.analysis.chords import Chords, chords
from handlers.artifacts import Png
from handlers.hearing import Heard
from tests.sounds import as_blocks, played, silence

#: C Am F G7 twice, and the steps of each above C2 and C4.
CHANGES = [
    ("C", (-12, 0, 4, 7)),
    ("Am", (-15, -3, 0, 4)),
    ("F", (-19, -7, -3, 0)),
    ("G7", (-17, -5, -1, 2, 5)),
] * 2


def song(each=1.5, **more):
    notes = [
        (i * each + half * each / 2, i * each + (half + 1) * each / 2, 60 + step)
        for i, (_, steps) in enumerate(CHANGES)
        for half in (0, 1)
        for step in steps
    ]
    return played(notes, **more)


SONG = song(rate=44100)
HEARD = Heard(as_blocks(SONG, 6000))


def report(heard=HEARD, **params):
    return chords(heard, Chords(**params))


def test_chords_and_key_are_told_with_times():
    told = report()
    assert told.key == "C major"
    assert [c.chord for c in told.chords] == ["C", "Am", "F", "G"] * 2
    for number, chord in enumerate(told.chords):
        assert chord.start_sec == pytest.approx(1.5 * number, abs=0.12)
        assert chord.end_sec == pytest.approx(1.5 * number + 1.5, abs=0.12)
        assert 0.5 < chord.confidence <= 1
    assert told.chords[0].start_sec == 0
    assert told.chords[-1].end_sec == told.duration == 12
    assert 0.5 < told.key_confidence <= 1


def test_sevenths_are_told_when_asked_for():
    assert [c.chord for c in report(sevenths=True).chords] == ["C", "Am", "F", "G7"] * 2


def test_a_sound_a_quarter_tone_sharp_has_the_same_chords():
    sharp = played([(i * 1.5, i * 1.5 + 1.5, 60.4 + s) for i, (_, steps) in enumerate(CHANGES)
                    for s in steps])  # fmt: skip
    told = report(Heard(sharp.blocks()))
    assert told.tuning_cents == pytest.approx(40, abs=3)
    assert [c.chord for c in told.chords] == ["C", "Am", "F", "G"] * 2


def test_short_chords_are_merged():
    told = report(segment_min_duration_sec=2.5)
    assert all(c.end_sec - c.start_sec >= 2.5 for c in told.chords)
    assert told.chords[0].start_sec == 0
    assert told.chords[-1].end_sec == 12


def test_silence_has_neither_key_nor_chords():
    told = report(Heard(silence(seconds=3).blocks()))
    assert (told.key, told.key_confidence, told.chords) == (None, 0, [])


def test_chords_can_be_drawn_and_written_as_markers():
    told = report(plot=True, plot_format="png", markers="jams", sevenths=True)
    assert isinstance(told.plot, Png)
    document = json.loads(told.marker_file.data)
    (lane,) = document["annotations"]
    assert lane["namespace"] == "chord"
    assert [e["value"] for e in lane["data"]] == ["C:maj", "A:min", "F:maj", "G:7"] * 2
