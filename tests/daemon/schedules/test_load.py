"""Schedules as they are written: each fault is told with its place, and what is right goes on."""

import os

import pytest

from control_api.errors import WrongState
from daemon.schedules.book import BookReader
from daemon.schedules.load import Around, check_schedule, load_schedules
from daemon.schedules.service import ScheduleService
from daemon.schedules.timetable import Timetable
from daemon.settings import Settings
from handlers.errors import BadParameter
from rules.presets import shipped
from rules.written import RulesBroken
from tests.daemon.schedules.clockwork import Clockwork


@pytest.fixture
def around(tmp_path):
    (tmp_path / "files").mkdir()
    presets = {preset.name: preset for preset in shipped()}
    return Around(tmp_path / "files", presets.get)


def problems(text, around, file="schedules.yaml"):
    with pytest.raises(RulesBroken) as broken:
        load_schedules(text, around.staging.parent / file, around)
    return [str(one).partition(f"{file}:")[2] for one in broken.value.problems]


def test_every_fault_is_told_with_line_schedule_and_field(around):
    said = problems(
        """\
schedules:
  - name: one
    cron: "61 * * * *"
    timezone: Mars/Olympus
    files: "*.wav"
    steps: [reverse, {normalise: {}}]
  - {name: two, cron: "@daily", folder: podcast, files: "*.wav"}
  - {name: three, cron: "@daily"}
  - {name: four, cron: "@daily", chore: dust}
  - {name: five, cron: "@daily", chore: staged, params: {older_than: 30d}}
  - {name: six, cron: "@daily", chore: sweep, steps: [reverse]}
  - {name: seven, cron: "@daily", steps: [reverse]}
  - {name: seven, cron: "@daily", folder: a, jitterr: 5m}
  - {cron: "@daily", folder: a}
  - {name: "a/b", cron: "@daily", folder: a}
""",
        around,
    )
    assert [line.partition(":")[0] for line in said[:3]] == ["3", "4", "6"]
    assert "rule one: cron: minute = '61' is not in 0..59" in said[0]
    assert "'Mars/Olympus' is no time zone" in said[1]
    assert "rule one, step 2 (normalise): unknown op 'normalise'" in said[2]
    assert "it has folder and files" in said[3]
    assert "it has none" in said[4]
    assert "no chore 'dust'; there are: sweep" in said[5]
    assert "params.files" in said[6]
    assert "steps is for files or steps, not for a chore" in said[7]
    assert "has no sound to begin with: name some files" in said[8]
    assert "there is no such setting" in said[9]
    assert "name: is required" in said[10]
    assert said[11].startswith("15")


def test_two_of_one_name_are_refused(around):
    text = "schedules: [{name: a, cron: '@daily', folder: x}, {name: a, cron: '@daily', folder: y}]"
    assert "another schedule is called 'a', too" in problems(text, around)[0]


@pytest.mark.parametrize("text", ["- a", "schedules: {}", "schedules: []\nother: 1", "a: b"])
def test_another_form_is_refused(text, around):
    assert "has no `schedules:` list" in problems(text, around)[0]


def test_an_empty_file_has_no_schedules(around):
    assert load_schedules("", around.staging / "x", around) == {}
    assert load_schedules("schedules: []", around.staging / "x", around) == {}


def test_one_that_comes_with_the_program_is_changed_by_its_name_alone(around):
    changed = check_schedule({"name": "fixity", "cron": "0 1 * * *"}, "file", around)
    assert (changed.text.chore, changed.text.cron) == ("fixity", "0 1 * * *")
    off = check_schedule({"name": "sweep", "enabled": False}, "api", around)
    assert not off.text.enabled
    own = {"name": "sweep", "cron": "@daily", "folder": "podcast"}
    assert check_schedule(own, "file", around).text.chore is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"files": "/etc/*.wav"}, "leave the first / out"),
        ({"output": {"folder": "/srv"}}, "not a folder of the staging area"),
        ({"output": {"folder": "../up"}}, "not a folder of the staging area"),
        ({"steps": [{"conv_reverb": {"ir_file": "/etc/passwd"}}]}, "there is no file"),
        ({"steps": [{"conv_reverb": {"ir_file": "../../etc/passwd"}}]}, "there is no file"),
    ],
)
def test_the_api_reaches_nothing_outside_of_the_staging_area(around, more, said):
    asked = {"name": "x", "cron": "@daily", "files": "*.wav", "steps": ["reverse"], **more}
    with pytest.raises(RulesBroken, match=said):
        check_schedule(asked, "api", around)


