"""The chores: what they remove, what they never touch, what they find."""

import hashlib
import os
import sqlite3
import uuid

import orjson
import pytest
import sqlalchemy as sa

from daemon.clock import ManualClock
from daemon.faults import Fault
from daemon.jobs import NewJob
from daemon.queue import Policy, Queue
from daemon.recall import Recalled
from daemon.schedules import housework
from daemon.schedules.chores import BUILT_IN, CHORES, built_in, task_of
from daemon.schedules.fixity import Delivered, Limits, check
from daemon.settings import Settings
from daemon.store import Store
from handlers.errors import BadParameter, StorageFailed
from tests.daemon.running import running

NOW = 1_800_000_000.0
DAY = 86_400.0


# -- what there is -------------------------------------------------------------------------------
def test_staged_files_are_only_deleted_where_somebody_asks_for_it():
    assert "staged" not in {one["chore"] for one in BUILT_IN.values()}
    with pytest.raises(BadParameter, match="params.files"):
        task_of("staged", {"older_than": "30d"})
    with pytest.raises(BadParameter, match="params.older_than"):
        task_of("staged", {"files": "tmp/**"})
    assert task_of("staged", {"files": "tmp/**", "older_than": "30d"}).params.older_than == 30 * DAY


def test_no_job_of_a_folder_is_forgotten_unless_somebody_asks_for_it():
    assert task_of("ledger", {}).params.jobs is None


def test_every_built_in_schedule_runs_a_chore_that_there_is():
    for name in BUILT_IN:
        written = built_in(name)
        assert task_of(written["chore"], written.get("params", {})).name in CHORES


# -- fixity --------------------------------------------------------------------------------------
class Disk:
    """Delivered files, and what checks remember of them."""

    def __init__(self, folder):
        self.folder = folder
        self.known = {}
        self.now = NOW
        self.recorded = []

    def deliver(self, name, data=b"sound", digest=None):
        path = self.folder / name
        path.write_bytes(data)
        os.utime(path, (NOW - DAY, NOW - DAY))
        self.recorded.append(Delivered(path, len(data), digest, NOW - DAY))
        return path

    def get(self, paths):
        return {path: self.known[path] for path in paths if path in self.known}

    def remember(self, rows, gone):
        self.known.update({row["path"]: row for row in rows})
        for path in gone:
            self.known.pop(path, None)

    def check(self, seconds=3600, fresh=-1.0, progress=lambda _: None):
        limits = Limits(lambda: self.now, self.now + seconds, self.now + fresh)
        found = check(self.recorded, self.get, self.remember, limits, progress)
        self.now += DAY
        return found


def write(path, data):
    """Somebody works on it."""
    path.write_bytes(data)
    os.utime(path, (NOW, NOW))


def rot(path):
    """Other bytes, and nobody has written to it."""
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def names(paths):
    return [os.path.basename(path) for path in paths]


def test_bytes_that_changed_by_themselves_are_found_again_and_again_until_mended(tmp_path):
    disk = Disk(tmp_path)
    path, _ = disk.deliver("a.wav"), disk.deliver("b.wav")
    first = disk.check()
    assert (first.good, first.rotten) == (2, [])

    rot(path)
    assert names(disk.check().rotten) == ["a.wav"]
    assert names(disk.check().rotten) == ["a.wav"]

    rot(path)  # the same bit once more: as it was
    assert disk.check().good == 2


def test_a_hash_that_was_recorded_counts_from_the_first_check(tmp_path):
    disk = Disk(tmp_path)
    good = "sha256:" + hashlib.sha256(b"sound").hexdigest()
    disk.deliver("good.wav", digest=good)
    rot(disk.deliver("bad.wav", digest=good))
    found = disk.check()
    assert (found.good, names(found.rotten)) == (1, ["bad.wav"])
    assert names(disk.check().rotten) == ["bad.wav"]


def test_who_works_on_a_file_is_no_fault(tmp_path):
    disk = Disk(tmp_path)
    edited, early = disk.deliver("edited.wav"), disk.deliver("early.wav")
    write(early, b"edited before the first check")
    assert names(disk.check().changed) == ["early.wav"]
    write(edited, b"edited by somebody")
    found = disk.check()
    assert (names(found.changed), found.rotten, found.good) == (["edited.wav"], [], 1)
    assert disk.check().good == 2


