import os
import threading
import time

import pytest

from daemon import mounts
from daemon.mounts import mount_of
from daemon.watch import Deaf, Events, Inbox, is_ignored

LONG_AGO = -1000.0  # seconds: far enough for a directory not to count as racy


def touch(path, age=LONG_AGO):
    """A file in a folder whose modification time is `age` seconds from now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    at = time.time() + age
    os.utime(path.parent, (at, at))


def rescan(inbox, now=None, **more):
    found = []
    inbox.rescan(time.time() if now is None else now, found.append, **more)
    return sorted(os.path.relpath(path, inbox.root) for path in found)


class Listings:
    """Counts the directories that are listed."""

    def __init__(self, monkeypatch):
        self.count = 0
        real = os.scandir

        def counted(path):
            self.count += 1
            return real(path)

        monkeypatch.setattr(os, "scandir", counted)

    def since(self):
        count, self.count = self.count, 0
        return count


def test_a_file_is_told_once(tmp_path):
    inbox = Inbox(tmp_path)
    touch(tmp_path / "a.wav")
    touch(tmp_path / "b" / "c.wav")

    assert rescan(inbox) == ["a.wav", "b/c.wav"]
    assert rescan(inbox) == []
    assert rescan(inbox, everything=True) == []
    assert len(inbox) == 2


def test_only_directories_that_changed_are_listed(tmp_path, monkeypatch):
    for folder in range(10):
        touch(tmp_path / f"{folder}" / "x.wav")
    os.utime(tmp_path, (time.time() + LONG_AGO,) * 2)
    inbox, listings = Inbox(tmp_path), Listings(monkeypatch)
    rescan(inbox)
    assert listings.since() == 11
    rescan(inbox)
    assert listings.since() == 0

    touch(tmp_path / "3" / "new.wav", age=-500)
    assert rescan(inbox) == ["3/new.wav"]
    assert listings.since() == 1


def test_a_directory_that_changed_a_moment_ago_is_listed_again(tmp_path):
    inbox = Inbox(tmp_path)
    touch(tmp_path / "a.wav", age=0)
    stamp = os.stat(tmp_path).st_mtime_ns
    assert rescan(inbox) == ["a.wav"]
    # A second file within the same tick of the file system's clock: the time does not move.
    (tmp_path / "b.wav").touch()
    os.utime(tmp_path, ns=(stamp, stamp))

    assert rescan(inbox) == ["b.wav"]


def test_the_full_net_finds_what_no_modification_time_tells(tmp_path):
    inbox = Inbox(tmp_path)
    touch(tmp_path / "a.wav")
    rescan(inbox)
    stamp = os.stat(tmp_path).st_mtime_ns
    (tmp_path / "b.wav").touch()
    os.utime(tmp_path, ns=(stamp, stamp))

    assert rescan(inbox) == []
    assert rescan(inbox, everything=True) == ["b.wav"]


def test_a_file_that_was_replaced_is_told_again(tmp_path):
    inbox = Inbox(tmp_path)
    touch(tmp_path / "a.wav")
    rescan(inbox)
    (tmp_path / "new").touch()
    os.rename(tmp_path / "new", tmp_path / "a.wav")

    assert rescan(inbox) == ["a.wav"]


def test_where_inodes_are_made_up_size_and_time_tell_files_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(mounts._devices, "makes_up", lambda device: True)
    path = tmp_path / "a.wav"
    touch(path)
    inbox = Inbox(tmp_path)
    assert rescan(inbox) == ["a.wav"]
    again = tmp_path / "another inode"
    again.touch()
    os.utime(again, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    os.replace(again, path)
    assert rescan(inbox, everything=True) == []

    path.write_bytes(b"longer")
    assert rescan(inbox, everything=True) == ["a.wav"]


def test_a_file_that_was_taken_and_comes_again_is_told_again(tmp_path):
    inbox = Inbox(tmp_path)
    touch(tmp_path / "a.wav")
    rescan(inbox)
    os.unlink(tmp_path / "a.wav")
    inbox.forget(str(tmp_path / "a.wav"))
    touch(tmp_path / "a.wav")

    assert rescan(inbox) == ["a.wav"]


def test_what_cannot_be_listed_is_told_when_it_can_be(tmp_path, monkeypatch):
    inbox = Inbox(tmp_path)
    touch(tmp_path / "locked" / "a.wav")
    real = os.scandir

    def locked(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", locked)
        assert rescan(inbox) == []
    assert rescan(inbox) == ["locked/a.wav"]


def test_a_listing_that_breaks_off_is_repeated(tmp_path, monkeypatch):
    inbox = Inbox(tmp_path)
    for name in ("a", "b", "c"):
        touch(tmp_path / f"{name}.wav")
    real = os.scandir

    class Breaks:
        def __init__(self, path):
            self.entries = real(path)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.entries.close()

        def __iter__(self):
            yield next(self.entries)
            raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", Breaks)
        with pytest.raises(OSError, match="Input/output"):
            rescan(inbox)
    assert rescan(inbox) == ["a.wav", "b.wav", "c.wav"]


def test_a_root_that_is_away_forgets_nothing(tmp_path):
    root = tmp_path / "share"
    touch(root / "a.wav")
    inbox = Inbox(root)
    rescan(inbox)
    os.rename(root, tmp_path / "unplugged")
    with pytest.raises(FileNotFoundError):
        rescan(inbox)
    os.rename(tmp_path / "unplugged", root)

    assert rescan(inbox, everything=True) == []
    assert len(inbox) == 1


@pytest.mark.parametrize(
    ("name", "ignored"),
    [
        ("take.wav", False),
        ("my.part.wav", False),
        ("take.PART", True),
        ("take.tmp", True),
        ("a~b.wav", False),
        ("~take.wav", True),
        ("take.wav~", True),
        (".take.wav", True),
        ("@eaDir", True),
        ("temporary", False),
        (".~tmp~", True),
        ("$TEMP$", True),
        ("CacheClip", True),
        ("take.wav.sb-1a2b3c4d-Xy12Zz", True),
        ("take.sb-1.wav", False),
        ("take.wav.inprogress", True),
    ],
)
def test_names_of_unfinished_files_are_ignored(name, ignored):
    assert is_ignored(name) == ignored


# -- events ----------------------------------------------------------------------------------------
class Heard:
    """Hints, and a way to wait for one."""

    def __init__(self):
        self.names = []
        self.lost = threading.Event()
        self._more = threading.Condition()

    def hint(self, folder, name):
        with self._more:
            self.names.append((os.path.basename(folder), name))
            self._more.notify_all()

    def wait_for(self, name, seconds=10):
        with self._more:
            return self._more.wait_for(lambda: name in [n for _, n in self.names], seconds)


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def events(heard):
    events = Events(heard.lost.set)
    yield events
    events.close()


def test_writing_and_moving_in_are_heard(tmp_path, heard, events):
    (tmp_path / "in").mkdir()
    inbox = Inbox(tmp_path / "in", ears=events.ears(heard.hint))
    rescan(inbox)
    (tmp_path / "in" / "written.wav").write_bytes(b"x")
    (tmp_path / "moved.wav").touch()
    os.rename(tmp_path / "moved.wav", tmp_path / "in" / "moved.wav")

    assert heard.wait_for("written.wav")
    assert heard.wait_for("moved.wav")


def test_a_new_subfolder_is_listened_to_before_it_is_listed(tmp_path, heard, events):
    inbox = Inbox(tmp_path, ears=events.ears(heard.hint))
    rescan(inbox)
    (tmp_path / "new" / "deep").mkdir(parents=True)
    (tmp_path / "new" / "deep" / "early.wav").touch()
    assert heard.wait_for("new")
    found = []
    inbox.look(str(tmp_path), "new", time.time(), found.append)
    assert found == [str(tmp_path / "new" / "deep" / "early.wav")]

    (tmp_path / "new" / "deep" / "late.wav").touch()
    assert heard.wait_for("late.wav")


def test_an_overflow_is_told_and_the_rescan_finds_what_no_event_named(tmp_path, heard, events):
    inbox = Inbox(tmp_path, ears=events.ears(heard.hint))
    rescan(inbox)
    held = threading.Event()
    # The reader's thread stands still in the first hint while the kernel's queue runs over.
    hint, heard.hint = heard.hint, lambda *_: held.wait(60)
    inbox.close()
    slow = Inbox(tmp_path, ears=events.ears(heard.hint))
    rescan(slow)
    with open("/proc/sys/fs/inotify/max_queued_events") as limit:
        count = int(limit.read()) // 2 + 2000  # each file raises two events
    for number in range(count):
        os.close(os.open(tmp_path / f"{number}.wav", os.O_CREAT | os.O_WRONLY))
    held.set()
    assert heard.lost.wait(30)
    heard.hint = hint

    assert len(rescan(slow)) == count


def test_a_folder_beyond_the_kernels_limit_is_only_rescanned(tmp_path, heard, events, monkeypatch):
    def no_more(*_args):
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(events._reader, "add_callback", no_more)
    inbox = Inbox(tmp_path, ears=events.ears(heard.hint))
    touch(tmp_path / "a.wav")

    assert rescan(inbox) == ["a.wav"]
    assert "limit" in events.trouble


def test_ears_may_be_deaf(tmp_path):
    inbox = Inbox(tmp_path, ears=Deaf())
    touch(tmp_path / "a.wav")
    assert rescan(inbox) == ["a.wav"]
    inbox.close()


# -- mounts ----------------------------------------------------------------------------------------
_TABLE = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /mnt/nas rw - nfs4 nas:/audio rw
31 22 0:41 / /mnt/my\\040share rw - cifs //pc/share rw
32 30 0:42 / /mnt/nas/local rw - xfs /dev/sdb rw
33 22 0:43 / /mnt/cloud rw - fuse.sshfs host: rw
34 22 0:44 / /mnt/nas2 rw - ext4 /dev/sdc rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "local"),
    [
        ("/srv/in", "ext4", True),
        ("/mnt/nas", "nfs4", False),
        ("/mnt/nas/in/deep", "nfs4", False),
        ("/mnt/nas/local/in", "xfs", True),
        ("/mnt/nas2/in", "ext4", True),
        ("/mnt/my share/in", "cifs", False),
        ("/mnt/cloud/in", "fuse.sshfs", False),
    ],
)
def test_the_mount_table_tells_what_can_be_trusted(path, kind, local):
    mount = mount_of(path, _TABLE)
    assert (mount.kind, mount.local) == (kind, local)


def test_only_plain_files_are_told(tmp_path):
    root = tmp_path / "in"
    touch(root / "a.wav")
    (root / "link.wav").symlink_to(root / "a.wav")
    (root / "folder link").symlink_to(tmp_path)
    os.mkfifo(root / "pipe.wav")
    inbox = Inbox(root)

    assert rescan(inbox) == ["a.wav"]
    found = []
    for name in ("link.wav", "folder link", "pipe.wav"):
        inbox.look(str(root), name, time.time(), found.append)
    assert found == []