# -- in force ----------------------------------------------------------------------------------
GOOD = {"name": "night", "cron": "0 3 * * *", "folder": "podcast"}


def test_a_broken_file_leaves_the_old_one_in_force_and_says_so(tmp_path, caplog):
    c = Clockwork(tmp_path / "data", GOOD)
    assert "night" in c.timetable.current().schedules
    file = c.settings.data_dir / "schedules.yaml"
    error = c.settings.data_dir / "schedules.error.txt"

    file.write_text("schedules: [{name: night, cron: 'x'}]")
    now = c.timetable.current()
    assert "night" in now.schedules
    assert "has 1 fields" in now.problems[0]
    assert "has 1 fields" in error.read_text()
    assert "The schedules before this change are in force." in error.read_text()
    assert "has 1 fields" in caplog.text

    file.write_text("schedules: []")
    now = c.timetable.current()
    assert ("night" in now.schedules, now.problems, error.exists()) == (False, (), False)
    assert set(now.schedules) == {"sweep", "ledger", "database", "fixity"}


def test_a_file_that_others_may_write_is_not_read(tmp_path):
    c = Clockwork(tmp_path / "data", GOOD)
    os.chmod(c.timetable.file, 0o666)
    now = c.timetable.current()
    assert "night" not in now.schedules
    assert "others may write it" in now.problems[0]


@pytest.fixture
def service(tmp_path):
    c = Clockwork(tmp_path / "data", GOOD)
    made = ScheduleService(c.settings, c.wire, folders=c.folders)
    yield made
    c.store.close()


def test_one_made_over_the_api_is_in_force_at_once_and_survives(service, tmp_path):
    asked = {"name": "hourly", "cron": "@hourly", "folder": "podcast"}
    made = service.put("hourly", asked, replace=False)
    assert made.origin == "api"
    assert len(service.upcoming("hourly", 10)) == 10
    assert "hourly" in [one.name for one in service.all()]

    settings = Settings(data_dir=tmp_path / "data")
    fresh = Timetable(settings, BookReader(settings.database))
    assert "hourly" in fresh.current().schedules


def test_what_the_file_says_is_changed_in_the_file(service):
    for change in (
        lambda: service.put("night", GOOD, replace=True),
        lambda: service.delete("night"),
    ):
        with pytest.raises(WrongState, match="written in schedules.yaml"):
            change()


def test_a_built_in_one_is_overruled_and_comes_back(tmp_path):
    c = Clockwork(tmp_path / "data", quiet=False)
    service = ScheduleService(c.settings, c.wire)
    with pytest.raises(WrongState, match="comes with the program"):
        service.delete("sweep")

    assert not service.put("sweep", {"name": "sweep", "enabled": False}, replace=False).enabled
    assert service.delete("sweep")
    (sweep,) = [one for one in service.all() if one.name == "sweep"]
    assert (sweep.origin, sweep.enabled) == ("built-in", True)
    c.store.close()


def test_a_wrong_one_is_refused_whole(service):
    wrong = {"name": "x", "cron": "61 * * * *", "timezone": "Mars", "folder": "podcast"}
    with pytest.raises(BadParameter) as refused:
        service.put("x", wrong, replace=False)
    assert "61" in refused.value.detail
    assert "Mars" in refused.value.detail
    assert refused.value.field == "cron"


def test_of_two_with_one_name_a_second_is_refused_unless_it_replaces(service):
    one = {"name": "x", "cron": "@daily", "folder": "podcast"}
    service.put("x", one, replace=False)
    with pytest.raises(WrongState, match="PUT replaces it"):
        service.put("x", one, replace=False)
    assert service.put("x", {**one, "cron": "@hourly"}, replace=True).cron == "@hourly"
    assert service.delete("x")
    assert not service.delete("x")


def test_a_plan_writes_nothing(service, tmp_path):
    c = Settings(data_dir=tmp_path / "data")
    (c.files / "mixes").mkdir(parents=True, exist_ok=True)
    (c.files / "mixes/a.wav").write_bytes(b"sound")
    asked = {"name": "x", "cron": "@daily", "files": "mixes/*", "steps": ["reverse"]}
    service.put("x", asked, replace=False)
    before = sorted(path for path in c.data_dir.rglob("*"))
    assert service.plan("x") == [
        {"file": "mixes/a.wav", "steps": [{"op": "reverse", "params": {}}]}
    ]
    assert sorted(path for path in c.data_dir.rglob("*")) == before
    assert service.plan("night") == [{"folder": "podcast"}]
    assert service.plan("fixity")[0]["chore"] == "fixity"
    assert service.plan("nobody") is None
