"""What decides what is done is believed only where nobody else could have written it."""

import os

import pytest

from daemon.schedules.timetable import Timetable
from daemon.settings import Settings
from daemon.trusted import read_trusted
from tests.daemon.inboxes import Studio


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "box"
    folder.mkdir(mode=0o755)
    file = folder / "rules.yaml"
    file.write_text("rules: []")
    file.chmod(0o644)
    return file


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o775, 0o1777])
def test_a_folder_of_ones_own_or_a_sticky_one_is_good(file, mode):
    file.parent.chmod(mode)
    assert read_trusted(file) == b"rules: []"


@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_a_folder_that_everybody_may_write_to_is_not(file, mode):
    file.parent.chmod(mode)
    with pytest.raises(PermissionError, match="others may write to its folder") as refused:
        read_trusted(file)
    assert "AUDIOLLA_TRUST_SHARED_FOLDERS" in str(refused.value)
    assert read_trusted(file, shared=True) == b"rules: []"


def test_nor_one_of_a_group_that_is_not_the_daemons(file, monkeypatch):
    file.parent.chmod(0o775)
    monkeypatch.setattr(os, "getegid", lambda: 4711)
    with pytest.raises(PermissionError, match="folder"):
        read_trusted(file)


def test_nor_one_of_another_user(file, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(PermissionError) if os.getuid() else _nothing():
        read_trusted(file)


class _nothing:  # noqa: N801 - a context, as `raises` is: root's files are believed
    def __enter__(self):
        pass

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize("mode", [0o666, 0o646])
def test_whatever_the_folder_a_file_that_others_may_write_is_not_believed(file, mode):
    file.chmod(mode)
    for shared in (False, True):
        with pytest.raises(PermissionError, match="others may write it"):
            read_trusted(file, shared=shared)


def test_a_link_and_a_pipe_are_no_configuration(file, tmp_path):
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    os.mkfifo(tmp_path / "pipe.yaml")
    for one in (link, tmp_path / "pipe.yaml"):
        with pytest.raises(OSError, match="plain file|symbolic links"):
            read_trusted(one)


def test_rules_in_a_folder_that_others_may_write_to_do_nothing_until_that_is_mended(tmp_path):
    s = Studio(tmp_path)
    s.root.chmod(0o777)
    s.drop("take.wav")
    s.manager.turn()
    assert s.queue.jobs == {}
    assert "may write to its folder" in s.manager.status().broken[0].problems[0]

    s.root.chmod(0o755)
    s.pass_time(5.0, steps=2)
    assert s.names == ["take.wav"]


def test_a_setting_says_that_they_do(tmp_path):
    s = Studio(tmp_path)
    s.settings = s.settings.model_copy(update={"trust_shared_folders": True})
    s.restart()
    s.root.chmod(0o777)
    s.drop("take.wav")
    s.manager.turn()
    assert s.names == ["take.wav"]


class EmptyBook:
    def changed(self):
        return None

    def schedules(self):
        return {}


def test_schedules_in_such_a_folder_are_not_in_force(tmp_path, monkeypatch):
    file = tmp_path / "schedules.yaml"
    file.write_text('schedules: [{name: nightly, cron: "0 3 * * *", chore: ledger}]')
    monkeypatch.setattr(Timetable, "_look_at_book", lambda self: None)
    own = set(Timetable(Settings(data_dir=tmp_path), EmptyBook()).current().schedules)
    tmp_path.chmod(0o777)
    now = Timetable(Settings(data_dir=tmp_path), EmptyBook()).current()
    trusting = Settings(data_dir=tmp_path, trust_shared_folders=True)
    believed = set(Timetable(trusting, EmptyBook()).current().schedules)

    assert "nightly" in own
    assert "nightly" not in now.schedules
    assert "may write to its folder" in now.problems[0]
    assert believed == own
