"""A database that was damaged: nothing dropped is lost, nothing is done twice, all is told."""

import json
import os
import sqlite3

import pytest

from daemon.clock import ManualClock
from daemon.faults import UnusableDatabase
from daemon.reader import JobReader
from daemon.safekeeping.opening import open_store, reports, restoring
from daemon.service import QueueService
from daemon.settings import Settings
from tests.daemon.safekeeping.studio import Workshop
from tests.daemon.test_store import jobs, queue_over


def pages(path, first, last=None):
    data = bytearray(path.read_bytes())
    last = len(data) // 8192 if last is None else last
    data[first * 8192 : last * 8192] = b"\xff" * ((last - first) * 8192)
    path.write_bytes(data)


DAMAGES = {
    "its pages but the first are gone": lambda path: pages(path, 1),
    "its header is gone": lambda path: pages(path, 0, 1),
    "it is empty": lambda path: path.write_bytes(b""),
    "it is not there": lambda path: path.unlink(),
    "something else is there": lambda path: path.write_bytes(b"I am a letter." * 4000),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_nothing_dropped_is_lost_and_nothing_is_done_twice(tmp_path, damage):
    s = Workshop(tmp_path)
    s.drop_sounds("a.wav", "b.wav")
    s.settle()
    s.work()
    s.settle()
    assert s.files("done") == ["a.wav", "b.wav"]
    s.drop_sounds("c.wav", "d.wav", "e.wav", "f.wav")
    s.pass_time(5.0, steps=2)
    s.work(2, tell=False)
    delivered = {name: os.stat(s.root / "out" / name).st_ino for name in s.files("out")}
    assert len(delivered) == 4
    s.crash()
    s.drop_sounds("g.wav")
    damage(s.settings.database)
    is_now = s.settings.database.read_bytes() if s.settings.database.exists() else None

    s.open()
    s.pass_time(5.0, steps=2)
    left = s.work()
    s.pass_time(20.0, steps=2)

    assert left == 3, "those that were not worked on, and the one that came meanwhile"
    names = [f"{letter}.wav" for letter in "abcdefg"]
    assert s.files("done") == names
    assert s.files("out") == names, "and no `a (2).wav`"
    assert {n: os.stat(s.root / "out" / n).st_ino for n in delivered} == delivered
    assert s.files("processing") == []
    states = [job.state for job in s.reader.jobs(None, 100)]
    assert states == ["completed"] * 7
    (report,) = reports(s.settings)
    told = json.loads(report.read_text())
    assert told["from_journal"] == {"completed": 2}
    assert len(told["delivered"]) == 2
    assert len(told["again"]) == 2
    if is_now:
        kept = report.with_name("audiolla.db").read_bytes()
        assert kept[100:] == is_now[100:], "what was damaged is kept as it was"
    s.crash()


def test_of_a_damaged_file_every_row_is_kept_that_can_be_read(tmp_path):
    settings = Settings(data_dir=tmp_path)
    store = open_store(settings, ManualClock())
    queue_over(store).submit(jobs(400, input_name="x" * 500))
    store.commit()
    store.close()
    whole = {job.id: job for job in JobReader(settings.database).jobs(None, 1000)}
    middle = settings.database.stat().st_size // 8192 // 2
    pages(settings.database, middle, middle + 8)

    open_store(settings, ManualClock()).close()

    kept = {job.id: job for job in JobReader(settings.database).jobs(None, 1000)}
    told = json.loads(reports(settings)[0].read_text())
    assert 400 - 8 * 16 <= len(kept) < 400, "at most what lay on the eight pages"
    assert told["salvaged"]["jobs"] == len(kept)
    assert told["lost"]
    assert all(job == whole[job.id] for job in kept.values())
    with sqlite3.connect(settings.database) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_whether_it_was_delivered_is_not_guessed(tmp_path):
    """Without manifests nobody can tell: the file goes to `failed`, with the reason beside it."""
    s = Workshop(
        tmp_path, "rules: [{name: all, manifest: false, steps: [{trim: {end_sec: 0.05}}]}]"
    )
    s.drop_sounds("a.wav", "b.wav")
    s.settle()
    s.work(1, tell=False)
    s.crash()
    pages(s.settings.database, 0)

    s.open()
    s.settle()
    s.pass_time(20.0, steps=2)

    assert s.work() == 0
    assert s.files("failed") == ["a.wav", "a.wav.json", "b.wav", "b.wav.json"]
    assert "not known" in json.loads((s.root / "failed/a.wav.json").read_text())["error"]
    assert s.files("out") == ["a.wav"]
    s.crash()


def test_a_rebuilding_that_was_cut_short_is_finished(tmp_path, monkeypatch):
    s = Workshop(tmp_path)
    s.drop_sounds("a.wav", "b.wav")
    s.settle()
    s.work()
    s.settle()
    s.crash()
    pages(s.settings.database, 1)

    renames = []

    def dies(source, target):
        renames.append(target)
        if str(target).endswith("audiolla.db"):
            raise KeyboardInterrupt
        return real(source, target)

    real = os.replace
    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        open_store(s.settings, s.clock)
    monkeypatch.undo()

    s.open()
    assert [job.state for job in s.reader.jobs(None, 10)] == ["completed"] * 2
    assert len(reports(s.settings)) == 1
    s.crash()


def test_readyz_points_at_the_report_until_somebody_took_it_away(tmp_path):
    settings = Settings(data_dir=tmp_path)
    settings.database.write_bytes(b"I am a letter." * 4000)
    open_store(settings, ManualClock()).close()
    service = QueueService(settings, SilentClient(), JobReader(settings.database))

    (note,) = (note for note in service.vitals().notes if "rebuilt" in note)
    assert str(reports(settings)[0]) in note
    (tmp_path / "damaged").rename(tmp_path / "looked-at")
    assert not any("rebuilt" in note for note in service.vitals().notes)


class SilentClient:
    def stats(self):
        return {"workers": [], "totals": []}


def test_a_restore_that_was_cut_short_must_be_done_again(tmp_path):
    settings = Settings(data_dir=tmp_path)
    restoring(settings).touch()
    with pytest.raises(UnusableDatabase, match="restore"):
        open_store(settings, ManualClock())
