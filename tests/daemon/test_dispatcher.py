"""The dispatcher and its workers as real processes."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from daemon.client import Client, QueueUnavailable
from daemon.faults import UnusableDatabase
from daemon.jobs import NoSuchJob
from daemon.process import DispatcherProcess
from tests.daemon.running import PATIENCE, gets_going, is_state, job, running, until


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    """One running queue that well-behaved tests share."""
    with running(tmp_path_factory.mktemp("queue"), cpu_workers=2) as queue:
        yield queue


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    """Another one that retries and forgets soon, at a path that no Unix socket can be bound to."""
    folder = tmp_path_factory.mktemp("hasty") / ("long " * 30).strip() / ("name " * 30).strip()
    folder.mkdir(parents=True)
    with running(folder, cpu_workers=1, job_ttl=0.1, job_retry_delay=0.05) as queue:
        yield queue


@pytest.fixture
def news(queue):
    subscription = queue.client.subscribe()
    yield subscription
    subscription.close()


# -- the ways a job ends -----------------------------------------------------------------------
def test_a_job_runs_and_its_result_comes_back(queue):
    done = queue.run(job("nothing"))

    assert done.state == "completed"
    assert done.result["attempt"] == 1
    assert done.result["pid"] in [worker["pid"] for worker in queue.workers()]
    assert queue.reader.job(done.id) == done


def test_a_refusal_is_told_with_field_hint_and_step(queue):
    failed = queue.run(job("refuse"))

    assert (failed.state, failed.attempt) == ("failed", 1)
    assert (failed.error_kind, failed.error) == ("BadParameter", "freq = 99999: too high")
    assert (failed.error_field, failed.error_hint) == ("freq", "use less than 24000")
    assert (failed.error_step, failed.error_op) == (2, "eq")


def test_a_bug_fails_the_job_and_not_the_worker(queue):
    before = {worker["pid"] for worker in queue.workers()}
    failed = queue.run(job("break"))

    assert (failed.state, failed.error_kind, failed.error) == ("failed", "RuntimeError", "a bug")
    assert {worker["pid"] for worker in queue.workers()} == before


def test_a_result_that_is_no_plain_data_fails_the_job(queue):
    failed = queue.run(job("unspeakable"))

    assert failed.state == "failed"
    assert "the result is not plain data" in failed.error


def test_a_fault_that_may_pass_is_tried_until_it_has_passed(hasty):
    kept = {"source": "folder"}
    done = hasty.run(job("fail for a while", times=2, max_attempts=3, **kept))
    gave_up = hasty.run(job("fail for a while", times=9, max_attempts=2, **kept))

    assert (done.state, done.result, done.retries) == ("completed", {"attempt": 3}, 2)
    assert (gave_up.state, gave_up.error_kind, gave_up.attempt) == ("failed", "StorageFull", 2)


def test_a_job_visits_both_lanes_and_uses_up_one_attempt(queue):
    done = queue.run(job("travel"))

    cpu = {worker["pid"] for worker in queue.workers("cpu")}
    gpu = {worker["pid"] for worker in queue.workers("gpu")}
    first, second, third = done.result["pids"]
    assert first in cpu
    assert second in gpu
    assert third in cpu
    assert done.result["finished"] == [{"step": 0}, {"step": 1}]
    assert (done.result["attempt"], done.attempt) == (1, 1)


def test_the_scratch_folder_of_an_ended_job_is_removed(queue):
    done = queue.run(job("travel"))
    scratch = queue.settings.scratch / done.id

    # Removed beside the loop, in order: when a later job's folder is gone, so is this one.
    assert _eventually(lambda: not scratch.exists())


def _eventually(holds, seconds=PATIENCE):
    pause, end = threading.Event(), time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        pause.wait(0.01)
    return True


def test_deleting_a_job_removes_its_results(queue):
    done = queue.run(job("nothing"))
    results = queue.settings.results / done.id
    results.mkdir(parents=True)
    (results / "a.wav").write_bytes(b"sound")
    removed = queue.client.remove(done.id)

    assert (removed.cancelled, removed.deleted) == (False, True)
    assert queue.reader.job(done.id) is None
    assert _eventually(lambda: not results.exists())
    with pytest.raises(NoSuchJob):
        queue.client.remove(done.id)


def test_ended_jobs_of_the_api_are_forgotten_after_their_time(hasty):
    news = hasty.client.subscribe()
    (forgotten,) = hasty.submit(job("nothing", source="rest"))
    kept = hasty.run(job("nothing", source="folder"))
    until(news, lambda one: one.id == forgotten and one.state == "deleted")

    assert hasty.reader.job(forgotten) is None
    assert hasty.reader.job(kept.id) is not None


# -- submitting and hearing --------------------------------------------------------------------
def test_many_threads_submit_and_wait_over_one_connection(queue):
    ended = []

    def work():
        ended.extend(queue.run(job("nothing")).state for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert ended == ["completed"] * 80


def test_a_key_submitted_twice_is_one_job(queue):
    first, second = (queue.client.submit([job("nothing", idempotency_key="k1")])[0] for _ in "12")

    assert first.created
    assert (second.id, second.created) == (first.id, False)


def test_progress_is_told_at_most_ten_times_a_second(queue, news):
    (reporting,) = queue.submit(job("report", words=600))
    heard, begun = [], time.monotonic()
    while (one := news.get(PATIENCE)).state != "completed" or one.id != reporting:
        if one.progress is not None:
            heard.append(one)
    took = time.monotonic() - begun

    assert 2 <= len(heard) <= 2 + 10 * took
    assert [one.progress for one in heard] == sorted(one.progress for one in heard)
    assert {one.step for one in heard} == {"report"}


def test_news_name_state_attempt_and_worker_in_order(queue, news):
    done = queue.run(job("nothing"))
    heard = []
    until(news, lambda one: one.id == done.id and (heard.append(one) or one.state == "completed"))

    assert [one.state for one in heard] == ["pending", "running", "completed"]
    assert heard[1].worker.startswith("cpu-")
    assert [one.number for one in heard] == [e.number for e in queue.reader.events(done.id)]


def test_waiting_has_an_end_and_the_job_goes_on(queue, tmp_path):
    (waited,) = queue.submit(job("listen", until=tmp_path / "go"))
    with pytest.raises(TimeoutError, match=r"has not ended within 0\.05 s"):
        queue.client.wait(waited, 0.05)

    (tmp_path / "go").touch()
    assert queue.client.wait(waited, PATIENCE).state == "completed"


def test_an_unknown_job_is_said_to_be_unknown(queue):
    for ask in (queue.client.wait, queue.client.cancel, queue.client.retry, queue.client.delete):
        with pytest.raises(NoSuchJob, match="there is no job nobody"):
            ask("nobody")


def test_without_a_dispatcher_the_client_says_so_in_time(tmp_path):
    client = Client(tmp_path / "run" / "dispatcher.sock", timeout=0.2)
    begun = time.monotonic()
    with pytest.raises(QueueUnavailable, match=r"dispatcher\.sock did not answer within 0\.2 s"):
        client.stats()

    assert time.monotonic() - begun < 20
    client.close()


def test_only_this_user_may_connect(queue):
    assert stat.S_IMODE(queue.settings.socket.stat().st_mode) == 0o600


def test_a_data_directory_with_a_long_path_works(hasty):
    assert len(str(hasty.settings.socket)) > 107
    assert hasty.run(job("nothing", source="folder")).state == "completed"


# -- cancelling --------------------------------------------------------------------------------
def test_a_pending_job_is_cancelled_at_once(queue, tmp_path):
    later = time.time() + 3600
    (waiting,) = queue.submit(job("nothing", not_before=later))

    assert queue.client.cancel(waiting) == "cancelled"
    assert queue.reader.job(waiting).state == "cancelled"


def test_a_running_job_that_listens_is_cancelled_within_half_a_second(queue, news):
    taken = []
    while not taken or (min(taken) >= 0.5 and len(taken) < 8):  # the machine may be busy
        (listening,) = queue.submit(job("listen"))
        until(news, gets_going(listening))
        begun = time.monotonic()
        assert queue.client.cancel(listening) == "cancelling"
        ended = queue.client.wait(listening, PATIENCE)
        taken.append(time.monotonic() - begun)
        assert (ended.state, ended.deaths, ended.error) == ("cancelled", 0, None)
    assert min(taken) < 0.5


@pytest.mark.parametrize("manner", ["deaf", "frozen"])
def test_a_running_job_that_does_not_listen_is_cancelled_by_force_within_two_seconds(
    queue, news, manner
):
    taken = []
    while not taken or (min(taken) >= 2 and len(taken) < 5):  # the machine may be busy
        (deaf,) = queue.submit(job(manner))
        until(news, is_state(deaf, "running"))
        before = queue.worker_of(deaf)["pid"]
        begun = time.monotonic()
        assert queue.client.cancel(deaf) == "cancelling"
        ended = queue.client.wait(deaf, PATIENCE)
        taken.append(time.monotonic() - begun)
        assert ended.state == "cancelled"
        assert _eventually(lambda: before not in [w["pid"] for w in queue.workers()])  # noqa: B023
    assert min(taken) < 2
    # The lane is whole again.
    assert queue.run(job("nothing")).state == "completed"


def test_a_job_in_the_pocket_is_cancelled_before_it_begins(hasty, tmp_path):
    news = hasty.client.subscribe()
    gate = tmp_path / "go"
    small = {"cost": 0.001, "endpoint": "/pocket", "source": "folder"}
    for _ in range(3):  # small jobs are known, so several are handed out at once
        hasty.run(job("nothing", **small))
    first, second, third = hasty.submit(
        job("nothing", **small), job("deaf", until=gate, **small), job("nothing", **small)
    )
    until(news, is_state(second, "running"))
    until(news, is_state(third, "running"))
    assert hasty.client.cancel(third) == "cancelling"
    ended = hasty.client.wait(third, PATIENCE)
    gate.touch()

    assert (ended.state, ended.attempt) == ("cancelled", 1)
    assert hasty.client.wait(first, PATIENCE).state == "completed"
    assert hasty.client.wait(second, PATIENCE).state == "completed"


# -- workers that die --------------------------------------------------------------------------
def test_the_job_of_a_dead_worker_runs_again_within_100_ms(queue, news):
    waits = []
    for _ in range(5):
        (listening,) = queue.submit(job("listen"))
        until(news, gets_going(listening))
        # The spare must be warm; only then is the promise about anything.
        assert _eventually(
            lambda: sum(worker["state"] == "ready" for worker in queue.workers()) >= 3
        )
        os.kill(queue.worker_of(listening)["pid"], signal.SIGKILL)
        killed = time.time()
        until(news, is_state(listening, "running"))
        again = until(news, gets_going(listening))
        waits.append(again.at - killed)
        queue.client.cancel(listening)
        assert queue.client.wait(listening, PATIENCE).deaths == 1

    # The last one or two may have met a neighbour of this machine, the middle has not.
    assert sorted(waits)[2] < 0.1


def test_a_job_that_kills_its_worker_twice_is_failed_with_its_last_words(queue):
    failed = queue.run(job("die", by="SIGSEGV", words="about to fall"))

    assert (failed.state, failed.error_kind, failed.deaths) == ("failed", "WorkerKilled", 2)
    assert "SIGSEGV" in failed.error
    assert "about to fall" in failed.error
    assert "Fatal Python error: Segmentation fault" in failed.error


def test_a_job_that_kills_its_worker_once_is_forgiven(queue):
    done = queue.run(job("die", attempts=1))

    assert (done.state, done.deaths, done.result) == ("completed", 1, {"attempt": 2})


def test_good_jobs_around_a_poisonous_one_all_finish(queue):
    """P6, the short form of `python -m bench.faults poison`."""
    good = [job("nothing", cost=0.001) for _ in range(60)]
    queue.run(job("nothing", cost=0.001))  # one small job is known: pockets are filled
    poison = job("die", cost=0.001)
    queue.submit(*good[:30], poison, *good[30:])

    assert queue.client.wait(poison.id, PATIENCE).error_kind == "WorkerKilled"
    ended = [queue.client.wait(one.id, PATIENCE) for one in good]
    assert {one.state for one in ended} == {"completed"}
    # Blame falls on the job that ran, never on those that waited behind it in the same pocket.
    assert {one.deaths for one in ended} == {0}


def test_jobs_behind_one_that_takes_too_long_are_given_to_others(tmp_path):
    with running(tmp_path, cpu_workers=2) as queue:
        gate = tmp_path / "go"
        queue.run(job("nothing", cost=0.0001))  # one small job is known
        stuck = job("deaf", until=gate, cost=0.0001)
        others = [job("nothing", cost=0.0001) for _ in range(30)]
        queue.submit(stuck, *others)

        ended = [queue.client.wait(one.id, PATIENCE).state for one in others]
        assert ended == ["completed"] * 30
        assert queue.reader.job(stuck.id).state == "running"
        gate.touch()
        assert queue.client.wait(stuck.id, PATIENCE).state == "completed"


def test_workers_are_replaced_after_their_number_of_jobs_without_losing_any(tmp_path):
    with running(tmp_path, cpu_workers=2, worker_max_jobs=10) as queue:
        before = {worker["pid"] for worker in queue.workers()}
        jobs = [job("nothing") for _ in range(60)]
        queue.submit(*jobs)
        ended = [queue.client.wait(one.id, PATIENCE) for one in jobs]

        assert {one.state for one in ended} == {"completed"}
        assert {one.deaths for one in ended} == {0}
        assert _eventually(lambda: all(w["jobs_done"] < 10 for w in queue.workers()))
        assert len(before & {worker["pid"] for worker in queue.workers()}) <= 1


def test_a_worker_with_too_much_memory_is_replaced(tmp_path):
    hungry = {"run": "tests.daemon.runs:hungry", "worker_max_memory": 2**28}
    with running(tmp_path, cpu_workers=1, **hungry) as queue:
        first = queue.run(job("nothing")).result["pid"]
        second = queue.run(job("nothing")).result["pid"]

        assert first != second
        assert _eventually(lambda: first not in [w["pid"] for w in queue.workers()])


def test_workers_that_die_at_start_are_told_of_and_tried_again(tmp_path):
    with running(tmp_path, run="tests.daemon.no_such_module:run", warm=False) as queue:
        (waiting,) = queue.submit(job("nothing"))

        assert _eventually(lambda: "cpu" in queue.client.stats()["trouble"])
        trouble = queue.client.stats()["trouble"]["cpu"]
        assert "died at start with exit code 1" in trouble
        assert "No module named 'tests.daemon.no_such_module'" in trouble
        assert queue.reader.job(waiting).state == "pending"


def test_workers_are_kept_on_one_thread_and_given_up_first_under_memory_pressure(queue):
    pid = queue.workers()[0]["pid"]
    with open(f"/proc/{pid}/environ", "rb") as file:
        environment = file.read().split(b"\0")
    with open(f"/proc/{pid}/oom_score_adj") as file:
        score = int(file.read())

    assert b"OMP_NUM_THREADS=1" in environment
    assert b"NUMBA_NUM_THREADS=1" in environment
    assert score == 500


# -- ends and restarts -------------------------------------------------------------------------
def _draining(queue):
    try:
        return queue.client.stats()["draining"]
    except QueueUnavailable:
        return False


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("how", ["time is over", "second signal", "parent is gone"])
def test_what_cannot_finish_is_put_back_without_blame(tmp_path, how):
    limit = 0.2 if how == "time is over" else 60.0
    with running(tmp_path, cpu_workers=1, drain_timeout=limit) as queue:
        news = queue.client.subscribe()
        (runs,) = queue.submit(job("deaf"))
        until(news, is_state(runs, "running"))
        pids = [queue.process.pid, *(w["pid"] for w in queue.client.stats()["workers"])]
        if how == "second signal":
            os.kill(pids[0], signal.SIGTERM)
            assert _eventually(lambda: _draining(queue))
        begun = time.monotonic()
        queue.process.stop(at_once=how == "parent is gone")

        assert time.monotonic() - begun < 50
        assert not any(_alive(pid) for pid in pids)
        back = queue.reader.job(runs)
        assert (back.state, back.deaths) == ("pending", 0)
        assert queue.reader.events(runs)[-1].text == "put back: the dispatcher was stopped"


def test_a_killed_dispatcher_takes_its_workers_along_and_is_there_again(tmp_path):
    with running(tmp_path, cpu_workers=2) as queue:
        news = queue.client.subscribe()
        (runs,) = queue.submit(job("listen", until=tmp_path / "go"))
        until(news, gets_going(runs))
        dispatcher = queue.process.pid
        workers = [worker["pid"] for worker in queue.client.stats()["workers"]]
        os.kill(dispatcher, signal.SIGKILL)

        # The same client, the same subscription, a job that is waited for all the while.
        (tmp_path / "go").touch()
        assert queue.client.wait(runs, PATIENCE).state == "completed"
        until(news, lambda one: one.state == "missed")
        assert queue.process.pid != dispatcher
        assert not any(_alive(pid) for pid in workers)
        texts = [event.text for event in queue.reader.events(runs)]
        assert "put back: the dispatcher was restarted" in texts


def test_a_second_daemon_on_the_same_data_is_refused(queue):
    other = DispatcherProcess(queue.settings)
    with pytest.raises(UnusableDatabase, match="is in use by another daemon"):
        other.start()


def test_workers_end_when_nobody_tells_them_to(tmp_path):
    """A worker whose dispatcher is gone ends, even while a job keeps the interpreter to itself."""
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.daemon.running import *\n"
        f"queue = Running(Settings(data_dir=Path({str(tmp_path)!r}), cpu_workers=1,"
        " log_level='ERROR', sandbox='off'), ['--run', 'tests.daemon.runs:scripted'])\n"
        "queue.wait_warm(); news = queue.client.subscribe()\n"
        "(frozen,) = queue.submit(job('frozen')); until(news, is_state(frozen, 'running'))\n"
        "print(queue.process.pid, queue.worker_of(frozen)['pid'], flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        dispatcher, worker = map(int, parent.stdout.readline().split())
    finally:
        parent.kill()
        parent.communicate()

    assert _eventually(lambda: not _alive(worker))
    assert _eventually(lambda: not _alive(dispatcher))
