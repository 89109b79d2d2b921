import os

import pytest

from rules.load import Surroundings, load_rules
from rules.presets import load_preset
from rules.written import RulesBroken


@pytest.fixture
def hot(tmp_path):
    """A hot folder beside a folder of shared rules."""
    (tmp_path / "hot/shared").mkdir(parents=True)
    (tmp_path / "rules").mkdir()
    return tmp_path / "hot"


def load(hot, text, **around):
    file = hot / "rules.yaml"
    file.write_text(text)
    surroundings = Surroundings(hot, shared=(hot.parent / "rules",), **around)
    return load_rules(text, file, surroundings)


def problems(hot, text, **around):
    with pytest.raises(RulesBroken) as broken:
        load(hot, text, **around)
    return [str(problem).replace(f"{hot.parent}/", "") for problem in broken.value.problems]


def test_settings_and_rules_of_other_files_are_taken_in(hot):
    (hot / "shared/studio.yaml").write_text("""
priority: 5
output: {format: flac, folder: theirs}
variables: {target: -16, gain: 3}
rules:
  - {name: Last, steps: [{fx: {effects: [{type: Gain, params: {gain_db: $gain}}]}}]}
""")
    (hot.parent / "rules/voices.yaml").write_text("""
rules:
  - {name: Voices, match: {glob: "voice-*"}, steps: [{normalize: {target_lufs: $target}}]}
""")
    found = load(
        hot,
        """
include: shared/studio.yaml
variables: {target: -20}
output: {folder: mine}
rules:
  - name: First
    match: {ext: mp3}
  - include: ../rules/voices.yaml
""",
    )

    assert [rule.name for rule in found.rules] == ["First", "Voices", "Last"]
    assert found.priority == 5
    assert {rule.output.folder for rule in found.rules} == {hot / "mine"}
    assert {rule.output.encoding.format for rule in found.rules} == {"flac"}
    assert found.rules[1].steps[0].params == {"target_lufs": -20}
    assert found.rules[2].steps[0].params["effects"][0]["params"] == {"gain_db": 3}
    # They lie in the inbox and are no takes.
    assert hot / "shared/studio.yaml" in found.reserved
    assert set(found.includes) == {hot / "shared/studio.yaml", hot.parent / "rules/voices.yaml"}


def test_sounds_count_from_the_file_that_names_them(hot):
    (hot / "shared/halls.yaml").write_text("rules: [{steps: [{conv_reverb: {ir_file: hall.wav}}]}]")
    (hot / "shared/hall.wav").touch()
    found = load(hot, "rules: [{include: shared/halls.yaml}]")
    assert found.rules[0].steps[0].sounds["ir_file"].path == hot / "shared/hall.wav"


def test_a_fault_is_told_with_the_file_and_line_it_is_written_in(hot):
    (hot / "shared/bad.yaml").write_text(
        "rules:\n- name: A\n- name: B\n  steps:\n  - normalize: {target_lufs: loud}\n"
    )
    (told,) = problems(hot, "rules:\n- name: Mine\n- include: shared/bad.yaml\n")
    assert told.startswith("hot/shared/bad.yaml:5: rule B, step 1 (normalize): target_lufs")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../../elsewhere.yaml", "'../../elsewhere.yaml' lies outside of"),
        ("/etc/passwd", "'/etc/passwd' lies outside of"),
        ("shared/link.yaml", "'shared/link.yaml' lies outside of"),
        ("shared/none.yaml", "cannot be read: No such file or directory"),
        ("rules.yaml", "'rules.yaml' takes in itself: rules.yaml > rules.yaml"),
        ("shared/a.yaml", "'a.yaml' takes in itself: a.yaml > b.yaml > a.yaml"),
        ("shared/home.yaml", "a file that others take in is about no folder of its own"),
        ("shared/list.yaml", "has neither settings nor a `rules:` list"),
        ("[1]", "1 is not the path of a rule file"),
    ],
)
def test_an_include_that_may_not_be_is_refused(hot, name, told):
    os.symlink("/etc/hostname", hot / "shared/link.yaml")
    (hot / "shared/a.yaml").write_text("include: b.yaml\n")
    (hot / "shared/b.yaml").write_text("rules: [{include: a.yaml}]\n")
    (hot / "shared/home.yaml").write_text("folder: x\nrules: [{}]\n")
    (hot / "shared/list.yaml").write_text("- a\n")
    (problem,) = problems(hot, f"include: {name}\nrules: [{{}}]\n")
    assert told in problem


def test_many_includes_of_one_file_end(hot):
    for number in range(8):
        inner = "".join(f"- include: {number + 1}.yaml\n" for _ in range(8))
        (hot / f"{number}.yaml").write_text(f"rules:\n{inner}")
    (hot / "8.yaml").write_text("rules: [{}]")
    (told,) = problems(hot, "rules: [{include: 0.yaml}]")
    assert "more than 64 files are taken in" in told


def test_a_variable_that_is_not_there_is_told_and_two_dollars_are_one(hot):
    text = "variables: {a: 1}\nrules:\n- name: $$a\n  priority: $b\n"
    (told,) = problems(hot, text)
    assert told == (
        "hot/rules.yaml:4: rules.0.priority: there is no variable b; there are: a ($$ is a dollar)"
    )
    assert load(hot, "variables: {a: 1}\nrules: [{name: $$a}]").rules[0].name == "$a"
    assert load(hot, "rules: [{name: $a}]").rules[0].name == "$a"


PODCAST = """
name: podcast
variables: {target: -16, soft: -20}
steps:
  - deess: {threshold_db: $soft}
  - normalize: {target_lufs: $target}
"""


def steps_of(hot, text):
    preset = load_preset(PODCAST, hot / "podcast.yaml")
    found = load(hot, f"rules:\n- steps:\n  - {text}\n", preset={"podcast": preset}.get)
    return [dict(step.params) for step in found.rules[0].steps]


@pytest.mark.parametrize(
    ("written", "deess", "normalize"),
    [
        ("preset: podcast", {"threshold_db": -20}, {"target_lufs": -16}),
        (
            "{preset: podcast, with: {target: -18}}",
            {"threshold_db": -20},
            {"target_lufs": -18},
        ),
        (
            "{preset: podcast, with: {soft: -30}, override: {normalize: {target_lufs: -23}}}",
            {"threshold_db": -30},
            {"target_lufs": -23},
        ),
        (
            "{preset: podcast, override: {1: {ratio: 2}}}",
            {"threshold_db": -20, "ratio": 2},
            {"target_lufs": -16},
        ),
    ],
)
def test_a_preset_takes_values_and_other_parameters(hot, written, deess, normalize):
    assert steps_of(hot, written) == [deess, normalize]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("{preset: podcast, with: {loud: 1}}", "with.loud: podcast has no variable loud; it has:"),
        ("{preset: podcast, override: {eq: {}}}", "no step 'eq'; it has: 1: deess, 2: normalize"),
        ("{preset: podcast, params: {}}", "there is no params beside preset, with and override"),
        ("{preset: podcast, with: {target: loud}}", "target_lufs"),
        ("{preset: podcast, with: 3}", "with is no mapping"),
    ],
)
def test_what_a_preset_does_not_have_is_told(hot, written, told):
    with pytest.raises(RulesBroken) as broken:
        steps_of(hot, written)
    (problem,) = broken.value.problems
    assert told in str(problem)