def test_a_file_cut_short_before_its_first_check_is_found(tmp_path):
    disk = Disk(tmp_path)
    path = disk.deliver("a.wav", b"a longer sound")
    path.write_bytes(b"a lon")
    os.utime(path, (NOW - DAY, NOW - DAY))
    assert names(disk.check().rotten) == ["a.wav"]


def test_what_was_moved_away_is_told_and_forgotten(tmp_path):
    disk = Disk(tmp_path)
    path = disk.deliver("a.wav")
    disk.check()
    path.unlink()
    found = disk.check()
    assert (names(found.missing), found.rotten, disk.known) == (["a.wav"], [], {})


def test_what_is_not_reached_in_time_comes_first_the_next_time(tmp_path):
    disk = Disk(tmp_path)
    for number in range(4):
        disk.deliver(f"{number}.wav")

    def slow(_):
        disk.now += 1

    found = disk.check(seconds=3, progress=slow)
    assert (found.checked, found.left) == (2, 2)
    found = disk.check(seconds=3, progress=slow)
    assert set(names(disk.known)) == {"0.wav", "1.wav", "2.wav", "3.wav"}


def test_what_was_checked_a_moment_ago_is_left_out(tmp_path):
    disk = Disk(tmp_path)
    disk.deliver("a.wav")
    disk.check()
    found = disk.check(fresh=-2 * DAY)
    assert (found.checked, found.recent) == (0, 1)


# -- what analyses found -------------------------------------------------------------------------
def test_findings_that_nobody_asked_for_in_long_are_forgotten(tmp_path):
    kept = Recalled(tmp_path, 2**20)
    kept.put("aa01", {"bpm": 120})
    kept.put("bb02", {"bpm": 90})
    os.utime(tmp_path / "aa/01", (NOW - 200 * DAY, NOW - 200 * DAY))
    os.utime(tmp_path / "bb/02", (NOW - DAY, NOW - DAY))
    assert kept.forget_older(180 * DAY, NOW) == 1
    assert (kept.get("aa01"), kept.get("bb02")) == (None, {"bpm": 90})


# -- the database --------------------------------------------------------------------------------
@pytest.fixture
def queue(tmp_path):
    store = Store(tmp_path / "a.db")
    made = Queue(store, Policy(), ManualClock(NOW), lambda: 0.5)
    made.store = store
    yield made
    store.close()


def ended(queue, state="completed", *, count=1, **about):
    new = [NewJob(**{"order": "{}", "endpoint": "e", **about}) for _ in range(count)]
    queue.submit(new)
    for held in list(queue.next_jobs("cpu", count)):
        queue.claim(held, "w")
        if state == "completed":
            queue.complete(held, {})
        else:
            queue.fail(held, Fault("BadParameter", "no"))
    queue.store.commit()
    return [one.id for one in new]


def forget(queue, seconds, *, chores=False):
    after, count = 0, 0
    while after is not None:
        some, after = queue.forget_ledger(seconds, after, chores=chores)
        count += some
    queue.store.commit()
    return count


def test_the_ledger_forgets_what_went_well_and_is_long_over_and_nothing_else(queue):
    ended(queue, source="folder", count=3)
    (failed,) = ended(queue, "failed", source="folder")
    (api,) = ended(queue, source="rest")
    (chore,) = ended(queue, source="schedule", group="housekeeping")
    queue._clock.advance(100)
    (fresh,) = ended(queue, source="folder")
    waiting = queue.submit([NewJob(order="{}", endpoint="e", source="folder")])[0].id

    assert forget(queue, 50, chores=True) == 1
    assert queue.store.known([chore]) == {}
    assert forget(queue, 50) == 3
    assert set(queue.store.known([failed, api, fresh, waiting])) == {failed, api, fresh, waiting}


