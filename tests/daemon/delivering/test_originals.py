import time

import pytest

from daemon.delivering import readback
from rules.load import RulesBroken
from tests.rules.test_load import load

KEEP = "originals: keep\nrules: [{name: back, steps: [reverse]}]"
DELETE = "originals: delete\nrules: [{name: back, steps: [reverse]}]"


@pytest.mark.parametrize("restarted", [False, True])
def test_a_kept_original_is_back_in_its_place_and_not_taken_again(shop, take, restarted):
    s = shop(KEEP)
    s.deliver("a/take.wav", take)
    if restarted:
        s.restart()
    s.pass_time(700, steps=30)

    assert (s.root / "a/take.wav").read_bytes() == take
    assert s.files("out") == ["a/take.wav"]
    assert s.files("done") == []
    assert len(s.queue.jobs) == 1


def test_a_kept_original_is_not_taken_again_when_the_rules_change(shop, take):
    s = shop(KEEP)
    s.deliver("take.wav", take)
    (s.root / "rules.yaml").write_text(KEEP + "\n# a word more")
    s.pass_time(20, steps=10)

    assert len(s.queue.jobs) == 1


def test_a_kept_original_that_is_changed_is_taken_again(shop, take):
    s = shop(KEEP)
    s.deliver("take.wav", take)
    s.deliver("take.wav", take + bytes(4))

    assert len(s.queue.jobs) == 2


def test_a_newer_file_of_the_same_name_keeps_the_name(shop, take):
    s = shop(KEEP)
    s.drop("take.wav", take)
    s.pass_time(2.5)
    s.drop("take.wav", b"newer")
    s.work()

    assert (s.root / "take.wav").read_bytes() == b"newer"
    assert (s.root / "take (2).wav").read_bytes() == take


def test_an_original_is_deleted_once_its_outputs_were_read_back(shop, take):
    s = shop(DELETE)
    job = s.deliver("take.wav", take)

    assert s.files() == ["manifests/take.wav.json", "out/take.wav"]
    assert [output["verified"] for output in job.result["outputs"]] == [True]


def test_an_original_is_not_deleted_when_nothing_came_of_it(shop, take):
    s = shop("originals: delete\nrules: [{name: look, steps: [loudness], output: {sound: false}}]")
    s.deliver("take.wav", take)

    assert s.files("done") == ["take.wav"]


def test_an_original_is_not_deleted_when_an_output_has_gone_meanwhile(shop, take, monkeypatch):
    s = shop(DELETE)
    s.drop("take.wav", take)
    s.pass_time(2.5)
    with monkeypatch.context() as patch:
        patch.setattr(s.manager, "turn", lambda: None)
        s.work()
    (s.root / "out/take.wav").unlink()
    s.manager.turn()

    assert s.files("done") == ["take.wav"]


def test_an_output_that_has_another_length_when_it_is_read_back_fails_the_job(
    shop, take, monkeypatch
):
    monkeypatch.setattr(readback, "_SLACK_SECONDS", -1.0)
    s = shop(DELETE)
    s.deliver("take.wav", take)

    assert s.files() == ["failed/take.wav", "failed/take.wav.json"]


def test_an_output_that_the_disk_gives_back_changed_is_not_delivered(shop, take, monkeypatch):
    monkeypatch.setattr(readback, "hash_from_disk", lambda part: "0" * 64)
    s = shop(DELETE)
    s.deliver("take.wav", take)

    # The disk is at fault, not the file: it waits, and is tried again.
    assert s.files() == ["processing/job-00001/take.wav"]


def test_originals_go_to_dated_folders(shop, take):
    s = shop("stages: {done: 'done/{date:%Y}/{rule}'}\nrules: [{name: back, steps: [reverse]}]")
    s.deliver("a/take.wav", take)

    year = time.strftime("%Y", time.localtime(s.clock.now()))
    assert s.files("done") == [f"{year}/back/a/take.wav"]


@pytest.mark.parametrize(
    ("done", "says"),
    [
        ("done/{day}", "no field {day}"),
        ("done/{date:%Y}/../../..", "leaves its folder"),
        ("done/{date", "expected '}'"),
        ("done/{rule:%Y}", "does not suit"),
    ],
)
def test_a_template_of_done_that_cannot_work_is_found_at_load(done, says):
    with pytest.raises(RulesBroken, match=says):
        load(f"stages: {{done: '{done}'}}\nrules: [{{}}]")


def test_a_rule_has_its_own_originals():
    rules = load("originals: keep\nrules: [{originals: delete, name: a}, {name: b}]").rules
    assert [rule.records.originals for rule in rules] == ["delete", "keep"]
