from itertools import pairwise
from pathlib import Path

import pretty_midi
import pytest
import yaml

from handlers.errors import BadParameter
from handlers.midi.midi_compose import MidiCompose, midi_compose
from handlers.registry import find
from handlers.song import Song, SongNote, SongTrack
from tests.scores import notes, opened

SPEC = next(
    entry["song_spec"]
    for entry in yaml.safe_load(
        (Path(__file__).parents[2] / "contract" / "operations.yaml").read_text()
    )["operations"]
    if entry["name"] == "midi_compose"
)
NOTE = {"pitch": 60, "duration_beats": 1}


def composed(**spec):
    return midi_compose(find("midi_compose").read_params(spec, strict=True)).midi


def messages(midi, track, *kinds):
    """Tick and message of each event of these kinds."""
    found, tick = [], 0
    for message in opened(midi).tracks[track]:
        tick += message.time
        if message.type in kinds:
            found.append((tick, message))
    return found


# -- the contract's part -------------------------------------------------------------------
def test_notes_are_where_the_spec_has_them():
    given = [(60, 0, 1, 100), (64, 0.5, 0.25, 1), (127, 7.75, 4, 127), (0, 1 / 3, 1 / 3, 64)]
    midi = composed(
        tracks=[
            {
                "notes": [
                    {"pitch": p, "start_beats": s, "duration_beats": d, "velocity": v}
                    for p, s, d, v in given
                ]
            }
        ]
    )
    assert {(n.pitch, n.start, n.length, n.velocity) for n in notes(midi)} == {
        (p, round(s * 480), round(d * 480), v) for p, s, d, v in given
    }


def test_seconds_are_what_the_tempo_makes_of_beats(tmp_path):
    path = tmp_path / "song.mid"
    path.write_bytes(
        composed(
            tempo_bpm=90, tracks=[{"notes": [{"pitch": 69, "start_beats": 3, "duration_beats": 2}]}]
        ).data
    )
    (note,) = pretty_midi.PrettyMIDI(str(path)).instruments[0].notes
    assert (note.start, note.end) == pytest.approx((2.0, 3.333333), abs=1e-4)


def test_the_file_is_of_type_1_and_the_conductor_comes_first():
    file = opened(
        composed(
            tempo_bpm=90,
            time_signature=[6, 8],
            key_signature="F#m",
            ticks_per_beat=960,
            tracks=[{"name": "Flöte", "notes": [NOTE]}, {"notes": []}],
        )
    )
    assert (file.type, file.ticks_per_beat, len(file.tracks)) == (1, 960, 3)
    told = {m.type: m for m in file.tracks[0]}
    assert told["set_tempo"].tempo == round(60e6 / 90)
    assert (told["time_signature"].numerator, told["time_signature"].denominator) == (6, 8)
    assert told["key_signature"].key == "F#m"
    assert file.tracks[1].name == "Flöte"
    assert not {"note_on", "note_off", "program_change"} & set(told)


def test_a_track_has_its_instrument_volume_place_and_channel_before_its_first_note():
    midi = composed(
        tracks=[{"channel": 3, "program": 40, "volume": 90, "pan": 20, "notes": [NOTE]}]
    )
    first = [str(m) for m in opened(midi).tracks[1]][:4]
    assert first == [
        "program_change channel=3 program=40 time=0",
        "control_change channel=3 control=7 value=90 time=0",
        "control_change channel=3 control=10 value=20 time=0",
        "note_on channel=3 note=60 velocity=100 time=0",
    ]


