"""What is fired when: by time, after an absence, under several clocks, and with what."""

import random
import threading

import orjson
import pytest

from daemon.client import QueueUnavailable
from daemon.clock import ManualClock
from daemon.schedules.firing import Fired
from handlers.errors import AudiollaError
from rules.presets import shipped
from tests.daemon.schedules.clockwork import NOON, Clockwork, Killed


@pytest.fixture
def clockwork(tmp_path):
    made = []

    def make(*schedules, **more):
        made.append(Clockwork(tmp_path / "data", *schedules, **more))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


def masters(**more):
    return {
        "name": "masters",
        "cron": "*/15 * * * *",
        "files": "mixes/*.wav",
        "steps": [{"preset": "master-for-spotify"}],
        **more,
    }


# -- by time -----------------------------------------------------------------------------------
def test_each_tick_puts_a_batch_on_the_queue_and_is_told_in_the_history(clockwork):
    c = clockwork(masters(priority=7))
    c.stage("mixes/a.wav")
    c.stage("mixes/b.wav", 200)
    c.stage("other/c.wav")
    c.until(minutes=16)

    (fired,) = c.history
    assert c.times() == ["23. 12:15 fired"]
    assert [(j.input_name, j.source, j.endpoint, j.priority) for j in c.jobs] == [
        ("mixes/a.wav", "schedule", "schedule/masters", 7),
        ("mixes/b.wav", "schedule", "schedule/masters", 7),
    ]
    assert fired.jobs == {job.id: "pending" for job in c.jobs}
    order = orjson.loads(c.jobs[0].order)
    assert order["delivery"]["folder"] == str(c.settings.files / "scheduled/masters/mixes")
    preset = next(one for one in shipped() if one.name == "master-for-spotify")
    assert [step["op"] for step in order["steps"]] == [step.op for step in preset.steps]


def test_a_file_is_worked_on_once_until_it_changes(clockwork):
    c = clockwork(masters())
    c.stage("mixes/a.wav")
    c.until(minutes=16)
    c.finish()
    c.until(minutes=15)
    assert len(c.jobs) == 1
    assert c.history[-1].note == "no new file fits"

    c.stage("mixes/a.wav", 300)
    c.stage("mixes/b.wav")
    c.until(minutes=15)
    assert [job.input_name for job in c.jobs] == ["mixes/a.wav", "mixes/a.wav", "mixes/b.wav"]

    c.finish()
    c.write(masters(steps=["reverse"]))
    c.until(minutes=15)
    assert len(c.jobs) == 5, "other steps are other work"


def test_with_again_everything_is_worked_on_at_every_tick(clockwork):
    c = clockwork(masters(again=True))
    c.stage("mixes/a.wav")
    for _ in range(3):
        c.until(minutes=15)
        c.finish()
    assert [job.input_name for job in c.jobs] == ["mixes/a.wav"] * 3


def test_what_a_schedule_made_is_not_taken_again(clockwork):
    c = clockwork(masters(files="**/*.wav", again=True))
    c.stage("a.wav")
    c.stage("scheduled/masters/a.wav")
    c.until(minutes=16)
    assert [job.input_name for job in c.jobs] == ["a.wav"]


def test_a_staged_file_that_is_deleted_meanwhile_is_still_there_for_its_job(clockwork):
    c = clockwork(masters())
    staged = c.stage("mixes/a.wav")
    c.until(minutes=16)
    staged.unlink()
    sound = orjson.loads(c.jobs[0].order)["sound"]
    assert sound["path"].startswith(str(c.settings.results / c.jobs[0].id / "inputs"))
    with open(sound["path"], "rb") as file:
        assert file.read(4) == b"RIFF"


def test_files_of_the_machine_are_for_who_may_write_the_schedules(clockwork, tmp_path):
    c = clockwork(masters(files=str(tmp_path / "takes/*/x*.wav"), output={"folder": "/srv/out"}))
    for name in ("a/x1.wav", "a/y.wav", "b/x2.wav", "x3.wav", "a/b/x4.wav", "a/.x5.wav"):
        path = tmp_path / "takes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"sound")
    (tmp_path / "takes/a/x6.wav").symlink_to(tmp_path / "takes/a/x1.wav")
    c.until(minutes=16)
    assert [job.input_name for job in c.jobs] == ["a/x1.wav", "b/x2.wav"]
    assert orjson.loads(c.jobs[0].order)["sound"]["path"] == str(tmp_path / "takes/a/x1.wav")


