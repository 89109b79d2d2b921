import re
from pathlib import Path

import pytest

import rules.model
from rules.load import Surroundings, load_rules
from rules.model import INPUT, FolderText
from rules.presets import shipped
from rules.written import MAX_BYTES, RulesBroken

HOT = Path("/hot/podcast")
PRESETS = {preset.name: preset for preset in shipped()}


def load(text, *, is_file=lambda _: True, **around):
    surroundings = Surroundings(**({"folder": HOT} | around), is_file=is_file)
    return load_rules(text, HOT / "rules.yaml", surroundings)


def problems(text, **more):
    with pytest.raises(RulesBroken) as broken:
        load(text, **more)
    return [str(problem) for problem in broken.value.problems]


def steps(text):
    return load(f"rules:\n - steps:\n{text}").rules[0].steps


# -- what may be written ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    "written",
    [
        "   - trim: {start_sec: 0.5}",
        "   - op: trim\n     params: {start_sec: 0.5}",
        "   - {op: trim, params: {start_sec: 0.5}}",
    ],
)
def test_a_step_may_be_written_in_each_of_its_forms(written):
    (step,) = steps(written)
    assert (step.op, step.params) == ("trim", {"start_sec": 0.5})


def test_a_step_without_parameters_is_its_bare_name():
    assert [step.op for step in steps("   - reverse\n   - loudness:\n   - {op: reverse}")] == [
        "reverse",
        "loudness",
        "reverse",
    ]


def test_the_examples_of_the_format_load():
    text = rules.model.__doc__
    blocks = re.findall(r"\n\n((?:    .*\n?|\n)+)", text)
    assert len(blocks) == 3
    found = load(re.sub(r"(?m)^    ", "", blocks[0]), preset=PRESETS.get)
    assert [rule.name for rule in found.rules] == ["Long takes", "Jingles", "Voices"]
    assert found.rules[0].output.encoding.bitrate == 192
    assert found.rules[1].output.encoding.bitrate is None
    assert found.rules[1].output.folder == HOT / "jingles"
    mixed = load("rules:\n- " + re.sub(r"(?m)^    ", "  ", blocks[2]).strip())
    assert not mixed.rules[0].takes_sound
    assert HOT / "beds/rain.wav" in mixed.reserved
    (release,) = load("rules:\n" + re.sub(r"(?m)^    ", "", blocks[1])).rules
    assert [one.name for one in release.deliver] == ["master", "preview", "picture", "figures"]
    assert [one.output.encoding.format for one in release.deliver] == ["wav", "mp3", "wav", "wav"]
    assert release.deliver[0].output.encoding.bit_depth == "24"
    assert release.deliver[1].output.encoding.bit_depth != "24"
    assert [one.output.reports for one in release.deliver] == [False, False, False, True]


def test_every_setting_of_the_format_has_a_sentence():
    def without(model, path=""):
        for name, info in model.model_fields.items():
            inner = info.annotation
            if hasattr(inner, "model_fields"):
                yield from without(inner, f"{path}{name}.")
            elif not info.description and name not in ("rules", "output", "settle", "stages"):
                yield path + name

    assert list(without(FolderText)) == []


def test_a_folder_needs_nothing_but_a_rule():
    found = load("rules: [{}]")
    assert found.name == "podcast"
    assert found.stages.processing == HOT / "processing"
    assert found.rules[0].name == "1"
    assert found.rules[0].output.folder == HOT / "out"
    stages = ("processing", "done", "failed", "out", "manifests", "reports", "replaced")
    assert found.reserved == {HOT / name for name in stages}


def test_stages_may_be_renamed_and_lie_elsewhere():
    found = load("stages: {done: archive/originals, out: /nas/out}\nrules: [{}]")
    assert found.stages.done == HOT / "archive/originals"
    assert found.stages.out == Path("/nas/out")


def test_a_central_file_names_its_folder():
    found = load("folder: dj\nrules: [{}]", folder=None, folders=Path("/hot"))
    assert (found.root, found.name) == (Path("/hot/dj"), "dj")
    found = load("folder: /nas/dj\nrules: [{}]", folder=None, folders=Path("/hot"))
    assert found.root == Path("/nas/dj")