def limits(entry, schema, path=""):
    """Each limit that the contract's spec names, beside that of the JSON Schema."""
    for name, asked in entry.items():
        if not isinstance(asked, dict):
            continue
        own = schema["properties"][name]
        kinds = [kind for kind in own.get("anyOf", [own]) if kind.get("type") != "null"]
        own = {**own, **kinds[0]}
        where = f"{path}{name}"
        for key, theirs in (
            ("min", "minimum"),
            ("max", "maximum"),
            ("min_items", "minItems"),
            ("pattern", "pattern"),
            ("default", "default"),
        ):
            if key in asked:
                yield f"{where} {key}", own.get(theirs), asked[key]
        if asked.get("required"):
            yield f"{where} required", name in schema["required"], True
        if "item" in asked:
            inner = schema["$defs"][own["items"]["$ref"].rpartition("/")[2]]
            yield from limits(asked["item"], {**inner, "$defs": schema["$defs"]}, f"{where}.")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [pytest.param(a, b, id=name) for name, a, b in limits(SPEC, MidiCompose.model_json_schema())],
)
def test_every_limit_and_default_is_that_of_the_contract(ours, theirs):
    assert ours == theirs


def test_the_parts_of_a_time_signature_have_the_contracts_limits():
    top, bottom = MidiCompose.model_json_schema()["properties"]["time_signature"]["prefixItems"]
    assert (top["minimum"], top["maximum"]) == (1, 32)
    assert bottom["enum"] == [1, 2, 4, 8, 16, 32]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, "tracks is required"),
        ({"tracks": []}, "tracks = "),
        ({"tracks": [{"name": "x"}]}, "tracks[0].notes is required"),
        ({"tracks": [{"notes": [NOTE, {"duration_beats": 1}]}]}, "tracks[0].notes[1].pitch is"),
        ({"tracks": [{"notes": [NOTE, {**NOTE, "pitch": 128}]}]}, "tracks[0].notes[1].pitch = 128"),
        ({"tracks": [{"notes": [{**NOTE, "velocity": 0}]}]}, "tracks[0].notes[0].velocity = 0"),
        (
            {"tracks": [{"notes": []}, {"notes": [{"pitch": 1, "duration_beats": 0.01}]}]},
            "tracks[1].notes[0].duration_beats = 0.01",
        ),
        ({"tracks": [{"notes": [{**NOTE, "pitch": "C4"}]}]}, 'tracks[0].notes[0].pitch = "C4"'),
        ({"tracks": [{"notes": [{**NOTE, "start": 1}]}]}, "tracks[0].notes[0].start"),
        ({"tracks": [{"notes": [NOTE], "channel": 16}]}, "tracks[0].channel = 16"),
        ({"tracks": [{"notes": []}], "time_signature": [33, 4]}, "time_signature[0] = 33"),
        ({"tracks": [{"notes": []}], "time_signature": [3, 5]}, "time_signature[1] = 5"),
        ({"tracks": [{"notes": []}], "time_signature": [3]}, "time_signature[1]"),
        ({"tracks": [{"notes": []}], "key_signature": "H"}, 'key_signature = "H"'),
        ({"tracks": [{"notes": []}], "tempo_bpm": 1000}, "tempo_bpm = 1000"),
        ({"tracks": [{"notes": []}], "tempo_bpm": "fast"}, 'tempo_bpm = "fast"'),
        (
            {"tracks": [{"notes": []}], "tempo_bpm": 2},
            "tempo_bpm = 2: a MIDI file can say",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_path(spec, says):
    with pytest.raises(BadParameter) as refusal:
        composed(**spec)
    assert says in refusal.value.detail
    assert refusal.value.field


# -- and more ------------------------------------------------------------------------------
def test_tempos_signatures_keys_and_markers_may_change():
    midi = composed(
        name="Song",
        tempo_changes=[
            {"start_beats": 4, "tempo_bpm": 60},
            {"start_beats": 2, "tempo_bpm": 100},
        ],
        time_signature_changes=[{"start_beats": 4, "time_signature": [7, 8]}],
        key_signature="C",
        key_signature_changes=[{"start_beats": 4, "key_signature": "Eb"}],
        markers=[{"start_beats": 4, "text": "Drop"}],
        tracks=[{"notes": [{**NOTE, "start_beats": 8}]}],
    )
    tempos = [(tick, m.tempo) for tick, m in messages(midi, 0, "set_tempo")]
    assert tempos == [(0, 500_000), (960, 600_000), (1920, 1_000_000)]
    signed = [(t, m.numerator, m.denominator) for t, m in messages(midi, 0, "time_signature")]
    assert signed == [(0, 4, 4), (1920, 7, 8)]
    assert [(t, m.key) for t, m in messages(midi, 0, "key_signature")] == [(0, "C"), (1920, "Eb")]
    assert [(t, m.text) for t, m in messages(midi, 0, "marker")] == [(1920, "Drop")]
    assert opened(midi).tracks[0].name == "Song"
    assert opened(midi).length == pytest.approx(2 * 0.5 + 2 * 0.6 + 5 * 1.0)


def test_a_change_at_the_beginning_takes_the_place_of_the_songs_own():
    midi = composed(tempo_changes=[{"tempo_bpm": 60}], tracks=[{"notes": []}])
    assert [m.tempo for _, m in messages(midi, 0, "set_tempo")] == [1_000_000]


def test_two_changes_at_one_moment_are_refused():
    with pytest.raises(BadParameter, match=r"tempo_changes\[1\].start_beats = 0.0: another"):
        composed(tempo_changes=[{"tempo_bpm": 60}, {"tempo_bpm": 61}], tracks=[{"notes": []}])


def test_a_track_may_move_controllers_the_wheel_and_its_instrument_and_sing():
    midi = composed(
        tracks=[
            {
                "channel": 2,
                "notes": [NOTE],
                "controllers": [{"start_beats": 0.5, "controller": 11, "value": 70}],
                "pitch_bends": [
                    {"start_beats": 0.25, "value": -8192},
                    {"start_beats": 0.5, "value": 8191},
                    {"start_beats": 0.75, "value": 0},
                ],
                "program_changes": [{"start_beats": 1, "program": 5, "bank": 129}],
                "lyrics": [{"start_beats": 0, "text": "La"}],
            }
        ]
    )
    bends = [(t, m.pitch) for t, m in messages(midi, 1, "pitchwheel")]
    assert bends == [(120, -8192), (240, 8191), (360, 0)]
    assert [(t, m.text) for t, m in messages(midi, 1, "lyrics")] == [(0, "La")]
    moves = [(t, m.control, m.value) for t, m in messages(midi, 1, "control_change")]
    assert moves[2:] == [(240, 11, 70), (480, 0, 1), (480, 32, 1)]
    last = [str(m) for _, m in messages(midi, 1, "control_change", "program_change")][-1]
    assert last.startswith("program_change channel=2 program=5")


@pytest.mark.parametrize(
    ("key", "twin"), [("G#", "Ab"), ("D#", "Eb"), ("B#", "C"), ("Dbm", "C#m"), ("E#m", "Fm")]
)
def test_a_key_that_no_signature_can_say_is_written_as_its_twin(key, twin):
    midi = composed(key_signature=key, tracks=[{"notes": []}])
    assert [m.key for _, m in messages(midi, 0, "key_signature")] == [twin]


def test_repeated_notes_end_before_they_begin_again():
    again = [{"pitch": 60, "start_beats": i / 3, "duration_beats": 1 / 3} for i in range(9)]
    midi = composed(ticks_per_beat=100, tracks=[{"notes": again}])
    found = notes(midi)
    assert [n.start for n in found] == [0, 33, 67, 100, 133, 167, 200, 233, 267]
    assert all(a.end == b.start for a, b in pairwise(found))


def test_no_note_is_shorter_than_a_tick():
    midi = composed(
        ticks_per_beat=24,
        tracks=[{"notes": [{"pitch": 60, "duration_beats": 0.015625, "start_beats": 1}]}],
    )
    assert [n.length for n in notes(midi)] == [1]


def test_the_longest_rest_can_be_written():
    late = {"pitch": 60, "start_beats": 65536, "duration_beats": 65536}
    midi = composed(ticks_per_beat=1920, tracks=[{"notes": [late]}])
    assert notes(midi)[0].end == 131072 * 1920


def test_the_same_song_gives_the_same_bytes_and_the_model_may_be_built_in_python():
    song = Song(tracks=[SongTrack(name="a", notes=[SongNote(pitch=60, duration_beats=1)])])
    spec = song.model_dump(mode="json")
    assert composed(**spec) == composed(tracks=[{"name": "a", "notes": [NOTE]}])