def test_a_chain_that_begins_by_itself_needs_no_file(clockwork):
    beat = {"midi_drum": {"pattern": {"kick": [100, 0, 0, 0]}, "steps": 4}}
    c = clockwork({"name": "beat", "cron": "@hourly", "steps": [beat]})
    c.until(hours=1)
    (job,) = c.jobs
    order = orjson.loads(job.order)
    assert "sound" not in order
    assert order["names"]["name"] == "beat"


def test_a_folder_is_let_go_once_its_tick_is_written_down(clockwork):
    c = clockwork({"name": "night", "cron": "0 22 * * *", "folder": "podcast"})
    c.until(hours=10, step=600)
    at = NOON + 10 * 3600
    assert c.folders.released == [("podcast", at)]
    assert c.jobs == []

    c.folders.released.clear()
    c.start()  # it may have died between the two
    c.ticker._resume()
    assert c.folders.released == [("podcast", at)]


def test_a_folder_that_is_not_there_is_a_failed_firing_with_those_that_are(clockwork):
    c = clockwork({"name": "night", "cron": "0 * * * *", "folder": "podcst"})
    c.until(hours=1)
    (fired,) = c.history
    assert (fired.state, fired.note) == ("failed", "no hot folder 'podcst'; there are: podcast")


def test_a_preset_that_is_gone_is_a_failed_firing_with_the_reason(clockwork):
    c = clockwork(masters(steps=[{"preset": "mine"}]), quiet=False)
    presets = c.settings.presets
    presets.mkdir()
    (presets / "mine.yaml").write_text("name: mine\nsteps: [reverse]\n")
    c.write(masters(steps=[{"preset": "mine"}]))
    c.stage("mixes/a.wav")
    c.until(minutes=1)
    (presets / "mine.yaml").unlink()
    c.until(minutes=15)
    (fired,) = c.history
    assert fired.state == "failed"
    assert "there is no preset 'mine'" in fired.note


def test_a_full_disk_is_no_failed_firing_but_waited_for(clockwork, monkeypatch):
    c = clockwork(masters())
    c.stage("mixes/a.wav")
    c.ticker.turn()
    with monkeypatch.context() as patched:
        patched.setattr(c.batches._staging, "snapshot", full)
        c.until(minutes=16)
        assert c.history == []
    c.until(minutes=1)
    assert c.times() == ["23. 12:15 fired"]


def full(*_):
    raise OSError(28, "No space left on device")


def test_jitter_puts_a_tick_off_by_the_same_every_time(clockwork):
    c = clockwork(masters(jitter="10m", cron="0 * * * *"))
    schedule = c.timetable.current().schedules["masters"]
    puts = [schedule.jitter(NOON + 3600 * n) for n in range(200)]
    assert all(0 <= put < 600 for put in puts)
    assert len(set(puts)) == 200
    assert 250 < sum(puts) / 200 < 350
    assert puts == [schedule.jitter(NOON + 3600 * n) for n in range(200)]

    c.until(hours=1, step=10)
    assert c.history == []
    c.until(minutes=10, step=1)
    (fired,) = c.history
    assert fired.tick == NOON + 3600
    assert fired.at == pytest.approx(NOON + 3600 + puts[1], abs=1.01)


# -- one still at work -------------------------------------------------------------------------
def test_while_the_tick_before_is_at_work_the_next_is_left_out(clockwork):
    c = clockwork(masters(again=True))
    c.stage("mixes/a.wav")
    c.until(minutes=31)
    assert c.times() == ["23. 12:15 fired", "23. 12:30 skipped"]
    assert c.history[-1].note == "1 of its jobs is still at work"
    assert len(c.jobs) == 1
    kept = [folder.name for folder in c.settings.results.iterdir()]
    assert kept == [c.jobs[0].id], "nothing is kept for jobs that never were"

    c.finish()
    c.until(minutes=15)
    assert c.times()[-1] == "23. 12:45 fired"


