"""P4, the short form of `python -m bench.faults disk`: disks that are full, away, or read-only."""

import pytest

from daemon.delivering import holding
from daemon.settings import Settings
from tests.daemon.delivering.disks import Pretended, small_disk


@pytest.fixture(params=["as it can be had", "pretended"])
def disk(request, tmp_path, monkeypatch):
    point = tmp_path / "nas"
    made = Pretended(point, monkeypatch) if request.param == "pretended" else None
    made = made or small_disk(point, monkeypatch)
    yield made
    made.close()


def rules(disk):
    return f"output: {{folder: '{disk.point}/out'}}\nrules: [{{name: back, steps: [reverse]}}]"


def problem(shop):
    return shop.manager.status().folders[0].problem


def delivered(disk):
    return sorted(path.name for path in (disk.point / "out").glob("*"))


def test_a_disk_that_is_nearly_full_pauses_the_folder_until_there_is_room(shop, take, disk):
    s = shop(rules(disk))
    disk.fill(leave=100_000)  # less than a twentieth of 4 MiB
    s.drop("take.wav", take)
    s.pass_time(60, steps=10)
    assert "nearly full: 0.1 MiB are free, 0.2 MiB at least" in problem(s)
    assert s.files() == ["take.wav"]

    disk.empty()
    s.pass_time(10, steps=5)
    s.work()
    assert problem(s) == ""
    assert delivered(disk) == ["take.wav"]
    assert s.files("done") == ["take.wav"]


def test_a_job_that_filled_the_disk_waits_and_is_delivered_once_when_there_is_room(
    shop, take, disk
):
    s = shop(rules(disk))
    disk.fill(leave=250_000)  # enough to begin with, too little for the result
    s.drop("1.wav", take)
    s.pass_time(2.5)
    s.work()
    s.drop("2.wav", take)
    s.pass_time(5, steps=2)
    assert "1 taken files wait for room" in problem(s)
    # It has not failed: nothing is in `failed`, no half file in the target, the next is not taken.
    assert s.files() == ["2.wav", "processing/job-00001/1.wav"]
    assert delivered(disk) == []

    s.restart()
    s.pass_time(15, steps=3)
    assert len(s.queue.jobs) == 1
    disk.empty()
    for _ in range(4):
        s.pass_time(20, steps=4)
        s.work()
    assert problem(s) == ""
    assert delivered(disk) == ["1.wav", "2.wav"]
    assert s.files("done") == ["1.wav", "2.wav"]
    assert s.files("failed") == []


@pytest.mark.parametrize("restarted", [False, True])
def test_a_target_that_is_away_gets_nothing_in_the_place_of_its_mount(shop, take, disk, restarted):
    s = shop(rules(disk))
    s.pass_time(5)
    disk.unmount()
    if restarted:
        s.restart()
    s.drop("take.wav", take)
    s.pass_time(60, steps=10)
    assert f"{disk.point} (tmpfs) is not mounted" in problem(s)
    assert s.files() == ["take.wav"]
    assert not (disk.point / "out").exists()

    disk.mount()
    s.pass_time(10, steps=5)
    s.work()
    assert problem(s) == ""
    assert delivered(disk) == ["take.wav"]


def test_a_target_that_cannot_be_written_any_more_pauses_the_folder(shop, take, disk):
    s = shop(rules(disk))
    s.pass_time(5)
    disk.read_only(True)
    s.drop("take.wav", take)
    s.pass_time(20, steps=4)
    assert "is mounted read-only" in problem(s)

    disk.read_only(False)
    s.pass_time(10, steps=5)
    s.work()
    assert delivered(disk) == ["take.wav"]


def test_a_file_that_fails_again_and_again_while_its_target_is_well_fails_in_the_end(shop):
    s = shop()
    s.drop("take.wav")
    s.pass_time(2.5)
    for delay in holding.DELAYS:
        assert s.files("failed") == []
        s.clock.advance(0.1)
        s.finish("failed", error_kind="StorageFailed", error="bad sector", completed=s.clock.now())
        s.pass_time(delay + 1, steps=2)
    s.finish("failed", error_kind="StorageFailed", error="bad sector", completed=s.clock.now())

    assert s.files() == ["failed/take.wav", "failed/take.wav.json"]


def test_a_file_that_cannot_be_read_does_not_keep_the_others_waiting(shop):
    s = shop()
    s.drop("bad.wav")
    s.pass_time(2.5)
    s.finish("failed", error_kind="StorageFailed", error="bad sector", completed=s.clock.now())
    s.drop("good.wav")
    s.pass_time(2.5)

    assert problem(s) == ""
    assert s.names == ["bad.wav", "good.wav"]


def test_the_room_that_is_kept_free_is_a_setting():
    assert Settings(min_free="1000").min_free == 1000
