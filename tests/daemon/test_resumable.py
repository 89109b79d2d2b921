"""Uploads in pieces over crashes, power failures and time."""

import os

import pytest

from control_api.errors import UnknownUpload, UploadBusy
from control_api.ports import Checksum
from daemon.resumable import Resumable
from daemon.staging import Staging
from handlers.errors import BadPath, StorageFull


class World:
    """What outlives a process: the disk, the time, and which run of the machine it is."""

    def __init__(self, root):
        self.root = root
        self.staging = Staging(root / "files", 1000)
        self.folder = root / "resumable"
        self.now = 0.0
        self.boot = "first"

    def uploads(self):
        return Resumable(
            self.folder,
            self.staging,
            max_bytes=1000,
            ttl=100,
            now=lambda: self.now,
            boot=self.boot,
        )

    def data(self, upload):
        return self.folder / f"{upload.id}.data"

    def read(self, name):
        return (self.root / "files" / name).read_bytes()

    def touched(self, upload, at):
        for path in self.folder.glob(f"{upload.id}.*"):
            os.utime(path, (at, at))


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def uploads(world):
    return world.uploads()


def go_on(uploads, upload, offset, data, **more):
    appending = uploads.begin(upload.id, offset, more.get("length"), more.get("checksum"))
    appending.append(data)
    return appending


def test_a_killed_process_loses_nothing_that_arrived(world, uploads):
    upload = uploads.create("a.wav", 10, "")
    go_on(uploads, upload, 0, b"abc").finish()
    go_on(uploads, upload, 3, b"def")  # and the process is gone

    again = world.uploads()
    assert again.look(upload.id).offset == 6
    go_on(again, upload, 6, b"ghij").finish()
    assert world.read("a.wav") == b"abcdefghij"


def test_after_a_power_failure_only_what_was_made_durable_counts(world, uploads):
    upload = uploads.create("a.wav", 10, "")
    go_on(uploads, upload, 0, b"abc").finish()
    go_on(uploads, upload, 3, b"de")
    with world.data(upload).open("ab") as file:
        file.write(b"\0\0")  # a file may be longer than what it holds

    world.boot = "second"
    again = world.uploads()
    assert again.look(upload.id).offset == 3
    go_on(again, upload, 3, b"DEFG").abandon()
    assert again.look(upload.id).offset == 7
    go_on(again, upload, 7, b"hij").finish()
    assert world.read("a.wav") == b"abcDEFGhij"


@pytest.mark.parametrize("text", [b"", b"{", None], ids=["emptied", "torn", "lost"])
def test_the_small_file_beside_it_may_be_lost(world, uploads, text):
    upload = uploads.create("a.wav", 10, "")
    go_on(uploads, upload, 0, b"abc").finish()
    go_on(uploads, upload, 3, b"de").abandon()
    run = world.folder / f"{upload.id}.run"
    run.unlink() if text is None else run.write_bytes(text)

    assert world.uploads().look(upload.id).offset == 3


def test_bytes_that_were_never_checked_do_not_count_after_a_crash(world, uploads):
    upload = uploads.create("a.wav", 10, "")
    go_on(uploads, upload, 0, b"abc").finish()
    go_on(uploads, upload, 3, b"de").abandon()
    go_on(uploads, upload, 5, b"gh", checksum=Checksum("sha1", b"?"))

    again = world.uploads()
    # The two before them had not been made durable; to doubt them too is safe.
    assert again.look(upload.id).offset == 5
    go_on(again, upload, 5, b"fghij").finish()
    assert world.read("a.wav") == b"abcdefghij"


def test_one_that_was_whole_when_the_process_died_appears_at_the_next_start(world, uploads):
    upload = uploads.create("a.wav", 3, "")
    go_on(uploads, upload, 0, b"abc")
    assert world.staging.list() == []

    again = world.uploads()
    again.sweep()
    assert world.read("a.wav") == b"abc"
    assert again.look(upload.id).expires is None


def test_one_that_lost_its_note_between_rename_and_answer_is_complete(world, uploads):
    upload = uploads.create("a.wav", 3, "")
    go_on(uploads, upload, 0, b"abc")
    world.staging.adopt("a.wav", world.data(upload))

    again = world.uploads()
    assert again.look(upload.id).offset == 3
    assert go_on(again, upload, 3, b"").finish().offset == 3
    assert world.read("a.wav") == b"abc"


def test_an_upload_replaces_a_file_as_a_put_does(world, uploads):
    world.staging.adopt("a.wav", _file(world, b"before"))
    upload = uploads.create("a.wav", 3, "")
    go_on(uploads, upload, 0, b"abc").finish()

    assert world.read("a.wav") == b"abc"


def test_where_it_cannot_appear_the_bytes_are_kept(world, uploads):
    upload = uploads.create("a", 3, "")
    world.staging.adopt("a/b", _file(world, b"x"))

    with pytest.raises(BadPath):
        go_on(uploads, upload, 0, b"abc").finish()
    world.staging.delete("a/b")
    assert go_on(uploads, upload, 3, b"").finish().offset == 3
    assert world.read("a") == b"abc"


def test_one_that_is_being_finished_is_not_disturbed(world, uploads, monkeypatch):
    upload = uploads.create("a.wav", 3, "")
    refused = []

    def adopt(path, source):
        for disturb in (
            lambda: uploads.begin(upload.id, 3, None, None),
            lambda: uploads.drop(upload.id),
        ):
            with pytest.raises(UploadBusy) as busy:
                disturb()
            refused.append(busy.value)

    monkeypatch.setattr(world.staging, "adopt", adopt)
    go_on(uploads, upload, 0, b"abc").finish()
    assert len(refused) == 2


def test_what_nobody_goes_on_with_expires(world, uploads):
    left, going, whole = (uploads.create(name, 3, "") for name in ("left", "going", "whole"))
    go_on(uploads, whole, 0, b"abc").finish()
    for upload in (left, going, whole):
        world.touched(upload, at=0)
    world.now = 99
    assert uploads.look(left.id).expires == 100
    world.now = 100
    with pytest.raises(UnknownUpload):
        uploads.look(left.id)

    world.touched(going, at=50)
    live = uploads.begin(going.id, 0, None, None)
    world.now = 1000
    uploads.sweep()
    assert {p.stem for p in world.folder.iterdir()} == {going.id}, "nobody takes it from a client"
    assert world.read("whole") == b"abc"
    live.abandon()


def test_bytes_without_a_note_are_forgotten_in_time(world, uploads):
    litter = world.folder / ("0" * 32 + ".data")
    litter.write_bytes(b"x")
    os.utime(litter, (0, 0))
    world.now = 50
    uploads.sweep()
    assert litter.exists()
    world.now = 100
    uploads.sweep()
    assert not litter.exists()


def test_what_is_announced_has_to_fit_on_the_disk_together(world, uploads, monkeypatch):
    free = (1 << 28) + 1000
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free}))
    first = uploads.create("a", 600, "")
    with pytest.raises(StorageFull, match="600 of them"):
        uploads.create("b", 600, "")
    uploads.drop(first.id)
    uploads.create("b", 600, "")


def _file(world, data):
    path = world.root / "made"
    path.write_bytes(data)
    return path