def test_or_it_queues_behind_it(clockwork):
    c = clockwork(masters(again=True, overlap="queue"))
    c.stage("mixes/a.wav")
    c.until(minutes=31)
    assert c.times() == ["23. 12:15 fired", "23. 12:30 fired"]
    assert len(c.jobs) == 2


# -- nobody was there --------------------------------------------------------------------------
def test_what_was_missed_is_made_up_for_once(clockwork):
    c = clockwork(masters())
    c.stage("mixes/a.wav")
    c.until(minutes=16)
    c.finish()
    c.away(hours=5)
    c.start()
    c.until(minutes=1)
    assert c.times() == ["23. 12:15 fired", "23. 17:15 fired +19"]


def test_or_it_is_written_down_as_missed(clockwork):
    c = clockwork(masters(misfire="skip", grace="2m"))
    c.until(minutes=16)
    c.away(hours=2, minutes=4)
    c.start()
    c.until(minutes=11)
    assert c.times() == ["23. 12:15 fired", "23. 14:15 missed +7", "23. 14:30 fired"]


def test_a_tick_within_its_grace_was_not_missed(clockwork):
    c = clockwork(masters(misfire="skip", grace="10m", cron="0 * * * *"))
    c.until(minutes=59)
    c.away(minutes=10)
    c.start()
    c.until(minutes=1)
    assert c.times() == ["23. 13:00 fired"]


def test_a_new_schedule_owes_nothing_of_the_past_and_one_that_was_off_neither(clockwork):
    c = clockwork(masters())
    c.until(minutes=16)
    c.write(masters(enabled=False))
    c.until(hours=3)
    c.write(masters(enabled=True))
    c.until(minutes=15)
    assert c.times() == ["23. 12:15 fired", "23. 15:30 fired"]


def test_a_schedule_that_is_gone_begins_anew_when_it_comes_again(clockwork):
    c = clockwork(masters())
    c.until(minutes=16)
    c.write()
    c.until(hours=3)
    c.write(masters())
    c.until(minutes=15)
    assert c.times() == ["23. 12:15 fired", "23. 15:30 fired"]


def test_a_year_of_minutes_is_made_up_for_within_seconds(clockwork):
    c = clockwork(masters(cron="* * * * *"))
    c.until(minutes=2)
    c.away(hours=365 * 24)
    c.until(minutes=0)
    last = NOON + 120 + 365 * 86400
    made_up, *on_time = c.history[2:]
    assert made_up.missed >= 1000
    assert [f.tick for f in on_time] == [last - 60 * n for n in range(4, -1, -1)]


def test_a_clock_that_was_years_ahead_does_not_silence_a_schedule(clockwork):
    c = clockwork(masters())
    c.away(hours=24 * 4000)
    c.until(minutes=15)
    c.away(hours=-24 * 4000)
    c.start()
    c.until(minutes=30)
    assert c.times()[-2:] == ["23. 12:30 fired", "23. 12:45 fired"]


def test_a_clock_that_is_set_back_fires_nothing_twice(clockwork):
    c = clockwork(masters())
    c.until(minutes=46)
    before = c.times()
    c.away(minutes=-40)
    c.until(minutes=30)
    assert c.times() == before
    c.until(minutes=30)
    assert c.times() == [*before, "23. 13:00 fired"]

    c.away(hours=-3)  # more than clocks go wrong by themselves
    c.start()
    c.until(hours=4)
    ticks = [f.tick for f in c.history]
    assert len(ticks) == len(set(ticks))
    assert max(ticks) == c.clock.now() - c.clock.now() % 900


# -- by hand -----------------------------------------------------------------------------------
def test_now_means_now_and_leaves_the_times_alone(clockwork):
    c = clockwork(masters(cron="0 3 * * *", overlap="skip"))
    c.stage("mixes/a.wav")
    c.until(minutes=1)
    schedule = c.timetable.current().schedules["masters"]
    first = c.ticker.run_now(schedule)
    assert (first.state, len(first.jobs)) == ("fired", 1)
    assert c.history[0].manual

    c.stage("mixes/b.wav")
    c.away(minutes=1)
    assert c.ticker.run_now(schedule).state == "skipped"
    c.finish()
    c.until(hours=15, step=3600)
    assert [f.manual for f in c.history] == [True, True, False]


