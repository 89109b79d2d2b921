"""Folders that take files at certain times only, or hold their jobs."""

from datetime import UTC, datetime

import pytest

from daemon.gate import UNTIL_RELEASED
from tests.daemon.inboxes import Studio

NIGHT = 'only: "22:00-06:00"\nrules: [{name: all}]'


def set_clock(studio, text):
    """Move the clock to the next time of this day: `12:00`."""
    now = datetime.fromtimestamp(studio.clock.now(), UTC).astimezone()
    hour, minute = map(int, text.split(":"))
    ahead = now.replace(hour=hour, minute=minute, second=0, microsecond=0) - now
    studio.pass_time(ahead.total_seconds() % 86400)


def test_outside_its_window_a_folder_lets_files_lie_and_says_why(tmp_path):
    studio = Studio(tmp_path, NIGHT)
    set_clock(studio, "12:00")
    studio.drop("take.wav")
    studio.pass_time(60, steps=3)

    assert studio.names == []
    assert studio.files() == ["take.wav"]
    (status,) = studio.manager.status().folders
    assert status.closed.endswith("22:00 on (only: 22:00-06:00)")
    assert status.waiting_for == (("take.wav", status.closed),)

    set_clock(studio, "22:01")
    studio.pass_time(5, steps=2)
    assert studio.names == ["take.wav"]
    assert studio.manager.status().folders[0].closed == ""


def test_what_runs_when_the_window_closes_is_finished_and_nothing_else_begins(tmp_path):
    studio = Studio(tmp_path, NIGHT)
    set_clock(studio, "5:59")
    for number in range(100):
        studio.drop(f"{number:03}.wav")
    studio.pass_time(3)
    taken = len(studio.names)
    assert 0 < taken < 100

    set_clock(studio, "6:00")
    studio.finish()
    studio.pass_time(60, steps=3)
    assert len(studio.names) == taken
    assert len(studio.files("done")) == taken

    set_clock(studio, "22:00")
    for _ in range(100):
        studio.finish()
    assert len(studio.files("done")) == 100
    assert len(studio.names) == 100


def test_a_closed_folder_does_not_spin(tmp_path):
    studio = Studio(tmp_path, NIGHT)
    set_clock(studio, "12:00")
    studio.drop("take.wav")
    studio.settle()

    assert studio.manager.turn() > studio.clock.monotonic() + 0.5


@pytest.mark.parametrize(("hold", "wait"), [("true", None), ("10m", 600.0)])
def test_a_held_folder_takes_files_and_lets_their_jobs_wait(tmp_path, hold, wait):
    studio = Studio(tmp_path, f"hold: {hold}\nrules: [{{name: all}}]")
    studio.drop("take.wav")
    studio.settle()

    (job,) = studio.queue.jobs.values()
    assert job.not_before == (UNTIL_RELEASED if wait is None else studio.clock.now() + wait)
    assert studio.files("processing") == [f"{job.id}/take.wav"]
    assert studio.manager.status().folders[0].hold
    assert studio.manager.release("podcast") == 1
    assert studio.queue.jobs[job.id].not_before is None
    assert studio.manager.release("podcast") == 0
    assert studio.manager.release("nobody") is None


def test_retries_are_the_folders_own(tmp_path):
    studio = Studio(tmp_path, "retries: 0\nrules: [{name: all}]")
    studio.drop("take.wav")
    studio.settle()

    (job,) = studio.queue.jobs.values()
    assert job.max_attempts == 1


def test_the_rule_for_the_night_is_not_that_for_the_day(tmp_path):
    rules = 'rules: [{name: night, match: {time: "22:00-6:00"}}, {name: day}]'
    studio = Studio(tmp_path, rules)
    for clock, name in (("12:00", "podcast/day"), ("23:00", "podcast/night")):
        set_clock(studio, clock)
        studio.drop(f"{name}.wav")
        studio.pass_time(3)
        assert list(studio.queue.jobs.values())[-1].endpoint == name


def test_a_schedule_lets_go_what_was_held_before_its_tick(tmp_path):
    studio = Studio(tmp_path, "hold: true\nrules: [{name: all}]")
    for name in ("early.wav", "late.wav"):
        studio.drop(name)
        studio.pass_time(2.5)
    early, late = studio.queue.jobs.values()
    assert early.created < late.created
    studio.manager.let_go("podcast", early.created)
    studio.settle()

    assert studio.queue.jobs[early.id].not_before is None
    assert studio.queue.jobs[late.id].not_before == UNTIL_RELEASED
