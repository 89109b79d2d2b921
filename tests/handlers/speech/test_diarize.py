import numpy as np
import pytest

from handlers.engines.diarizer import Turn
from handlers.engines.shelf import Lent
from handlers.errors import BadParameter
from handlers.registry import find
from handlers.speech.diarize import Diarize, diarize
from tests.sounds import noise

FOUND = [Turn(0.5, 2.25, 0), Turn(2.0, 3.0, 1), Turn(4.0, 4.0001, 0)]


class Listener:
    """Says what it was asked, and hears the same in everything."""

    def __init__(self):
        self.asked = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def turns(self, _sound, fewest, most, _progress):
        self.asked.append((fewest, most))
        return FOUND


@pytest.fixture
def listener():
    return Listener()


def report(listener, **params):
    p = Diarize(engine="pyannote", **params)
    return diarize(noise(seconds=5).blocks(), Lent("pyannote", lambda _: listener), p, print)


def test_turns_speakers_and_duration_are_told(listener):
    found = report(listener)
    assert found.speakers == ["SPEAKER_00", "SPEAKER_01"]
    assert found.num_speakers == 2
    assert found.duration == 5
    assert found.segments[0].model_dump() == {
        "speaker": "SPEAKER_00",
        "start_sec": 0.5,
        "end_sec": 2.25,
        "duration_sec": 1.75,
    }
    assert [s.speaker for s in found.segments] == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_00"]
    assert found.marker_file is None


@pytest.mark.parametrize(
    ("asked", "bounds"),
    [
        ({}, (1, np.inf)),
        ({"num_speakers": 3}, (3, 3)),
        ({"min_speakers": 2}, (2, np.inf)),
        ({"max_speakers": 4}, (1, 4)),
        ({"min_speakers": 2, "max_speakers": 4}, (2, 4)),
        # The exact number goes before the bounds.
        ({"num_speakers": 3, "min_speakers": 5, "max_speakers": 4}, (3, 3)),
    ],
)
def test_what_is_known_of_their_number_is_handed_on(listener, asked, bounds):
    report(listener, **asked)
    assert listener.asked == [bounds]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"min_speakers": 3, "max_speakers": 2}, "min_speakers is 3, more than max_speakers"),
        ({"num_speakers": 0}, "num_speakers"),
    ],
)
def test_a_number_that_cannot_be_is_refused(asked, message):
    with pytest.raises(BadParameter, match=message):
        find("diarize").read_params({"engine": "pyannote", **asked}, strict=True)


def test_rttm_has_a_line_per_turn_that_pyannote_reads(listener, tmp_path):
    from pyannote.database.util import load_rttm

    written = report(listener, markers="rttm").marker_file
    (tmp_path / "a.rttm").write_bytes(written.data)
    assert written.ext == "rttm"
    assert written.data.splitlines()[0] == (
        b"SPEAKER sound 1 0.500000 1.750000 <NA> <NA> SPEAKER_00 <NA> <NA>"
    )
    read = load_rttm(tmp_path / "a.rttm")["sound"]
    found = [(turn.start, turn.end, who) for turn, _, who in read.itertracks(yield_label=True)]
    expected = [(turn.start, turn.end, f"SPEAKER_{turn.speaker:02d}") for turn in FOUND]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours[:2] == pytest.approx(theirs[:2], abs=1e-5)
        assert ours[2] == theirs[2]


def test_turns_are_markers_in_every_other_format(listener):
    assert report(listener, markers="audacity").marker_file.data == (
        b"0.500000\t2.250000\tSPEAKER_00\n"
        b"2.000000\t3.000000\tSPEAKER_01\n"
        b"4.000000\t4.000100\tSPEAKER_00\n"
    )
    for kind in ("csv", "jams", "webvtt", "cue"):
        assert report(listener, markers=kind).marker_file.data
