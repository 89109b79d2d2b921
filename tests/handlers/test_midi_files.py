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
