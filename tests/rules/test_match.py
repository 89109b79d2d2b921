import math

import pytest
from pydantic import ValidationError

from rules.match import (
    Conditions,
    FileFacts,
    SoundFacts,
    matches_glob,
    read_range,
    refused_by_name,
    refused_by_sound,
)

_TIME = {"s": 1.0, "ms": 1e-3, "m": 60.0, "h": 3600.0}


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("> 60", [60.001, 1e9], [60, 0]),
        (">= 60", [60], [59.999]),
        ("<60", [59.999, 0], [60]),
        ("<= 60", [60], [60.001]),
        ("10..120", [10, 60, 120], [9.9, 120.1]),
        ("= 2", [2], [1, 3]),
        (48000, [48000], [47999]),
        (0.5, [0.5], [0.6]),
        ("1m30s", [90], [89]),
        ("500ms..2s", [0.5, 2], [0.4, 2.1]),
        ("> 1 h", [3601], [3600]),
    ],
)
def test_a_range_holds_what_it_says(text, inside, outside):
    found = read_range(text, _TIME)
    assert all(value in found for value in inside)
    assert not any(value in found for value in outside)
    assert read_range(str(found), _TIME) == found


@pytest.mark.parametrize(
    "text",
    ["", "x", "> x", "1..", "..", "2..1", "> 1 furlong", "-1", "1 2", "> -3", True, None, []],
)
def test_nonsense_is_no_range(text):
    with pytest.raises(ValueError):
        read_range(text, _TIME)


@pytest.mark.parametrize("value", [math.inf, math.nan, "inf", "nan", "1e999"])
def test_no_number_without_end(value):
    with pytest.raises(ValueError):
        read_range(value)


@pytest.mark.parametrize(
    ("glob", "path", "fits"),
    [
        ("*.wav", "take.wav", True),
        ("*.wav", "deep/er/take.wav", True),
        ("*.wav", "TAKE.WAV", True),
        ("*.wav", "take.wave", False),
        ("voice/*.wav", "voice/a.wav", True),
        ("voice/*.wav", "voice/deep/a.wav", False),
        ("voice/**", "voice/deep/a.wav", True),
        ("**/drums/*.wav", "song/1/drums/kick.wav", True),
        ("**/drums/*.wav", "drums/kick.wav", True),
        ("take?.wav", "take1.wav", True),
        ("take?.wav", "take12.wav", False),
        ("take[0-3].wav", "take2.wav", True),
        ("take[!0-3].wav", "take2.wav", False),
        ("a.b+c(d).wav", "a.b+c(d).wav", True),
        ("a.wav", "axwav", False),
        ("cafe\u0301*", "caf\u00e9.wav", True),
        ("new\nline*", "new\nline.wav", True),
        ("*", "\udcff.wav", True),
    ],
)
def test_a_glob_fits_what_a_shell_user_expects(glob, path, fits):
    assert matches_glob(glob, path) == fits


FILE = FileFacts("voice/Take 1.WAV", 1000)


def refused(sound=None, **written):
    conditions = Conditions.model_validate(written)
    assert Conditions.model_validate_json(conditions.model_dump_json()) == conditions
    by_name = refused_by_name(conditions, FILE)
    return by_name if by_name or sound is None else refused_by_sound(conditions, sound)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({}, None),
        ({"ext": "wav"}, None),
        ({"ext": [".Wav", "flac"]}, None),
        ({"ext": "flac"}, "ext is wav, not flac"),
        ({"glob": "voice/*"}, None),
        ({"glob": ["x*", "take*"]}, None),
        ({"glob": ["x*", "y*"]}, "name does not fit x* or y*"),
        ({"exclude": "take*"}, "name fits exclude take*"),
        ({"size": "> 1 kB"}, "size is 1000 bytes, not > 1000"),
        ({"size": ">= 1 kB"}, None),
        ({"size": "< 1 KiB"}, None),
    ],
)
def test_name_and_size_are_judged(written, reason):
    assert refused(**written) == reason


_SOUND = SoundFacts(90.0, 2, 44100, {"artist": ("Bob Dylan", "AC/DC"), "genre": ()})


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({"duration": "> 1m"}, None),
        ({"duration": "< 1m"}, "duration is 90 s, not < 60"),
        ({"channels": 2}, None),
        ({"channels": "6..8"}, "channels is 2, not 6..8"),
        ({"sample_rate": "44.1 kHz"}, None),
        ({"sample_rate": "48k..192k"}, "sample_rate is 44100 Hz, not 48000..192000"),
        ({"tags": {"artist": "bob*"}}, None),
        ({"tags": {"Artist": "AC?DC"}}, None),
        ({"tags": {"artist": ["x", "y"]}}, "tag artist is 'Bob Dylan' and 'AC/DC', not x or y"),
        ({"tags": {"artist": True}}, None),
        ({"tags": {"isrc": True}}, "tag isrc is missing"),
        ({"tags": {"genre": False}}, None),
        ({"tags": {"artist": False}}, "tag artist is there"),
    ],
)
def test_the_header_is_judged(written, reason):
    assert refused(_SOUND, **written) == reason


def test_only_header_conditions_ask_for_the_header():
    assert Conditions.model_validate({"glob": "*", "size": 3}).asks == frozenset()
    written = {"duration": 1, "channels": 1, "sample_rate": 1, "tags": {"a": True}}
    assert Conditions.model_validate(written).asks == set(written)


@pytest.mark.parametrize(
    "written",
    [
        {"extension": "wav"},
        {"ext": 3},
        {"ext": []},
        {"glob": ""},
        {"channels": True},
        {"channels": "two"},
        {"duration": "> x"},
        {"tags": {"a": 3}},
        {"tags": ["a"]},
    ],
)
def test_nonsense_is_refused(written):
    with pytest.raises(ValidationError):
        Conditions.model_validate(written)
