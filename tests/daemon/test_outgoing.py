import io
import logging
import threading
from ipaddress import ip_address

import pytest

from daemon import urls
from daemon.outgoing import Outgoing
from daemon.urls import Policy
from handlers.errors import TooLarge, TransferFailed, UrlRefused
from tests.daemon.peers import Peer, answer, certificate, dripping, endless, redirect, silent

SOUND = bytes(range(256)) * 4000
OPEN = Policy("denylist", (), ("http", "https"), allow_private=True)
GUARDED = Policy("denylist", (), ("http", "https"))


@pytest.fixture
def peer():
    made = []

    def make(*answers, **about):
        made.append(Peer(*answers, **about))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Names:
    """A resolver that counts, and may change its mind."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def __call__(self, host):
        self.asked.append(host)
        (label,) = host.removesuffix(".test").split(".")
        given = self.answers[label]
        if isinstance(given, list):
            given = given.pop(0) if len(given) > 1 else given[0]
        return [ip_address(text) for text in given.split()]


def outgoing(policy=OPEN, **about):
    about = {"timeout": 5.0, "max_bytes": 2_000_000, "max_redirects": 5} | about
    return Outgoing(policy, **about)


def fetched(client, url, **about):
    into = io.BytesIO()
    size = client.fetch(url, into, **about).size
    assert size == len(into.getvalue())
    return into.getvalue()


@pytest.fixture
def inside(monkeypatch):
    """127.0.0.1 stands for the Internet, every other loopback address for the private network."""
    monkeypatch.setattr(urls, "is_public", lambda address: str(address) == "127.0.0.1")


# -- fetching


def test_what_a_url_gives_is_written_whole(peer):
    home = peer(answer(200, SOUND))
    heard = []
    got = fetched(outgoing(), home.url("/a%20b?x=1"), heard=lambda *said: heard.append(said))

    assert got == SOUND
    assert heard[-1] == (len(SOUND), len(SOUND))
    ((line, headers, _),) = home.asked
    assert line == "GET /a%20b?x=1 HTTP/1.1"
    assert headers["host"] == f"127.0.0.1:{home.port}"
    assert headers["accept-encoding"] == "identity"
    assert "authorization" not in headers
    assert "cookie" not in headers


def test_a_body_in_chunks_or_until_the_end_is_whole_too(peer):
    chunks = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n"
    )
    assert fetched(outgoing(), peer(chunks).url()) == b"abcdef"
    assert fetched(outgoing(), peer(b"HTTP/1.0 200 OK\r\n\r\nto the end").url()) == b"to the end"


@pytest.mark.parametrize(
    ("said", "match", "passes"),
    [
        (answer(404), "status 404", False),
        (answer(503), "status 503", True),
        (answer(429), "status 429", True),
        (answer(206, b"x"), "status 206", False),
        (answer(304), "status 304", False),
        (answer(401, WWW_Authenticate="Basic"), "status 401", False),
        (answer(200, b"\x1f\x8b", Content_Encoding="gzip"), "encoding 'gzip', unasked", False),
        (answer(200, b"short", Content_Length=10), "5 of 10 bytes", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab", "broke off", True),
        (b"", "broke off", True),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "broke off", True),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "broke off", True),
        (redirect(""), "to nowhere", False),
    ],
)
def test_anything_but_the_whole_thing_is_a_failure(peer, said, match, passes):
    with pytest.raises(TransferFailed, match=match) as failed:
        fetched(outgoing(), peer(said).url("/secret/path"))
    assert failed.value.may_pass == passes
    assert "secret" not in failed.value.detail


def test_too_much_is_refused_by_its_length_or_as_it_comes(peer):
    announced = peer(answer(200, SOUND))
    pouring = peer(endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65536)))
    for one in (announced, pouring):
        into = io.BytesIO()
        with pytest.raises(TooLarge, match="limit is 1000 bytes"):
            outgoing(max_bytes=1000).fetch(one.url(), into)
        assert len(into.getvalue()) <= 1000


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(silent, id="says nothing"),
        pytest.param(dripping(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1000), id="drips its head"),
        pytest.param(
            dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + bytes(1000), 0.02),
            id="drips its body",
        ),
        pytest.param(
            endless(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
            id="never gets to the point",
        ),
    ],
)
def test_the_whole_exchange_ends_in_time(peer, behaviour):
    with pytest.raises(TransferFailed, match=r"not done within 0.3 s"):
        fetched(outgoing(timeout=0.3), peer(behaviour).url())


def test_nobody_there_is_a_failure_that_may_pass(peer):
    gone = peer(answer())
    gone.close()
    with pytest.raises(TransferFailed, match="broke off: Connection refused") as failed:
        fetched(outgoing(), gone.url())
    assert failed.value.may_pass


def test_a_name_that_nobody_knows_is_told():
    def unknown(host):
        raise OSError("no such name")

    with pytest.raises(TransferFailed, match=r"http://nowhere.test: its name cannot be resolved"):
        fetched(outgoing(resolve=unknown), "http://nowhere.test/")


# -- the policy holds where it is used


def test_a_name_is_resolved_once_and_the_connection_goes_there(peer, inside):
    home = peer(answer(200, b"public"))
    names = Names(home=["127.0.0.1", "127.0.0.2"])

    client = outgoing(GUARDED, resolve=names)
    assert fetched(client, home.url("/x", host="home.test")) == b"public"
    assert names.asked == ["home.test"]
    assert home.asked[0][1]["host"] == f"home.test:{home.port}"


def test_a_name_that_changes_its_address_after_the_check_reaches_nobody(peer, inside):
    private = peer(answer(200, b"secret"), address="127.0.0.2")
    names = Names(home=["127.0.0.1", "127.0.0.2"])
    client = outgoing(GUARDED, resolve=names)

    client.check(private.url(host="home.test"))
    with pytest.raises(UrlRefused, match="not public"):
        fetched(client, private.url(host="home.test"))
    assert private.asked == []


@pytest.mark.parametrize("addresses", ["127.0.0.2", "127.0.0.1 127.0.0.2", "::1", "::ffff:7f00:2"])
def test_every_address_of_a_name_must_pass(peer, inside, addresses):
    home = peer(answer(200, b"x"))
    client = outgoing(GUARDED, resolve=Names(home=addresses))
    for ask in (client.check, lambda url: fetched(client, url)):
        with pytest.raises(UrlRefused, match=r"home.test has a private"):
            ask(home.url(host="home.test"))
    assert home.asked == []


@pytest.mark.parametrize(
    ("to", "match"),
    [
        ("http://127.0.0.2:{port}/", "not public"),
        ("http://[::ffff:127.0.0.2]:{port}/", "not public"),
        ("http://inner.test:{port}/", "not public"),
        ("//inner.test:{port}/", "not public"),
        ("http://denied.test:{port}/", "AUDIOLLA_FETCH_HOSTS"),
        ("http://2130706434:{port}/", "names no host"),
        ("http://user@home.test:{port}/", "user or password"),
        ("ftp://home.test/", "scheme"),
        ("file:///etc/passwd", "scheme"),
    ],
)
def test_every_redirect_is_judged_again(peer, inside, to, match):
    private = peer(answer(200, b"secret"), address="127.0.0.2")
    home = peer(redirect(to.format(port=private.port)))
    policy = Policy("denylist", ("denied.test",), ("http",))
    names = Names(inner="127.0.0.2", denied="127.0.0.1")

    with pytest.raises(UrlRefused, match=match):
        fetched(outgoing(policy, resolve=names), home.url())
    assert len(home.asked) == 1
    assert private.asked == []


def test_redirects_are_followed_up_to_the_limit(peer):
    last = peer(answer(200, b"here"))
    home = peer(redirect("/b?c=d"), redirect("c", 307), redirect(last.url("/end"), 308))

    assert fetched(outgoing(max_redirects=3), home.url("/a/x")) == b"here"
    assert [line for line, *_ in home.asked] == [
        "GET /a/x HTTP/1.1",
        "GET /b?c=d HTTP/1.1",
        "GET /c HTTP/1.1",
    ]
    circle = peer(redirect("/again"))
    with pytest.raises(TransferFailed, match="more than 2 redirects"):
        fetched(outgoing(max_redirects=2), circle.url())
    assert len(circle.asked) == 3


def test_environment_proxies_are_not_used(peer, monkeypatch):
    proxy, home = peer(answer(200, b"proxy")), peer(answer(200, b"home"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url())

    assert fetched(outgoing(), home.url()) == b"home"
    assert proxy.asked == []


def test_tls_is_checked_against_the_name_and_not_the_address(peer, tmp_path):
    server, trusting = certificate(tmp_path, "home.test")
    home = peer(answer(200, b"sealed"), tls=server)
    names = Names(home="127.0.0.1", other="127.0.0.1")

    client = outgoing(resolve=names, tls=trusting)
    assert fetched(client, home.url("/", host="home.test")) == b"sealed"
    for stranger, url in [
        (client, home.url("/", host="other.test")),
        (outgoing(resolve=names), home.url("/", host="home.test")),
    ]:
        with pytest.raises(TransferFailed, match="certificate verify failed"):
            fetched(stranger, url)
    assert len(home.asked) == 1


# -- sending


def test_a_file_is_put_with_its_length_and_type(peer):
    bucket = peer(answer(200), answer(201), answer(204))
    url = bucket.url("/out.wav?X-Amz-Signature=a%2Fb")
    for _ in range(3):
        outgoing().put(url, io.BytesIO(SOUND), len(SOUND), "audio/wav")
    for line, headers, body in bucket.asked:
        assert line == "PUT /out.wav?X-Amz-Signature=a%2Fb HTTP/1.1"
        assert headers["content-type"] == "audio/wav"
        assert headers["content-length"] == str(len(SOUND))
        assert body == SOUND


@pytest.mark.parametrize("status", [202, 206, 301, 302, 307, 400, 403, 500])
def test_a_put_that_is_not_taken_is_a_failure_and_no_redirect_is_followed(peer, status):
    other = peer(answer(200))
    bucket = peer(answer(status, Location=other.url()))
    with pytest.raises(TransferFailed, match=f"status {status}"):
        outgoing().put(bucket.url(), io.BytesIO(b"x"), 1, "audio/wav")
    assert other.asked == []


def test_a_refusal_before_the_end_of_the_body_is_heard(peer):
    def refuse(sock):
        sock.sendall(answer(403))
        while sock.recv(65536):
            pass

    with pytest.raises(TransferFailed, match="status 403"):
        outgoing().put(peer(refuse).url(), io.BytesIO(SOUND), len(SOUND), "audio/wav")


def test_an_endless_answer_to_a_call_is_not_listened_to(peer):
    chatty = peer(endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65536)))
    assert outgoing().post(chatty.url(), b"{}", {"Content-Type": "application/json"}) == 200


def test_a_receiver_that_does_not_read_is_left_in_time(peer):
    done = threading.Event()

    def deaf(_):
        done.wait(20)

    with pytest.raises(TransferFailed, match="not done within"):
        big = bytes(20_000_000)
        outgoing(timeout=0.3).put(peer(deaf).url(), io.BytesIO(big), len(big), "audio/wav")
    done.set()


def test_every_exchange_is_logged_without_its_secrets(peer, caplog):
    caplog.set_level(logging.INFO, "daemon.outgoing")
    home = peer(answer(200, b"sound"), answer(204), answer(500), answer(403))
    client, url = outgoing(), home.url("/deep/s3cret?sig=s3cret")
    client.fetch(url, io.BytesIO())
    client.put(url, io.BytesIO(b"x"), 1, "audio/wav")
    client.post(url, b"{}", {})
    with pytest.raises(TransferFailed):
        client.fetch(url, io.BytesIO())
    said = [record.getMessage() for record in caplog.records]

    assert [line.split()[0] for line in said] == ["GET", "PUT", "POST", "GET"]
    assert all(f"http://127.0.0.1:{home.port}" in line for line in said)
    assert "s3cret" not in " ".join(said)
