import io
import json

import mido
import numpy as np
import pretty_midi
import pytest
from hypothesis import given, settings
from PIL import Image

from handlers.artifacts import Midi
from handlers.errors import CannotProcess, UnreadableInput
from handlers.midi.midi_inspect import MidiInspect, midi_inspect
from handlers.midi.midi_quantize import MidiQuantize, midi_quantize
from tests.midi_strategies import files
from tests.scores import music, number, raw_file, raw_track, saved, simple


def inspected(midi, **params):
    return midi_inspect(midi, MidiInspect(**params))


def test_an_ordinary_file_is_described_as_it_was_made():
    told = inspected(music())
    assert (told.type, told.ticks_per_beat, told.track_count) == (1, 96, 3)
    assert told.size_bytes == len(music().data)
    assert told.length_seconds == pytest.approx(4 * 0.5 + 4 * 0.6)
    assert [(t.tick, t.bpm, t.seconds) for t in told.tempo_changes] == [(0, 120, 0), (384, 100, 2)]
    assert [(s.tick, s.numerator, s.denominator) for s in told.time_signatures] == [(0, 4, 4)]
    assert [(k.tick, k.key) for k in told.key_signatures] == [(0, "Am")]
    conductor, piano, drums = told.tracks
    assert (conductor.name, conductor.note_on_count, conductor.channels) == ("Song", 0, [])
    assert (piano.name, piano.note_on_count, piano.note_off_count) == ("Piano", 6, 6)
    assert (piano.channels, piano.programs) == ([0], [4])
    assert (piano.lowest_pitch, piano.highest_pitch) == (57, 64)
    # Ends of drums are note-ons with velocity 0.
    assert (drums.note_on_count, drums.note_off_count, drums.channels) == (16, 16, [9])
    assert (drums.length_ticks, drums.length_beats) == (768, 8.0)
    assert [(m.tick, m.text) for m in told.markers] == [(0, "Verse")]
    assert told.note_count == 22
    assert told.most_notes_at_once == 4
    assert told.plot is None


@settings(deadline=None, max_examples=50)
@given(files(kinds=(0, 1), escapes=False))
def test_counts_and_lengths_are_those_of_mido(midi):
    told = inspected(midi)
    file = mido.MidiFile(file=io.BytesIO(midi.data))
    assert told.length_seconds == pytest.approx(file.length, abs=1e-6)
    for track, facts in zip(file.tracks, told.tracks, strict=True):
        ons = [m for m in track if m.type == "note_on" and m.velocity]
        offs = [
            m for m in track if m.type == "note_off" or (m.type == "note_on" and not m.velocity)
        ]
        assert (facts.note_on_count, facts.note_off_count) == (len(ons), len(offs))
        assert facts.length_ticks == sum(m.time for m in track)
        assert facts.channels == sorted({m.channel for m in track if hasattr(m, "channel")})
        assert facts.programs == sorted({m.program for m in track if m.type == "program_change"})
    tempos = [
        (tick, round(60e6 / m.tempo, 3))
        for track in file.tracks
        for tick, m in zip(np.cumsum([m.time for m in track]), track, strict=True)
        if m.type == "set_tempo"
    ]
    assert sorted((t.tick, t.bpm) for t in told.tempo_changes) == sorted(tempos)
    json.dumps(told.descriptor(), allow_nan=False)


@settings(deadline=None, max_examples=12)
@given(files())
def test_any_file_can_be_described_and_drawn(midi):
    told = inspected(midi, plot=True)
    assert b"</svg>" in told.plot.data


def test_seconds_follow_the_tempo_map_as_pretty_midi_has_it(tmp_path):
    path = tmp_path / "music.mid"
    path.write_bytes(music().data)
    judge = pretty_midi.PrettyMIDI(str(path))
    times, bpm = judge.get_tempo_changes()
    told = inspected(music())
    assert [t.seconds for t in told.tempo_changes] == pytest.approx(times.tolist())
    assert [t.bpm for t in told.tempo_changes] == pytest.approx(bpm.tolist())


def test_notes_that_never_end_are_counted():
    midi = raw_file(
        raw_track((0, b"\x90\x3c\x64"), (5, b"\x90\x3c\x64"), (9, b"\x80\x3c\x40")), kind=0
    )
    assert inspected(midi).tracks[0].hanging_count == 1
    assert inspected(simple([(0, 9)])).tracks[0].hanging_count == 0


