from pathlib import Path

import pretty_midi
import pytest
import yaml

from handlers.errors import BadParameter
from handlers.midi.midi_drum import VOICES, MidiDrum, midi_drum
from handlers.registry import find
from tests.scores import notes, opened

ENTRY = next(
    entry
    for entry in yaml.safe_load(
        (Path(__file__).parents[2] / "contract" / "operations.yaml").read_text()
    )["operations"]
    if entry["name"] == "midi_drum"
)


def drummed(**spec):
    return midi_drum(find("midi_drum").read_params(spec, strict=True)).midi


def hits(midi):
    return [(n.start, n.pitch, n.velocity) for n in notes(midi)]


def test_steps_are_hits_on_channel_9_at_480_ticks_per_beat():
    midi = drummed(pattern={"kick": [1, 0, 0, 0, 127], "snare": [0, 2]})
    assert hits(midi) == [(0, 36, 100), (120, 38, 2), (480, 36, 127)]
    assert {n.channel for n in notes(midi)} == {9}
    assert opened(midi).ticks_per_beat == 480


@pytest.mark.parametrize(
    ("voice", "key"),
    [(voice, key) for voice, key in ENTRY["drum_voices"].items() if voice != "numeric_key"],
)
def test_every_voice_of_the_contract_is_its_key_in_both_spellings(voice, key):
    assert hits(drummed(pattern={voice: [1]})) == [(0, key, 100)]


def test_there_are_no_other_voices():
    assert set(VOICES) == set(ENTRY["drum_voices"]) - {"numeric_key"}


@pytest.mark.parametrize("key", ["0", "35", "127"])
def test_a_note_number_is_a_voice(key):
    assert hits(drummed(pattern={key: [1]})) == [(0, int(key), 100)]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param(16, [0, 120, 240, 360], id="sixteenths"),
        pytest.param(8, [0, 240, 480, 720], id="eighths"),
        pytest.param(12, [0, 160, 320, 480], id="triplets"),
        pytest.param(7, [0, 274, 549, 823], id="sevenths"),
        pytest.param(64, [0, 30, 60, 90], id="the finest"),
    ],
)
def test_a_bar_of_four_beats_is_divided_into_the_steps(steps, expected):
    midi = drummed(steps=steps, pattern={"kick": [1, 1, 1, 1]})
    assert [start for start, *_ in hits(midi)] == expected


def test_the_pattern_repeats_each_bar_and_the_file_lasts_whole_bars(tmp_path):
    midi = drummed(tempo_bpm=100, bars=3, pattern={"kick": [1]})
    assert [start for start, *_ in hits(midi)] == [0, 1920, 3840]
    assert opened(midi).length == pytest.approx(3 * 4 * 0.6)
    path = tmp_path / "beat.mid"
    path.write_bytes(midi.data)
    (drums,) = pretty_midi.PrettyMIDI(str(path)).instruments
    assert drums.is_drum
    assert [round(n.start, 3) for n in drums.notes] == [0, 2.4, 4.8]


@pytest.mark.parametrize(("swing", "late"), [(0.0, 0), (0.25, 30), (1 / 3, 40), (0.5, 60)])
def test_swing_delays_every_second_step_and_stays_short_of_the_next(swing, late):
    midi = drummed(swing=swing, bars=2, pattern={"hihat": [1] * 16})
    starts = [start for start, *_ in hits(midi)]
    assert starts == [120 * step + (late if step % 2 else 0) for step in range(32)]
    assert all(n.end <= after.start for n, after in zip(notes(midi), notes(midi)[1:], strict=False))


def test_with_an_odd_number_of_steps_each_bar_begins_anew():
    starts = [s for s, *_ in hits(drummed(steps=3, bars=2, swing=0.5, pattern={"kick": [1] * 3}))]
    assert starts == [0, 960, 1280, 1920, 2880, 3200]


def test_two_names_of_one_key_are_one_hit_and_the_harder_counts():
    pattern = {"hihat": [1, 0, 50], "hihat_closed": [120, 1], "42": [3, 0, 60]}
    assert hits(drummed(pattern=pattern)) == [(0, 42, 120), (120, 42, 100), (240, 42, 60)]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, "pattern is required"),
        ({"pattern": {}}, "pattern = {}"),
        ({"pattern": []}, "pattern = \\[\\]"),
        ({"pattern": {"kick": "1000"}}, "pattern.kick = "),
        ({"pattern": {"kick": 1}}, "pattern.kick = 1"),
        ({"pattern": {"kick": [0, 128]}}, r"pattern.kick\[1\] = 128"),
        ({"pattern": {"kick": [-1]}}, r"pattern.kick\[0\] = -1"),
        ({"pattern": {"kick": [0.5]}}, r"pattern.kick\[0\] = 0.5"),
        ({"pattern": {"bongo": [1]}}, "'bongo' is no voice; there are kick, rim"),
        ({"pattern": {"128": [1]}}, "'128' is no voice"),
        ({"pattern": {"kick": [0] * 17}}, "pattern.kick has 17 steps; a bar has 16"),
        ({"pattern": {"kick": [1]}, "steps": 65}, "steps = 65"),
        ({"pattern": {"kick": [1]}, "bars": 0}, "bars = 0"),
        ({"pattern": {"kick": [1]}, "swing": 0.6}, "swing = 0.6"),
        ({"pattern": {"kick": [1]}, "tempo_bpm": 1000}, "tempo_bpm = 1000"),
        ({"pattern": {"kick": [1]}, "tempo": 100}, "no parameter tempo"),
    ],
)
def test_what_is_wrong_is_named(spec, says):
    with pytest.raises(BadParameter, match=says):
        drummed(**spec)


def test_limits_and_defaults_are_those_of_the_contract():
    properties = MidiDrum.model_json_schema()["properties"]
    for name, asked in ENTRY["drum_spec"].items():
        for key, theirs in (("min", "minimum"), ("max", "maximum"), ("default", "default")):
            if key in asked:
                assert properties[name][theirs] == asked[key], (name, key)


def test_the_tool_is_called_as_in_the_contract():
    assert find("midi_drum").tool == "drum_pattern"
