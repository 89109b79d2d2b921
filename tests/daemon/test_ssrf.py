"""P19: fetch, output and webhook never reach an address that is not public, however it is put."""

import io
import socket
from ipaddress import ip_address
from urllib.parse import quote

import pytest

from control_api.app import create_app
from daemon import urls
from daemon.outgoing import Outgoing
from daemon.reader import JobReader
from daemon.service import QueueService
from daemon.settings import Settings
from daemon.store import Store
from daemon.urls import Policy
from handlers.errors import UrlRefused
from tests.control_api.requests import TestClient, form
from tests.daemon.peers import Peer, redirect
from tests.sounds import noise, write_wav

NOTATIONS = [
    *("127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001"),
    *("2130706433", "017700000001", "0", "0.0.0.0", "①②⑦.⓪.⓪.①", "localhost", "LOCALHOST."),
    *("[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
    *("[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fec0::1]", "[::1%25lo]"),
    *(
        "me@127.0.0.1",
        "example.org@127.0.0.1",
        "127.0.0.1%2eexample.org",
        "example.org\\@127.0.0.1",
    ),
]
FIELDS = ("file_url", "output_url", "webhook_url")


class Canary:
    """Listens on both loopback addresses; nobody must ever come."""

    def __init__(self):
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self.port = self._sockets[0].getsockname()[1]
        try:
            six = socket.create_server(("::1", self.port), family=socket.AF_INET6)
        except OSError:
            pass  # a machine without IPv6
        else:
            self._sockets.append(six)
        for one in self._sockets:
            one.setblocking(False)

    def visitors(self):
        found = 0
        for one in self._sockets:
            try:
                one.accept()[0].close()
            except BlockingIOError:
                continue
            found += 1
        return found

    def close(self):
        for one in self._sockets:
            one.close()


@pytest.fixture
def canary():
    made = Canary()
    yield made
    made.close()


class NoQueue:
    """Nothing may come this far."""

    def submit(self, jobs):
        raise AssertionError(jobs)


@pytest.fixture
def api(tmp_path):
    settings = Settings(
        data_dir=tmp_path, fetch_mode="denylist", fetch_schemes="http,https", cache_bytes=0
    )
    settings.files.mkdir()
    write_wav(noise(seconds=0.1), settings.files / "a.wav")
    Store(settings.database).close()
    service = QueueService(settings, NoQueue(), JobReader(settings.database))
    return TestClient(create_app(service, settings))


def test_no_notation_of_this_machine_is_taken_in_any_field(api, canary):
    assert len(NOTATIONS) >= 22
    answers = {}
    for notation in NOTATIONS:
        for scheme in ("http", "https"):
            url = f"{scheme}://{notation}:{canary.port}/x.wav"
            for field in FIELDS:
                fields = {field: url} if field == "file_url" else {"file_path": "a.wav", field: url}
                text = "&".join(f"{name}={_quoted(value)}" for name, value in fields.items())
                reply = api.simulate_post("/v1/audio/reverse", **form(text))
                answers[notation, scheme, field] = reply.status_code
    assert {asked: status for asked, status in answers.items() if status != 400} == {}
    assert canary.visitors() == 0


def _quoted(text):
    return quote(text, safe="")


VERBS = {
    "file_url": lambda client, url: client.fetch(url, io.BytesIO()),
    "output_url": lambda client, url: client.put(url, io.BytesIO(b"x"), 1, "audio/wav"),
    "webhook_url": lambda client, url: client.post(url, b"{}", {}),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())
def test_a_name_that_is_public_first_and_private_then_leads_nowhere(canary, verb):
    """DNS rebinding: resolved once for the check, and once more for the connection."""
    answers = iter(["93.184.216.34", *["127.0.0.1"] * 9])
    client = Outgoing(
        Policy("denylist", (), ("http",)),
        timeout=5.0,
        max_bytes=1000,
        resolve=lambda _: [ip_address(next(answers))],
    )
    url = f"http://rebinding.example:{canary.port}/"
    client.check(url)
    with pytest.raises(UrlRefused, match="not public"):
        verb(client, url)
    assert canary.visitors() == 0


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())
def test_one_private_address_among_public_ones_is_one_too_many(canary, verb):
    both = [ip_address("93.184.216.34"), ip_address("127.0.0.1")]
    client = Outgoing(
        Policy("denylist", (), ("http",)), timeout=5.0, max_bytes=1000, resolve=lambda _: both
    )
    with pytest.raises(UrlRefused, match="private"):
        verb(client, f"http://both.example:{canary.port}/")
    assert canary.visitors() == 0


def test_no_redirect_leads_inside(canary, monkeypatch):
    """127.0.0.9 stands for the Internet here; every notation of 127.0.0.1 for the inside."""
    monkeypatch.setattr(urls, "is_public", lambda address: str(address) == "127.0.0.9")
    reached = {}
    for notation in NOTATIONS:
        outside = Peer(redirect(f"http://{_ascii(notation)}:{canary.port}/"), address="127.0.0.9")
        client = Outgoing(
            Policy("denylist", (), ("http",)), timeout=5.0, max_bytes=1000, max_redirects=5
        )
        try:
            with pytest.raises(UrlRefused):
                client.fetch(outside.url(host="127.0.0.9"), io.BytesIO())
            reached[notation] = len(outside.asked)
        finally:
            outside.close()
    assert reached == dict.fromkeys(NOTATIONS, 1)
    assert canary.visitors() == 0


def _ascii(notation):
    """A header holds Latin-1; a name beyond it stands there as its bytes."""
    return notation.encode().decode("latin-1")