def test_what_cannot_be_made_is_refused_by_hand(clockwork):
    c = clockwork({"name": "night", "cron": "0 3 * * *", "folder": "nowhere"})
    with pytest.raises(AudiollaError, match="no hot folder 'nowhere'"):
        c.ticker.run_now(c.timetable.current().schedules["night"])
    assert c.history == []


# -- who dies when -----------------------------------------------------------------------------
def test_an_answer_that_is_lost_costs_neither_the_jobs_nor_their_files(clockwork):
    c = clockwork(masters())
    c.stage("mixes/a.wav")
    c.ticker.turn()

    def lose(when):
        if when == "committed":
            c.wire.moment = lambda _: None
            raise QueueUnavailable("no answer")

    c.away(minutes=15)
    c.wire.moment = lose
    c.ticker.turn()
    c.until(minutes=1)

    (job,) = c.jobs
    assert c.times() == ["23. 12:15 fired"]
    assert [folder.name for folder in c.settings.results.iterdir()] == [job.id]


def test_no_tick_is_lost_or_doubled_whoever_dies_when(clockwork):
    """Two clocks, and a daemon that is killed every few requests. Long: `bench.faults ticks`."""
    c = clockwork(masters(cron="* * * * *", overlap="queue", again=True, grace="1h"))
    c.stage("mixes/a.wav")
    rng = random.Random(8)
    kills = 0

    def die(_):
        nonlocal kills
        if rng.random() < 0.04:
            kills += 1
            raise Killed

    c.ticker.turn()
    begun = c.clock.now()
    behind = ManualClock(begun)
    other = c.another(behind)
    while c.clock.now() < begun + 120 * 60:
        c.clock.advance(rng.choice([20, 60, 90]))
        c.wire.moment = die
        for ticker in rng.sample([c.ticker, other], 2):
            try:
                ticker.turn()
            except Killed:
                c.start()  # both lose what they knew; what was not committed is gone
                behind = ManualClock(c.clock.now() - rng.uniform(0, 40))
                other = c.another(behind)
                c.wire.moment = die
                break
        behind.advance(max(c.clock.now() - behind.now() - rng.uniform(0, 30), 0))
    c.wire.moment = lambda _: None
    c.ticker.turn()

    history = c.history
    ticks = [f.tick for f in history]
    assert kills > 4
    assert ticks == sorted(set(ticks))
    assert sum(1 + f.missed for f in history) == (c.clock.now() // 60) - (begun // 60)
    # A firing has its job, a job its firing.
    linked = [job for f in history for job in f.jobs]
    assert sorted(linked) == sorted(job.id for job in c.jobs)
    assert len(linked) == len(history)
    assert {f.state for f in history} == {"fired"}


def test_the_thread_fires_what_is_due_and_ends_when_it_is_told(clockwork):
    c = clockwork(masters())
    c.stage("mixes/a.wav")
    c.ticker.turn()
    fired = threading.Event()
    said = []

    def fire(firing):  # the database belongs to the thread of the test
        said.append(firing)
        fired.set()
        return Fired(state="stale")

    c.wire.fire = fire
    c.wire.settle = lambda timings: dict.fromkeys(timings, NOON + 900)
    c.away(minutes=15)
    c.ticker.start()
    assert fired.wait(30)
    c.ticker.stop()
    assert (said[0].schedule, said[0].tick, len(said[0].jobs)) == ("masters", NOON + 900, 1)


def test_a_clock_that_slept_does_not_count_what_another_fired_as_missed(clockwork):
    c = clockwork(masters(grace="2m"))
    sleeper = c.another()
    sleeper.turn()
    c.until(minutes=46)
    c.away(hours=2)
    sleeper.turn()
    c.ticker.turn()
    assert c.times()[:3] == ["23. 12:15 fired", "23. 12:30 fired", "23. 12:45 fired"]
    assert sum(1 + f.missed for f in c.history) == (c.clock.now() - NOON) // 900
