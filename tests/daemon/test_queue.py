"""The queue's decisions, over a real database, with a clock and dice of our own."""

import random
from dataclasses import dataclass, field
from itertools import pairwise

import orjson
import pytest

from daemon.clock import ManualClock
from daemon.faults import Fault
from daemon.jobs import MOVES, ForbiddenMove, NewJob, NoSuchJob, NotEnded
from daemon.queue import Policy, Queue
from daemon.reader import JobReader
from daemon.store import Store

FULL = Fault("StorageFull", "no space left", transient=True)
BAD = Fault("BadParameter", "freq = 9: too low", field="freq", hint="use 20", step=1, op="eq")


@dataclass
class Desk:
    """A queue in a folder, and the dispatcher's part played by the test."""

    folder: object
    policy: Policy = field(default_factory=Policy)
    chance: float = 0.5
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self):
        self.store = self.queue = None
        self.start()

    def start(self):
        """Open the database; whatever ran before is gone without a word."""
        if self.store is not None:
            self.store.close()
        self.store = Store(self.folder / "audiolla.db")
        self.queue = Queue(self.store, self.policy, self.clock, lambda: self.chance)
        self.reader = JobReader(self.folder / "audiolla.db")

    def submit(self, *jobs):
        answers = self.queue.submit(jobs)
        self.store.commit()
        return answers

    def add(self, **about):
        """Submit one job and give its id."""
        about = {"order": "{}", "source": "rest", "endpoint": "/v1/audio/eq", **about}
        return self.submit(NewJob(**about))[0].id

    def add_many(self, count, **about):
        """Submit alike jobs and give their ids."""
        about = {"order": "{}", "source": "rest", "endpoint": "/v1/audio/eq", **about}
        return [answer.id for answer in self.submit(*(NewJob(**about) for _ in range(count)))]

    def take(self, lane="cpu", limit=1):
        """Claim what is next."""
        taken = list(self.queue.next_jobs(lane, limit))[:limit]
        for held in taken:
            self.queue.claim(held, "cpu-1 (7)")
        self.store.commit()
        return taken

    def take_one(self, lane="cpu"):
        (held,) = self.take(lane)
        return held

    def job(self, job):
        self.store.commit()
        return self.reader.job(job)

    def states(self, job):
        self.store.commit()
        return [event.state for event in self.reader.events(job)]


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


def taken_ids(desk, lane="cpu"):
    return [held.id for held in desk.take(lane, 10_000)]


# -- submitting --------------------------------------------------------------------------------
def test_a_submitted_job_is_pending_with_everything_it_was_given(desk):
    given = {
        "order": '{"steps":[]}',
        "source": "folder",
        "endpoint": "podcast/voice",
        "input_name": "Take 1.wav",
        "lane": "gpu",
        "priority": 3,
        "share": "podcast",
        "weight": 2.0,
        "cost": 4.5,
        "group": "podcast",
        "group_limit": 2,
        "max_attempts": 7,
        "idempotency_key": "2049:77:1:2",
        "webhook_url": "https://example.com/hook",
    }
    job = desk.job(desk.add(**given))

    assert {name: getattr(job, name) for name in given} == given
    assert (job.state, job.attempt, job.deaths, job.retries) == ("pending", 0, 0, 0)
    assert job.created == desk.clock.now()
    assert (job.started, job.completed, job.result, job.error) == (None, None, None, None)


def test_the_same_id_gives_the_job_that_exists(desk):
    new = NewJob(order="{}", source="rest", endpoint="/")
    (first,) = desk.submit(new)
    (again,) = desk.submit(new)

    assert (first.created, again.created) == (True, False)
    assert again.id == new.id
    assert desk.reader.counts()["pending"] == 1


def test_the_same_idempotency_key_gives_the_job_that_exists(desk):
    first = desk.add(idempotency_key="scan 7")
    desk.queue.complete(desk.take_one(), {"ok": True})
    (again,) = desk.submit(
        NewJob(order="{}", source="rest", endpoint="/", idempotency_key="scan 7")
    )

    assert (again.id, again.created, again.state) == (first, False, "completed")


