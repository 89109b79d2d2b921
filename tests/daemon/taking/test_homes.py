"""Many files that are taken in one turn share a home in `processing`."""

from uuid import UUID

from daemon.jobs import new_id
from daemon.taking.homes import MANY, batch_of, is_batch, job_in, split
from tests.daemon.inboxes import Studio


def drop_many(studio: Studio, count: int) -> dict[str, bytes]:
    dropped = {}
    for number in range(count):
        rel = f"day {number % 3}/täke {number}.wav"
        dropped[rel] = studio.drop(rel).read_bytes()
    return dropped


def homes(studio: Studio) -> list[str]:
    return sorted(path.name for path in (studio.root / "processing").iterdir())


def test_the_id_of_a_job_follows_from_its_place_and_sorts_with_its_batch():
    batch = batch_of(new_id())
    one, other = job_in(batch, "a/x.wav"), job_in(batch, "b/x.wav")

    assert one == job_in(batch, "a/x.wav") != other
    assert UUID(one).version == 7
    assert one[:13] == batch[:13]
    assert job_in("some id", "a/x.wav") == "some id"


def test_a_path_tells_the_home_and_the_place_below_it():
    batch = batch_of(new_id())
    job = job_in(batch, "a/x.wav")

    assert split(("/", "in", "processing", batch, "a", "x.wav"), job) == (3, "a/x.wav")
    assert split(("/", "in", "processing", job, "x.wav"), job) == (3, "x.wav")
    assert split(("/", "in", "processing", batch, "a", "y.wav"), job) is None


def test_many_files_share_one_home_and_each_ends_in_done(tmp_path):
    studio = Studio(tmp_path)
    dropped = drop_many(studio, MANY)
    studio.settle()

    (home,) = homes(studio)
    assert is_batch(home)
    assert len(studio.queue.jobs) == MANY
    for job in list(studio.queue.jobs):
        studio.queue.end(job)
    studio.pass_time(20)
    done = {str(p.relative_to(studio.root / "done")) for p in studio.root.glob("done/*/*")}
    assert done == set(dropped)
    assert homes(studio) == []


def test_after_a_crash_each_file_of_a_batch_is_told_from_the_others(tmp_path):
    studio = Studio(tmp_path, "sidecars: ignore\nrules: [{name: all}]")
    drop_many(studio, MANY)
    studio.settle()
    known = list(studio.queue.jobs)
    # The queue has lost half of them, as if the crash had come between the moves and the rows.
    for job in known[::2]:
        del studio.queue.jobs[job]
    studio.restart()
    studio.settle()

    assert sorted(studio.queue.jobs) == sorted(known)
    for job in known:
        studio.queue.end(job)
    studio.pass_time(20)
    assert len(list(studio.root.glob("done/*/*"))) == MANY
    assert homes(studio) == []


def test_a_failed_file_of_a_batch_is_brought_back_for_a_retry(tmp_path):
    studio = Studio(tmp_path)
    dropped = drop_many(studio, MANY)
    studio.settle()
    first, *others = studio.queue.jobs
    studio.queue.end(first, "failed", error_kind="CannotProcess", error="no")
    for job in others:
        studio.queue.end(job)
    studio.pass_time(20)
    (failed,) = studio.root.glob("failed/*/*.wav")

    assert studio.manager.bring_back(first)
    assert not failed.exists()
    back = studio.queue.file_of(studio.queue.jobs[first].order)
    assert back.read_bytes() == dropped[str(failed.relative_to(studio.root / "failed"))]
    assert is_batch(back.relative_to(studio.root / "processing").parts[0])
