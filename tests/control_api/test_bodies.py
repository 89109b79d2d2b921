"""Bodies while they arrive: taken apart alike however they are cut, and written once."""

import errno
import os
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_api import bodies
from control_api.bodies import IN_MEMORY, FormBody, Spool
from handlers.errors import BadParameter
from tests.control_api.requests import BOUNDARY, multipart

KIND = f"multipart/form-data; boundary={BOUNDARY}"
LONG = bytes(range(256)) * 512  # more than is kept in memory


def taken(data, folder, pieces=(), kind=KIND):
    """The form of these bytes, which arrive in pieces of these sizes and then the rest."""
    form = FormBody(kind, folder)
    for size in pieces:
        form.append(data[:size])
        data = data[size:]
    form.append(data)
    return form


def fields(form):
    return [(p.name, p.filename, p.body.readall()) for p in form.finished()]


TRICKY = f"\r\n--{BOUNDARY[:-1]}\r\n--\r\r\n-".encode()
SENT = multipart(
    ("file", "é \u65e5.wav", LONG), ("end_sec", "3"), ("empty", ""), ("other", "b", TRICKY)
)["body"]
MEANT = [
    ("file", "é \u65e5.wav", LONG),
    ("end_sec", None, b"3"),
    ("empty", None, b""),
    ("other", "b", TRICKY),
]


@given(st.lists(st.integers(1, 400), max_size=30), st.integers(0, len(SENT)))
def test_a_form_means_the_same_however_it_is_cut(tmp_path_factory, pieces, first):
    form = taken(SENT, tmp_path_factory.getbasetemp(), [first, *pieces])

    assert fields(form) == MEANT
    form.close()


def test_a_form_may_come_byte_by_byte(tmp_path):
    data = multipart(("a", "x.wav", b"\r\n--" + TRICKY), ("b", "2"))["body"]

    assert fields(taken(data, tmp_path, [1] * len(data))) == [
        ("a", "x.wav", b"\r\n--" + TRICKY),
        ("b", None, b"2"),
    ]


def test_a_long_part_lies_in_a_file_and_a_short_one_does_not(tmp_path):
    form = taken(SENT, tmp_path)

    assert [p.stat().st_size for p in tmp_path.iterdir()] == [len(LONG)]
    form.close()
    assert list(tmp_path.iterdir()) == []


def test_who_keeps_a_part_gets_its_file_and_no_copy(tmp_path):
    form = taken(SENT, tmp_path)
    (written,) = tmp_path.iterdir()
    inode = written.stat().st_ino

    form.parts[0].body.become(tmp_path / "kept")
    form.close()
    assert (tmp_path / "kept").stat().st_ino == inode
    assert (tmp_path / "kept").read_bytes() == LONG
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("data", [b"", b"short", LONG], ids=["nothing", "in memory", "in a file"])
def test_across_file_systems_it_is_a_copy(tmp_path, monkeypatch, data):
    def across(*_, **__):
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(bodies.os, "rename", across)
    spool = Spool(tmp_path)
    spool.append(data)
    spool.become(tmp_path / "kept")

    assert (tmp_path / "kept").read_bytes() == data


def test_a_spool_is_read_from_its_start_in_any_sizes(tmp_path):
    spool = Spool(tmp_path)
    for start in range(0, len(LONG), 1000):
        spool.append(LONG[start : start + 1000])

    assert spool.read(3) + spool.read(70_000) + spool.readall() == LONG
    assert spool.read(1) == b""


def test_a_disk_that_is_full_is_told_to_who_reads(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(bodies, "write_all", full)
    spool = Spool(tmp_path)
    spool.append(b"x" * (IN_MEMORY + 1))
    spool.append(b"more")

    with pytest.raises(OSError, match="No space"):
        spool.readall()
    with pytest.raises(OSError, match="No space"):
        spool.become(tmp_path / "kept")
    spool.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "data", "told"),
    [
        pytest.param("multipart/form-data", b"", "needs a boundary", id="no boundary"),
        pytest.param(KIND, SENT[:-8], "ends before", id="no end"),
        pytest.param(KIND, b"--" + BOUNDARY.encode() + b"x\r\n", "end of its line", id="no line"),
        pytest.param(KIND, f"--{BOUNDARY}\r\n\r\nx".encode(), "no name", id="no header"),
        pytest.param(
            KIND, f"--{BOUNDARY}\r\n".encode() + b"x" * 9000, "header bytes", id="endless header"
        ),
        pytest.param(
            KIND, multipart(*[("a", "1")] * 257)["body"], "more than 256 parts", id="many parts"
        ),
    ],
)
def test_what_is_no_form_is_told(tmp_path, kind, data, told):
    with pytest.raises(BadParameter, match=told):
        taken(data, tmp_path, kind=kind).finished()


def test_a_file_name_may_be_written_the_other_way(tmp_path):
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; '
    data = f"{head}filename*=UTF-8''%C3%A9.wav\r\n\r\nx\r\n--{BOUNDARY}--".encode()

    assert fields(taken(data, tmp_path)) == [("file", "é.wav", b"x")]


def test_behind_another_server_the_form_is_read_from_its_stream(tmp_path):
    pieces = iter([SENT[:99], SENT[99:], b""])
    stream = SimpleNamespace(read=lambda _: next(pieces))
    req = SimpleNamespace(env={"wsgi.input": stream}, content_type=KIND, bounded_stream=stream)

    assert fields(bodies.form_body(req)) == MEANT
