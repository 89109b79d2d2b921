"""Weights are fetched from a server of the test's own."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest

from daemon.pulling import CannotPull, Puller, url_of
from handlers.engines.declare import Engine, WeightsFile
from handlers.engines.files import Models
from handlers.errors import StorageFailed

DATA = bytes(range(256)) * 5000
HASH = hashlib.sha256(DATA).hexdigest()


class Home(ThreadingHTTPServer):
    """A publisher: serves `DATA`, sends on, refuses, or breaks off."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []
        self.breaks_after = None
        self.data = DATA
        self.status = 200
        self.elsewhere = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        home = self.server
        home.asked.append((self.path, dict(self.headers)))
        if home.elsewhere:
            self.send_response(302)
            self.send_header("Location", home.elsewhere + self.path)
            self.end_headers()
            return
        if home.status != 200:
            self.send_error(home.status)
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(home.data) - start))
        self.end_headers()
        self.wfile.write(home.data[start : home.breaks_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def homes():
    made = [Home(), Home()]
    threads = [threading.Thread(target=home.serve_forever, args=(0.01,)) for home in made]
    for thread in threads:
        thread.start()
    yield made
    for home, thread in zip(made, threads, strict=True):
        home.shutdown()
        home.server_close()
        thread.join()


@pytest.fixture
def home(homes):
    return homes[0]


def engine(**about):
    file = {"size": len(DATA), "sha256": HASH} | about.pop("file", {})
    weights = (WeightsFile("deep/model.bin", "hf:maker/model@abc/model.bin", **file),)
    return Engine("echo", "test", "An echo.", weights=weights, licence="MIT.", **about)


@pytest.fixture
def pull(home, tmp_path):
    def pulling(wanted, **about):
        with httpx2.Client(follow_redirects=False, trust_env=False) as client:
            puller = Puller(Models([tmp_path]), client, hub=home.url, **about)
            return puller.pull(wanted)

    return pulling


def test_a_file_is_fetched_checked_and_in_its_place(pull, home, tmp_path):
    heard = []
    (path,) = pull(engine(), tell=lambda *said: heard.append(said))
    assert path == tmp_path / "echo/deep/model.bin"
    assert path.read_bytes() == DATA
    assert [p.name for p in path.parent.iterdir()] == ["model.bin"]
    assert heard[-1] == ("deep/model.bin", len(DATA), len(DATA))
    assert home.asked[0][0] == "/maker/model/resolve/abc/model.bin"


def test_what_is_there_is_not_fetched_again(pull, home):
    pull(engine())
    assert pull(engine()) == []
    assert len(home.asked) == 1


def test_a_broken_transfer_goes_on_where_it_broke(pull, home, tmp_path):
    home.breaks_after = 100_000
    with pytest.raises(StorageFailed, match="broke off") as broken:
        pull(engine())
    assert "audiolla models pull echo" in broken.value.hint
    home.breaks_after = None
    (path,) = pull(engine())
    assert path.read_bytes() == DATA
    assert home.asked[1][1]["Range"] == "bytes=100000-"


def test_what_is_not_the_published_file_is_thrown_away(pull, home, tmp_path):
    home.data = DATA[::-1]
    with pytest.raises(CannotPull, match="SHA-256.*thrown away"):
        pull(engine())
    assert not any(p.is_file() and "model.bin" in p.name for p in tmp_path.rglob("*"))


def test_a_file_without_a_published_hash_needs_trust(pull, home, tmp_path):
    unhashed = engine(file={"sha256": None, "size": None})
    with pytest.raises(CannotPull, match="nobody has published a hash of deep/model.bin"):
        pull(unhashed)
    assert not home.asked
    (path,) = pull(unhashed, trust_first_use=True)
    assert path.read_bytes() == DATA


def test_the_token_is_shown_to_the_hub_and_to_nobody_it_sends_us_to(pull, homes):
    hub, elsewhere = homes
    hub.elsewhere = elsewhere.url.replace("127.0.0.1", "localhost")
    pull(engine(wants_token=True, gate="accept the terms"), token="secret")
    assert hub.asked[0][1]["Authorization"] == "Bearer secret"
    assert "Authorization" not in elsewhere.asked[0][1]


def test_without_the_token_the_gate_is_explained(pull, home):
    with pytest.raises(CannotPull, match="accept the terms"):
        pull(engine(wants_token=True, gate="accept the terms"))
    assert not home.asked


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "accept the terms"), (403, "accept the terms"), (404, "status 404")],
)
def test_a_refusal_is_told(pull, home, status, message):
    home.status = status
    with pytest.raises(CannotPull, match=message):
        pull(engine(gate="accept the terms"))


def test_going_round_in_circles_ends(pull, home):
    home.elsewhere = home.url
    with pytest.raises(CannotPull, match="redirects"):
        pull(engine())


def test_every_address_is_a_published_one():
    from handlers.engines.registry import engines

    for known in engines().values():
        for file in known.weights:
            if not file.packaged:
                assert url_of(file).startswith("https://")