def test_a_known_job_among_new_ones_spoils_none_of_them(desk):
    known = desk.add(idempotency_key="b")
    answers = desk.submit(
        *(NewJob(order="{}", source="rest", endpoint="/", idempotency_key=k) for k in "abc")
    )

    assert [answer.created for answer in answers] == [True, False, True]
    assert answers[1].id == known
    assert desk.reader.counts()["pending"] == 3
    assert len(taken_ids(desk)) == 3


def test_two_equal_keys_in_one_submission_are_one_job(desk):
    first, second = desk.submit(
        *(NewJob(order="{}", source="rest", endpoint="/", idempotency_key="k") for _ in "12")
    )

    assert first.created
    assert not second.created
    assert first.id == second.id


# -- whose turn it is --------------------------------------------------------------------------
def test_a_hundred_thousand_queued_jobs_do_not_delay_one_of_another_share(desk):
    desk.add_many(100_000, source="folder", share="drop")
    for _ in range(3):
        desk.take()
    late = desk.add(share="api")

    assert late in [held.id for held in desk.take(limit=2)]


def test_shares_take_turns_by_their_weight(desk):
    for share, weight in (("slow", 1.0), ("fast", 3.0)):
        desk.add_many(400, share=share, weight=weight)
    shares = [held.share for held in desk.take(limit=200)]

    assert shares.count("fast") == pytest.approx(150, abs=2)
    assert shares.count("slow") == pytest.approx(50, abs=2)


def test_a_share_that_was_quiet_has_saved_up_nothing(desk):
    desk.add_many(300, share="drop")
    desk.take(limit=200)
    desk.add_many(100, share="api")

    shares = [held.share for held in desk.take(limit=40)]
    assert shares.count("api") == pytest.approx(20, abs=1)


def test_a_share_of_long_jobs_gets_the_same_time_not_the_same_number(desk):
    for share, cost in (("long", 60.0), ("short", 10.0)):
        desk.add_many(100, share=share, cost=cost)
    shares = [held.share for held in desk.take(limit=70)]

    assert shares.count("short") == pytest.approx(60, abs=2)


def test_a_higher_priority_goes_first_and_leaves_the_others_their_turns(desk):
    bulk = desk.add_many(50, share="drop")
    urgent = desk.add(share="drop", priority=5)
    assert desk.take_one().id == urgent

    # Had the urgent one moved the clock of the others, this would wait behind all of the bulk.
    api = desk.add(share="api")
    assert {held.id for held in desk.take(limit=2)} == {bulk[0], api}


def test_fairness_survives_a_restart(desk):
    desk.add_many(300, share="drop")
    for held in desk.take(limit=100):
        desk.queue.complete(held, {})
    desk.store.commit()
    desk.start()
    late = desk.add_many(50, share="api")

    shares = [held.share for held in desk.take(limit=20)]
    assert shares.count("api") == pytest.approx(10, abs=1)
    assert desk.job(desk.add(share="drop")).vtime > desk.job(late[0]).vtime + 100


def test_of_a_group_no_more_run_than_its_limit(desk):
    ids = [desk.add(group="rest", group_limit=2) for _ in range(4)]
    other = desk.add()

    first, second, third = desk.take(limit=10)
    assert {first.id, second.id, third.id} == {ids[0], ids[1], other}
    assert desk.take(limit=10) == []
    desk.queue.complete(next(h for h in (first, second, third) if h.group), {})
    assert [held.id for held in desk.take(limit=10)] == [ids[2]]


def test_a_job_waits_for_its_moment(desk):
    later = desk.add(not_before=desk.clock.now() + 60)
    assert desk.take() == []
    assert desk.queue.release_due() == 60

    desk.clock.advance(59)
    assert desk.queue.release_due() == pytest.approx(1)
    assert desk.take() == []
    desk.clock.advance(1)
    assert desk.queue.release_due() is None
    assert desk.take_one().id == later


# -- running and ending ------------------------------------------------------------------------
def test_the_attempt_rises_as_a_worker_takes_the_job(desk):
    job = desk.add()
    held = desk.take_one()

    assert held.claim() == {"id": job, "attempt": 1, "order": "{}"}
    assert desk.job(job).state == "running"
    assert desk.job(job).attempt == 1
    assert desk.job(job).started == desk.clock.now()


