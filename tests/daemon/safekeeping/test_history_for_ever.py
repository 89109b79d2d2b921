"""`audiolla history` answers for every file, whatever has become of the records of its jobs."""

import json

import pytest

from daemon.cli import main
from daemon.client import News
from daemon.faults import Fault
from tests.daemon.safekeeping.studio import Workshop
from tests.sounds import noise, write_wav


@pytest.fixture
def shop(tmp_path):
    rules = """
    rules:
      - {name: talk, match: {ext: wav}, steps: [{trim: {end_sec: 0.05}}]}
    """
    s = Workshop(tmp_path, rules)
    s.drop_sounds("good.wav")
    s.drop("sub/deep.wav", write_wav(noise(seconds=0.2), tmp_path / "n2.wav").read_bytes())
    s.pass_time(5.0, steps=2)
    s.work()
    s.settle()
    s.drop("bad.wav", write_wav(noise(seconds=0.3), tmp_path / "n3.wav").read_bytes())
    s.pass_time(5.0, steps=2)
    (held,) = s.desk.queue.next_jobs("cpu", 1)
    s.desk.queue.claim(held, "test")
    s.desk.queue.fail(held, Fault("CannotProcess", "it is too short"))
    s.desk.store.commit()
    s.manager.heard(News(state="failed", id=held.id))
    s.settle()
    s.drop("notes.doc", b"no rule takes this")
    s.pass_time(60.0, steps=4)
    assert s.files("failed") == ["bad.wav", "bad.wav.json", "notes.doc", "notes.doc.json"]
    yield s
    s.crash()


def forget_everything(shop):
    """As the ledger's retention does, and a user who deletes what is left."""
    shop.clock.advance(400 * 86_400.0)
    after = 0
    while after is not None:
        _, after = shop.desk.queue.forget_ledger(86_400.0, after)
    shop.desk.store.commit()
    for job in shop.reader.jobs(None, 100):
        shop.desk.queue.delete(job.id)
    shop.desk.store.commit()
    assert shop.reader.jobs(None, 100) == []


def told(shop, capsys, file):
    capsys.readouterr()
    code = main(["history", str(file), "--json", "--data-dir", str(shop.settings.data_dir)])
    lines = capsys.readouterr().out.splitlines()
    return code, [json.loads(line) for line in lines]


def test_every_file_is_answered_for_after_its_job_was_forgotten(shop, capsys, tmp_path):
    forget_everything(shop)
    out = shop.root / "out/good.wav"
    elsewhere = tmp_path / "archive" / "renamed.wav"
    elsewhere.parent.mkdir()
    out.rename(elsewhere)

    for asked in ("good.wav", shop.root / "good.wav", shop.root / "done/good.wav", out, elsewhere):
        code, (story,) = told(shop, capsys, asked)
        assert code == 0, asked
        take, put = story["events"]
        assert (take["do"], take["rel"]) == ("take", "good.wav")
        assert (put["stage"], put["steps"]) == ("done", ["trim"])
        assert put["outputs"][0]["path"] == str(out)
    assert told(shop, capsys, "deep.wav")[1][0]["events"][0]["rel"] == "sub/deep.wav"
    code, (story,) = told(shop, capsys, shop.root / "failed/bad.wav")
    assert story["events"][-1]["reason"]["error"] == "it is too short"
    code, (story,) = told(shop, capsys, "notes.doc")
    assert story["events"][-1]["stage"] == "failed", "also where there never was a job"


def test_and_after_the_database_is_gone_altogether(shop, capsys):
    shop.crash()
    shop.settings.database.unlink()
    assert told(shop, capsys, "good.wav")[0] == 0
    shop.open()
    assert sorted(job.input_name for job in shop.reader.jobs("completed", 10)) == [
        "good.wav",
        "sub/deep.wav",
    ]


def test_a_backup_takes_the_history_along(shop, capsys, tmp_path):
    forget_everything(shop)
    archive = tmp_path / "a.backup"
    data = str(shop.settings.data_dir)
    assert main(["backup", str(archive), "--data-dir", data]) == 0
    other = tmp_path / "other"
    assert main(["restore", str(archive), "--data-dir", str(other)]) == 0
    capsys.readouterr()
    assert main(["history", "good.wav", "--data-dir", str(other)]) == 0
    words = capsys.readouterr().out
    assert "came into podcast as good.wav" in words
    assert "trim by rule talk" in words
