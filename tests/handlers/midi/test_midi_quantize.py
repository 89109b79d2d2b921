import math
from collections import Counter

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.artifacts import Midi
from handlers.errors import BadParameter, CannotProcess, UnreadableInput
from handlers.midi.midi_quantize import MidiQuantize, midi_quantize
from handlers.registry import find
from handlers.smf.notes import notes_of
from handlers.smf.reading import read
from tests.midi_strategies import files
from tests.scores import music, notes, opened, others, raw_file, raw_track, simple

GRIDS = st.sampled_from((0.125, 0.25, 1 / 3, 0.333, 0.5, 1.0, 4.0, 0.0001, 0.37))


def quantized(midi, grid):
    return midi_quantize(midi, MidiQuantize(grid_beats=grid)).midi


@pytest.mark.parametrize(
    ("start", "grid", "expected"),
    [
        pytest.param(11, 0.25, 0, id="just before the middle"),
        pytest.param(12, 0.25, 24, id="the middle goes on"),
        pytest.param(23, 0.25, 24, id="early"),
        pytest.param(25, 0.25, 24, id="late"),
        pytest.param(48, 0.25, 48, id="on the line"),
        pytest.param(100, 1, 96, id="quarters"),
        pytest.param(30, 1 / 3, 32, id="thirds"),
        pytest.param(96 * 1000 + 30, 0.333, 96 * 1000 + 32, id="thirds in decimals do not drift"),
        pytest.param(96 * 1000 + 15, 0.167, 96 * 1000 + 16, id="nor do sixths"),
        pytest.param(17, 0.001, 17, id="finer than a tick"),
        pytest.param(500, 100, 0, id="coarser than the file"),
    ],
)
def test_a_note_goes_to_the_nearest_line_and_keeps_its_length(start, grid, expected):
    (note,) = notes(quantized(simple([(start, start + 37)]), grid))
    assert (note.start, note.length) == (expected, 37)


def test_swing_and_chords_end_up_together_and_nothing_else_moves():
    before, after = music(), quantized(music(), 0.25)
    assert others(after) == others(before)
    assert {note.start % 24 for note in notes(after)} == {0}

    def what(midi):
        return Counter((n.track, n.pitch, n.velocity, n.length) for n in notes(midi))

    assert what(after) == what(before)


def test_a_note_that_would_be_struck_again_while_it_sounds_ends_there():
    after = quantized(simple([(20, 95), (95, 130)]), 0.25)
    assert [(n.start, n.end) for n in notes(after)] == [(24, 96), (96, 131)]
    # Here the first would have lasted until 99.


def test_two_notes_that_meet_on_one_line_keep_their_lengths():
    after = quantized(simple([(90, 95), (100, 130)]), 1)
    assert [(n.start, n.length) for n in notes(after)] == [(96, 5), (96, 30)]


def test_an_overlap_of_the_player_stays_his():
    after = quantized(simple([(0, 60), (50, 70)]), 0.25)
    assert [(n.start, n.end) for n in notes(after)] == [(0, 60), (48, 68)]


def test_an_end_comes_before_a_beginning_of_the_same_key_at_the_same_tick():
    # The second is struck while the first sounds; then one would end where the other begins.
    after = quantized(simple([(0, 96), (90, 120)]), 1)
    events = [bytes(m.bytes()) for m in mido.merge_tracks(opened(after).tracks)]
    assert events[:4] == [b"\x90\x3c\x64", b"\x80\x3c\x40", b"\x90\x3c\x64", b"\x80\x3c\x40"]
    assert [(n.start, n.end) for n in notes(after)] == [(0, 96), (96, 126)]


def test_an_instrument_still_changes_between_the_same_notes():
    midi = raw_file(
        raw_track(
            (90, b"\x90\x3c\x64"),
            (100, b"\x80\x3c\x40"),
            (101, b"\xb0\x00\x05"),
            (101, b"\xc0\x07"),
            (103, b"\x90\x3e\x64"),
            (140, b"\x80\x3e\x40"),
        ),
        kind=0,
    )
    after = quantized(midi, 1)
    (track,) = opened(after).tracks
    order = [m.type for m in track if not m.is_meta]
    assert order[:4] == ["note_on", "control_change", "program_change", "note_on"]
    assert {n.start for n in notes(after)} == {96}


