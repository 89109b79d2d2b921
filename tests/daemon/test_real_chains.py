"""Real chains through real workers, with the operations of the test plugin."""

import os

import pytest

from daemon.jobs import NewJob
from rules.orders import Delivery, Order, SoundRef, StepOrder
from tests.daemon.running import PATIENCE, gets_going, is_state, running, until
from tests.plugin import GOOD
from tests.sounds import noise, write_wav


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.fspath(GOOD))
        # These operations leave notes wherever they are told to.
        folder = tmp_path_factory.mktemp("queue")
        with running(folder, run="daemon.runner:run", sandbox="off") as queue:
            yield queue


@pytest.fixture
def source(tmp_path):
    return write_wav(noise(seconds=1, channels=2, peak_db=-12), tmp_path / "take.wav", "FLOAT")


def chain(source, *steps, out=None, lane="cpu"):
    order = Order(
        sound=SoundRef(path=source, name=source.name),
        steps=[StepOrder(op=op, params=params) for op, params in steps],
        delivery=out and Delivery(folder=out),
    )
    return NewJob(order=order.model_dump_json(), source="cli", endpoint="/chain", lane=lane)


def test_an_order_without_sound_and_steps_is_done_at_once(queue):
    done = queue.run(NewJob(order=Order().model_dump_json(), source="cli", endpoint="/noop"))

    assert (done.state, done.result) == ("completed", {})


def test_a_chain_changes_lane_and_the_sound_comes_along(queue, source, tmp_path):
    import soundfile

    steps = [
        ("trim", {"start_sec": 0.25, "end_sec": 0.75}),
        ("test_gpu_gain", {"gain_db": -20.0, "pids": str(tmp_path / "pids")}),
        ("reverse", {}),
    ]
    done = queue.run(chain(source, *steps, out=tmp_path / "out"))

    assert (done.state, done.attempt, done.error) == ("completed", 1, None)
    (written,) = (tmp_path / "out").iterdir()
    before, rate = soundfile.read(source)
    after, _ = soundfile.read(written)
    expected = before[rate // 4 : 3 * rate // 4][::-1] * 0.1
    # The default is 16 bits with dither: two steps of it at most.
    assert after == pytest.approx(expected, abs=2**-14)
    gpu = {worker["pid"] for worker in queue.workers("gpu")}
    assert {int(pid) for pid in (tmp_path / "pids").read_text().split()} == gpu
    texts = [event.text for event in queue.reader.events(done.id) if event.state == "pending"]
    assert texts[1:] == [
        "handed over to the gpu lane at step 1",
        "handed over to the cpu lane at step 2",
    ]


def test_a_refusal_names_the_step(queue, source):
    failed = queue.run(chain(source, ("reverse", {}), ("trim", {"start_sec": 9.0})))

    assert failed.state == "failed"
    assert (failed.error_step, failed.error_op) == (1, "trim")


def test_a_step_that_segfaults_twice_fails_the_job_and_nothing_else(queue, source, tmp_path):
    out = tmp_path / "out"
    failed = queue.run(chain(source, ("test_crash", {"signal": "SIGSEGV"}), out=out))
    mended = {"signal": "SIGSEGV", "unless": str(tmp_path / "crashed")}
    done = queue.run(chain(source, ("test_crash", mended), out=out))

    assert (failed.state, failed.error_kind, failed.deaths) == ("failed", "WorkerKilled", 2)
    assert "SIGSEGV" in failed.error
    assert (done.state, done.deaths) == ("completed", 1)
    assert [path.suffix for path in out.iterdir()] == [".wav"]


def test_a_fault_that_passes_is_tried_again(queue, source, tmp_path):
    flaky = {"times": 1, "count": str(tmp_path / "count")}
    done = queue.run(chain(source, ("test_fail", flaky)))

    assert (done.state, done.retries, done.attempt) == ("completed", 1, 2)


def test_a_step_that_looks_up_is_cancelled_at_once_and_one_that_does_not_by_force(queue, source):
    news = queue.client.subscribe()
    (sleeps,) = queue.submit(chain(source, ("test_sleep", {"seconds": 60.0})))
    until(news, gets_going(sleeps))
    queue.client.cancel(sleeps)
    assert queue.client.wait(sleeps, 0.5).state == "cancelled"

    (spins,) = queue.submit(chain(source, ("test_spin", {"seconds": 60.0})))
    until(news, is_state(spins, "running"))
    queue.client.cancel(spins)
    assert queue.client.wait(spins, 2.0).state == "cancelled"
    assert queue.client.wait(queue.submit(chain(source, ("reverse", {})))[0], PATIENCE)
