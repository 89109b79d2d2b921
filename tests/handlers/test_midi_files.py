import pretty_midi
import pytest

from handlers.midi_files import MidiNote, midi_of
from tests.scores import notes, opened

HEARD = [
    MidiNote(0.1234, 0.5, 60),
    MidiNote(0.5, 0.75, 60, velocity=33),
    MidiNote(601.007, 602, 72),
]


@pytest.mark.parametrize("bpm", [1, 3.5, 4, 61.7, 120, 999])
def test_each_note_lies_where_its_seconds_say_whatever_the_tempo(bpm, tmp_path):
    path = tmp_path / "heard.mid"
    path.write_bytes(midi_of(HEARD, tempo_bpm=bpm, name="Melody").data)
    judge = pretty_midi.PrettyMIDI(str(path))
    (track,) = judge.instruments
    assert [(n.pitch, n.velocity) for n in track.notes] == [(60, 80), (60, 33), (72, 80)]
    # Half a tick, which is 1 ms at most, but for tempos that the format can hardly say.
    assert [t for n in track.notes for t in (n.start, n.end)] == pytest.approx(
        [0.1234, 0.5, 0.5, 0.75, 601.007, 602], abs=1.1e-3
    )
    assert track.name == "Melody"
    assert judge.get_tempo_changes()[1] == pytest.approx([max(bpm, 3.5763)], rel=1e-4)


def test_there_is_one_track_and_a_note_is_a_tick_long_at_least():
    midi = midi_of([MidiNote(1, 1, 60)], tempo_bpm=120)
    assert (opened(midi).type, len(opened(midi).tracks)) == (0, 1)
    assert [n.length for n in notes(midi)] == [1]


def test_no_notes_are_a_file_all_the_same():
    assert notes(midi_of([], tempo_bpm=120)) == []
