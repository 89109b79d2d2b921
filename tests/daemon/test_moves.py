import errno
import os
from pathlib import Path

import pytest

from daemon import moves
from daemon.moves import PART_PREFIX, move, move_numbered, place, remove_empty, rename, write_whole


@pytest.fixture
def other_disk(tmp_path):
    """A folder on another file system than `tmp_path`."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.fail("these tests need /dev/shm as a second file system")
    folder = shm / f"audiolla-test-{os.getpid()}-{os.urandom(4).hex()}"
    folder.mkdir()
    yield folder
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def _refuses(monkeypatch, *answers):
    """Let the kernel's answers be these, one per call, instead of a rename."""
    waiting = list(answers)
    monkeypatch.setattr(moves, "_renameat2", lambda _source, _target: waiting.pop(0))


@pytest.mark.parametrize("kernel", ["with renameat2", "with links only", "with neither"])
def test_a_rename_never_replaces(tmp_path, monkeypatch, kernel):
    a, b, c = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    a.write_text("first")
    b.write_text("second")
    if kernel != "with renameat2":
        _refuses(monkeypatch, errno.EINVAL, errno.ENOSYS)
    if kernel == "with neither":

        def no_links(*_args, **_more):
            raise PermissionError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", no_links)

    with pytest.raises(FileExistsError):
        rename(a, b)
    assert (a.read_text(), b.read_text()) == ("first", "second")
    rename(a, c)
    assert c.read_text() == "first"
    assert not a.exists()


def test_a_rename_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        rename(tmp_path / "nothing", tmp_path / "b")


def test_a_finished_file_gets_its_name_only_if_it_is_free(tmp_path):
    part, final = tmp_path / ".part", tmp_path / "x.wav"
    part.write_text("new")
    final.write_text("old")

    assert not place(part, final)
    assert (part.read_text(), final.read_text()) == ("new", "old")
    assert place(part, final, replace=True)
    assert (part.exists(), final.read_text()) == (False, "new")


def test_a_taken_name_gets_a_number(tmp_path):
    for number in range(3):
        (tmp_path / "in.wav").write_text(str(number))
        move_numbered(tmp_path / "in.wav", tmp_path / "deep" / "er" / "x.wav")

    names = {p.name: p.read_text() for p in (tmp_path / "deep" / "er").iterdir()}
    assert names == {"x.wav": "0", "x (2).wav": "1", "x (3).wav": "2"}


def test_a_move_across_file_systems_keeps_content_and_times(tmp_path, other_disk):
    source = tmp_path / "x.wav"
    source.write_bytes(os.urandom(300_000))
    os.utime(source, ns=(1, 123_456_789_000_000_000))
    content = source.read_bytes()
    move(source, other_disk / "a" / "x.wav")

    moved = other_disk / "a" / "x.wav"
    assert moved.read_bytes() == content
    assert moved.stat().st_mtime_ns == 123_456_789_000_000_000
    assert not source.exists()
    assert [p.name for p in moved.parent.iterdir()] == ["x.wav"]


def test_a_move_across_file_systems_never_replaces(tmp_path, other_disk):
    source, target = tmp_path / "x.wav", other_disk / "x.wav"
    source.write_text("mine")
    target.write_text("his!")

    with pytest.raises(FileExistsError):
        move(source, target)
    assert (source.read_text(), target.read_text()) == ("mine", "his!")
    assert move_numbered(source, target).name == "x (2).wav"


@pytest.mark.parametrize("call", ["copyfile", "fsync_file", "rename", "fsync_folder", "unlink"])
def test_a_move_across_file_systems_can_be_repeated_from_wherever_it_broke_off(
    tmp_path, other_disk, monkeypatch, call
):
    source, target = tmp_path / "x.wav", other_disk / "x.wav"
    source.write_text("the only take")
    owner = {"copyfile": moves.shutil, "unlink": os}.get(call, moves)
    real = getattr(owner, call)

    def breaks(path, *rest, **more):
        # The first rename only finds out that there are two file systems.
        if call == "rename" and path == source:
            return real(path, *rest, **more)
        raise OSError(errno.EIO, "the cable came loose")

    with monkeypatch.context() as patch:
        patch.setattr(owner, call, breaks)
        with pytest.raises(OSError, match="cable"):
            move(source, target)
    assert source.read_text() == "the only take"
    move(source, target)

    assert target.read_text() == "the only take"
    assert not source.exists()
    assert [p.name for p in other_disk.iterdir() if p.name.startswith(PART_PREFIX)] == []


def test_a_link_is_moved_across_file_systems_by_nobody(tmp_path, other_disk):
    (tmp_path / "link.wav").symlink_to("/etc/passwd")

    with pytest.raises(OSError, match="not a plain file"):
        move(tmp_path / "link.wav", other_disk / "x.wav")


def test_a_small_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    note = tmp_path / "note.json"
    write_whole(note, b"first")

    def no_room(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_room)
        with pytest.raises(OSError, match="No space"):
            write_whole(note, b"second")
    assert note.read_bytes() == b"first"
    assert [p.name for p in tmp_path.iterdir()] == ["note.json"]


def test_only_empty_folders_are_removed_and_only_below_the_root(tmp_path):
    (tmp_path / "root/a/b/c").mkdir(parents=True)
    (tmp_path / "root/a/keep.wav").touch()
    remove_empty(tmp_path / "root/a/b/c", tmp_path / "root")
    assert [p.name for p in (tmp_path / "root/a").iterdir()] == ["keep.wav"]

    (tmp_path / "root/a/keep.wav").unlink()
    remove_empty(tmp_path / "root/a", tmp_path / "root")
    remove_empty(tmp_path / "root", tmp_path / "root")
    assert [p.name for p in tmp_path.iterdir()] == ["root"]


def test_many_folders_are_made_durable_at_once(tmp_path, monkeypatch):
    folders = [tmp_path / str(number) for number in range(20)]
    for folder in folders:
        folder.mkdir()
    one_by_one = []
    monkeypatch.setattr(moves, "fsync_folder", one_by_one.append)

    moves.fsync_folders(folders)
    assert one_by_one == []
    moves.fsync_folders(folders[:2])
    assert one_by_one == folders[:2]