def test_a_completed_job_has_its_result_and_its_log(desk):
    job = desk.add()
    held = desk.take_one()
    desk.clock.advance(3)
    desk.queue.complete(held, {"path": "out/a.wav"})

    done = desk.job(job)
    assert (done.state, done.result, done.progress) == ("completed", {"path": "out/a.wav"}, 1.0)
    assert done.completed - done.started == 3
    log = desk.reader.events(job)
    assert [event.state for event in log] == ["pending", "running", "completed"]
    assert [event.number for event in log] == sorted(event.number for event in log)
    assert [event.worker for event in log] == [None, "cpu-1 (7)", "cpu-1 (7)"]
    assert log[2].at - log[1].at == 3


def test_a_refusal_fails_the_job_at_once_with_the_step_to_blame(desk):
    job = desk.add()
    desk.queue.fail(desk.take_one(), BAD)

    failed = desk.job(job)
    assert (failed.state, failed.attempt, failed.retries) == ("failed", 1, 0)
    assert (failed.error_kind, failed.error) == ("BadParameter", "freq = 9: too low")
    assert (failed.error_field, failed.error_hint) == ("freq", "use 20")
    assert (failed.error_step, failed.error_op) == (1, "eq")
    assert desk.take() == []


def test_a_fault_that_may_pass_is_tried_again_after_a_doubling_jittered_wait(tmp_path):
    desk = Desk(tmp_path, Policy(retry_base=4.0, retry_cap=10.0), chance=0.25)
    job = desk.add(max_attempts=5)
    waits = []
    for _ in range(4):
        desk.queue.fail(desk.take_one(), FULL)
        assert desk.job(job).error_kind == "StorageFull"
        waits.append(desk.queue.release_due())
        assert desk.take() == []
        desk.clock.advance(waits[-1])
        desk.queue.release_due()

    assert waits == pytest.approx([1.0, 2.0, 2.5, 2.5])  # a quarter of 4, 8, 10, 10
    desk.queue.fail(desk.take_one(), FULL)
    assert (desk.job(job).state, desk.job(job).attempt) == ("failed", 5)


def test_the_dice_reach_the_delay(tmp_path):
    desk = Desk(tmp_path, Policy(retry_base=4.0), chance=0.0)
    desk.add()
    desk.queue.fail(desk.take_one(), FULL)

    # No luck needed: with a zero the job may start at once.
    assert len(desk.take()) == 1


def test_a_job_whose_worker_died_waits_in_front(desk):
    jobs = [desk.add() for _ in range(3)]
    held = desk.take_one()
    desk.queue.lost(held, "SIGKILL", "")

    assert desk.job(jobs[0]).deaths == 1
    assert taken_ids(desk) == jobs
    assert desk.job(jobs[0]).attempt == 2


def test_a_job_that_kills_two_workers_is_failed_with_their_last_words(desk):
    job = desk.add()
    for _ in range(2):
        desk.queue.lost(desk.take_one(), "SIGSEGV", "Fatal Python error: Segmentation fault\n")

    failed = desk.job(job)
    assert (failed.state, failed.error_kind, failed.deaths) == ("failed", "WorkerKilled", 2)
    assert "ended its worker process 2 times, last with SIGSEGV" in failed.error
    assert failed.error.endswith("Fatal Python error: Segmentation fault")


def test_what_was_not_begun_comes_back_without_a_trace_on_it(desk):
    job = desk.add()
    desk.queue.put_back(desk.take_one(), "not begun", untouched=True)

    assert (desk.job(job).state, desk.job(job).attempt, desk.job(job).deaths) == ("pending", 0, 0)


def test_a_job_that_changes_lane_keeps_attempt_and_finished_steps(desk):
    job = desk.add(lane="cpu")
    held = desk.take_one()
    desk.queue.hand_over(held, "gpu", 2, "/scratch/2.f32", [{"step": 0}, {"step": 1}])
    desk.store.commit()

    assert desk.take("cpu") == []
    waiting = desk.job(job)
    assert (waiting.state, waiting.lane, waiting.next_step) == ("pending", "gpu", 2)
    held = desk.take_one("gpu")
    claim = orjson.loads(orjson.dumps(held.claim()))
    assert claim == {
        "id": job,
        "attempt": 1,
        "order": "{}",
        "next_step": 2,
        "carried": "/scratch/2.f32",
        "finished": [{"step": 0}, {"step": 1}],
    }


