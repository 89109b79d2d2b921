"""Rule files that change while the daemon runs."""

import pytest

from tests.daemon.inboxes import Studio


@pytest.fixture
def studio(tmp_path):
    studio = Studio(tmp_path, "rules: [{include: shared/one.yaml}]")
    (studio.root / "shared").mkdir()
    write(studio, "shared/one.yaml", "rules: [{name: old}]")
    studio.pass_time(10, steps=3)
    return studio


def write(studio, name, text):
    (studio.root / name).write_text(text)


def rules_of(studio):
    (status,) = studio.manager.status().folders
    return status.rules


def test_a_change_in_an_included_file_is_a_change_of_the_rules(studio):
    assert rules_of(studio) == ("old",)
    write(studio, "shared/one.yaml", "rules: [{name: new}, {name: newer}]")
    studio.pass_time(5)

    assert rules_of(studio) == ("new", "newer")
    studio.drop("take.wav")
    studio.pass_time(5)
    assert studio.names == ["take.wav"]  # and not the rule files


def test_a_broken_include_leaves_the_old_rules_and_says_so_until_it_is_mended(studio):
    write(studio, "shared/one.yaml", "rules: [{name: new, stepz: []}]")
    studio.pass_time(5)

    status = studio.manager.status()
    assert rules_of(studio) == ("old",)
    (broken,) = status.broken
    assert broken.older_in_force
    told = (studio.root / "rules.error.txt").read_text()
    assert "shared/one.yaml:1: rule new: stepz: there is no such setting" in told
    assert "The rules before this change are in force." in told

    studio.drop("take.wav")
    studio.pass_time(5)
    assert [job.endpoint for job in studio.queue.jobs.values()] == ["podcast/old"]

    write(studio, "shared/one.yaml", "rules: [{name: mended}]")
    studio.pass_time(5)
    assert rules_of(studio) == ("mended",)
    assert studio.manager.status().broken == ()
    assert not (studio.root / "rules.error.txt").exists()


def test_an_include_that_was_missing_is_noticed_when_it_appears(tmp_path):
    studio = Studio(tmp_path, "rules: [{include: later.yaml}]")
    studio.pass_time(5)
    assert studio.manager.status().folders == ()

    write(studio, "later.yaml", "rules: [{name: there}]")
    studio.pass_time(5)
    assert rules_of(studio) == ("there",)


def test_a_change_of_a_preset_is_a_change_of_the_rules_that_use_it(tmp_path):
    studio = Studio(tmp_path, "rules: [{steps: [preset: own]}]")
    studio.pass_time(5)
    assert studio.manager.status().folders == ()

    studio.settings.presets.mkdir(parents=True)
    (studio.settings.presets / "own.yaml").write_text("{name: own, steps: [reverse]}")
    studio.pass_time(5)
    assert rules_of(studio) == ("1",)