def test_free_pages_are_given_back_and_the_queue_keeps_to_its_index(queue, tmp_path):
    ended(queue, source="folder", count=3000, order="x" * 500)
    before = queue.store.upkeep(0)
    assert forget(queue, -1) == 3000
    queue.submit([NewJob(order="{}", endpoint="e", source="folder") for _ in range(2000)])
    told = queue.store.upkeep(10_000)

    assert told["given"] > 100
    assert told["free"] == 0
    assert told["pages"] < before["pages"] / 2
    with sqlite3.connect(tmp_path / "a.db") as raw:
        assert raw.execute("SELECT count(*) FROM sqlite_stat1").fetchone()[0] > 0
        plan = raw.execute(
            "EXPLAIN QUERY PLAN SELECT seq FROM jobs WHERE state = 'pending' AND not_before IS NULL"
            " AND lane = 'cpu' AND \"group\" = '' ORDER BY priority DESC, vtime, seq LIMIT 9"
        ).fetchall()
    assert [row[3] for row in plan] == ["SEARCH jobs USING INDEX jobs_ready (lane=? AND group=?)"]


# -- as jobs, in real processes ------------------------------------------------------------------
def chore(name, **params):
    return NewJob(
        order=task_of(name, params).order(),
        source="schedule",
        endpoint=f"schedule/{name}",
        group="housekeeping",
        group_limit=1,
        lane="net",
    )


def test_each_chore_is_a_job_that_says_what_it_did(tmp_path):
    data = tmp_path / "data"
    delivered = tmp_path / "master.wav"
    delivered.write_bytes(b"sound")
    orphan = str(uuid.uuid4())
    with running(data, run="daemon.runner:run", cpu_workers=1) as q:
        result = {"outputs": [{"path": str(delivered), "size": 5, "role": "sound"}], "steps": []}
        # A delivery of long ago, written as the dispatcher writes one.
        order = task_of("sweep", {}).order()
        made = q.run(NewJob(order=order, source="schedule", endpoint="nightly"))
        with sqlite3.connect(q.settings.database, timeout=10) as raw:
            raw.execute("UPDATE jobs SET result = ? WHERE id = ?", (orjson.dumps(result), made.id))
        for parent in (q.settings.scratch, q.settings.results):
            (parent / orphan).mkdir(parents=True)
            os.utime(parent / orphan, (1, 1))
        (q.settings.files / "tmp").mkdir(parents=True)
        for name in ("tmp/old.wav", "tmp/new.wav", "old.wav"):
            (q.settings.files / name).write_bytes(b"sound")
            if "old" in name:
                os.utime(q.settings.files / name, (1, 1))

        told = {}
        for name, params in {
            "sweep": {},
            "ledger": {"jobs": None},
            "database": {},
            "fixity": {"older_than": 0},
            "staged": {"files": "tmp/**", "older_than": "1d"},
        }.items():
            job = q.run(chore(name, **params))
            assert job.state == "completed", job.error
            told[name] = job.result["descriptor"]
        times = delivered.stat()
        delivered.write_bytes(b"SOUND")
        os.utime(delivered, ns=(times.st_atime_ns, times.st_mtime_ns))
        rotten = q.run(chore("fixity", older_than=0))

    assert {k: told["sweep"][k] for k in ("scratch", "results")} == {"scratch": 1, "results": 1}
    assert not (q.settings.results / orphan).exists()
    assert told["database"]["check"] == "integrity_check"
    assert (told["fixity"]["recorded"], told["fixity"]["good"]) == (1, 1)
    assert told["staged"] == {"deleted": 1, "bytes": 5}
    assert sorted(path.name for path in q.settings.files.rglob("*.wav")) == ["new.wav", "old.wav"]
    assert (rotten.state, rotten.error_kind) == ("failed", "Rotten")
    assert "1 of 1 files have other bytes than they were delivered with" in rotten.error
    assert "master.wav" in rotten.error


def test_a_damaged_database_is_told(tmp_path):
    settings = Settings(data_dir=tmp_path)
    store = Store(settings.database)
    Queue(store, Policy(), ManualClock(), lambda: 0.5).submit(
        [NewJob(order="x" * 3000, endpoint="e", source="folder") for _ in range(200)]
    )
    store.commit()
    store.close()
    engine = sa.create_engine(f"sqlite:///{settings.database}")
    with engine.connect() as connection:
        page = connection.exec_driver_sql(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'jobs_by_id'"
        ).scalar()
    engine.dispose()
    with settings.database.open("r+b") as file:
        file.seek((page - 1) * 8192 + 4000)
        file.write(b"\xff" * 4192)

    with pytest.raises(StorageFailed, match="is damaged"):
        housework.do(task_of("database", {}), housework.Tools(settings, lambda _: None))