def test_a_job_from_another_lane_waits_neither_behind_its_folder_nor_before_others(desk):
    fresh = desk.add_many(10, lane="gpu", share="drop")
    travelling = desk.add_many(10, lane="cpu", share="drop")
    for held in desk.take("cpu", 10):
        desk.queue.hand_over(held, "gpu", 1, None, [])
    other = desk.add(lane="gpu", share="api")

    order = taken_ids(desk, "gpu")
    assert order.index(other) <= 2
    assert order.index(travelling[3]) < order.index(fresh[5])


# -- wishes ------------------------------------------------------------------------------------
def test_a_pending_job_is_cancelled_at_once(desk):
    job = desk.add()

    assert desk.queue.cancel(job) == "cancelled"
    assert desk.job(job).state == "cancelled"
    assert desk.take() == []
    assert desk.queue.cancel(job) == "ended"


def test_a_running_job_is_marked_so_that_a_restart_knows(desk):
    job = desk.add()
    desk.take_one()

    assert desk.queue.cancel(job) == "cancelling"
    assert desk.job(job).cancel_requested
    desk.start()
    assert desk.job(job).state == "cancelled"


def test_a_job_whose_files_are_on_their_way_is_not_cancelled(desk):
    job = desk.add()
    held = desk.take_one()
    desk.queue.intend(held, intent("/out/a.wav"))

    assert desk.queue.cancel(job) == "delivering"
    desk.queue.lost(held, "SIGKILL", "")
    assert desk.queue.cancel(job) == "delivering"
    assert desk.job(job).state == "pending"


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_retry_by_hand_begins_again_from_the_first_step_in_the_first_lane(desk, end):
    job = desk.add(lane="cpu")
    desk.queue.hand_over(desk.take_one(), "gpu", 1, "/scratch/1.f32", [{}])
    desk.store.commit()
    if end == "failed":
        desk.queue.fail(desk.take_one("gpu"), BAD)
    else:
        desk.queue.cancel(job)
    desk.queue.retry(job)

    again = desk.job(job)
    assert (again.state, again.lane, again.next_step) == ("pending", "cpu", 0)
    assert (again.carried, again.finished, again.error, again.completed) == (None, [], None, None)
    assert desk.take_one().id == job


@pytest.mark.parametrize("state", ["pending", "running", "completed"])
def test_only_a_failed_or_cancelled_job_can_be_retried(desk, state):
    job = desk.add()
    if state != "pending":
        held = desk.take_one()
        if state == "completed":
            desk.queue.complete(held, {})

    with pytest.raises(ForbiddenMove, match=f"is {state}; it cannot become pending"):
        desk.queue.retry(job)


def test_only_the_named_ended_job_is_deleted(desk):
    jobs = [desk.add() for _ in range(3)]
    for held in desk.take(limit=2):
        desk.queue.complete(held, {})
    desk.queue.delete(jobs[0])

    assert desk.job(jobs[0]) is None
    assert desk.reader.events(jobs[0]) == []
    assert [job.id for job in desk.reader.jobs()] == jobs[1:]
    assert desk.queue.deleted == [jobs[0]]
    with pytest.raises(NotEnded, match="is pending; cancel it first"):
        desk.queue.delete(jobs[2])
    with pytest.raises(NoSuchJob, match="there is no job nobody"):
        desk.queue.delete("nobody")


def test_ended_jobs_of_the_api_are_forgotten_and_those_of_folders_are_kept(desk):
    jobs = {source: desk.add(source=source) for source in ("rest", "mcp", "cli", "folder")}
    for held in desk.take(limit=4):
        desk.queue.complete(held, {})
    waiting = desk.add(source="rest")
    desk.clock.advance(3600)
    assert desk.queue.forget_older(3600) == 0
    desk.clock.advance(1)

    assert desk.queue.forget_older(3600) == 3
    assert [job.id for job in (desk.job(jobs["folder"]), desk.job(waiting))]
    assert desk.job(jobs["rest"]) is None
    assert sorted(desk.queue.deleted) == sorted(jobs[s] for s in ("rest", "mcp", "cli"))


