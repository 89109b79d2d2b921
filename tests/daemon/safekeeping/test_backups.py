"""Backups: made while the daemon works, and the same when they are restored."""

import json
import stat
import tarfile
import threading

import pytest

from daemon.cli import main
from daemon.clock import SystemClock
from daemon.faults import UnusableDatabase
from daemon.jobs import NewJob
from daemon.reader import JobReader
from daemon.safekeeping.archive import BackupFailed, back_up
from daemon.safekeeping.opening import open_store
from daemon.safekeeping.restoring import restore, verify
from daemon.settings import Settings
from tests.daemon.safekeeping.studio import Desk, Workshop

CLOCK = SystemClock()


def jobs_of(settings):
    return {job.id: job for job in JobReader(settings.database).jobs(None, 10_000)}


@pytest.fixture
def shop(tmp_path):
    s = Workshop(tmp_path)
    s.drop_sounds("a.wav", "b.wav")
    s.settle()
    s.work()
    s.settle()
    data = s.settings.data_dir
    (data / "schedules.yaml").write_text("schedules: {}\n")
    (data / "presets").mkdir()
    (data / "presets/mine.yaml").write_text("steps: [normalize]\n")
    (data / "rules").mkdir()
    (data / "rules/common.yaml").write_text("# shared\n")
    main(["token", "create", "daw", "--data-dir", str(data)])
    yield s
    s.crash()


def test_restored_elsewhere_it_is_the_same(shop, tmp_path):
    archive = tmp_path / "a.backup"
    back_up(shop.settings, archive, CLOCK)
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    other = Settings(data_dir=tmp_path / "other")

    restore(other, archive, CLOCK)

    assert jobs_of(other) == jobs_of(shop.settings)
    assert len(jobs_of(other)) == 2
    was, now = shop.settings.data_dir, other.data_dir
    for name in (
        "schedules.yaml",
        "presets/mine.yaml",
        "rules/common.yaml",
        "tokens.json",
        "folders/podcast/rules.yaml",
    ):
        assert (now / name).read_bytes() == (was / name).read_bytes(), name
    (month,) = (was / "journal").iterdir()
    assert (now / "journal" / month.name).read_bytes() == month.read_bytes()
    assert stat.S_IMODE((now / "tokens.json").stat().st_mode) == 0o600
    assert not list(now.rglob("*.wav")), "no sounds"
    assert not list(now.glob(".restore-*"))


def test_a_backup_under_load_is_one_moment_of_the_queue(tmp_path):
    """Batches of ten are committed together: no backup has a part of one."""
    settings = Settings(data_dir=tmp_path / "data")
    settings.data_dir.mkdir()
    desk = Desk(settings, CLOCK)
    acknowledged, stop = [0], threading.Event()

    def load():
        while not stop.is_set() and acknowledged[0] < 9_000:
            desk.submit([NewJob(order="{}", source="rest", endpoint="/") for _ in range(10)])
            acknowledged[0] += 10

    thread = threading.Thread(target=load)
    thread.start()
    try:
        taken = []
        for number in range(5):
            before = acknowledged[0]
            archive = tmp_path / f"{number}.backup"
            back_up(settings, archive, CLOCK)
            taken.append((before, archive, acknowledged[0]))
    finally:
        stop.set()
        thread.join()
        desk.close()
    assert acknowledged[0] > 50, "there was a load"
    everything = {job.id: job for job in JobReader(settings.database).jobs(None, 10**6)}
    for before, archive, after in taken:
        other = Settings(data_dir=tmp_path / f"of {archive.stem}")
        restore(other, archive, CLOCK)
        restored = jobs_of(other)
        count = len(restored)
        assert before <= count <= after + 10
        assert count % 10 == 0
        assert all(job == everything[job.id] for job in restored.values())


