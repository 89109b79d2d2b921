import json
import socket
import ssl
import sys
import threading
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import orjson
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from daemon.clock import ManualClock
from daemon.delivering.notices import Notices
from daemon.delivering.notifier import DELAYS, MAIL_PAUSE, Notifier
from daemon.rulefiles import check
from daemon.service import QueueService
from daemon.settings import Settings
from daemon.webhooks import Deliverer
from rules.load import RulesBroken
from rules.notify import NotifyText
from tests.daemon.peers import Peer, answer
from tests.daemon.running import job
from tests.daemon.test_webhooks import outbox, settled
from tests.rules.test_load import load

FACTS = {"folder": "podcast", "file": "take.wav", "job": "j1", "error": "too loud"}


class Outbox:
    """Takes webhooks; the first few calls fail as told."""

    def __init__(self, faults=()):
        self.faults, self.taken = list(faults), []

    def announce(self, *about):
        if self.faults:
            raise self.faults.pop(0)
        self.taken.append(about)


class Bureau:
    """A spool with a notifier, under a clock that is moved by hand."""

    def __init__(self, folder, *, mail=None, queue=None, **settings):
        self.settings = Settings(data_dir=folder, **settings)
        self.clock = ManualClock()
        self.queue = queue or Outbox()
        self.mail = mail
        self.restart()

    def restart(self):
        self.notices = Notices(self.settings.notices, self.clock)
        self.notifier = Notifier(
            self.settings, self.notices, self.queue, clock=self.clock, mail=self.mail
        )

    def tell(self, about="j1", event="failure", **told):
        facts = FACTS | {"file": f"{about}.wav", "job": about}
        self.notices.add([NotifyText(**told)], event, about, facts)

    def pass_time(self, seconds):
        self.clock.advance(seconds)
        return self.notifier.turn()


# -- commands --------------------------------------------------------------------------------------
def program(tmp_path, body):
    path = tmp_path / "program.py"
    path.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_command_gets_the_facts_and_no_shell_and_no_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIOLLA_AUTH_TOKEN", "secret")
    body = (
        "json.dump([sys.argv[1:], dict(os.environ), json.load(sys.stdin)], open(sys.argv[1], 'w'))"
    )
    out = tmp_path / "out; touch here.json"
    b = Bureau(tmp_path)
    b.tell(command=[program(tmp_path, body), str(out), "$HOME `id`"])
    b.notifier.turn()

    argv, environment, facts = json.loads(out.read_text())
    assert argv == [str(out), "$HOME `id`"]
    assert facts["error"] == environment["AUDIOLLA_NOTICE_ERROR"] == "too loud"
    assert environment["AUDIOLLA_NOTICE_EVENT"] == "failure"
    assert "secret" not in environment.values()
    assert b.notices.waiting() == []


def test_a_command_that_takes_too_long_is_killed_with_all_that_it_started(tmp_path):
    started = tmp_path / "started"
    body = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(started)!r}, 'w').write(str(child.pid))\n"
        "child.wait()"
    )
    b = Bureau(tmp_path)
    b.tell(command=[program(tmp_path, body)], timeout=1.5)
    b.notifier.turn()

    (waiting,) = b.notices.waiting()
    assert waiting.attempts == 1
    assert "sleep" not in _command_of(int(started.read_text()))


def _command_of(pid):
    """The name of a program that runs; empty when it has ended, reaped or not."""
    try:
        name, state = Path(f"/proc/{pid}/stat").read_text().split()[1:3]
    except FileNotFoundError:
        return ""
    return "" if state == "Z" else name


@pytest.mark.parametrize("target", [["/nonexistent"], ["false"]])
def test_a_command_that_fails_is_tried_again_later_and_later_and_given_up_in_the_end(
    tmp_path, target
):
    b = Bureau(tmp_path)
    b.tell(command=target)
    for number, delay in enumerate(DELAYS, 1):
        assert b.notifier.turn() == pytest.approx(delay)
        assert b.notices.waiting()[0].attempts == number
        b.restart()  # what was tried is remembered
        b.clock.advance(delay)
    b.notifier.turn()

    assert b.notices.waiting() == []
    assert len(list((b.settings.notices / "given up").iterdir())) == 1


def test_a_notice_that_is_written_twice_is_told_once(tmp_path):
    b = Bureau(tmp_path)
    for _ in range(2):
        b.tell(webhook="http://127.0.0.1/")
    b.notifier.turn()

    assert len(b.queue.taken) == 1


def test_what_an_earlier_process_left_is_told(tmp_path):
    b = Bureau(tmp_path)
    b.tell(webhook="http://127.0.0.1/")
    b.restart()
    woken = []
    b.notifier._announced = lambda: woken.append(len(b.queue.taken))
    b.notifier.turn()

    assert woken == [1]
    assert [one[1:4] for one in b.queue.taken] == [("j1", "http://127.0.0.1/", "job.failed")]


