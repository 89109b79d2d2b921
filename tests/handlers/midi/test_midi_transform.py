import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.artifacts import Midi
from handlers.errors import BadParameter, CannotProcess, MistypedParameter, UnreadableInput
from handlers.midi.midi_quantize import MidiQuantize, midi_quantize
from handlers.midi.midi_transform import MidiTransform, midi_transform
from handlers.registry import find
from handlers.smf.reading import read
from tests.midi_strategies import files
from tests.scores import music, notes, opened, others, raw_file, raw_track, simple


def transformed(midi, **params):
    return midi_transform(midi, MidiTransform(**params)).midi


def pitches(midi):
    return [(n.track, n.channel, n.start, n.pitch) for n in notes(midi)]


# -- transposition -------------------------------------------------------------------------
def test_all_but_drums_are_transposed_and_nothing_else_changes():
    before, after = music(), transformed(music(), transpose_semitones=-7)
    assert pitches(after) == [(t, c, s, p if c == 9 else p - 7) for t, c, s, p in pitches(before)]
    assert others(after) == others(before)
    assert opened(after).length == opened(before).length


def test_the_pressure_of_a_key_goes_with_it():
    midi = raw_file(
        raw_track(
            (0, b"\x90\x3c\x64"), (5, b"\xa0\x3c\x20"), (6, b"\xa9\x3c\x20"), (9, b"\x80\x3c\x40")
        ),
        kind=0,
    )
    pressed = opened(transformed(midi, transpose_semitones=3)).tracks[0]
    assert [(m.channel, m.note) for m in pressed if m.type == "polytouch"] == [(0, 63), (9, 60)]


@pytest.mark.parametrize(("semitones", "left"), [(20, [20, 107]), (21, [21]), (-1, [106])])
def test_notes_that_leave_the_keyboard_are_dropped_whole(semitones, left):
    midi = raw_file(
        raw_track(
            *((i, bytes((0x90, p, 64))) for i, p in enumerate((0, 107))),
            *((90 + i, bytes((0x80, p, 64))) for i, p in enumerate((0, 107))),
        ),
        kind=0,
    )
    if semitones == 20:
        left = [20, 127]
    assert [n.pitch for n in notes(transformed(midi, transpose_semitones=semitones))] == left


@settings(deadline=None, max_examples=80)
@given(files(smpte=True), st.integers(-48, 48))
def test_there_and_back_is_the_same_file_where_nothing_left_the_keyboard(midi, semitones):
    there = transformed(midi, transpose_semitones=semitones)
    if read(there).events.size == read(midi).events.size:
        assert transformed(there, transpose_semitones=-semitones) == midi


