import os
from pathlib import Path

import pytest

from rules.explain import explain
from rules.load import Surroundings, load_rules
from rules.match import FileFacts, SoundFacts
from rules.orders import Order
from rules.plan import NoRuleMatches, asked, plan, resolve

HOT = Path("/hot/podcast")
AT = HOT / "processing" / "7" / "take.wav"


def folder(text):
    return load_rules(text, HOT / "rules.yaml", Surroundings(HOT, is_file=lambda _: True))


def planned(text, rel="take.wav", size=1000):
    return plan(folder(text), FileFacts(rel, size), AT)


def over_the_wire(order):
    return Order.model_validate_json(order.model_dump_json(exclude_defaults=True))


def stereo(duration, channels=2, **tags):
    return SoundFacts(duration, channels, 48000, {k: (v,) for k, v in tags.items()})


BY_LENGTH = """
rules:
  - {name: Flac, match: {ext: flac}, steps: [reverse]}
  - {name: Long, match: {duration: "> 60"}, steps: [reverse], output: {format: mp3}}
  - {name: Mono, match: {channels: 1}, steps: [loudness]}
  - {name: Rest, match: {size: "< 1 GB"}, output: {format: flac}}
  - {name: Never, steps: [reverse]}
"""


def test_the_first_rule_that_matches_makes_the_order():
    rules = "rules: [{name: A, match: {ext: flac}}, {name: B, steps: [reverse]}, {name: C}]"
    found = planned(rules)

    assert (found.rule, found.lane) == ("B", "cpu")
    assert [step.op for step in found.order.steps] == ["reverse"]
    assert found.order.sound.path == AT
    assert found.order.names == {"rel": "", "rule": "B", "folder": "podcast"}
    assert found.order.choose == []


def test_rules_that_ask_for_the_header_travel_until_one_that_does_not():
    found = planned(BY_LENGTH)

    assert found.rule is None
    assert [choice.rule for choice in found.order.choose] == ["Long", "Mono", "Rest"]
    assert asked(found.order) == {"duration", "channels"}
    assert found.order.steps == []


@pytest.mark.parametrize(
    ("sound", "rule", "ops", "format"),
    [
        (stereo(61), "Long", ["reverse"], "mp3"),
        (stereo(60, channels=1), "Mono", ["loudness"], "wav"),
        (stereo(60), "Rest", [], "flac"),
    ],
)
def test_the_worker_chooses_by_the_header(sound, rule, ops, format):
    order = resolve(over_the_wire(planned(BY_LENGTH).order), sound)

    assert order.names["rule"] == rule
    assert [step.op for step in order.steps] == ops
    assert order.delivery.encoding.format == format
    assert order.choose == []
    assert resolve(order, stereo(0)) == order


def test_what_no_rule_takes_is_told_for_each_rule():
    with pytest.raises(NoRuleMatches) as nothing:
        planned("rules: [{name: A, match: {ext: flac}}, {name: B, match: {size: '> 1 MB'}}]")
    assert nothing.value.refusals == (
        "A: ext is wav, not flac",
        "B: size is 1000 bytes, not > 1000000",
    )


def test_what_no_header_suits_is_told_for_each_rule_too():
    rules = "rules: [{name: A, match: {ext: flac}}, {name: B, match: {tags: {isrc: true}}}]"
    with pytest.raises(NoRuleMatches) as nothing:
        resolve(over_the_wire(planned(rules).order), stereo(1))
    assert nothing.value.refusals == ("A: ext is wav, not flac", "B: tag isrc is missing")
    assert nothing.value.kind == "NoRuleMatches"


@pytest.mark.parametrize(
    ("output", "rel", "goes_to", "name"),
    [
        ("{}", "a/b/x.wav", "out/a/b", "{stem}.{ext}"),
        ("{}", "x.wav", "out", "{stem}.{ext}"),
        ("{subfolders: false}", "a/x.wav", "out", "{stem}.{ext}"),
        ("{folder: ../finished}", "a/x.wav", "../finished/a", "{stem}.{ext}"),
        ('{name: "{rel}/mp3/{stem}"}', "a/x.wav", "out", "{rel}/mp3/{stem}"),
    ],
)
def test_subfolders_are_kept_in_the_output(output, rel, goes_to, name):
    delivery = planned(f"rules: [{{output: {output}}}]", rel).order.delivery
    assert delivery.folder == Path(os.path.normpath(HOT / goes_to))
    assert delivery.name == name