def test_the_track_ends_after_its_last_event_and_no_earlier_than_before():
    assert read(quantized(simple([(90, 96)]), 1)).events["tick"][-1] == 102
    longer = raw_file(raw_track((0, b"\x90\x3c\x64"), (5, b"\x80\x3c\x40"), end=400), kind=0)
    assert read(quantized(longer, 1)).events["tick"][-1] == 405


def test_a_note_that_is_let_go_in_another_track_moves_whole():
    midi = raw_file(
        raw_track((10, b"\x90\x3c\x64"), end=100), raw_track((60, b"\x80\x3c\x40"), end=100)
    )
    file = read(quantized(midi, 0.25))
    told = zip(file.events["tick"].tolist(), file.events["status"].tolist(), strict=True)
    assert list(told) == [(0, 0x90), (110, 0xFF), (50, 0x80), (160, 0xFF)]


def test_a_file_on_the_grid_stays_byte_for_byte():
    midi = simple([(0, 30), (24, 50)])
    assert quantized(midi, 0.25) is midi


def test_the_descriptor_says_grid_engine_and_size():
    result = midi_quantize(music(), MidiQuantize())
    told = result.descriptor()
    assert told == {"size": len(result.midi.data), "engine": "midi-compose"}
    assert MidiQuantize().grid_beats == 0.25


@pytest.mark.parametrize("grid", [0, -1])
def test_a_grid_has_lines_apart(grid):
    with pytest.raises(BadParameter, match="grid_beats"):
        find("midi_quantize").read_params({"grid_beats": grid}, strict=True)


def test_smpte_time_has_no_beats_and_says_so():
    with pytest.raises(CannotProcess, match="SMPTE frames, not in beats"):
        quantized(simple([(5, 10)], division=-(25 << 8) + 40), 0.25)


def test_a_grid_beyond_all_ticks_is_refused():
    far = [(k * (2**28 - 1), b"\xc0\x01") for k in range(8)]
    note = (2**31 - 20, b"\x90\x3c\x64"), (2**31 - 10, b"\x80\x3c\x40")
    late = raw_file(raw_track(*far, *note), kind=0)
    with pytest.raises(CannotProcess, match="a note would end at tick"):
        quantized(late, (2**31 + 1000) / 96)
    with pytest.raises(CannotProcess, match="silent for more than 268435455 ticks"):
        quantized(late, 0.75 * 2**31 / 96)


def test_what_is_no_midi_is_refused():
    with pytest.raises(UnreadableInput, match="MThd"):
        quantized(Midi(b"RIFF"), 0.25)


@settings(deadline=None, max_examples=80)
@given(files(), GRIDS)
def test_doing_it_twice_changes_nothing(midi, grid):
    once = quantized(midi, grid)
    assert quantized(once, grid) == once


def heard(midi):
    """Number of notes that begin, of ends, and of those without the other half."""
    file = read(midi)
    paired = notes_of(file)
    return paired.count, int(file.ends_note.sum()), int((paired.off < 0).sum())


@settings(deadline=None, max_examples=80)
@given(files(), GRIDS)
def test_no_note_is_lost_or_left_hanging_and_none_ends_before_it_begins(midi, grid):
    after = quantized(midi, grid)
    assert heard(after) == heard(midi)
    file = read(after)
    paired = notes_of(file)
    assert (paired.end >= paired.start).all()
    line = grid if grid not in (0.333,) else 1 / 3
    step = line * file.division
    if step > 1 and not math.isclose(line, 0.37):
        near = paired.start / step
        assert abs(near - near.round()).max(initial=0) * step <= 0.5 + 1e-6


@settings(deadline=None, max_examples=60)
@given(files(escapes=False), GRIDS)
def test_all_but_notes_and_instruments_stays_where_it_was(midi, grid):
    def kept(file):
        return [e for e in others(file) if "program_change" not in e[2] and "control=" not in e[2]]

    assert kept(quantized(midi, grid)) == kept(midi)
