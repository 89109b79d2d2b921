"""The database file itself: migrations, damage, a full disk, readers beside the writer."""

import sqlite3

import pytest
import sqlalchemy as sa

from daemon import schema
from daemon.clock import ManualClock
from daemon.faults import UnusableDatabase
from daemon.jobs import NewJob
from daemon.queue import Policy, Queue
from daemon.reader import JobReader
from daemon.reserve import Reserve
from daemon.store import Store


def jobs(count=1, **about):
    about = {"order": "{}", "source": "rest", "endpoint": "/", **about}
    return [NewJob(**about) for _ in range(count)]


def queue_over(store):
    return Queue(store, Policy(), ManualClock(), lambda: 0.5)


def test_the_migrations_make_the_tables_that_the_program_knows(tmp_path):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    Store(tmp_path / "a.db").close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, schema.metadata) == []
        assert context.get_current_revision() == schema.HEAD
    assert ScriptDirectory("daemon/migrations").get_heads() == [schema.HEAD]

    made = {name: sql for name, sql in _indexes(engine) if sql}
    declared = sa.create_engine("sqlite://")
    schema.metadata.create_all(declared)
    assert made == {name: sql for name, sql in _indexes(declared) if sql}


def _indexes(engine):
    with engine.connect() as connection:
        query = "SELECT name, lower(replace(sql, '\"', '')) FROM sqlite_master WHERE type='index'"
        return [
            (name, sql and " ".join(sql.replace("jobs.", "").split()))
            for name, sql in connection.exec_driver_sql(query)
        ]


def test_a_database_that_is_up_to_date_is_opened_without_alembic(tmp_path):
    import subprocess
    import sys

    Store(tmp_path / "a.db").close()
    code = (
        "import sys; from pathlib import Path; from daemon.store import Store\n"
        f"Store(Path({str(tmp_path / 'a.db')!r})).close()\n"
        "print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_newer_database_is_refused_with_what_to_do(tmp_path):
    Store(tmp_path / "a.db").close()
    with sqlite3.connect(tmp_path / "a.db") as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9000'")

    said = rf"newer audiolla \(its tables are at 9000, .*{schema.HEAD}"
    with pytest.raises(UnusableDatabase, match=said):
        Store(tmp_path / "a.db")


def test_a_damaged_database_is_refused(tmp_path):
    path = tmp_path / "a.db"
    store = Store(path)
    queue_over(store).submit(jobs(300, input_name="x" * 500))
    store.commit()
    store.close()
    data = bytearray(path.read_bytes())
    data[5 * 8192 : 12 * 8192] = b"\xff" * (7 * 8192)
    path.write_bytes(data)

    with pytest.raises((UnusableDatabase, sa.exc.DatabaseError), match=r"damaged|malformed"):
        Store(path)


def test_every_commit_is_synced_and_the_schema_is_not_trusted(tmp_path):
    store = Store(tmp_path / "a.db")
    pragmas = {
        name: store._connection.exec_driver_sql(f"PRAGMA {name}").scalar()
        for name in ("journal_mode", "synchronous", "trusted_schema", "busy_timeout", "mmap_size")
    }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,  # FULL
        "trusted_schema": 0,
        "busy_timeout": 5000,
        "mmap_size": 0,
    }
    store.close()


def test_the_next_jobs_are_read_from_an_index_in_their_order(tmp_path):
    store = Store(tmp_path / "a.db")
    sql = store._prepared["ready"]._sql
    plan = store._connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", ("cpu", "", 1, 0)).all()
    assert len(plan) == 1
    assert "USING INDEX jobs_ready (lane=? AND group=?)" in plan[0][-1]
    store.close()


def test_a_reader_cannot_write(tmp_path):
    Store(tmp_path / "a.db").close()
    with (
        schema.reader_engine(tmp_path / "a.db").connect() as connection,
        pytest.raises(sa.exc.OperationalError, match="readonly"),
    ):
        connection.exec_driver_sql("DELETE FROM jobs")


def test_a_reader_sees_what_is_committed_and_nothing_else(tmp_path):
    store = Store(tmp_path / "a.db")
    queue = queue_over(store)
    reader = JobReader(tmp_path / "a.db")
    queue.submit(jobs(3))
    assert reader.jobs() == []
    store.commit()

    first, second, third = reader.jobs()
    assert reader.jobs(limit=1) == [first]
    assert reader.jobs(after=first.seq) == [second, third]
    assert reader.jobs(newest_first=True, limit=2) == [third, second]
    assert reader.jobs(newest_first=True, after=third.seq) == [second, first]
    assert reader.jobs(status="failed") == []
    assert reader.known([first.id, "nobody"]) == {first.id: "pending"}
    store.close()


def test_on_a_full_disk_a_turn_is_kept_until_there_is_room(tmp_path):
    full = []

    def make_room():
        full.append(True)
        if len(full) == 3:
            store._connection.exec_driver_sql("PRAGMA max_page_count = 100000")

    store = Store(tmp_path / "a.db", when_full=make_room)
    queue = queue_over(store)
    queue.submit(jobs(1, input_name="before"))
    store.commit()
    (held,) = queue.next_jobs("cpu", 1)
    queue.claim(held, "cpu-1 (7)")
    store.commit()
    pages = store._connection.exec_driver_sql("PRAGMA page_count").scalar()
    store._connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    store.commit()

    queue.complete(held, {"ok": True})
    queue.submit(jobs(200, input_name="x" * 1000))
    queue.submit(jobs(200, input_name="y" * 1000))
    store.commit()

    assert len(full) == 3
    reader = JobReader(tmp_path / "a.db")
    assert reader.counts()["pending"] == 400
    assert reader.job(held.id).result == {"ok": True}
    store.close()


def test_a_reserve_is_given_up_once_and_taken_back(tmp_path):
    pauses = []
    reserve = Reserve(tmp_path / "reserve", pause=pauses.append)
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= 64 * 2**20
    reserve.give()
    assert reserve.spent
    assert not (tmp_path / "reserve").exists()
    assert pauses == []
    reserve.give()
    assert len(pauses) == 1

    assert reserve.restore()
    assert not reserve.spent
    assert (tmp_path / "reserve").exists()
