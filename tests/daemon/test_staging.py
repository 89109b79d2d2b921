import io
import os
import socket

import pytest

from daemon.staging import Staging
from handlers.errors import BadPath, NoSuchFile, TooLarge


@pytest.fixture
def root(tmp_path):
    return tmp_path / "files"


@pytest.fixture
def staging(root):
    return Staging(root, max_bytes=1000)


def put(staging, path, data=b"sound"):
    return staging.put(path, io.BytesIO(data))


def read(staging, path):
    file, stored = staging.open(path)
    with file:
        data = file.read()
    assert stored.size == len(data)
    return data


def test_what_was_put_comes_back(staging):
    stored = put(staging, "/mixes/take 1 é.wav", b"abc")

    assert stored.path == "mixes/take 1 é.wav"
    assert stored.size == 3
    assert read(staging, "mixes/take 1 é.wav") == b"abc"


def test_a_put_replaces_the_whole_file(staging):
    put(staging, "a.wav", b"a longer one")
    put(staging, "a.wav", b"b")

    assert read(staging, "a.wav") == b"b"
    assert [f.path for f in staging.list()] == ["a.wav"]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("", id="empty"),
        pytest.param("///", id="only slashes"),
        pytest.param("../x", id="parent"),
        pytest.param("a/../../x", id="parent in the middle"),
        pytest.param("a/./b", id="dot"),
        pytest.param("a//b", id="empty segment"),
        pytest.param("a/", id="trailing slash"),
        pytest.param("a\\b", id="backslash"),
        pytest.param("a\0b", id="NUL"),
        pytest.param("a\nb", id="newline"),
        pytest.param("a\x1b[2Jb", id="terminal escape"),
        pytest.param("a\u202eb", id="text direction override"),
        pytest.param("a\udcffb", id="surrogate"),
        pytest.param("a\ufffdb", id="replaced bytes"),
        pytest.param("x" * 201, id="long segment"),
        pytest.param("/".join("a" * 17), id="deep"),
        pytest.param(".audiolla-1.part", id="a partial file's name"),
    ],
)
def test_a_path_that_breaks_a_rule_is_refused_everywhere(staging, path, tmp_path):
    with pytest.raises(BadPath):
        put(staging, path)
    with pytest.raises(BadPath):
        staging.open(path)
    with pytest.raises(BadPath):
        staging.delete(path)
    with pytest.raises(BadPath):
        staging.snapshot(path, tmp_path / "job")
    with pytest.raises(BadPath):
        staging.target(path)


def test_a_percent_sign_is_a_character_like_any_other(staging):
    put(staging, "%2e%2e/x")

    assert [f.path for f in staging.list()] == ["%2e%2e/x"]


@pytest.mark.parametrize("where", ["link", "folder/link", "link/below"])
def test_no_link_is_followed_out_of_the_area(staging, root, tmp_path, where):
    secret = tmp_path / "outside"
    secret.mkdir()
    (secret / "below").write_bytes(b"secret")
    (root / "folder").mkdir()
    target = secret if where == "link/below" else secret / "below"
    link = root / ("folder/link" if where.startswith("folder") else "link")
    link.symlink_to(target)

    with pytest.raises(BadPath):
        staging.open(where)
    with pytest.raises(BadPath):
        put(staging, where)
    with pytest.raises(BadPath):
        staging.target(where)
    with pytest.raises((BadPath, NoSuchFile)):
        staging.snapshot(where, tmp_path / "job")
    with pytest.raises((BadPath, NoSuchFile)):
        staging.delete(where)
    assert (secret / "below").read_bytes() == b"secret"
    assert staging.list() == []


def test_what_is_no_regular_file_is_no_file(staging, root):
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))

        for name in ("pipe", "folder", "socket", "absent", "absent/file"):
            with pytest.raises(NoSuchFile):
                staging.open(name)
            with pytest.raises(NoSuchFile):
                staging.delete(name)
    assert staging.list() == []


def test_a_file_does_not_take_the_place_of_a_folder_or_the_other_way_round(staging):
    put(staging, "a/b.wav")

    with pytest.raises(BadPath):
        put(staging, "a")
    with pytest.raises(BadPath):
        put(staging, "a/b.wav/c")
    assert read(staging, "a/b.wav") == b"sound"


def test_too_many_bytes_leave_nothing_behind(staging, root):
    with pytest.raises(TooLarge, match="1000"):
        put(staging, "a.wav", b"x" * 1001)

    assert list(root.iterdir()) == []


def test_a_broken_upload_leaves_the_old_file(staging, root):
    put(staging, "a.wav", b"old")

    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        staging.put("a.wav", Broken())
    assert read(staging, "a.wav") == b"old"
    assert os.listdir(root) == ["a.wav"]


def test_two_puts_to_one_name_each_write_a_file_of_their_own(staging):
    class PutsAnother(io.BytesIO):
        def read(self, size=-1):
            data = super().read(2)
            if data:
                put(staging, "a.wav", b"the other")
            return data

    staging.put("a.wav", PutsAnother(b"first"))
    assert read(staging, "a.wav") == b"first"


def test_deleting_removes_the_folders_that_become_empty(staging, root):
    put(staging, "a/b/c/one.wav")
    put(staging, "a/two.wav")

    assert staging.delete("/a/b/c/one.wav") == "a/b/c/one.wav"
    assert [f.path for f in staging.list()] == ["a/two.wav"]
    assert not (root / "a/b").exists()

    staging.delete("a/two.wav")
    assert root.exists()
    assert list(root.iterdir()) == []


def test_partial_files_are_not_listed(staging, root):
    put(staging, "a.wav")
    (root / ".audiolla-0193-1.part").write_bytes(b"half")

    assert [f.path for f in staging.list()] == ["a.wav"]


def test_a_snapshot_keeps_the_file_as_it_was(staging, tmp_path):
    put(staging, "take.wav", b"first take")
    path, size = staging.snapshot("take.wav", tmp_path / "job")

    put(staging, "take.wav", b"second")
    assert path.read_bytes() == b"first take"
    assert size == len(b"first take")

    staging.delete("take.wav")
    assert path.read_bytes() == b"first take"


def test_a_staged_file_over_the_cap_is_refused(staging, root, tmp_path):
    (root / "big.wav").write_bytes(b"x" * 1001)

    with pytest.raises(TooLarge):
        staging.snapshot("big.wav", tmp_path / "job")


def test_a_target_has_its_folder_made(staging, root):
    assert staging.target("out/today/a.wav") == (root / "out/today", "a.wav")
    assert (root / "out/today").is_dir()
    assert staging.relative(root / "out/today/a.wav") == "out/today/a.wav"
    assert staging.relative(root.parent / "elsewhere") is None
