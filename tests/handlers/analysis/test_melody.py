import pytest

from handlers.analysis.melody import Melody, melody
from handlers.artifacts import Svg
from handlers.errors import BadParameter
from handlers.hearing import Heard
from handlers.registry import operations
from tests.scores import heard
from tests.sounds import as_blocks, played

NOTES = [(0.5, 1.0, 57), (1.2, 1.9, 62), (2.0, 2.8, 66)]
AUDIO = played(NOTES, seconds=3.2, rate=44100, channels=2)


def report(**params):
    return melody(Heard(as_blocks(AUDIO, 4000)), Melody(**params))


def test_the_contour_has_a_pitch_where_a_tone_sounds_and_none_elsewhere():
    told = report()
    assert (told.fmin, told.fmax, told.duration) == (65, 2093, 3.2)
    assert told.midi is None
    assert told.midi_notes is None
    for number, point in enumerate(told.contour):
        assert point.time == pytest.approx(number * told.frame_seconds, abs=1e-6)
        assert (point.hz is not None) == point.voiced
    at = told.contour[round(1.5 / told.frame_seconds)]
    assert at.hz == pytest.approx(293.66, rel=0.003)
    assert told.contour[2].hz is None


def test_the_midi_file_is_one_track_at_120_with_the_notes_that_are_listed():
    told = report(as_midi=True, fmin=100.0, fmax=1000.0)
    notes, song = heard(told.midi)
    assert [m.tempo for m in song.tracks[0] if m.type == "set_tempo"] == [500_000]
    assert len(song.tracks) == 1
    assert [n.pitch for n in told.midi_notes] == [57, 62, 66]
    for found, listed, (start, end, _) in zip(notes, told.midi_notes, NOTES, strict=True):
        assert found[2] == listed.pitch
        assert found[0] == pytest.approx(listed.start_sec, abs=0.001)
        assert found[1] == pytest.approx(listed.end_sec, abs=0.001)
        assert listed.start_sec == pytest.approx(start, abs=0.03)
        assert listed.end_sec == pytest.approx(end, abs=0.06)


def test_the_melody_can_be_drawn_and_written_as_markers():
    told = report(plot=True, markers="audacity")
    assert isinstance(told.plot, Svg)
    lines = told.marker_file.data.decode().splitlines()
    assert [line.split("\t")[2] for line in lines] == ["A3", "D4", "F#4"]


@pytest.mark.parametrize(("fmin", "fmax"), [(500, 400), (100, 100)])
def test_a_range_upside_down_is_refused(fmin, fmax):
    with pytest.raises(BadParameter, match=f"fmin = {fmin} Hz has to be below fmax = {fmax} Hz"):
        operations()["melody"].read_params({"fmin": fmin, "fmax": fmax})
