"""P16, P17, P18, P21, P23: what strangers on the network cannot do. Real sockets, small figures.

`python -m bench.faults.network` asks for the same with hundreds of connections.
"""

import hmac
import json
import statistics
import threading
import time

import pytest

from control_api.app import all_routes, create_app, serve
from control_api.scopes import Keys, NamedToken, token_hash
from control_api.server import _Listener, _Parser
from tests.control_api.fake import api_settings
from tests.control_api.requests import TestClient
from tests.control_api.test_server import Connection

TOKEN = "geheim"
AUTH = f"Authorization: Bearer {TOKEN}\r\n"
MIB = 1 << 20
HEALTH = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


class Served:
    """A server, its spool, and connections to it."""

    def __init__(self, service, spool, **settings):
        self.spool = spool
        given = {"auth_token": TOKEN, "max_upload_bytes": 200 * MIB} | settings
        settings = api_settings(**given)
        app = create_app(service, settings)
        self.server = serve(app, settings, "127.0.0.1", 0, spool=spool)
        self._thread = threading.Thread(target=self.server.run)
        self._thread.start()
        self._made = []

    def connect(self):
        self._made.append(Connection(self.server.port))
        return self._made[-1]

    def health(self):
        """Seconds until somebody else is answered."""
        began = time.perf_counter()
        connection = self.connect()
        connection.send(HEALTH)
        assert connection.answer()[0] == 200
        return time.perf_counter() - began

    def stored(self):
        return sum(file.stat().st_size for file in self.spool.rglob("*") if file.is_file())

    def close(self):
        for connection in self._made:
            connection.close()
        self.server.close()
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def served(service, tmp_path):
    made = []

    def make(**settings):
        made.append(Served(service, tmp_path / "spool", **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


# -- P16
def test_cheap_clients_do_not_lock_others_out(served, service, monkeypatch):
    """Idle and dripping connections, and clients that read nothing of a large answer."""
    service.stored["big.bin"] = bytes(8 * MIB)
    server = served()
    idle = [server.connect() for _ in range(60)]
    dripping = [server.connect() for _ in range(30)]
    for connection in dripping:
        connection.send("GET /healthz HTTP/1.1\r\nHo")
    slow = [server.connect() for _ in range(40)]
    for connection in slow:
        connection.send(f"GET /v1/files/big.bin HTTP/1.1\r\nHost: x\r\n{AUTH}\r\n")
        assert b"200" in connection.file.readline()  # and no more

    for connection in dripping:
        connection.send("s")
    waits = [server.health() for _ in range(40)]
    assert statistics.quantiles(waits, n=20)[-1] < 1.0, waits

    # The clock of the guard goes on by half a minute: all that drips is gone.
    later = time.monotonic() + 30
    ended = threading.Event()
    original = _Listener.maintenance

    def maintenance(self, now):
        original(self, now)
        ended.set()

    slow_now = _Parser.is_too_slow
    monkeypatch.setattr(_Parser, "is_too_slow", lambda self, _: slow_now(self, later))
    monkeypatch.setattr(_Listener, "maintenance", maintenance)
    assert ended.wait(20)
    assert all(connection.is_closed() for connection in dripping)
    assert server.health() < 5.0
    idle[0].send(HEALTH)
    assert idle[0].answer()[0] == 200


# -- P17
@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"], ids=["at once", "expecting"])
@pytest.mark.parametrize("form", ["put", "chunked", "form"])
def test_without_the_token_nothing_is_stored(served, expect, form):
    server = served()
    header = {
        "put": f"PUT /v1/files/a HTTP/1.1\r\nHost: x\r\nContent-Length: {100 * MIB}\r\n",
        "chunked": "PUT /v1/files/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n",
        "form": "POST /v1/audio/trim HTTP/1.1\r\nHost: x\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {100 * MIB}\r\n",
    }[form]
    connection = server.connect()
    connection.send(header + expect + "\r\n")
    if not expect:
        try:
            for _ in range(16):  # whoever does not listen goes on sending
                connection.send(bytes(MIB))
        except (BrokenPipeError, ConnectionResetError):
            pass

    if expect:
        assert connection.answer()[0] == 401
    assert connection.is_closed() or not expect
    assert server.health() < 5.0
    assert server.stored() == 0


# -- P18
def test_upload_space_is_a_budget(served):
    """Ten of 100 MB at once, one GiB is allowed for... three: the rest comes again later."""
    server = served(upload_inflight=300 * MIB)
    crowd = [server.connect() for _ in range(10)]
    put = f"PUT /v1/files/a HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: {100 * MIB}\r\n\r\n"
    statuses = []
    for connection in crowd:
        connection.send(put)
        connection.send(b"x" * 1000)
        server.health()  # what was sent before is known by now
    for connection in crowd[3:]:
        status, headers, body = connection.answer()
        statuses.append(status)
        assert headers["retry-after"] == "2"
        assert "AUDIOLLA_UPLOAD_INFLIGHT" in json.loads(body)["detail"]
    assert statuses == [503] * 7
    assert server.stored() <= 3 * 1000

    crowd[0].close()  # one gives up: there is room again
    for _ in range(50):
        late = server.connect()
        late.send(put.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n"))
        if b"100" in late.file.readline():
            break
    else:
        raise AssertionError("the room of one that gave up is not given to others")


def test_one_upload_alone_is_taken_however_small_the_budget(served, service):
    server = served(upload_inflight=1)
    connection = server.connect()
    connection.send(f"PUT /v1/files/a HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: 4\r\n\r\nabcd")
    assert connection.answer()[0] == 201
    assert service.stored["a"] == b"abcd"


# -- P21
FOREIGN = {
    "a page of another site": ({"Origin": "https://evil.example"}, 403),
    "a file that was opened": ({"Origin": "null"}, 403),
    "a name that a stranger gave us": ({"Host": "evil.example"}, 421),
    "and a page of it": ({"Host": "evil.example", "Origin": "http://evil.example"}, 421),
    "with a port": ({"Host": "evil.example:8000"}, 421),
    "an address in the name": ({"Host": "127.0.0.1.evil.example"}, 421),
}


@pytest.mark.parametrize(("headers", "status"), FOREIGN.values(), ids=FOREIGN.keys())
def test_no_web_page_reaches_any_route(client, service, headers, status):
    routes = all_routes(service)
    asked = {(r.method, r.path.replace("{", "x").replace("}", "x")) for r in routes}
    asked |= {("OPTIONS", path) for _, path in asked}
    assert len(asked) > 100
    told = {
        (method, path): client.simulate_request(method, path, headers=headers)
        for method, path in asked
        if path != "/healthz"
    }
    wrong = {asked: one.status_code for asked, one in told.items() if one.status_code != status}
    assert wrong == {}
    headers = {name.lower() for one in told.values() for name in one.headers}
    assert not [name for name in headers if name.startswith("access-control-")]
    assert client.simulate_get("/healthz", headers=FOREIGN["with a port"][0]).status_code == 200


def test_no_cors_headers_unless_somebody_wants_them(client):
    reply = client.simulate_get("/v1/jobs", headers={"Origin": "http://localhost"})
    assert reply.status_code == 200
    assert not [name for name in reply.headers if name.lower().startswith("access-control-")]


def test_names_can_be_allowed(service):
    settings = api_settings(auth_token="", allowed_hosts="audio.example, Other.example")
    client = TestClient(create_app(service, settings))
    for host in ("audio.example", "other.EXAMPLE:443", "10.0.0.7:8000", "[::1]:8000", "nas"):
        assert client.simulate_get("/v1/jobs", headers={"Host": host}).status_code == 200, host
    assert client.simulate_get("/v1/jobs", headers={"Host": "third.example"}).status_code == 421


def test_whoever_has_a_token_is_no_web_page_but_a_list_of_names_holds(service):
    """A reverse proxy passes its own name on; a browser that was tricked has no token."""
    asked = {"Host": "audio.example", "Authorization": f"Bearer {TOKEN}"}
    open_ = TestClient(create_app(service, api_settings(auth_token=TOKEN)))
    assert open_.simulate_get("/v1/jobs", headers=asked).status_code == 200
    closed = api_settings(auth_token=TOKEN, allowed_hosts="other.example")
    listed = TestClient(create_app(service, closed))
    assert listed.simulate_get("/v1/jobs", headers=asked).status_code == 421


def test_what_a_foreign_page_sends_is_not_even_read(served):
    server = served(auth_token="")
    connection = server.connect()
    connection.send(
        "PUT /v1/files/a HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n"
        f"Content-Length: {100 * MIB}\r\nExpect: 100-continue\r\n\r\n"
    )
    assert connection.answer()[0] == 403
    assert connection.is_closed()


# -- P23
def test_a_wrong_token_of_the_right_length_is_as_much_work(monkeypatch):
    """What is compared is always every hash, whole, by `compare_digest`: nothing stops early."""
    compared = []
    original = hmac.compare_digest

    def counted(one, other):
        compared.append((one, other))
        return original(one, other)

    monkeypatch.setattr("control_api.scopes.hmac.compare_digest", counted)
    named = [NamedToken(n, token_hash(n.encode()), ("read",), 0.0) for n in ("one", "two")]
    keys = Keys(TOKEN, lambda: named)
    for given in (TOKEN, "geheiM", "Geheim", "one", "two", "", "ü", "x" * 5000):
        compared.clear()
        raw = f"Bearer {given}".encode().decode("latin-1")
        holder = keys.holder(raw)
        assert (holder is not None) == (given in (TOKEN, "one", "two"))
        assert len(compared) == 3
        assert {len(one) for pair in compared for one in pair} == {64}