def test_a_name_that_is_not_utf_8_travels():
    rel = os.fsdecode(b"\xe9t\xe9/\xff.wav")
    order = over_the_wire(planned("rules: [{}]", rel).order)

    assert os.fsencode(order.delivery.folder) == os.fsencode(HOT / "out") + b"/\xe9t\xe9"
    assert order.sound.name == "\ufffd.wav"
    assert order.names["rel"] == "\ufffdt\ufffd"


def test_the_dropped_file_takes_its_place_in_a_list():
    text = 'rules: [{steps: [{mix: {tracks: [{file: "{input}", gain_db: 3}, {file: bed.wav}]}}]}]'
    order = over_the_wire(planned(text).order)

    assert order.sound is None
    assert order.names["name"] == "take.wav"
    dropped, bed = order.steps[0].items["tracks"]
    assert (dropped.sound.path, dropped.sound.name, dropped.settings) == (
        AT,
        "take.wav",
        {"gain_db": 3},
    )
    assert bed.sound.path == HOT / "bed.wav"


def test_a_rules_wishes_reach_the_order():
    text = """
measure: true
output: {format: mp3, bitrate: 128, conflict: replace, reports: true, side_name: "{stem}-{step}"}
rules:
  - {name: inherits}
"""
    order = planned(text).order
    assert order.measure
    assert order.delivery.encoding.bitrate == 128
    assert (order.delivery.conflict, order.delivery.reports) == ("replace", True)
    assert order.delivery.side_name == "{stem}-{step}"


# -- dry runs --------------------------------------------------------------------------------------
def test_explain_says_for_each_rule_why_and_what_would_come_out():
    found = explain(folder(BY_LENGTH), FileFacts("a/take.wav", 1000), stereo(60))

    assert [(v.rule, v.verdict, v.reason) for v in found.rules] == [
        ("Flac", "does not", "ext is wav, not flac"),
        ("Long", "does not", "duration is 60 s, not > 60"),
        ("Mono", "does not", "channels is 2, not 1"),
        ("Rest", "takes it", ""),
        ("Never", "not asked", "Rest comes first"),
    ]
    assert found.rule == "Rest"
    assert found.output == HOT / "out/a/take.flac"


def test_explain_without_header_says_what_it_depends_on():
    found = explain(folder(BY_LENGTH), FileFacts("take.wav", 1000))

    assert [v.verdict for v in found.rules][1:3] == ["header decides", "header decides"]
    assert found.rule is None


def test_explain_agrees_with_what_is_run():
    rules = folder(BY_LENGTH)
    for seconds in (1, 60, 61):
        for channels in (1, 2):
            sound = stereo(seconds, channels)
            file = FileFacts("take.wav", 1000)
            order = resolve(plan(rules, file, AT).order, sound)
            assert explain(rules, file, sound).rule == order.names["rule"]


def test_explain_shows_steps_and_names_with_their_values():
    text = """
rules:
  - steps: [{trim: {start_sec: 2}}, {normalize: {target_lufs: -14}}]
    output: {name: "{artist} - {stem} {normalize.target_lufs:.0f} {normalize.measured_lufs}.{ext}"}
"""
    found = explain(folder(text), FileFacts("take.wav", 1), stereo(9, artist="Bob"))
    assert found.steps[0] == {"op": "trim", "params": {"start_sec": 2.0}}
    assert found.output == HOT / "out/Bob - take -14 unknown.wav"


def test_a_file_that_no_rule_takes_is_told_what_becomes_of_it():
    nowhere = "rules: [{match: {ext: flac}}]"
    file = FileFacts("x.wav", 1)
    assert explain(folder(nowhere), file).otherwise == "it goes to failed"
    left = explain(folder("no_match: leave\n" + nowhere), file)
    assert left.otherwise == "it stays where it is"
