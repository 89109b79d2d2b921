import os
from itertools import count
from types import SimpleNamespace

import pytest

from daemon import mounts
from daemon.mounts import Mount, missing_mount
from daemon.taking import roots
from daemon.taking.doctor import limits, remedy, sentences
from daemon.taking.watching import method_for
from rules.taking import Watch, read_watch
from tests.daemon.inboxes import Studio, wav

EXT4, NFS = Mount("/", "ext4"), Mount("/mnt/nas", "nfs4")


@pytest.fixture
def studio(tmp_path):
    made = []

    def make(rules="rules: [{name: all}]", **more):
        made.append(Studio(tmp_path, rules, **more))
        return made[-1]

    yield make
    for one in made:
        one.manager.stop()


# -- a share that makes inodes up ------------------------------------------------------------------
class _AnotherNumber:
    """What `stat` tells, with another inode number each time: sshfs does that."""

    numbers = count(1_000)

    def __init__(self, told):
        self._told, self.st_ino = told, next(self.numbers)

    def __getattr__(self, name):
        return getattr(self._told, name)


def test_a_file_settles_where_every_look_gives_it_another_inode(studio, monkeypatch):
    sshfs = Mount("/", "fuse.sshfs")
    monkeypatch.setattr("daemon.hotfolder.mount_of", lambda path: sshfs)
    monkeypatch.setattr(mounts._devices, "makes_up", lambda device: True)
    for name in ("stat", "lstat", "fstat"):
        call = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, _call=call, **k: _AnotherNumber(_call(*a, **k)))
    s = studio()
    s.manager.turn()
    s.drop("take.wav", wav(100)[:44] + b"\1" * 200)
    s.pass_time(12, steps=24)

    assert s.names == ["take.wav"]
    assert len(s.queue.jobs) == 1


def test_the_mount_table_tells_whose_inodes_mean_nothing():
    table = (
        "36 35 0:52 / /mnt/a rw - fuse.sshfs host:/a rw\n"
        "37 35 0:53 / /mnt/b rw - nfs4 host:/b rw\n"
        "38 35 0:54 / /tmp rw - tmpfs tmpfs rw\n"
        "39 35 0:55 / /mnt/c rw - cifs //host/c rw\n"
    )
    assert sorted(mounts._making_up(table)) == [os.makedev(0, 52), os.makedev(0, 55)]


# -- the method ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "watch"),
    [
        ("events", Watch("events")),
        ("poll 30s", Watch("poll", 30)),
        ("poll 1m30s", Watch("poll", 90)),
        ("poll", Watch("poll")),
        ("manual", Watch("manual")),
    ],
)
def test_a_way_to_watch_is_read(text, watch):
    assert read_watch(text) == watch


@pytest.mark.parametrize("text", ["inotify", "poll soon", "poll 0.1s", 30, ""])
def test_what_is_no_way_to_watch_is_refused_with_what_would_be(text):
    with pytest.raises(ValueError, match="poll 30s|is not a number|at least every"):
        read_watch(text)


@pytest.mark.parametrize(
    ("watch", "mount", "kind", "every", "slowest"),
    [
        pytest.param(None, EXT4, "events", 2, 2, id="a local disk"),
        pytest.param(None, NFS, "poll", 2, 30, id="a share: more slowly when nothing happens"),
        pytest.param(None, Mount("/x", "fuse.sshfs"), "poll", 2, 30, id="FUSE"),
        pytest.param(Watch("events"), NFS, "events", 2, 2, id="events by wish"),
        pytest.param(Watch("poll", 30), EXT4, "poll", 30, 30, id="polling by wish"),
        pytest.param(Watch("manual"), EXT4, "manual", float("inf"), float("inf"), id="by hand"),
    ],
)
def test_the_method_follows_from_wish_and_mount(watch, mount, kind, every, slowest):
    method = method_for(watch, mount, rescan_interval=2.0, events=True)
    assert (method.kind, method.every, method.slowest) == (kind, every, slowest)


def test_a_folder_that_is_polled_every_30_s_is_looked_through_every_30_s(studio):
    s = studio("watch: poll 30s\nrules: [{name: all}]", listen=True)
    s.manager.turn()
    s.drop("take.wav")
    s.pass_time(29, steps=29)
    assert s.names == []
    s.pass_time(1.5, steps=2)
    assert s.names == ["take.wav"]


def test_a_folder_that_is_looked_through_by_hand_waits_for_the_hand(studio):
    s = studio("watch: manual\nrules: [{name: all}]", listen=True)
    s.drop("take.wav")
    s.pass_time(3600, steps=60)
    assert s.names == []
    s.manager.scan(timeout=0)
    s.manager.turn()
    assert s.names == ["take.wav"]


def test_a_share_on_which_nothing_happens_is_asked_less_often_until_something_does(
    studio, monkeypatch
):
    monkeypatch.setattr("daemon.hotfolder.mount_of", lambda _: NFS)
    s = studio(listen=True)

    def looks(seconds):
        seen = set()
        for _ in range(seconds):
            s.pass_time(1)
            seen.add(s.manager.status().folders[0].last_scan)
        return len(seen)

    assert looks(200) < 20
    assert looks(120) <= 5
    s.drop("one.wav")
    s.pass_time(36, steps=36)
    assert s.names == ["one.wav"]
    assert looks(10) >= 2


def test_another_way_to_watch_is_adopted_with_the_rules(studio):
    s = studio("watch: manual\nrules: [{name: all}]")
    s.drop("take.wav")
    s.pass_time(10, steps=5)
    (s.root / "rules.yaml").write_text("rules: [{name: all}]  # watched again")
    s.pass_time(5, steps=5)
    assert s.names == ["take.wav"]