# -- promises ----------------------------------------------------------------------------------
def intent(*finals, replace=False):
    placements = [
        {"part": f"{final}.part", "final": final, "inode": 7, "size": 9, "replace": replace}
        for final in finals
    ]
    return {"placements": placements, "result": {"outputs": list(finals)}}


def two_running(desk):
    desk.add()
    desk.add()
    return desk.take(limit=2)


def test_a_final_name_is_promised_to_one_job_at_a_time(desk):
    first, second = two_running(desk)

    assert desk.queue.intend(first, intent("/out/a.wav", "/out/b.png")) == []
    assert desk.queue.intend(second, intent("/out/b.png", "/out/c.wav")) == ["/out/b.png"]
    # What was refused promised nothing, so another may have it.
    assert desk.queue.intend(first, intent("/out/c.wav")) == []
    assert desk.queue.intend(second, intent("/out/a.wav", "/out/b.png")) == []


def test_a_promise_ends_with_its_job(desk):
    first, second = two_running(desk)
    desk.queue.intend(first, intent("/out/a.wav"))
    desk.queue.complete(first, {})

    assert desk.queue.intend(second, intent("/out/a.wav")) == []


def test_who_replaces_is_refused_no_name(desk):
    first, second = two_running(desk)
    desk.queue.intend(first, intent("/out/a.wav"))

    assert desk.queue.intend(second, intent("/out/a.wav", replace=True)) == []


def test_an_intent_and_its_promise_outlive_worker_and_dispatcher(desk):
    first, _ = two_running(desk)
    desk.queue.intend(first, intent("/out/a.wav"))
    desk.store.commit()
    desk.start()
    again, second = desk.take(limit=2)

    assert again.id == first.id
    assert orjson.loads(orjson.dumps(again.claim()))["intent"] == intent("/out/a.wav")
    assert desk.queue.intend(second, intent("/out/a.wav")) == ["/out/a.wav"]


# -- restart -----------------------------------------------------------------------------------
def test_a_restart_puts_back_what_ran_and_keeps_everything_else(desk):
    running, done, failed, waiting = (desk.add() for _ in range(4))
    held = {h.id: h for h in desk.take(limit=3)}
    desk.queue.complete(held[done], {"ok": 1})
    desk.queue.fail(held[failed], BAD)
    desk.store.commit()
    epoch = desk.queue.epoch
    desk.start()

    assert desk.queue.epoch == epoch + 1
    states = {job.id: job.state for job in desk.reader.jobs()}
    assert states == {
        running: "pending",
        done: "completed",
        failed: "failed",
        waiting: "pending",
    }
    assert desk.job(running).deaths == 0
    assert desk.reader.events(running)[-1].text == "put back: the dispatcher was restarted"
    assert taken_ids(desk) == [running, waiting]


def test_what_was_not_committed_never_happened(desk):
    desk.add()
    desk.queue.submit([NewJob(order="{}", source="rest", endpoint="/")])
    desk.start()

    assert desk.reader.counts()["pending"] == 1


def test_progress_is_written_when_saved_and_news_of_it_at_once(desk):
    desk.queue.listening = True
    job = desk.add()
    held = desk.take_one()
    desk.queue.news.clear()
    desk.queue.progress(held, 0.25, "eq")

    (news,) = desk.queue.news
    assert (news["id"], news["progress"], news["step"]) == (job, 0.25, "eq")
    assert desk.job(job).progress == 0.0
    desk.queue.save_progress()
    assert (desk.job(job).progress, desk.job(job).step) == (0.25, "eq")


