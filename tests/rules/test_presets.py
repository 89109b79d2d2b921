from pathlib import Path

import pytest
import yaml

from rules.presets import Preset, PresetStep, faults, first_of_each_name, load_preset, shipped
from rules.written import RulesBroken

CONTRACT = Path(__file__).parents[1] / "contract" / "management.yaml"
FILE = Path("/presets/mine.yaml")


def problems(text):
    with pytest.raises(RulesBroken) as broken:
        load_preset(text, FILE)
    return "\n".join(str(problem) for problem in broken.value.problems)


def test_the_shipped_presets_are_the_contracts():
    wanted = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))["presets"]["shipped"]
    ours = {p.name: [{"op": s.op, "params": s.params} for s in p.steps] for p in shipped()}

    assert ours == wanted
    assert all(preset.description for preset in shipped())


def test_a_step_may_be_written_as_in_a_rule():
    preset = load_preset("name: a b\nsteps: [reverse, {fade: {fade_in: 1}}, {op: trim}]", FILE)
    steps = [PresetStep("reverse"), PresetStep("fade", {"fade_in": 1}), PresetStep("trim")]
    assert preset == Preset("a b", "", tuple(steps))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "no mapping", id="nothing"),
        pytest.param("- a", "no mapping", id="a list"),
        pytest.param("name: [", "not YAML", id="no YAML"),
        pytest.param("name: a\nsteps: &x [reverse]", "anchors", id="an anchor"),
        pytest.param("steps: [reverse]", "name", id="no name"),
        pytest.param("name: a/b\nsteps: [reverse]", "name", id="a name with a slash"),
        pytest.param("name: 3\nsteps: [reverse]", "name", id="a name that is a number"),
        pytest.param("name: a\nsteps: []", "steps", id="no steps"),
        pytest.param("name: a\nsteps: reverse", "steps", id="steps that are no list"),
        pytest.param("name: a\nsteps: [{op: 3}]", "step 1", id="an op that is no name"),
        pytest.param("name: a\nsteps:\n- {op: trim, params: 3}", ":3: step 1", id="params"),
        pytest.param("name: a\nsteps: [{op: mix, sounds: {x: y}}]", "further sounds", id="sounds"),
        pytest.param("name: a\nother: 1\nsteps: [reverse]", "other", id="an unknown key"),
    ],
)
def test_a_file_that_is_no_preset_is_refused_with_the_reason(text, says):
    assert says in problems(text)


def test_of_two_equal_names_the_first_is_taken():
    first, second = Preset("b", "first", ()), Preset("b", "second", ())
    other = Preset("a", "", ())
    assert first_of_each_name([first, second, other]) == [other, first]


def test_steps_that_cannot_run_are_told_and_the_preset_stays():
    preset = load_preset("name: a\nsteps: [mix, none, {speed: {speed: x}}, reverse]", FILE)
    mix, none, speed = faults(preset)
    assert mix.startswith("step 0 (mix): unknown op in a chain 'mix'")
    assert none.startswith("step 1 (none): unknown op 'none'")
    assert speed.startswith("step 2 (speed): speed")
