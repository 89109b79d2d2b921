"""tus 1.0 in raw HTTP: over a real socket, with a broken line where that matters."""

import base64
import hashlib
import threading

import pytest

from control_api.app import create_app, serve
from control_api.scopes import Keys, NamedToken, token_hash
from tests.control_api.fake import api_settings
from tests.control_api.test_server import Connection, detail

TOKENS = [
    NamedToken(name, token_hash(name.encode()), (name,), 0.0) for name in ("files", "read", "run")
]


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


@pytest.fixture
def port(service, tmp_path):
    settings = api_settings(max_upload_bytes=1_000_000)
    service.max_upload_bytes = 1_000_000
    keys = Keys("", lambda: TOKENS)
    app = create_app(service, settings, keys)
    server = serve(
        app, settings, "127.0.0.1", 0, spool=tmp_path / "s", keys=keys, partial=service.uploads
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server.port
    server.close()
    thread.join(10)
    assert not thread.is_alive()


class Tus:
    """One connection that speaks tus."""

    def __init__(self, port, token="files"):
        self.connection = Connection(port)
        self.token = token

    def header(self, method, path, headers):
        lines = {
            "Host": "x",
            "Tus-Resumable": "1.0.0",
            "Authorization": f"Bearer {self.token}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
        self.connection.send(f"{method} {path} HTTP/1.1\r\n{text}\r\n")

    def ask(self, method, path, data=b"", **headers):
        self.header(method, path, {"Content_Length": len(data), **headers})
        self.connection.send(data)
        status = int(self.connection.file.readline().split()[1])
        told = {}
        while (line := self.connection.file.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(": ")
            told[name.lower()] = value
        length = 0 if method == "HEAD" else int(told.get("content-length", 0))
        return status, told, self.connection.file.read(length)

    def begin(self, name, length, **headers):
        status, told, body = self.ask(
            "POST",
            "/v1/uploads",
            Upload_Length=length,
            Upload_Metadata=f"filename {b64(name)}",
            **headers,
        )
        assert status == 201, body
        return told["location"]

    def piece(self, where, offset, data, **headers):
        return self.ask("PATCH", where, data, **self.piece_headers(offset, headers))

    @staticmethod
    def piece_headers(offset, headers=None):
        kind = "application/offset+octet-stream"
        return {"Upload_Offset": offset, "Content_Type": kind, **(headers or {})}

    def offset(self, where):
        status, told, _ = self.ask("HEAD", where)
        assert status == 200
        return int(told["upload-offset"])


@pytest.fixture
def tus(port):
    made = Tus(port)
    yield made
    made.connection.close()


def arrived(service, name):
    return (service.folder / "arrived" / name).read_bytes()


def names(service):
    return [p.name for p in (service.folder / "arrived").rglob("*")]


def test_options_tell_what_there_is(tus):
    for path in ("/v1/uploads", "/v1/uploads/x"):
        status, told, _ = tus.ask("OPTIONS", path, Tus_Resumable=None)
        assert status == 204
        assert told["tus-version"] == told["tus-resumable"] == "1.0.0"
        assert told["tus-extension"] == "creation,termination,checksum,expiration"
        assert told["tus-max-size"] == "1000000"
        assert told["tus-checksum-algorithm"] == "sha1,sha256,md5"


def test_pieces_become_a_file_with_the_last_one(tus, service):
    where = tus.begin("mixes/take 1 é.wav", 9)

    for offset, data in ((0, b"abcd"), (4, b"ef"), (6, b"ghi")):
        assert names(service) == [], "nothing is to be seen before"
        status, told, _ = tus.piece(where, offset, data)
        assert (status, told["tus-resumable"]) == (204, "1.0.0")
        assert told["upload-offset"] == str(offset + len(data))
        assert ("upload-expires" in told) == (offset + len(data) < 9)
    assert arrived(service, "mixes/take 1 é.wav") == b"abcdefghi"
    assert tus.offset(where) == 9, "it is still known how it ended"


def test_head_tells_how_far_it_is(tus):
    where = tus.begin("a.wav", 9)
    tus.piece(where, 0, b"abc")

    status, told, _ = tus.ask("HEAD", where)
    assert status == 200
    assert told["upload-offset"] == "3"
    assert told["upload-length"] == "9"
    assert told["upload-metadata"] == f"filename {b64('a.wav')}"
    assert told["cache-control"] == "no-store"
    assert told["upload-expires"].endswith("GMT")


def test_nothing_at_all_is_a_file_at_once(tus, service):
    where = tus.begin("empty", 0)

    assert arrived(service, "empty") == b""
    assert tus.offset(where) == 0


def test_a_line_that_breaks_costs_only_what_never_came(tus, service, port):
    where = tus.begin("long.wav", 500_000)
    data = bytes(range(256)) * 2000

    broken = Tus(port)
    broken.header("PATCH", where, Tus.piece_headers(0, {"Content_Length": 500_000}))
    broken.connection.send(data[:300_000])
    while (come := tus.offset(where)) < 300_000:
        assert come <= 300_000
    broken.connection.close()

    assert tus.offset(where) == 300_000
    assert tus.piece(where, 300_000, data[300_000:500_000])[0] == 204
    assert arrived(service, "long.wav") == data[:500_000]


def test_who_comes_back_takes_over_from_a_line_that_only_seems_alive(tus, service, port):
    where = tus.begin("a.wav", 10)
    hanging = Tus(port)
    hanging.header("PATCH", where, Tus.piece_headers(0, {"Content_Length": 10}))
    hanging.connection.send(b"abc")
    while tus.offset(where) < 3:
        pass

    assert tus.piece(where, 3, b"defghij")[0] == 204
    hanging.connection.send(b"XXXXXXX")
    assert hanging.connection.answer()[0] == 409
    assert arrived(service, "a.wav") == b"abcdefghij"
    hanging.connection.close()


def test_a_piece_may_come_in_chunks_of_unknown_number(tus, service):
    where = tus.begin("a.wav", 5)
    chunked = {"Transfer_Encoding": "chunked", "Content_Length": None}
    tus.header("PATCH", where, Tus.piece_headers(0, chunked))
    tus.connection.send("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    assert tus.connection.answer()[0] == 204
    assert arrived(service, "a.wav") == b"abcde"


def test_more_than_was_announced_is_refused_and_not_kept(tus, service):
    where = tus.begin("a.wav", 5)
    assert tus.piece(where, 0, b"abcdef")[0] == 413
    chunked = {"Transfer_Encoding": "chunked", "Content_Length": None}
    tus.header("PATCH", where, Tus.piece_headers(0, chunked))
    tus.connection.send("3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
    status, _, body = tus.connection.answer()

    assert status == 413
    assert "limit of 5 bytes" in detail(body)
    assert tus.offset(where) == 0
    assert names(service) == []


@pytest.mark.parametrize("offset", [0, 2, 4])
def test_a_piece_that_belongs_elsewhere_is_a_409(tus, offset):
    where = tus.begin("a.wav", 9)
    tus.piece(where, 0, b"abc")

    status, told, body = tus.piece(where, offset, b"de")
    assert (status, told["tus-resumable"]) == (409, "1.0.0")
    assert "has 3 bytes" in detail(body)
    assert tus.offset(where) == 3


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
def test_a_checksum_is_checked(tus, service, algorithm):
    where = tus.begin("a.wav", 6)

    def told(data):
        return {"Upload_Checksum": f"{algorithm} {b64(hashlib.new(algorithm, data).digest())}"}

    assert tus.piece(where, 0, b"abc", **told(b"abc"))[0] == 204
    status, headers, body = tus.piece(where, 3, b"dex", **told(b"def"))
    assert (status, headers["tus-resumable"]) == (460, "1.0.0")
    assert algorithm in detail(body)
    assert tus.offset(where) == 3, "none of it was kept"
    assert tus.piece(where, 3, b"def", **told(b"def"))[0] == 204
    assert arrived(service, "a.wav") == b"abcdef"


def test_bytes_that_are_to_be_checked_count_only_once_they_are(tus, port):
    where = tus.begin("a.wav", 6)
    sum_of_all = {"Upload_Checksum": f"sha1 {b64(hashlib.sha1(b'abcdef').digest())}"}
    broken = Tus(port)
    headers = Tus.piece_headers(0, {"Content_Length": 6, **sum_of_all})
    broken.header("PATCH", where, headers)
    broken.connection.send(b"abc")
    assert tus.offset(where) == 0
    broken.connection.close()

    assert tus.piece(where, 0, b"abcdef", **sum_of_all)[0] == 204


def test_another_version_is_a_412_and_is_told_which_there_is(tus):
    for method, path in (("POST", "/v1/uploads"), ("HEAD", "/v1/uploads/x")):
        for spoken in ("0.2.2", None):
            status, told, _ = tus.ask(method, path, Tus_Resumable=spoken)
            assert (status, told["tus-version"]) == (412, "1.0.0")


@pytest.mark.parametrize(
    ("headers", "status", "told"),
    [
        pytest.param({"Upload_Length": None}, 400, "Upload-Length is missing", id="no length"),
        pytest.param({"Upload_Length": "-4"}, 400, "not a number of bytes", id="minus four"),
        pytest.param({"Upload_Length": 1_000_001}, 413, "1000000", id="more than the cap"),
        pytest.param(
            {"Upload_Length": None, "Upload_Defer_Length": "1"}, 400, "Defer", id="length later"
        ),
        pytest.param({"Upload_Metadata": None}, 400, "filename", id="no name"),
        pytest.param({"Upload_Metadata": "filename ?"}, 400, "base64", id="not base64"),
        pytest.param({"Upload_Metadata": "filename /w=="}, 400, "UTF-8", id="not UTF-8"),
        pytest.param({"Upload_Metadata": "a YQ==,a YQ=="}, 400, "twice", id="a key twice"),
        pytest.param({"Upload_Metadata": f"filename {b64('../x')}"}, 400, "..", id="outside"),
    ],
)
def test_what_cannot_begin_is_told(tus, service, headers, status, told):
    given = {"Upload_Length": 4, "Upload_Metadata": f"filename {b64('a')}", **headers}
    found, _, body = tus.ask("POST", "/v1/uploads", **given)

    assert found == status
    assert told in detail(body)
    assert list((service.folder / "resumable").iterdir()) == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Content_Type": "audio/wav"}, 415, id="another type"),
        pytest.param({"Upload_Offset": None}, 400, id="no offset"),
        pytest.param({"Upload_Offset": "x"}, 400, id="no number"),
        pytest.param({"Upload_Checksum": "crc32 AAAA"}, 400, id="an unknown checksum"),
        pytest.param({"Upload_Checksum": "sha1 ?"}, 400, id="a checksum that is none"),
        pytest.param({"Tus_Resumable": "2.0.0"}, 412, id="another version"),
    ],
)
def test_a_piece_that_says_too_little_is_refused_and_not_kept(tus, headers, status):
    where = tus.begin("a.wav", 9)

    assert tus.piece(where, 0, b"abc", **headers)[0] == status
    assert tus.offset(where) == 0


@pytest.mark.parametrize("name", ["0" * 32, "x", "..%2f..%2fx", "%C3%A9"])
def test_an_unknown_upload_is_a_404(tus, name):
    for method in ("HEAD", "PATCH", "DELETE"):
        assert tus.ask(method, f"/v1/uploads/{name}", **Tus.piece_headers(0))[0] == 404


def test_one_that_is_deleted_is_gone_with_its_bytes(tus, service):
    where = tus.begin("a.wav", 9)
    tus.piece(where, 0, b"abc")

    assert tus.ask("DELETE", where)[0] == 204
    assert tus.ask("HEAD", where)[0] == 404
    assert list((service.folder / "resumable").iterdir()) == []


def test_a_client_that_has_only_post_says_what_it_means(tus, service):
    where = tus.begin("a.wav", 3)
    meant = {"X_HTTP_Method_Override": "PATCH"}

    assert tus.ask("POST", where, b"abc", **Tus.piece_headers(0, meant))[0] == 204
    assert arrived(service, "a.wav") == b"abc"
    assert tus.ask("POST", where, b"abc")[0] == 400
    assert tus.ask("POST", where, X_HTTP_Method_Override="DELETE")[0] == 204


@pytest.mark.parametrize("token", ["read", "run"])
def test_a_token_without_the_scope_may_neither_begin_nor_write(tus, port, token):
    where = tus.begin("a.wav", 9)
    other = Tus(port, token)

    assert other.ask("POST", "/v1/uploads", Upload_Length=3)[0] == 403
    assert other.piece(where, 0, b"abc")[0] == 403
    assert other.ask("HEAD", where)[0] == 403
    assert other.ask("DELETE", where)[0] == 403
    assert tus.offset(where) == 0
    other.connection.close()


def test_behind_another_server_it_is_the_same_but_for_broken_lines(client, service):
    speaks = {"Tus-Resumable": "1.0.0"}
    begun = client.simulate_post(
        "/v1/uploads",
        headers={**speaks, "Upload-Length": "6", "Upload-Metadata": f"filename {b64('a.wav')}"},
    )
    kind = {"Content-Type": "application/offset+octet-stream"}
    for offset, data in ((0, b"abc"), (3, b"def")):
        answer = client.simulate_patch(
            begun.headers["location"],
            headers={**speaks, **kind, "Upload-Offset": str(offset)},
            body=data,
        )
        assert answer.status_code == 204
    assert arrived(service, "a.wav") == b"abcdef"
