from pathlib import PurePosixPath

import pytest

from handlers.errors import BadParameter
from rules.names import FILE_FIELDS, check_template, numbered, render, with_extension


@pytest.mark.parametrize(
    ("template", "fields", "expected"),
    [
        pytest.param("{stem}.{ext}", {"stem": "take", "ext": "wav"}, "take.wav", id="plain"),
        pytest.param(
            "{stem} {normalize.measured_lufs:.1f}.{ext}",
            {"stem": "take", "ext": "wav", "normalize.measured_lufs": -23.04},
            "take -23.0.wav",
            id="a step's fact with a format",
        ),
        pytest.param("{rel}/{stem}", {"rel": "a/b", "stem": "x"}, "a/b/x", id="kept folders"),
        pytest.param("{rel}/{stem}", {"rel": "", "stem": "x"}, "x", id="no folder at the top"),
        pytest.param("{title}", {"title": "AC/DC\n"}, "AC-DC-", id="a value makes no folder"),
        pytest.param("{title}/x", {"title": ".."}, "x", id="a value never climbs"),
        pytest.param("{title}.wav", {"title": ""}, "_wav", id="nothing hidden"),
        pytest.param("{artist}.wav", {"artist": None}, "unknown.wav", id="a missing tag"),
    ],
)
def test_a_template_is_rendered(template, fields, expected):
    assert render(template, fields) == PurePosixPath(expected)


@pytest.mark.parametrize(
    "template",
    [
        "{nope}",
        "{stem.__class__}",
        "{stem!r}",
        "{0}",
        "../{stem}",
        "/abs",
        "a\\b",
        "",
        "x/",
        "{",
        "{stem:{ext}}",
    ],
)
def test_a_template_that_cannot_work_is_refused_at_load(template):
    with pytest.raises(BadParameter):
        check_template(template, FILE_FIELDS)


def test_a_long_name_is_cut_between_characters_and_keeps_its_extension():
    path = with_extension(render("{stem}", {"stem": "ä" * 300}), "wav")

    assert len(path.name.encode()) <= 255
    assert path.name.endswith("ä.wav")


def test_a_name_that_is_no_text_survives():
    assert render("{stem}.wav", {"stem": "\udcff"}) == PurePosixPath("\udcff.wav")


def test_a_format_that_does_not_suit_its_value_is_refused():
    with pytest.raises(BadParameter, match="does not suit"):
        render("{stem:.1f}", {"stem": "take"})


def test_numbers_go_before_the_extension():
    assert [numbered("a.wav", n) for n in (1, 2)] == ["a.wav", "a (2).wav"]
    assert numbered("noext", 3) == "noext (3)"