def test_a_staged_sound_lies_in_the_staging_area():
    text = 'rules: [{steps: [{mix: {tracks: [{file: "{input}"}, {file: "staged:a/b.wav"}]}}]}]'
    tracks = load(text, staging=Path("/stage")).rules[0].steps[0].items["tracks"]
    assert [track.sound.path for track in tracks] == [Path(INPUT), Path("/stage/a/b.wav")]


# -- what is wrong, and where ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["has no `rules:` list at its top"]),
        ("- a\n- b", ["has no `rules:` list"]),
        ("rules: []", [":1: rules: List should have at least 1 item"]),
        ("rules: [{}]\nrule: 3", [":2: rule: there is no such setting"]),
        ("rules:\n- nme: x", [":2: rule 1: nme: there is no such setting"]),
        ("rules:\n- name: yes", [":2: rule 1: name: Input should be a valid string"]),
        ("rules:\n- name: A\n  match: {ext: []}", [":3: rule A: match.ext"]),
        ('rules:\n- match: {size: "> 2 apples"}', [":2: rule 1: match.size", "apples", "units:"]),
        ("rules: [{}]\nfolder: x", ["folder: a rules.yaml in a hot folder is about that folder"]),
        ("rules: [{}]\npriority: high", ["priority: Input should be a valid integer"]),
        ("rules: [{}]\npriority: true", ["priority: Input should be a valid integer"]),
        ("rules: [{}]\nweight: .inf", ["weight"]),
        ("rules: [{}]\nstages: {done: out}", ["stages.done: 'out' is the folder of"]),
        ("rules: [{}]\nstages: {done: .}", ["stages.done: '.' is the folder of the inbox, too"]),
        ("rules:\n- {name: A}\n- {name: A}", [":3: another rule is called 'A', too"]),
        ("rules:\n- steps: [nrmalize]", ["rule 1, step 1 (nrmalize): unknown op", "normalize"]),
        ("rules:\n- steps: [3]", ["rule 1, step 1: a step is `op`"]),
        ("rules:\n- steps: [{trim: {}, eq: {}}]", ["step 1: one operation per step", "trim, eq"]),
        ("rules:\n- steps: [{op: trim, param: {}}]", ["there is no param beside op"]),
        ("rules:\n- steps: [{trim: 3}]", ["step 1: params of trim is not a mapping"]),
        (
            "rules:\n- steps:\n  - reverse\n  - trim: {start: 1}",
            [":4: rule 1, step 2 (trim): start", "trim has no parameter start", "start_sec"],
        ),
        ("rules:\n- steps: [{trim: {start_sec: -1}}]", ["step 1 (trim): start_sec = -1"]),
        ('rules:\n- steps: [{trim: {start_sec: "1"}}]', ["step 1 (trim): start_sec"]),
        ("rules:\n- steps: [normalize]", ["step 1 (normalize): target_lufs is required"]),
        ("rules:\n- steps: [mix]", ["step 1 (mix): tracks is required"]),
        (
            'rules:\n- steps: [reverse, {mix: {tracks: [{file: "{input}"}]}}]',
            ["step 2 (mix): mix takes no sound: it can only come first"],
        ),
        (
            "rules:\n- steps: [{mix: {tracks: [{file: a.wav}]}}]",
            ["step 1 (mix): does not use the file that was dropped"],
        ),
        ("rules:\n- steps: [{mix: {tracks: a.wav}}]", ["tracks: takes a list like"]),
        ("rules:\n- steps: [{mix: {tracks: [{}]}}]", ["tracks[0].file: is not a path"]),
        (
            'rules:\n- steps: [{mix: {tracks: [{file: "{input}", gain: 3}]}}]',
            ["step 1 (mix): tracks[0].gain"],
        ),
        ("rules:\n- output: {format: mp4}", ["output.format: unknown output_format 'mp4'"]),
        ("rules:\n- output: {bit_depth: 12}", ["output.bit_depth: wav has no bit_depth 12"]),
        ("rules:\n- output: {bitrate: 192}", ["output.bitrate: wav has no bitrate"]),
        ('rules:\n- output: {name: "{nme}.{ext}"}', ["output.name: no field {nme}"]),
        ('rules:\n- output: {name: "{eq.x}"}\n  steps: [reverse]', ["no field {eq.x}"]),
        ("rules:\n- output: {name: ../x}", ["leaves its folder"]),
        ("rules:\n- output: {folder: .}", ["results in the inbox would be taken for input"]),
        ("rules:\n- output: {folder: done}", ["output.folder: 'done' is for originals"]),
        ("settle: {quiet: soon}\nrules: [{}]", ["settle.quiet", "'soon' is not a number"]),
        ("rules:\n- match: {duration: > 60}", [":2: is not YAML", 'needs quotes: "> 60"']),
        ("rules:\n- name: a\n  name: b", [":3: is not YAML: name is written twice"]),
        ("a: &x [1]\nb: *x", [":1: is not YAML: anchors and aliases are not read"]),
        ("a: !!python/object:os.system 1", ["is not YAML"]),
        ("a: [", ["is not YAML"]),
        ("---\na: 1\n---\nb: 2", ["is not YAML"]),
        ("a: " + "[" * 5000, ["nested too deeply"]),
        ("rules: [" + "{}," * 30_000 + "]", ["too long"]),
        ("#" * (MAX_BYTES + 1), ["is larger than 256 KiB"]),
        (b"\xff\xfe\x00", ["is not YAML"]),
        (b"rules: \x00", ["is not YAML"]),
    ],
)
def test_each_fault_is_told_with_its_place(text, told):
    found = "\n".join(problems(text))
    assert all(part in found for part in told), found
    assert found.startswith("/hot/podcast/rules.yaml")


