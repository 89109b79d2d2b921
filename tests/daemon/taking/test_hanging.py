"""A folder whose disk does not answer keeps nobody else waiting, and goes on by itself."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from daemon.clock import SystemClock
from daemon.folders import FolderManager
from daemon.settings import Settings
from daemon.taking import turning
from daemon.taking.patience import NoAnswer, Patient
from tests.daemon.inboxes import FakeQueue, wav

_CALLS = ("stat", "lstat", "scandir", "open", "mkdir", "unlink", "statvfs", "access")
_LONG = 60  # seconds: far more than a loaded machine needs


class Share:
    """A folder whose every system call waits in the kernel while its server is gone."""

    def __init__(self, root, patch):
        self.root = os.fspath(root)
        self._there = threading.Event()
        self._there.set()
        self.asked = threading.Event()
        for name in _CALLS:
            patch.setattr(os, name, self._waiting(getattr(os, name)))

    def _waiting(self, call):
        def asked(path, *args, **kwargs):
            if not isinstance(path, int) and os.fspath(path).startswith(self.root):
                if not self._there.is_set():
                    self.asked.set()
                assert self._there.wait(_LONG)
            return call(path, *args, **kwargs)

        return asked

    def goes(self):
        self.asked.clear()
        self._there.clear()

    def comes_back(self):
        self._there.set()


class Noticing(FakeQueue):
    """Tells when a job of a file has come."""

    def __init__(self):
        super().__init__()
        self.came = threading.Condition()

    def submit(self, jobs):
        with self.came:
            answers = super().submit(jobs)
            self.came.notify_all()
        return answers

    def wait_for(self, name):
        with self.came:
            return self.came.wait_for(
                lambda: any(job.input_name == name for job in self.jobs.values()), _LONG
            )


@pytest.fixture
def two(tmp_path, monkeypatch):
    """Folders `local` and `nas` of one running manager, and the share that `nas` lies on."""
    monkeypatch.setattr("daemon.taking.patience.PATIENCE", 0.2)
    monkeypatch.setattr(turning, "LONG", 0.2)
    settings = Settings(data_dir=tmp_path / "data", rescan_interval=0.05)
    for name in ("local", "nas"):
        (settings.folders / name).mkdir(parents=True)
        (settings.folders / name / "rules.yaml").write_text("rules: [{name: all}]")
    share = Share(settings.folders / "nas", monkeypatch)
    queue = Noticing()
    manager = FolderManager(settings, queue, queue, clock=SystemClock())
    yield settings.folders, share, queue, manager
    share.comes_back()
    manager.stop()


def drop(folder, name):
    part = folder.parent.parent / "incoming"
    part.write_bytes(wav())
    os.rename(part, folder / name)


def test_a_share_that_hangs_stops_no_other_folder_and_goes_on_when_it_answers(two):
    folders, share, queue, manager = two
    manager.start()
    drop(folders / "nas", "before.wav")
    drop(folders / "local", "before too.wav")
    assert queue.wait_for("before.wav")
    assert queue.wait_for("before too.wav")

    share.goes()
    assert share.asked.wait(_LONG)
    drop(folders / "local", "meanwhile.wav")
    assert queue.wait_for("meanwhile.wav")
    told = {one.name: one.problem for one in manager.scan(timeout=5).folders}
    assert told["local"] == ""
    assert "has not answered for" in told["nas"]

    share.comes_back()
    drop(folders / "nas", "after.wav")
    assert queue.wait_for("after.wav")
    manager.scan(timeout=_LONG)
    assert [one.problem for one in manager.status().folders] == ["", ""]
    assert len(queue.jobs) == 4


def test_a_share_that_hangs_at_the_start_stops_no_other_folder(two):
    folders, share, queue, manager = two
    share.goes()
    manager.start()
    drop(folders / "local", "take.wav")
    assert queue.wait_for("take.wav")
    assert "does not answer" in manager.status().trouble

    share.comes_back()
    drop(folders / "nas", "take.wav")
    drop(folders / "nas", "other.wav")
    assert queue.wait_for("other.wav")


def test_rules_of_others_change_while_a_share_hangs(two):
    folders, share, queue, manager = two
    manager.start()
    drop(folders / "local", "first.wav")
    assert queue.wait_for("first.wav")
    share.goes()
    assert share.asked.wait(_LONG)
    (folders / "local" / "rules.yaml").write_text("rules: [{name: another}]")
    manager.scan(timeout=_LONG)
    drop(folders / "local", "second.wav")
    assert queue.wait_for("second.wav")
    endpoints = {job.input_name: job.endpoint for job in queue.jobs.values()}
    assert endpoints == {"first.wav": "local/all", "second.wav": "local/another"}


def test_nobody_waits_for_a_hanging_folder_who_wants_something_of_it(two):
    folders, share, queue, manager = two
    manager.start()
    drop(folders / "nas", "take.wav")
    assert queue.wait_for("take.wav")
    manager.scan(timeout=_LONG)
    (job,) = queue.jobs
    share.goes()
    assert share.asked.wait(_LONG)

    with ThreadPoolExecutor(1) as other:
        with pytest.raises(NoAnswer, match="does not answer"):
            other.submit(manager.bring_back, job).result(_LONG)
        share.comes_back()


# -- questions -------------------------------------------------------------------------------------
def test_a_late_answer_is_given_to_whoever_asks_next():
    go_on, asked = threading.Event(), []
    patient = Patient(0.05)

    def question():
        asked.append(1)
        assert go_on.wait(_LONG)
        return "late"

    for _ in range(2):
        with pytest.raises(NoAnswer, match="/mnt/nas"):
            patient.ask(("stat", "/mnt/nas"), question)
    assert patient.ask(("stat", "/mnt/other"), lambda: "at once") == "at once"
    go_on.set()
    wait(patient.unanswered, _LONG)
    assert patient.ask(("stat", "/mnt/nas"), question) == "late"
    assert asked == [1]


def test_what_a_question_raises_is_raised_to_whoever_asked():
    def missing():
        raise FileNotFoundError("no such file")

    with pytest.raises(FileNotFoundError):
        Patient(5).ask("a file", missing)