# -- a root that goes ------------------------------------------------------------------------------
class Share:
    """A mount point, and what stat and the mount table tell of it."""

    def __init__(self, point, monkeypatch):
        self.point = os.fspath(point)
        self.aside = os.fspath(point.parent.parent / "aside")
        self.mounted, self.device = True, 77
        shim = SimpleNamespace(stat=self.stat, fspath=os.fspath, path=os.path)
        monkeypatch.setattr(roots, "os", shim)
        for module in ("daemon.hotfolder", "daemon.taking.roots"):
            monkeypatch.setattr(f"{module}.mount_of", self.mount_of)

    def stat(self, path):
        told = os.stat(path)
        device = self.device if self.mounted else told.st_dev
        return SimpleNamespace(st_dev=device)

    def mount_of(self, path, _table=None):
        inside = os.fspath(path).startswith(self.point)
        return Mount(self.point, "nfs4") if self.mounted and inside else Mount("/", "ext4")

    def unmount(self):
        """The empty mount point is what is left."""
        os.rename(self.point, self.aside)
        os.mkdir(self.point)
        self.mounted = False

    def mount(self, device):
        """It comes back; the number of its device may be another."""
        os.rmdir(self.point)
        os.rename(self.aside, self.point)
        self.mounted, self.device = True, device


def test_a_share_that_goes_pauses_its_folder_forgets_nothing_and_goes_on_by_itself(
    studio, tmp_path, monkeypatch
):
    s = studio()
    share = Share(s.root, monkeypatch)
    s.restart()
    s.drop("one.wav")
    s.drop("two.wav")
    s.pass_time(10, steps=20)
    assert s.names == ["one.wav", "two.wav"]

    share.unmount()
    s.pass_time(60, steps=20)
    for job in list(s.queue.jobs):
        s.queue.end(job)
    s.pass_time(60, steps=20)
    (status,) = s.manager.status().folders
    assert "mount is away" in status.problem
    assert os.listdir(s.root) == [], "nothing is made in an empty mount point"

    share.mount(device=78)
    s.pass_time(60, steps=20)
    assert s.manager.status().folders[0].problem == ""
    assert s.files() == ["done/one.wav", "done/two.wav"]
    s.drop("three.wav")
    s.pass_time(60, steps=60)
    assert s.names == ["one.wav", "three.wav", "two.wav"]


def test_another_disk_at_the_same_place_is_not_taken_for_the_folder(studio, monkeypatch):
    s = studio("watch: poll\nrules: [{name: all}]")
    share = Share(s.root, monkeypatch)
    s.restart()
    s.pass_time(5, steps=5)
    share.unmount()
    (s.root / "rules.yaml").write_text("rules: [{name: all}]")
    (s.root / "x.wav").write_bytes(wav())
    share.mounted, share.device = True, 99
    s.pass_time(30, steps=30)

    assert s.names == []
    assert "another disk" in s.manager.status().folders[0].problem


def test_nothing_is_made_in_a_mount_point_that_fstab_names(studio, monkeypatch, tmp_path):
    table = tmp_path / "fstab"
    table.write_text(f"# disks\nUUID=1 / ext4 rw 0 1\nnas:/a {tmp_path}/nas nfs4 rw 0 0\n")
    monkeypatch.setattr(mounts, "_WANTED", table)
    s = studio()
    s.settings.rules.mkdir()
    (tmp_path / "nas").mkdir()
    rules = f"folder: {tmp_path}/nas\nrules: [{{name: all}}]"
    (s.settings.rules / "nas.yaml").write_text(rules)
    s.pass_time(5, steps=2)

    assert os.listdir(tmp_path / "nas") == []
    assert "nothing is mounted at" in s.manager.status().broken[0].problems[0]


def test_a_mount_point_is_missing_only_while_nothing_lies_on_it():
    fstab = "nas:/a /mnt/my\\040nas nfs4 rw 0 0\n/swap none swap sw 0 0\n"
    bare = "22 1 254:0 / / rw - ext4 /dev/vda rw\n"
    full = bare + "30 22 0:40 / /mnt/my\\040nas rw - nfs4 nas:/a rw\n"

    assert missing_mount("/mnt/my nas/in", bare, fstab) == "/mnt/my nas"
    assert missing_mount("/mnt/my nas/in", full, fstab) == ""
    assert missing_mount("/srv/in", bare, fstab) == ""


# -- what is told ----------------------------------------------------------------------------------
def test_the_doctor_tells_method_reason_limits_and_the_last_event(studio, tmp_path):
    s = studio(listen=True)
    s.manager.turn()
    (folder,) = s.manager.status().folders
    about = vars(folder) | {"last_event": 1000.0}
    told = "\n".join(sentences(about, {"max_user_watches": 8192, "max_queued_events": 5}, 1007.0))

    assert "watched by events" in told
    assert "tells every change" in told
    assert "last event 7 s ago" in told
    assert "1 of 8192 folders" in told
    assert "after 5 unread events" in told


def test_the_doctor_says_what_to_do_when_the_kernels_limit_is_near():
    status = {"folders": [{"method": "events", "folders": 7000}]}
    assert "max_user_watches=524288" in remedy(status, {"max_user_watches": 8192})
    assert remedy(status, {"max_user_watches": 100_000}) == ""


def test_limits_that_the_kernel_does_not_have_are_left_out(tmp_path):
    (tmp_path / "max_user_watches").write_text("8192\n")
    assert limits(tmp_path) == {"max_user_watches": 8192}