def test_all_faults_are_told_at_once():
    text = """
rules:
  - name: First
    steps: [{trim: {start_sec: -1}}, nonsense]
    output: {format: mp4}
  - name: Second
    steps: [{eq: {bands: 3}}]
"""
    found = problems(text)
    assert len(found) == 4
    assert all("rule First" in line for line in found[:3])
    assert "rule Second, step 1 (eq)" in found[3]


def test_a_further_sound_that_is_not_there_is_told_at_load():
    text = 'rules: [{steps: [{mix: {tracks: [{file: "{input}"}, {file: bed.wav}]}}]}]'
    (told,) = problems(text, is_file=lambda _: False)
    assert "tracks[1].file: there is no file /hot/podcast/bed.wav" in told


def test_a_central_file_without_folder_is_told():
    (told,) = problems("rules: [{}]", folder=None)
    assert "folder: is required in a central rule file" in told


def test_a_sound_that_a_parameter_names_is_found_like_any_other():
    chain = (
        "   - fx: {effects: [{type: Convolution, params: {impulse_response_filename: hall.wav}}]}"
    )
    (step,) = steps(chain)

    (item,) = step.items["impulses"]
    assert item.sound.path == HOT / "hall.wav"
    assert item.settings == {"name": "hall.wav"}


def test_a_sound_that_a_parameter_names_must_be_there():
    text = (
        "rules: [{steps: [{fx: {effects: [{type: Convolution, "
        "params: {impulse_response_filename: hall.wav}}]}}]}]"
    )
    (told,) = problems(text, is_file=lambda _: False)
    assert "there is no file /hot/podcast/hall.wav" in told


def test_a_soundfont_lies_beside_the_rules():
    (step,) = steps("   - midi_render: {soundfont_path: strings.sf2}")
    (item,) = step.items["fonts"]
    assert item.sound.path == HOT / "strings.sf2"


# -- presets ---------------------------------------------------------------------------------------
def test_a_preset_is_all_of_its_steps_in_their_place():
    text = "rules:\n - steps: [reverse, {preset: master-for-spotify}, reverse]"
    rule = load(text, preset=PRESETS.get).rules[0]

    assert [s.op for s in rule.steps] == ["reverse", "multiband_compress", "normalize", "reverse"]
    assert rule.steps[2].params == {"target_lufs": -14}


@pytest.mark.parametrize("name", ["none-such", 3])
def test_a_preset_that_is_not_there_is_told_with_its_line(name):
    (told,) = problems(f"rules:\n - steps:\n   - reverse\n   - preset: {name}", preset=PRESETS.get)
    assert told.startswith("/hot/podcast/rules.yaml:4: rule 1, step 2: there is no preset")


def test_what_does_not_fit_in_a_preset_is_told_where_the_preset_is_named():
    text = "rules:\n - steps:\n   - hpss\n   - preset: master-for-spotify"
    (told,) = problems(text, preset=PRESETS.get)
    assert ":4: rule 1, step 2" in told
    assert "needs one sound" in told