# -- known results -----------------------------------------------------------------------------
def test_a_job_whose_result_is_known_is_completed_in_the_turn_that_adds_it(desk):
    desk.queue.listening = True
    known = desk.add(result='{"bpm": 120}', webhook_url="https://a.example/", lane="cpu")

    assert desk.take() == []
    assert desk.states(known) == ["pending", "completed"]
    job = desk.job(known)
    assert (job.state, job.result, job.attempt) == ("completed", {"bpm": 120}, 0)
    assert job.completed == job.started == desk.clock.now()
    assert [n["webhook"] for n in desk.queue.news] == [False, True]
    assert desk.queue.ended == [known]


# -- the table ---------------------------------------------------------------------------------
def test_a_long_random_life_makes_only_moves_of_the_table_and_every_one_of_them(tmp_path):
    dice = random.Random(7)
    desk = Desk(tmp_path, Policy(max_deaths=3, retry_base=1.0), chance=0.5)
    ids = []
    for _ in range(1000):
        _one_random_thing(desk, dice, ids)
    desk.store.commit()

    seen = set()
    for job in ids:
        states = desk.states(job)
        assert states == [] or states[0] == "pending"
        if states:
            assert desk.job(job).state == states[-1]
        seen |= set(pairwise(states))
    assert seen == set(MOVES)
    counts = desk.reader.counts()
    assert counts["running"] == len(desk.queue.held)
    assert sum(counts.values()) == sum(desk.job(job) is not None for job in ids)


def _one_random_thing(desk, dice, ids):
    queue = desk.queue
    held = dice.choice(list(queue.held.values())) if queue.held else None
    known = dice.choice(ids) if ids else None
    match dice.randrange(14):
        case 0 | 1 | 2:
            lane = dice.choice(["cpu", "gpu"])
            known = "{}" if dice.random() < 0.1 else None
            about = {"share": dice.choice("ab"), "max_attempts": 2, "result": known}
            ids.append(desk.add(lane=lane, **about))
        case 3 | 4 | 5:
            desk.take(dice.choice(["cpu", "gpu"]), dice.randrange(1, 4))
        case 6 if held:
            queue.complete(held, {})
        case 7 if held:
            queue.fail(held, dice.choice([FULL, BAD]))
        case 8 if held:
            queue.lost(held, "SIGKILL", "")
        case 9 if held:
            queue.hand_over(held, "gpu" if held.lane == "cpu" else "cpu", 1, None, [])
        case 10 if known:
            if (
                desk.store.job(known)
                and queue.cancel(known) == "cancelling"
                and dice.random() < 0.7
            ):
                queue.end_cancelled(queue.held[known], "cancelled while it ran")
        case 11 if known:
            job = desk.store.job(known)
            if job is not None and job.state in ("failed", "cancelled"):
                queue.retry(known)
        case 12 if known and dice.random() < 0.2:
            job = desk.store.job(known)
            if job is not None and job.ended:
                queue.delete(known)
        case 13:
            desk.clock.advance(dice.random())
            queue.release_due()
            if dice.random() < 0.05:
                desk.store.commit()
                desk.start()


# -- the same sound again ------------------------------------------------------------------------
def test_a_key_belongs_to_the_job_that_asked_first_also_after_a_restart(desk):
    desk.add_many(2)
    one, two = desk.take(limit=2)
    assert desk.queue.first(one, "sound", take=False) is None
    assert desk.queue.first(two, "sound", take=False) == one.id, "in the same turn"
    assert desk.queue.first(one, "sound", take=False) is None
    desk.queue.complete(one, {})
    desk.store.commit()
    desk.start()

    later = desk.add()
    held = next(h for h in desk.take(limit=5) if h.id == later)
    assert desk.queue.first(held, "sound", take=False) == one.id
    assert desk.queue.first(held, "other", take=False) is None
    assert desk.queue.first(held, "sound", take=True) is None


def test_a_key_of_a_job_that_failed_or_was_deleted_is_free(desk):
    desk.add_many(3)
    one, two, three = desk.take(limit=3)
    desk.queue.first(one, "sound", take=False)
    desk.queue.fail(one, BAD)
    assert desk.queue.first(two, "sound", take=False) is None
    desk.queue.complete(two, {})
    desk.store.commit()
    assert desk.queue.first(three, "sound", take=False) == two.id
    desk.queue.delete(two.id)
    assert desk.queue.first(three, "sound", take=False) is None