def test_what_came_after_the_backup_is_neither_lost_nor_done_again(shop, tmp_path):
    shop.drop_sounds("c.wav", "d.wav")
    shop.pass_time(5.0, steps=2)
    archive = tmp_path / "a.backup"
    back_up(shop.settings, archive, CLOCK)  # c and d wait
    shop.work()
    shop.settle()
    shop.drop_sounds("e.wav")
    shop.pass_time(5.0, steps=2)
    shop.work(tell=False)
    shop.drop_sounds("f.wav")
    shop.crash()

    done = restore(shop.settings, archive, CLOCK)

    assert done.report.from_journal == {"completed": 2}
    assert len(done.report.delivered) == 1
    shop.open()
    shop.pass_time(5.0, steps=2)
    assert shop.work() == 1
    shop.pass_time(20.0, steps=2)
    names = [f"{letter}.wav" for letter in "abcdef"]
    assert shop.files("done") == names
    assert shop.files("out") == names
    assert {job.state for job in jobs_of(shop.settings).values()} == {"completed"}


def test_what_was_there_is_set_aside(shop, tmp_path):
    archive = tmp_path / "a.backup"
    back_up(shop.settings, archive, CLOCK)
    rules = shop.root / "rules.yaml"
    rules.write_text("rules: [{name: other}]")
    shop.crash()

    done = restore(shop.settings, archive, CLOCK)

    aside = tmp_path / "data" / "before-restore"
    assert str(aside) in done.set_aside
    (kept,) = aside.rglob("folders/podcast/rules.yaml")
    assert "other" in kept.read_text()
    assert "trim" in rules.read_text()
    assert list(aside.rglob("audiolla.db"))
    shop.open()


def test_a_running_daemon_is_not_restored_over(tmp_path, capsys):
    settings = Settings(data_dir=tmp_path / "data")
    settings.data_dir.mkdir()
    open_store(settings, CLOCK).close()
    archive = tmp_path / "a.backup"
    back_up(settings, archive, CLOCK)
    from daemon.safekeeping import lock

    with lock.hold(settings):
        with pytest.raises(UnusableDatabase, match="in use"):
            restore(settings, archive, CLOCK)
        assert main(["restore", str(archive), "--data-dir", str(tmp_path / "data")]) == 3
    assert "in use by another daemon" in capsys.readouterr().err


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9, 0.999])
def test_a_backup_that_was_changed_is_refused_before_anything_is_touched(shop, tmp_path, where):
    archive = tmp_path / "a.backup"
    back_up(shop.settings, archive, CLOCK)
    data = bytearray(archive.read_bytes())
    data[int(len(data) * where)] ^= 0x10
    archive.write_bytes(data)
    other = Settings(data_dir=tmp_path / "other")

    with pytest.raises(BackupFailed, match="no whole backup"):
        restore(other, archive, CLOCK)
    assert [p.name for p in other.data_dir.iterdir()] == ["dispatcher.lock"]


def test_one_that_was_cut_short_or_packed_by_somebody_else_is_refused(shop, tmp_path):
    archive = tmp_path / "a.backup"
    back_up(shop.settings, archive, CLOCK)
    archive.write_bytes(archive.read_bytes()[:-400])
    with pytest.raises(BackupFailed, match="no whole backup"):
        verify(archive)
    evil = tmp_path / "evil.backup"
    with tarfile.open(evil, "w:gz") as tar:
        about = tarfile.TarInfo("rules/../../../evil.yaml")
        tar.addfile(about)
    with pytest.raises(BackupFailed, match="no member like"):
        verify(evil)
    link = tmp_path / "link.backup"
    with tarfile.open(link, "w:gz") as tar:
        about = tarfile.TarInfo("rules/a.yaml")
        about.type, about.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(about)
    with pytest.raises(BackupFailed, match="no member like"):
        verify(link)


def test_the_commands_say_what_they_did(shop, tmp_path, capsys):
    data = str(shop.settings.data_dir)
    archive = str(tmp_path / "a.backup")
    assert main(["backup", archive, "--json", "--data-dir", data]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["jobs"] == {"completed": 2}
    assert main(["backup", archive, "--data-dir", data]) == 3
    assert "already" in capsys.readouterr().err
    assert main(["restore", "--check", archive]) == 0
    assert "2 jobs" in capsys.readouterr().out
    assert main(["restore", archive, "--data-dir", str(tmp_path / "other"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] > 5
