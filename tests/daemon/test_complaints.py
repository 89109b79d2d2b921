"""What users of other watch folders complain about: 24 complaints with their issues, 24 tests.

The numbers of the issues are those of the projects named. Most common by far: taken too early on
a network share, then never taken at all, taken twice or forgotten after a hiccup of the mount,
and no way to stop after the current job.
"""

import os
import struct
import threading

import pytest

from daemon import hotfolder, watch
from daemon.client import QueueUnavailable
from daemon.folders import FolderManager
from daemon.mounts import Mount, mount_of
from daemon.taking.doctor import sentences
from tests.daemon.inboxes import Studio, wav
from tests.daemon.running import PATIENCE, gets_going, job, running, until
from tests.daemon.test_gate import NIGHT, set_clock
from tests.faults.whole import Whole, sound


@pytest.fixture
def studio(tmp_path):
    made = []

    def make(rules="rules: [{name: all}]", **more):
        made.append(Studio(tmp_path, rules, **more))
        return made[-1]

    yield make
    for one in made:
        one.manager.stop()


@pytest.fixture
def share(studio, monkeypatch):
    """A hot folder on what the mount table calls a network share."""

    def make(rules="rules: [{name: all}]"):
        s = studio(rules)
        point = os.fspath(s.root)

        def told(path, *table):
            inside = os.fspath(path).startswith(point)
            return Mount(point, "cifs") if inside else mount_of(path, *table)

        for module in ("daemon.hotfolder", "daemon.taking.roots"):
            monkeypatch.setattr(f"{module}.mount_of", told)
        s.restart()
        return s

    return make


@pytest.fixture
def whole(tmp_path):
    """A hot folder with everything behind it."""
    made = []

    def make(rules):
        made.append(Whole(tmp_path, rules))
        return made[-1]

    yield make
    for one in made:
        one.close()


def status(s):
    return s.manager.status().folders[0]


def put(s, path, at, data):
    """A piece of a file, by a writer that closes it again; the time is the studio's."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    os.pwrite(handle, data, at)
    os.close(handle)
    os.utime(path, (s.clock.now(), s.clock.now()))


# -- taken too early -------------------------------------------------------------------------------
def test_01_a_scanner_opens_and_closes_ten_times(studio):
    """paperless-ngx #432, PR #483: resource busy, or taken too early."""
    s = studio(listen=True)
    path = s.root / "scan.wav"
    for _ in range(10):
        with path.open("ab"):
            pass
        s.pass_time(0.1)
    path.write_bytes(wav())
    s.pass_time(5, steps=50)
    s.finish()
    s.pass_time(10, steps=10)

    assert s.names == ["scan.wav"]


