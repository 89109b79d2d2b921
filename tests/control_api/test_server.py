"""Real sockets: what the guard in waitress' parser promises, one line each."""

import json
import socket
import threading
import time

import pytest

from control_api.app import create_app, serve
from control_api.server import _Listener, _Parser
from tests.control_api.fake import api_settings

TOKEN = "geheim"
AUTH = f"Authorization: Bearer {TOKEN}\r\n"


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.file = self.socket.makefile("rb")

    def send(self, text):
        self.socket.sendall(text.encode("latin-1") if isinstance(text, str) else text)

    def answer(self):
        """(status, headers, body) of the next answer."""
        status = int(self.file.readline().split()[1])
        headers = {}
        while (line := self.file.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(": ")
            headers[name.lower()] = value
        body = self.file.read(int(headers.get("content-length", 0)))
        return status, headers, body

    def is_closed(self):
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.file.close()
        self.socket.close()


@pytest.fixture
def server(service, tmp_path):
    settings = api_settings(auth_token=TOKEN, max_upload_bytes=10_000)
    server = serve(create_app(service, settings), settings, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    server.close()
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def connect(server):
    made = []

    def connected():
        made.append(Connection(server.port))
        return made[-1]

    yield connected
    for connection in made:
        connection.close()


def detail(body):
    return json.loads(body)["detail"]


def test_it_answers(connect):
    connection = connect()
    connection.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")

    status, headers, body = connection.answer()
    assert (status, json.loads(body)["ok"]) == (200, True)
    assert headers["content-type"] == "application/json"


def test_a_body_goes_through_whole(connect, service):
    connection = connect()
    data = bytes(range(256)) * 39
    connection.send(
        f"PUT /v1/files/a HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: {len(data)}\r\n\r\n"
    )
    connection.send(data)

    assert connection.answer()[0] == 201
    assert service.stored["a"] == data


def test_a_chunked_body_goes_through(connect, service):
    connection = connect()
    connection.send(
        f"PUT /v1/files/a HTTP/1.1\r\nHost: x\r\n{AUTH}Transfer-Encoding: chunked\r\n\r\n"
    )
    connection.send("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    assert connection.answer()[0] == 201
    assert service.stored["a"] == b"abcde"


@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"], ids=["", "expecting"])
def test_without_the_token_the_body_is_not_even_read(connect, expect):
    connection = connect()
    connection.send(
        f"PUT /v1/files/a HTTP/1.1\r\nHost: x\r\n{expect}Content-Length: 9000\r\n\r\nfirst bytes"
    )

    status, headers, body = connection.answer()
    assert status == 401
    assert headers["www-authenticate"] == "Bearer"
    assert "token" in detail(body)
    assert connection.is_closed()


@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"], ids=["", "expecting"])
def test_too_long_a_body_is_refused_by_its_header(connect, expect):
    connection = connect()
    connection.send(
        f"PUT /v1/files/a HTTP/1.1\r\nHost: x\r\n{AUTH}{expect}Content-Length: 999999999\r\n\r\n"
    )

    status, _, body = connection.answer()
    assert status == 413
    assert "larger" in detail(body)
    assert connection.is_closed()


def test_a_json_body_may_not_be_as_long_as_an_upload(connect):
    connection = connect()
    connection.send(
        f"POST /v1/audio/trim HTTP/1.1\r\nHost: x\r\n{AUTH}"
        "Content-Type: application/json\r\nContent-Length: 4000000\r\n\r\n"
    )

    assert connection.answer()[0] == 413


def test_two_lengths_are_refused(connect):
    connection = connect()
    connection.send(
        f"PUT /v1/files/a HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: 4\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    )

    status, _, body = connection.answer()
    assert status == 400
    assert "Content-Length" in detail(body)
    assert connection.is_closed(), "what follows is not taken for a request"


def test_an_endless_chunk_header_is_cut(connect):
    connection = connect()
    connection.send(
        f"PUT /v1/files/a HTTP/1.1\r\nHost: x\r\n{AUTH}Transfer-Encoding: chunked\r\n\r\n"
    )
    connection.send("1;" + "x" * 20_000)

    assert connection.answer()[0] == 400


def test_too_many_bodies_at_once_are_asked_to_come_again(connect, monkeypatch):
    monkeypatch.setattr("control_api.server._Limits.room", lambda _: 9_000)
    first, second = connect(), connect()
    put = f"PUT /v1/files/a HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: 5000\r\n\r\n"
    first.send(put + "x")
    first_is_known = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    second.send(first_is_known)
    second.answer()
    second.send(put)

    status, headers, _ = second.answer()
    assert status == 503
    assert headers["retry-after"] == "2"


@pytest.mark.parametrize(
    "request_text",
    [
        pytest.param("nonsense\r\n\r\n", id="no request"),
        pytest.param("GET / HTTP/1.1\r\nHost: x\r\nA\x00B: c\r\n\r\n", id="a NUL in a name"),
        pytest.param("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: -4\r\n\r\n", id="minus four"),
        pytest.param("GET / HTTP/1.1\r\nHost: x\r\nA: " + "b" * 40_000 + "\r\n\r\n", id="too long"),
    ],
)
def test_what_waitress_itself_refuses_is_json_too(connect, request_text):
    connection = connect()
    connection.send(request_text)

    status, headers, body = connection.answer()
    assert 400 <= status < 500
    assert headers["content-type"] == "application/json"
    assert detail(body)


@pytest.mark.parametrize(
    ("seconds", "headers_finished", "received", "slow"),
    [
        pytest.param(9, False, 0, False, id="a header may take a while"),
        pytest.param(11, False, 0, True, id="but not for ever"),
        pytest.param(19, True, 0, False, id="so may the first byte of a body"),
        pytest.param(21, True, 10, True, id="a byte every two seconds is too slow"),
        pytest.param(600, True, 600 * 16_384, False, id="16 KiB a second is not"),
    ],
)
def test_a_client_that_drips_is_recognised(seconds, headers_finished, received, slow):
    parser = _Parser.__new__(_Parser)
    parser.begun, parser.headers_finished, parser.body_bytes_received = (
        0,
        headers_finished,
        received,
    )

    assert parser.is_too_slow(seconds) is slow


def test_and_its_connection_is_closed(server, connect, monkeypatch):
    monkeypatch.setattr(_Parser, "is_too_slow", lambda *_: True)
    maintained = threading.Event()
    original = _Listener.maintenance

    def maintenance(self, now):
        original(self, now)
        if self.active_channels:
            maintained.set()

    monkeypatch.setattr(_Listener, "maintenance", maintenance)
    connection = connect()
    connection.send("GET /healthz HTTP/1.1\r\nHost:")

    assert maintained.wait(10)
    assert connection.is_closed()


def test_a_client_that_hangs_up_is_noticed_by_whoever_works_for_it(connect, service):
    waiting, noticed = threading.Event(), threading.Event()

    def wait(job_id, gone, seconds=None):
        waiting.set()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if gone():
                noticed.set()
                break
            noticed.wait(0.01)
        return service.all_jobs[job_id]

    service.wait = wait
    service.stored["a.wav"] = b"x"
    connection = connect()
    body = "file_path=a.wav&end_sec=1"
    connection.send(
        f"POST /v1/audio/trim HTTP/1.1\r\nHost: x\r\n{AUTH}"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )
    assert waiting.wait(10)
    connection.close()

    assert noticed.wait(10)


def test_many_who_wait_leave_room_for_the_others(connect, service, monkeypatch):
    release = threading.Event()
    waiting = threading.Semaphore(0)

    def wait(job_id, gone, seconds=None):
        waiting.release()
        release.wait(10)
        return service.all_jobs[job_id]

    service.wait = wait
    service.stored["a.wav"] = b"x"
    body = "file_path=a.wav&end_sec=1"
    post = (
        f"POST /v1/audio/trim HTTP/1.1\r\nHost: x\r\n{AUTH}"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )
    crowd = [connect() for _ in range(56)]
    for connection in crowd:
        connection.send(post)
    for _ in crowd:
        assert waiting.acquire(timeout=10)

    late = connect()
    late.send(post)
    status, headers, text = late.answer()
    assert status == 503
    assert "async_job" in detail(text)
    assert headers["retry-after"]
    late.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert late.answer()[0] == 200

    release.set()
    assert [connection.answer()[0] for connection in crowd] == [200] * 56


def test_a_taken_port_is_an_error_at_once(server, service):
    settings = api_settings(auth_token="", max_upload_bytes=10)

    with pytest.raises(OSError, match="in use"):
        serve(create_app(service, settings), settings, "127.0.0.1", server.port)
