<<<<<<< HEAD
import pretty_midi
import pytest

from handlers.midi_files import MidiNote, midi_of
from tests.scores import notes, opened

HEARD = [
    MidiNote(0.1234, 0.5, 60),
    MidiNote(0.5, 0.75, 60, velocity=33),
    MidiNote(601.007, 602, 72),
]
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
    # Half a tick, which is 2 ms at most.
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
=======
import io

import mido
import pytest

from handlers.midi_files import MidiNote, midi_of

NOTES = [
    MidiNote(0.5, 1.25, 60, 80),
    MidiNote(0.5, 1.25, 64, 81),
    MidiNote(1.25, 2.0, 60, 82),
    MidiNote(3.3333, 3.3334, 127, 1, channel=9),
]


def read(midi):
    """Notes `(start, end, pitch, velocity, channel)` in seconds, and the file, as mido reads it."""
    song = mido.MidiFile(file=io.BytesIO(midi.data))
    now, sounding, found = 0.0, {}, []
    for message in song:  # with tempo, in seconds
        now += message.time
        if message.type == "note_on":
            assert (message.channel, message.note) not in sounding
            sounding[message.channel, message.note] = now, message.velocity
        elif message.type == "note_off":
            start, velocity = sounding.pop((message.channel, message.note))
            found.append((start, now, message.note, velocity, message.channel))
    assert not sounding
    return sorted(found), song


@pytest.mark.parametrize("tempo", [1, 3, 40, 93.7, 120, 300, 999])
def test_notes_lie_where_their_seconds_say_at_any_tempo(tempo):
    found, _ = read(midi_of(reversed(NOTES), tempo_bpm=tempo))
    assert [(n[2], n[3], n[4]) for n in found] == [
        (60, 80, 0),
        (64, 81, 0),
        (60, 82, 0),
        (127, 1, 9),
    ]
    for note, wanted in zip(found, NOTES, strict=True):
        assert note[0] == pytest.approx(wanted.start, abs=0.0006)
        assert note[1] == pytest.approx(wanted.end, abs=0.0016)
        assert note[0] < note[1]


def test_it_is_a_single_track_of_the_tempo_asked_for():
    _, song = read(midi_of(NOTES, tempo_bpm=93.7, name="Melody"))
    assert song.type == 0
    assert len(song.tracks) == 1
    assert song.tracks[0].name == "Melody"
    tempos = [m.tempo for m in song.tracks[0] if m.type == "set_tempo"]
    assert [60e6 / t for t in tempos] == pytest.approx([93.7], rel=1e-6)


def test_no_notes_make_a_file_without_notes():
    assert read(midi_of([], tempo_bpm=120))[0] == []
>>>>>>> tonal