def test_a_webhook_waits_until_the_queue_takes_it(tmp_path):
    b = Bureau(tmp_path, queue=Outbox([ConnectionError("away")]))
    b.tell(webhook="http://127.0.0.1/")
    b.notifier.turn()
    assert b.queue.taken == []
    b.pass_time(DELAYS[0])
    assert len(b.queue.taken) == 1


def test_a_running_notifier_tells_at_once_what_is_added(tmp_path):
    b = Bureau(tmp_path)
    told = threading.Event()
    b.queue.announce = lambda *_: told.set()
    b.notifier.start()
    b.tell(webhook="http://127.0.0.1/")

    assert told.wait(10)
    b.notifier.stop()


# -- mail ------------------------------------------------------------------------------------------
class Letters:
    """What a mail server takes in."""

    def __init__(self):
        self.taken = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        mail = message_from_bytes(envelope.content, policy=policy.default)
        self.taken.append((envelope.rcpt_tos, mail, session.ssl is not None))
        return "250 OK"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and a certificate for localhost, signed by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(pem))
    return path


def _free_port():
    with socket.create_server(("localhost", 0)) as listening:
        return listening.getsockname()[1]


@pytest.fixture
def post(certificate):
    """Starts mail servers; each takes letters."""
    running = []

    def make(*, tls=True, password=""):
        letters, context = Letters(), None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)

        def login(server, session, envelope, mechanism, data):
            return AuthResult(success=data.password.decode() == password)

        server = Controller(
            letters,
            hostname="localhost",
            port=_free_port(),
            tls_context=context,
            require_starttls=tls,
            authenticator=login if password else None,
            auth_required=bool(password),
        )
        server.start()
        running.append(server)
        letters.port = server.port
        return letters

    yield make
    for server in running:
        server.stop()


def by_mail(tmp_path, letters, **settings):
    return Bureau(tmp_path, smtp_host="localhost", smtp_port=letters.port, **settings)