def test_smpte_time_has_no_beats():
    told = inspected(simple([(0, 2000)], division=-(25 << 8) + 40))
    assert told.ticks_per_beat is None
    assert told.tracks[0].length_beats is None
    assert (told.smpte.frames_per_second, told.smpte.ticks_per_frame) == (25, 40)
    assert told.length_seconds == 2.0


def test_texts_are_read_in_utf8_else_latin_1_and_lyrics_in_their_order():
    file = mido.MidiFile(charset="utf-8")
    file.add_track("Flöte ♪").extend(
        [
            mido.MetaMessage("copyright", text="© Ich"),
            mido.MetaMessage("lyrics", text="La"),
            mido.MetaMessage("lyrics", text="Lü", time=480),
        ]
    )
    told = inspected(saved(file))
    assert told.tracks[0].name == "Flöte ♪"
    assert told.copyright == "© Ich"
    assert [(x.tick, x.seconds, x.text) for x in told.lyrics] == [(0, 0, "La"), (480, 0.5, "Lü")]
    old = raw_file(raw_track((0, b"\xff\x03\x06Fl\xf6te\0")), kind=0)
    assert inspected(old).tracks[0].name == "Flöte"
    assert inspected(raw_file(raw_track(), kind=0)).tracks[0].name is None


def test_odd_signatures_are_passed_over():
    midi = raw_file(
        raw_track(
            (0, b"\xff\x58\x04\x04\xff\x18\x08"), (0, b"\xff\x59\x02\x20\x00"), (0, b"\xff\x58\x00")
        ),
        kind=0,
    )
    told = inspected(midi)
    assert (told.time_signatures, told.key_signatures) == ([], [])


def test_a_report_without_end_is_refused():
    tempos = [(tick, b"\xff\x51\x03\x07\xa1\x20") for tick in range(50_001)]
    with pytest.raises(CannotProcess, match="50001 meta events of type 0x51"):
        inspected(raw_file(raw_track(*tempos), kind=0))


def test_what_is_no_midi_is_refused():
    with pytest.raises(UnreadableInput, match="MThd"):
        inspected(Midi(b"fLaC"))


def test_a_long_text_is_cut():
    text = number(2**20) + b"x" * 2**20
    midi = raw_file(raw_track((0, b"\xff\x03" + text)), kind=0)
    assert inspected(midi).tracks[0].name == "x" * 1000


# -- the picture ---------------------------------------------------------------------------
#: Where the time axis lies in a PNG, which has 1.6 pixels for each of 1200.
LEFT, RIGHT = 132 * 1.6, 1172 * 1.6


def colored(picture, top=220):
    """Columns below the head where something has a colour of its own, as seconds of 4."""
    pixels = np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB")).astype(int)[top:]
    lively = (pixels.max(axis=2) - pixels.min(axis=2)) > 60
    columns = np.flatnonzero(lively.any(axis=0))
    return (columns + 0.5 - LEFT) / (RIGHT - LEFT) * 4


def test_a_note_is_drawn_where_it_sounds():
    midi = midi_quantize(simple([(192, 384)], pitch=61), MidiQuantize(grid_beats=1)).midi
    silent = raw_file(raw_track(end=768), midi.data[14:], kind=1)
    seen = colored(inspected(silent, plot=True, plot_format="png").plot)
    assert (seen.min(), seen.max()) == pytest.approx((1.0, 2.0), abs=0.01)


def test_many_notes_are_drawn_where_they_sound_as_well(monkeypatch):
    from handlers.pictures import rolls

    silent = raw_file(raw_track(end=768), simple([(192, 384)]).data[14:], kind=1)
    monkeypatch.setattr(rolls, "_MOST_BARS", 0)
    seen = colored(inspected(silent, plot=True, plot_format="png").plot)
    assert (seen.min(), seen.max()) == pytest.approx((1.0, 2.0), abs=0.01)


def test_the_picture_names_players_drums_and_markers_and_stays_small():
    drawn = inspected(music(), plot=True).plot.data.decode()
    for text in ("Song", "120 BPM", "4/4", "Notes", "Drums", "Kick", "Hi-hat", "Verse", "Tempo"):
        assert f">{text}<" in drawn
    events = []
    for i in range(40_000):
        channel, key = i % 4, 36 + i * 7 % 48
        events.append((3 * i, bytes((0x90 | channel, key, 64))))
        events.append((3 * i + 2, bytes((0x80 | channel, key, 0))))
    assert len(inspected(raw_file(raw_track(*events), kind=0), plot=True).plot.data) < 400_000
