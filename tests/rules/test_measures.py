import math
import re
from typing import Annotated

import pytest

from handlers.artifacts import Blocks, Result
from handlers.declare import Example, Measures, describe
from rules.load import Surroundings, load_rules
from rules.measures import check_conditions, ensurable, measured, refused_by_measures
from rules.written import RulesBroken
from tests.rules.test_plan import HOT


def refused(name, wanted, value):
    return refused_by_measures({name: wanted}, {name: value}, ensurable())


@pytest.mark.parametrize(
    ("name", "wanted", "inside", "outside"),
    [
        ("lufs", "> -20", -19.9, -20),
        ("lufs", "-16.5..-15.5", -16, -16.6),
        ("lufs", "<= -14 LUFS", -14, -13.9),
        ("true_peak", "<= -1 dBTP", -1, -0.99),
        ("speech_ratio", "> 50%", 0.51, 0.5),
        ("speech_ratio", "> 0.5", 0.51, 0.5),
        ("silence", "20 % .. 40 %", 0.3, 0.41),
        ("clipping", 0, 0.0, 0.001),
        ("clipped_samples", "= 3", 3, 4),
        ("bpm", "120..130", 125.2, 119.9),
        ("key", "A minor", "a minor", "A major"),
        ("key", ["C*", "* minor"], "F# minor", "D major"),
        ("duration", "1m..1h", 60, 59),
        ("sample_rate", "44.1 kHz", 44100, 48000),
        ("size", "< 2 MB", 1999999, 2000000),
        ("channels", 2, 2, 1),
    ],
)
def test_a_measured_value_is_inside_or_refused_with_the_value(name, wanted, inside, outside):
    assert refused(name, wanted, inside) == []
    (told,) = refused(name, wanted, outside)
    assert told.startswith(f"{name} is {outside}")


def test_silence_is_below_every_level():
    assert refused("lufs", "< -40", None) == []
    assert refused("true_peak", "<= -1", None) == []
    assert refused("lufs", "> -20", None) == ["lufs is that of silence, LUFS, not > -20 LUFS"]
    assert refused("bpm", "> 100", None) == ["bpm has no value in this sound, not > 100 BPM"]


@pytest.mark.parametrize(
    ("condition", "wrong"),
    [
        ({"loudnes": "> 3"}, "nothing measures that; known are: duration, channels"),
        ({"lufs": "loud"}, "'loud' is not a number of LUFS"),
        ({"lufs": -14}, r'no measured lufs is exactly -14: write a range like "-15..-13"'),
        ({"lufs": "-10..-20"}, "holds nothing"),
        ({"bpm": True}, "True is no range"),
        ({"key": 3}, "3 is no text"),
        ({"bpm": "> 50%"}, "'50%' is not a number of BPM"),
    ],
)
def test_a_condition_that_cannot_be_used_is_told(condition, wrong):
    ((name, told),) = check_conditions(condition, ensurable())
    assert name == next(iter(condition))
    assert re.search(wrong, told)


def test_faults_of_conditions_are_told_with_their_line():
    text = "rules:\n- name: A\n  when:\n    lufs: loud\n  ensure:\n    bmp: 3\n"
    with pytest.raises(RulesBroken) as broken:
        load_rules(text, HOT / "rules.yaml", Surroundings(HOT))
    told = [str(problem) for problem in broken.value.problems]
    assert told[0].startswith(f"{HOT}/rules.yaml:4: rule A: when.lufs: 'loud' is not a number")
    assert told[1].startswith(f"{HOT}/rules.yaml:6: rule A: ensure.bmp: nothing measures that")


@pytest.mark.parametrize(
    "rule",
    [
        "{output: {format: pcm}, ensure: {duration: '> 1'}}",
        "{ensure: {duration: '> 1'}, deliver: {raw: {output: {format: pcm}}}}",
        "{deliver: {raw: {output: {format: pcm}, ensure: {duration: '> 1'}}}}",
    ],
)
def test_nothing_is_ensured_of_samples_without_a_header(rule):
    with pytest.raises(RulesBroken, match="format: pcm"):
        load_rules(f"rules: [{rule}]", HOT / "rules.yaml", Surroundings(HOT))
    both = "{deliver: {raw: {output: {format: pcm}}, cd: {ensure: {duration: '> 1'}}}}"
    assert load_rules(f"rules: [{both}]", HOT / "rules.yaml", Surroundings(HOT))


def test_a_file_is_not_asked_before_it_is_measured():
    """What only a result has (its size) is no condition of `when`."""
    assert set(ensurable()) - set(measured()) == {"duration", "channels", "sample_rate", "size"}


def test_only_a_report_can_measure():
    class Louder(Result):
        sound: Blocks
        level: Annotated[float, Measures("level")]

    def louder(sound: Blocks) -> Louder:
        """For the test."""
        return Louder(sound=sound, level=math.pi)

    with pytest.raises(TypeError, match="only a report"):
        describe(louder, route="/x", category="editing", examples=[Example("x")])