def test_02_a_big_file_that_grows_over_smb_is_given_up_and_never_tried_again(share):
    """paperless-ngx #9698, paperless-ng #1159: ten minutes, with stalls of 45 s."""
    s = share()
    data = wav(10_000)[:-2] + b"\x01\x02"
    path = s.root / "concert.wav"
    for piece in range(13):
        at = piece * len(data) // 13
        put(s, path, at, data[at : (piece + 1) * len(data) // 13])
        s.pass_time(45, steps=9)
        assert piece == 12 or s.names == []
    s.pass_time(200, steps=20)

    assert s.queue.file_of(s.queue.jobs["job-00001"].order).read_bytes() == data


def test_09_a_file_is_held_some_seconds_after_it_was_found_not_after_its_last_change(studio):
    """Tdarr #1122: a format that does not tell its length grows for two minutes."""
    s = studio("settle: {unknown: 15}\nrules: [{name: all}]")
    path = s.root / "set.mp3"
    for piece in range(24):
        put(s, path, piece * 1000, b"\xff\xfb\x90\x64" + bytes(996))
        s.pass_time(5, steps=2)
        assert s.names == []
    s.pass_time(120, steps=12)

    assert s.names == ["set.mp3"]


def test_16_two_gigabytes_are_copied_and_the_write_is_said_to_have_finished(studio):
    """chokidar #675: the size stands still for a moment while the disk is busy."""
    s = studio()
    path = s.root / "long.wav"
    size = 1_900_000_000
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 48000, 96000, 2, 16)
    head = (
        b"RIFF" + struct.pack("<I", size + 36) + b"WAVE" + form + struct.pack("<4sI", b"data", size)
    )
    put(s, path, 0, head)
    for share_of_it in (0.1, 0.5, 0.9, 0.999):
        os.truncate(path, int(size * share_of_it))
        os.utime(path, (s.clock.now(), s.clock.now()))
        s.pass_time(60, steps=12)
        assert s.names == []
    put(s, path, size - 2**16 + 44, b"\x01" * 2**16)
    s.pass_time(5, steps=5)

    assert (s.names, dict(status(s).waiting_for)) == (["long.wav"], {})


def test_17_a_render_is_taken_while_it_runs(studio):
    """CommandPost #598, #964: stalls, and a header that is only right at the end."""
    s = studio()
    path, whole = s.root / "render.wav", wav(5000)
    put(s, path, 0, whole[:4] + bytes(4) + whole[8:40] + bytes(4))
    for at in range(44, len(whole), 2500):
        s.pass_time(20, steps=10)
        put(s, path, at, whole[at : at + 2500])
        assert s.names == []
    s.pass_time(20, steps=10)
    put(s, path, 0, whole[:44])
    s.pass_time(10, steps=10)

    assert s.queue.file_of(s.queue.jobs["job-00001"].order).read_bytes() == whole


def test_18_a_share_gives_a_file_its_full_size_at_once(share):
    """Calibre-Web-Automated #415, mayan-edms #456, scan-to-smb1 #5, node-red-contrib-fs #2."""
    s = share()
    path, whole = s.root / "copy.wav", wav(40_000)
    whole = whole[:44] + b"\x01" * (len(whole) - 44)
    put(s, path, 0, bytes(len(whole)))
    before = s.clock.now()
    for at in range(0, len(whole), 16384):
        put(s, path, at, whole[at : at + 16384])
        os.utime(path, (before, before))  # the time never moves either
        s.pass_time(6, steps=6)
        assert at + 16384 >= len(whole) or s.names == []
    s.pass_time(20, steps=20)

    assert s.queue.file_of(s.queue.jobs["job-00001"].order).read_bytes() == whole


def test_15_a_book_of_many_files_is_scanned_while_it_is_half_copied(share):
    """audiobookshelf #2248, #1362, #2010: the files belong together."""
    rules = 'set: {by: "{book}/{part}", complete_when: {quiet: 60s}}\n'
    s = share(rules + 'rules: [{steps: [{concat: {files: [{file: "{input:*}"}]}}]}]')
    for part in range(8):
        s.drop(f"Moby Dick/{part:02}.wav")
        s.pass_time(40, steps=8)
        assert s.names == []
    s.pass_time(90, steps=18)

    assert s.names == ["Moby Dick"]
    assert len(s.files("processing")) == 8


def test_24_a_folder_has_finished_copying_but_nobody_can_say_so(studio):
    """seb-m/pyinotify #14, AWS ADR: wait for a mark, or for quiet after the last change."""
    rules = 'set: {by: "{reel}/{take}", complete_when: {marker: "{reel}/done.txt"}}\n'
    s = studio(rules + 'rules: [{steps: [{concat: {files: [{file: "{input:*}"}]}}]}]')
    for take in range(3):
        s.drop(f"reel 1/{take}.wav")
    s.pass_time(300, steps=30)
    assert s.names == []
    s.drop("reel 1/done.txt", b"")
    s.pass_time(5, steps=5)

    assert s.names == ["reel 1"]


# -- never taken -----------------------------------------------------------------------------------
def test_03_a_file_that_comes_while_the_watcher_is_rebuilt_is_never_seen(studio, monkeypatch):
    """paperless-ngx #13011, PR #13013."""
    s = studio(listen=True)
    s.settle()
    number = iter(range(100))

    def drop(*_):
        s.drop(f"{next(number)}.wav")

    real = watch.Inbox._list

    def listed(inbox, *about):
        drop()  # after its watch was lost, before it is listed
        told = real(inbox, *about)
        drop()  # after it was listed
        return told

    for _ in range(5):
        s.manager.stop()
        drop()
        s.manager = FolderManager(
            s.settings, s.queue, s.queue, clock=s.clock, new_job_id=s._new_id, listen=True
        )
        with monkeypatch.context() as patch:
            patch.setattr(watch.Inbox, "_list", listed)
            s.manager.turn()
        drop()
    s.pass_time(5, steps=2)

    assert len(s.names) == next(number)
    assert s.files("processing") == sorted(
        f"{job}/{one.input_name}" for job, one in s.queue.jobs.items()
    )


def test_05_one_global_switch_for_polling_while_folders_lie_on_different_disks(studio, monkeypatch):
    """paperless-ngx #13146."""
    s = studio(listen=True)
    far = s.settings.folders / "far"
    far.mkdir()
    (far / "rules.yaml").write_text("rules: [{name: all}]")

    def told(path, *table):
        return Mount(str(far), "nfs4") if far in (path, *path.parents) else Mount("/", "ext4")

    for module in ("daemon.hotfolder", "daemon.taking.roots"):
        monkeypatch.setattr(f"{module}.mount_of", told)
    s.restart().turn()

    assert {one.name: one.method for one in s.manager.status().folders} == {
        "podcast": "events",
        "far": "poll",
    }


@pytest.mark.parametrize("kind", ["cifs", "smb3", "nfs4", "fuse.sshfs", "9p"])
def test_06_a_share_has_no_events_and_nobody_says_so(studio, monkeypatch, kind):
    """paperless-ngx #1975, #7969; paperless-ng #118, #351."""
    monkeypatch.setattr(hotfolder, "mount_of", lambda path: Mount(os.fspath(path), kind))
    s = studio(listen=True)
    s.drop("take.wav")
    s.pass_time(20, steps=10)
    told = " ".join(sentences(vars(status(s)), {}, s.clock.now()))

    assert s.names == ["take.wav"]
    assert "watched by poll" in told
    assert kind in told


def test_07_a_whole_folder_is_moved_in_and_its_files_are_not_seen(studio, tmp_path):
    """paperless-ngx #5881: a tree, and a thousand folders at once."""
    s = studio("no_match: leave\nrules: [{match: {ext: wav}}]", listen=True)
    s.manager.turn()
    for number in range(1000):
        (tmp_path / f"trees/{number % 10}/{number}").mkdir(parents=True)
        (tmp_path / f"trees/{number % 10}/{number}/notes.txt").write_bytes(b"x")
    (tmp_path / "trees/0/0/take.wav").write_bytes(wav())
    os.rename(tmp_path / "trees", s.root / "trees")
    s.pass_time(30, steps=6)

    assert status(s).left == 1000
    assert s.names == ["trees/0/0/take.wav"]


def test_08_the_disk_was_full_once_and_the_file_is_skipped_for_ever(studio):
    """paperless-ngx #8329."""
    s = studio()
    s.drop("take.wav")
    s.pass_time(2.5)
    s.finish("failed", error_kind="StorageFull", error="no space", completed=s.clock.now())
    assert s.files() == ["processing/job-00001/take.wav"]
    assert "wait for room" in status(s).problem
    s.pass_time(30, steps=6)
    assert s.queue.jobs["job-00001"].state == "pending"
    s.finish()

    assert s.files() == ["done/take.wav"]


def test_14_the_monitor_is_silently_dead_and_only_a_full_scan_works(studio):
    """Unmanic #222: what it hears and when it last looked is told, and it looks anyway."""
    s = studio(listen=True)
    s.settle()
    s.manager._events.close()  # nothing is heard any more
    s.drop("take.wav")
    s.pass_time(5, steps=2)

    assert s.names == ["take.wav"]
    told = " ".join(sentences(vars(status(s)) | {"method": "events"}, {}, s.clock.now() + 3))
    assert "last event never, last look through" in told


def test_20_the_kernels_queue_overflows_and_files_are_forgotten(studio):
    """watchdog #654, watchfiles #348, pyinotify #27, fsnotify #97: 20,000 while it stood still."""
    s = studio("no_match: leave\nrules: [{match: {ext: wav}}]", listen=True)
    s.manager.turn()
    whole = s.settings.data_dir / "whole"
    whole.write_bytes(wav())
    for folder in range(20):
        (s.root / f"{folder}").mkdir()
        for number in range(1000):
            os.link(whole, s.root / f"{folder}/{number}.txt")
    s.pass_time(2.5)

    assert status(s).left == 20_000


# -- taken twice, or forgotten ---------------------------------------------------------------------
def test_04_the_same_file_is_queued_five_times_while_it_waits(studio):
    """paperless-ngx PR #13526 (#13511)."""
    s = studio(listen=True)
    s.queue.faults = [QueueUnavailable("busy")] * 5
    path = s.drop("take.wav")
    for _ in range(5):
        path.touch() if path.exists() else None
        s.manager.scan(timeout=0.0)
        s.pass_time(3, steps=2)
    s.pass_time(10, steps=5)

    assert list(s.queue.jobs) == ["job-00001"]


def test_10_a_mount_vanishes_the_library_is_deleted_then_all_is_queued_again(share):
    """Tdarr #915, #994, #1037; audiobookshelf #5117."""
    s = share()
    for number in range(3):
        s.drop(f"{number}.wav")
    s.pass_time(10, steps=5)
    aside = s.root.with_name("aside")
    os.rename(s.root, aside)
    s.pass_time(600, steps=20)
    assert status(s).problem != ""
    assert len(s.queue.jobs) == 3
    os.rename(aside, s.root)
    s.pass_time(60, steps=20)
    s.finish()
    s.pass_time(60, steps=20)

    assert status(s).problem == ""
    assert len(s.queue.jobs) == 3
    assert s.files() == ["done/0.wav", "done/1.wav", "done/2.wav"]


def test_11_a_rescan_queues_everything_again_that_was_done(whole):
    """Tdarr #1207: the sources are kept where they lay."""
    w = whole("originals: keep\nrules: [{name: back, steps: [reverse]}]")
    w.drop("take.wav", sound(1))
    w.pass_time(5, steps=2)
    for _ in range(3):
        w.manager.scan(timeout=0.0)
        w.pass_time(400, steps=4)
        w.die()
        w.start()
        w.pass_time(10, steps=4)

    assert w.files() == ["manifests/take.wav.json", "out/take.wav", "take.wav"]
    assert len(w.reader.jobs()) == 1


def test_19_the_watcher_adds_files_again_that_are_being_worked_on(studio):
    """postie #109: they are in processing before their job may run (`FakeQueue.submit` looks)."""
    s = studio(listen=True)
    s.drop("take.wav")
    s.pass_time(3)
    (running_job,) = s.queue.jobs.values()
    os.utime(s.queue.file_of(running_job.order))  # somebody touches it there
    s.pass_time(700, steps=20)

    assert len(s.queue.jobs) == 1
    assert s.files() == ["processing/job-00001/take.wav"]


def test_21_a_question_about_a_duplicate_stops_the_batch_that_nobody_attends(whole):
    """TranscriptionSuite PR #191: what is to be done is said beforehand."""
    w = whole("duplicates: skip\nrules: [{name: back, steps: [reverse]}]")
    w.drop("take.wav", sound(1))
    w.pass_time(5, steps=2)
    w.drop("again.wav", sound(1))
    w.drop("other.wav", sound(2))
    w.pass_time(5, steps=2)

    assert w.files("out") == ["other.wav", "take.wav"]
    assert w.files("done") == ["again.wav", "other.wav", "take.wav"]


# -- at the wrong cost -----------------------------------------------------------------------------
def test_12_one_watch_for_every_file_until_the_kernel_has_none_left(studio, monkeypatch):
    """Immich #6826, #15426, #16039, #17790; spksrc #7428: and `@eaDir` is watched, too."""
    s = studio(listen=True)
    heard = []
    real = watch._Ears.listen
    monkeypatch.setattr(
        watch._Ears, "listen", lambda ears, folder: (heard.append(folder), real(ears, folder))[1]
    )
    for number in range(200):
        s.drop(f"day/{number}.txt", b"x")
        (s.root / "day/@eaDir" / f"{number}.txt").mkdir(parents=True)
    (s.root / "rules.yaml").write_text("no_match: leave\nrules: [{match: {ext: wav}}]")
    s.pass_time(5, steps=2)

    assert set(heard) == {str(s.root), str(s.root / "day")}
    (s.root / "new").mkdir()

    def no_more(*_args):
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(s.manager._events._reader, "add_callback", no_more)
    s.drop("new/take.wav")
    s.pass_time(5, steps=2)
    assert s.names == ["new/take.wav"], "beyond the limit it is looked through"
    assert "inotify watch limit" in s.manager.status().trouble


def test_22_polling_leaves_thousands_of_empty_runs(share):
    """Dagu #2551: a day without a file."""
    s = share()
    s.pass_time(86_400, steps=500)

    assert s.queue.submissions == []
    assert not s.settings.journal.exists()


# -- to stop, and to stop at a time ----------------------------------------------------------------
def test_13_it_cannot_be_told_to_stop_after_the_current_job(tmp_path):
    """Unmanic #5, #193, #385, #466, #610: SIGTERM lets run what runs, and starts no more."""
    gate = tmp_path / "go"
    with running(tmp_path, cpu_workers=1) as queue:
        news = queue.client.subscribe()
        runs, waits = queue.submit(job("listen", until=gate), job("nothing"))
        until(news, gets_going(runs))
        stopping = threading.Thread(target=queue.process.stop)
        stopping.start()
        pause = threading.Event()
        while not queue.client.stats()["draining"]:
            pause.wait(0.01)
        gate.touch()
        stopping.join(PATIENCE)

        assert queue.reader.job(runs).state == "completed"
        assert queue.reader.job(waits).state == "pending"


def test_23_a_time_to_start_is_no_use_without_a_time_to_stop(studio):
    """media_preview_generator #229, jellyfin-plugin-pre-transcode: what runs at the edge ends."""
    s = studio(NIGHT)
    set_clock(s, "5:59")
    for number in range(50):
        s.drop(f"{number}.wav")
    s.pass_time(3)
    taken = len(s.names)
    assert 0 < taken < 50
    set_clock(s, "6:00")
    s.finish()
    s.pass_time(3600, steps=4)

    assert len(s.names) == len(s.files("done")) == taken
    assert "22:00" in status(s).closed
