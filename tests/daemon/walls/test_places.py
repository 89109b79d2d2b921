"""Where jobs are, and workers that may not go there yet."""

from pathlib import Path

import pytest

from daemon.jobs import NewJob
from daemon.walls import landlock
from daemon.walls.places import Gates, Made, of_order
from rules.orders import Delivery, Order, Record, SoundRef, StepOrder
from tests.daemon.running import running
from tests.sounds import noise, write_wav

JOB = "01a20738-5fcb-77da-b4b9-837080c3652a"


def test_the_places_of_a_hot_folders_job_are_the_same_for_each_of_its_files():
    def order(rel, job):
        at = Path("/music/in/work") / job / rel
        return Order(
            sound=SoundRef(path=at, name="x"),
            delivery=Delivery(folder=Path("/mnt/out") / Path(rel).parent, mode=0o664),
            record=Record(
                folder="in", rel=Path(rel), input=at, manifest=Path("/music/in/manifests") / rel
            ),
        )

    first = of_order(order("a/b/one.wav", JOB))
    second = of_order(order("c/two.wav", JOB.replace("1", "2")))

    assert first == second
    assert first == {
        Path("/music/in/work"): None,
        Path("/music/in/manifests"): Made(),
        Path("/mnt/out"): Made(mode=0o664),
    }


def test_a_file_that_stays_in_its_inbox_is_reached_through_the_inbox():
    rel = Path("a/one.wav")
    order = Order(
        sound=SoundRef(path=Path("/music/in") / rel, name="x"),
        record=Record(folder="in", rel=rel, input=Path("/music/in") / rel, originals="keep"),
    )
    assert set(of_order(order)) == {Path("/music/in")}


def test_further_sounds_of_every_step_are_places_too():
    host = SoundRef(path=Path("/beds/host.wav"), name="host")
    steps = [StepOrder(op="sidechain_duck", sounds={"trigger_file": host})]
    assert of_order(Order(steps=steps)) == {Path("/beds"): None}


def test_what_may_only_be_read_is_no_gate_for_a_delivery(tmp_path):
    inbox, out = tmp_path / "in", tmp_path / "in" / "out"
    out.mkdir(parents=True)
    gates = Gates(written=[out], read=[inbox])

    assert gates.missing({inbox: None, out: Made(), out / "new": Made()}) == []
    assert gates.missing({inbox / "rules": Made(), inbox: Made()}) == [inbox / "rules", inbox]


def test_a_gate_knows_a_folder_and_not_its_name(tmp_path):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    gates = Gates([inbox])
    (tmp_path / "link").symlink_to(inbox)

    assert gates.missing({inbox / "new" / "deep": Made(), tmp_path / "link" / "x": Made()}) == []
    assert gates.missing({tmp_path / "gone.wav": None}) == []  # the job says that it is not there
    assert gates.missing({tmp_path: None}) == [tmp_path]
    inbox.rename(tmp_path / "moved")
    inbox.mkdir()
    assert gates.missing({inbox: None}) == [inbox]


@pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock")
def test_a_job_outside_is_done_by_a_worker_that_was_started_for_it(tmp_path):
    """Its folder is made as its rule says, before the worker walls itself in."""
    (tmp_path / "a").mkdir()
    take = write_wav(noise(seconds=0.5, channels=1, peak_db=-12), tmp_path / "a" / "take.wav")
    out = tmp_path / "deep" / "out"

    def job():
        order = Order(
            sound=SoundRef(path=take, name="take.wav"),
            steps=[StepOrder(op="reverse")],
            delivery=Delivery(folder=out, mode=0o640),
        )
        return NewJob(order=order.model_dump_json(), source="cli", endpoint="/chain")

    with running(tmp_path / "data", run="daemon.runner:run", cpu_workers=1, warm=False) as queue:
        done = queue.run(job())

    assert (done.state, done.attempt, done.deaths, done.retries) == ("completed", 1, 0, 0)
    assert [path.name for path in out.iterdir()] == ["take.wav"]
    assert (out / "take.wav").stat().st_mode & 0o777 == 0o640