def test_a_mail_goes_out_encrypted_and_says_what_failed(tmp_path, post, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    letters = post(password="open sesame")
    b = by_mail(tmp_path, letters, smtp_user="me", smtp_password="open sesame")
    b.tell("j\nBcc: all@example.org", email=["a@example.org", "b@example.org"])
    b.notifier.turn()

    ((to, mail, encrypted),) = letters.taken
    assert (to, encrypted) == (["a@example.org", "b@example.org"], True)
    assert "podcast: j�Bcc: all@example.org.wav failed" in mail["Subject"]
    assert mail["Bcc"] is None
    assert "error: too loud" in mail.get_content()


def test_a_certificate_that_nobody_vouches_for_is_refused_and_the_mail_waits(tmp_path, post):
    letters = post()
    b = by_mail(tmp_path, letters)
    b.tell(email=["a@example.org"])
    b.notifier.turn()

    assert letters.taken == []
    assert b.notices.waiting()[0].attempts == 1


def test_a_mail_is_not_sent_in_the_clear_because_the_server_offers_nothing_else(tmp_path, post):
    letters = post(tls=False)
    b = by_mail(tmp_path, letters)
    b.tell(email=["a@example.org"])
    b.notifier.turn()

    assert letters.taken == []


def test_failures_that_come_close_together_share_a_mail(tmp_path, post):
    letters = post(tls=False)
    b = by_mail(tmp_path, letters, smtp_tls="none")
    b.tell("1", email=["a@example.org"])
    b.notifier.turn()
    for number in range(2, 6):
        b.tell(str(number), email=["a@example.org"])
    assert b.notifier.turn() == pytest.approx(MAIL_PAUSE)
    b.pass_time(MAIL_PAUSE)

    subjects = [mail["Subject"] for _, mail, _ in letters.taken]
    assert subjects == ["[audiolla] podcast: 1.wav failed", "[audiolla] podcast: 4 files failed"]
    assert all(f"{number}.wav" in letters.taken[1][1].get_content() for number in range(2, 6))
    assert b.notices.waiting() == []


# -- from a folder to those who are told -----------------------------------------------------------
RULES = """
summary: true
notify:
  - {webhook: "http://127.0.0.1/failed"}
  - {webhook: "http://127.0.0.1/all", on: [failure, success]}
  - {webhook: "http://127.0.0.1/days", on: [daily]}
rules: [{name: back, match: {ext: wav}, steps: [reverse]}]
"""


def told(shop):
    return sorted((n.target[0][17:], n.event, n.facts.get("file")) for n in _waiting(shop))


def _waiting(shop):
    return Notices(shop.settings.notices, shop.clock).waiting()


def test_each_end_of_a_job_is_told_to_whom_it_concerns(shop, take):
    s = shop(RULES)
    s.deliver("good.wav", take)
    s.drop("bad.txt", b"no sound")
    s.pass_time(20, steps=10)

    assert told(s) == [
        ("all", "failure", "bad.txt"),
        ("all", "success", "good.wav"),
        ("failed", "failure", "bad.txt"),
    ]
    good = next(n for n in _waiting(s) if n.event == "success")
    assert good.facts["outputs"] == [str(s.root / "out/good.wav")]


def test_a_notice_that_cannot_be_told_changes_nothing_for_the_job(shop, take):
    s = shop(RULES)
    s.deliver("good.wav", take)
    notices = Notices(s.settings.notices, s.clock)
    Notifier(s.settings, notices, Outbox([ConnectionError("away")] * 99), clock=s.clock).turn()

    assert s.files("done") == ["good.wav"]
    assert len(_waiting(s)) == 1


def test_the_day_before_is_summed_up_once_also_after_a_restart(shop, take):
    s = shop(RULES)
    s.deliver("good.wav", take)
    s.drop("bad.txt", b"no sound")
    s.pass_time(20, steps=10)
    day = datetime.fromtimestamp(s.clock.now()).date().isoformat()  # noqa: DTZ006 - a local day
    s.restart()
    s.pass_time(24 * 3600)
    s.pass_time(10)
    s.restart()
    s.pass_time(10)

    assert s.files("reports/daily") == [f"{day}.html", f"{day}.json"]
    said = json.loads((s.root / f"reports/daily/{day}.json").read_text())
    assert (said["taken"], said["completed"], said["failed"], said["outputs"]) == (1, 1, 1, 1)
    assert said["rules"] == {"back": 1}
    (failure,) = said["failures"]
    assert failure["file"] == "bad.txt"
    assert "no rule takes this file" in failure["error"]
    assert ("days", "daily", None) in told(s)
    assert len([n for n in _waiting(s) if n.event == "daily"]) == 1
    assert "bad.txt" in (s.root / f"reports/daily/{day}.html").read_text()


def test_nothing_is_told_of_a_day_on_which_nothing_happened(shop):
    s = shop(RULES)
    s.pass_time(10)
    s.pass_time(3 * 24 * 3600)

    assert told(s) == []


def test_a_webhook_of_a_folder_goes_through_the_durable_outbox(tmp_path):
    peer = Peer(answer(200))
    try:
        with outbox(tmp_path, start=False) as queue:
            deliverer = Deliverer(
                queue.settings, queue.client, queue.outbox, lambda hook: hook.job.encode()
            )
            deliverer.start(queue.client.subscribe())
            ended = queue.run(job("nothing"))
            url = peer.url("/hook")
            for _ in range(2):  # as after a crash between the outbox and the spool
                queue.client.announce("msg_1", ended.id, url, "job.completed", "{}")
            queue.client.announce("msg_2", "", url, "folder.daily", '{"folder": "podcast"}')
            deliverer.wake()
            assert settled(queue, ended.id).state == "delivered"
            assert [hook.id for hook in queue.outbox.webhooks(None, ended.id, 10)] == ["msg_1"]
            settled(queue, "")
            deliverer.stop()
            daily = queue.outbox.webhook("msg_2")
            message = orjson.loads(QueueService.message(None, daily))
            assert (message["type"], message["folder"]) == ("folder.daily", "podcast")
    finally:
        peer.close()


# -- what a rule file may say ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("notify", "says"),
    [
        ("{on: [failure]}", "it has none of them"),
        ("{webhook: 'http://x/', email: [a@b.c]}", "it has webhook and email"),
        ("{webhook: 'file:///etc/passwd'}", "pattern"),
        ("{email: ['a@b.c, d@e.f']}", "pattern"),
        ("{command: 'rm -rf /'}", "list"),
        ("{webhook: 'http://x/', on: [never]}", "failure"),
    ],
)
def test_a_notice_that_cannot_work_is_found_at_load(notify, says):
    with pytest.raises(RulesBroken, match=says):
        load(f"notify: [{notify}]\nrules: [{{}}]")


def test_programs_and_mails_want_a_setting(tmp_path):
    rules = tmp_path / "podcast/rules.yaml"
    rules.parent.mkdir()
    rules.write_text("notify: [{command: [a]}, {email: [a@b.c]}]\nrules: [{}]")
    said = "\n".join(map(str, check(rules, Settings(data_dir=tmp_path))))
    assert "AUDIOLLA_NOTIFY_COMMANDS" in said
    assert "AUDIOLLA_SMTP_HOST" in said

    allowed = Settings(data_dir=tmp_path, notify_commands=True, smtp_host="mail.example.org")
    assert check(rules, allowed) == []