# -- channels ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "params",
    [
        pytest.param({"keep_channels": "0"}, id="keep as text"),
        pytest.param({"keep_channels": [0]}, id="keep as a list"),
        pytest.param({"drop_channels": "9, 3"}, id="drop as text"),
        pytest.param({"drop_channels": [9, 3, 9]}, id="drop as a list"),
    ],
)
def test_only_the_chosen_channels_stay_and_texts_and_tempos_with_them(params):
    op = find("midi_transform")
    after = midi_transform(music(), op.read_params(params, strict=True)).midi
    assert {n.channel for n in notes(after)} == {0}
    assert others(after) == others(music())
    assert [track.name for track in opened(after).tracks] == ["Song", "Piano", "Drums"]


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"keep_channels": "16"}, "16 is no channel"),
        ({"keep_channels": [-1]}, "-1 is no channel"),
        ({"drop_channels": "1,,2"}, "nothing is no channel"),
        ({"drop_channels": "drums"}, "drums is no channel"),
        ({"drop_channels": [1.5]}, "1.5 is no channel"),
        ({"drop_channels": [True]}, "True is no channel"),
        ({"keep_channels": []}, "no channel is named"),
        ({"keep_channels": "1", "drop_channels": "2"}, "not both"),
        ({"transpose_semitones": 49}, "transpose_semitones = 49"),
        ({"tempo_bpm": 0}, "tempo_bpm = 0"),
        ({"quantize_grid_beats": 0}, "quantize_grid_beats = 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(params, says):
    with pytest.raises(BadParameter, match=says):
        find("midi_transform").read_params(params, strict=True)


def test_a_number_where_channels_belong_is_mistyped():
    with pytest.raises((MistypedParameter, BadParameter), match="keep_channels"):
        find("midi_transform").read_params({"keep_channels": {"a": 1}}, strict=True)


# -- tempo ---------------------------------------------------------------------------------
def test_one_tempo_stands_at_the_beginning_in_place_of_all():
    after = transformed(music(), tempo_bpm=80)
    tempos = [entry for entry in others(after) if "set_tempo" in entry[2]]
    assert tempos == [(0, 0, "MetaMessage('set_tempo', tempo=750000, time=0)")]
    assert opened(after).length == pytest.approx(768 / 96 * 0.75)
    assert [e for e in others(after) if "tempo" not in e[2]] == [
        e for e in others(music()) if "tempo" not in e[2]
    ]
    assert pitches(after) == pitches(music())


def test_it_takes_the_place_of_the_first_one():
    kinds = [m.type for m in opened(transformed(music(), tempo_bpm=80)).tracks[0]]
    assert kinds == [
        "track_name", "time_signature", "key_signature", "set_tempo", "marker", "end_of_track",
    ]  # fmt: skip


def test_a_file_without_a_tempo_gets_one():
    after = transformed(simple([(0, 96)]), tempo_bpm=100)
    assert opened(after).tracks[0][0] == mido.MetaMessage("set_tempo", tempo=600_000)
    assert opened(after).length == pytest.approx(0.6)


def test_a_tempo_from_a_later_track_is_replaced_as_well():
    late = (48, b"\xff\x51\x03\x0f\x42\x40")
    midi = raw_file(raw_track((96, b"\xc0\x01")), raw_track(late, (96, b"\xc1\x01")))
    assert opened(transformed(midi, tempo_bpm=60)).length == pytest.approx(1.0)


def test_each_of_independent_tracks_gets_the_tempo():
    tempo = (0, b"\xff\x51\x03\x0f\x42\x40")
    midi = raw_file(raw_track((96, b"\xc0\x01")), raw_track(tempo, (96, b"\xc1\x01")), kind=2)
    tracks = opened(transformed(midi, tempo_bpm=100)).tracks
    assert [[m.tempo for m in t if m.type == "set_tempo"] for t in tracks] == [[600_000]] * 2


def test_a_tempo_too_slow_for_a_file_is_refused_by_name():
    with pytest.raises(BadParameter, match="no tempo below 3.576") as refusal:
        transformed(music(), tempo_bpm=2)
    assert refusal.value.field == "tempo_bpm"


@pytest.mark.parametrize("params", [{"tempo_bpm": 100}, {"quantize_grid_beats": 1}])
def test_smpte_time_knows_neither_tempo_nor_beats(params):
    with pytest.raises(CannotProcess, match="SMPTE"):
        transformed(simple([(0, 9)], division=-(30 << 8) + 80), **params)


# -- all together --------------------------------------------------------------------------
def test_quantizing_is_that_of_quantize():
    assert transformed(music(), quantize_grid_beats=0.5) == (
        midi_quantize(music(), MidiQuantize(grid_beats=0.5)).midi
    )


def test_everything_at_once():
    after = transformed(
        music(), transpose_semitones=12, quantize_grid_beats=0.25, tempo_bpm=60, drop_channels="9"
    )
    assert {(n.pitch, n.start) for n in notes(after)} == {
        (p + 12, s) for p in (57, 60, 64) for s in (0, 384)
    }
    assert opened(after).length == pytest.approx(8.0)


def test_nothing_asked_is_the_file_itself():
    midi = music()
    assert transformed(midi) is midi


def test_what_is_no_midi_is_refused():
    with pytest.raises(UnreadableInput, match="MThd"):
        transformed(Midi(b"ID3"))


@settings(deadline=None, max_examples=60)
@given(files(kinds=(0, 1), escapes=False), st.sets(st.integers(0, 15), min_size=1))
def test_dropping_channels_takes_their_events_and_no_other(midi, channels):
    after = transformed(midi, drop_channels=sorted(channels))

    def kept(file):
        told, tick = [], 0
        for number, track in enumerate(opened(file).tracks):
            tick = 0
            for message in track:
                tick += message.time
                if getattr(message, "channel", None) not in channels:
                    told.append((number, tick, str(message.copy(time=0))))
        return told

    assert kept(after) == kept(midi)
    assert not [m for t in opened(after).tracks for m in t if getattr(m, "channel", -1) in channels]
