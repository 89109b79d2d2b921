"""Secrets appear nowhere (P22), and every line of the log says what it is about."""

import json
import logging
import os
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from control_api.asking import ASKING, Asking
from daemon import log as logs
from daemon.cli import main
from daemon.client import Client
from daemon.jobs import NewJob
from daemon.lanes import Words
from daemon.secrets import Scrubber, without_secrets
from daemon.settings import SECRET, Settings
from tests.sounds import noise, write_wav
from tests.whole.living import living

PLANTED = {
    "AUDIOLLA_AUTH_TOKEN": "PLANTED-auth-token-0001",
    "AUDIOLLA_SMTP_PASSWORD": "PLANTED-smtp-password-0002",
    "HUGGINGFACE_TOKEN": "hf_PLANTED0003",
    "AUDIOLLA_WEBHOOK_SECRET": "UExBTlRFRC13ZWJob29rLXNlY3JldC1QTEFOVEVE",
}
IN_URLS = ["PLANTEDsignature0004", "PLANTEDpassword0005", "PLANTEDfragment0006"]
WRONG = "PLANTED-wrong-token-0007"


@pytest.fixture
def restored_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines_of(capsys):
    return capsys.readouterr().err.splitlines()


def test_every_secret_setting_is_known_as_one():
    assert {"auth_token", "huggingface_token", "webhook_secret", "smtp_password"} == SECRET


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("GET https://a.example/x.wav?sig=abc#f ok", "GET https://a.example/x.wav?*** ok"),
        ("http://me:pass@host:80/a/b", "http://host:80/a/b"),
        ("at 'https://h/p?X-Amz-Signature=1', twice", "at 'https://h/p?***', twice"),
        ("Authorization: Bearer abcdef.123", "Authorization: Bearer ***"),
        (f"the token audiolla_{'x' * 43}", "the token ***"),
        ("nothing to hide: 3 of 4 files", "nothing to hide: 3 of 4 files"),
        ("it was PLANTED-auth-token-0001!", "it was ***!"),
    ],
)
def test_secrets_are_taken_out_of_text(said, told):
    assert Scrubber(Settings(auth_token=PLANTED["AUDIOLLA_AUTH_TOKEN"]))(said) == told


def test_a_line_of_json_has_the_job_the_request_and_no_secrets(tmp_path, capsys, restored_logging):
    settings = Settings(data_dir=tmp_path, log_format="json", auth_token="PLANTED-auth-token-0001")
    logs.configure(settings, "main")
    asking = ASKING.set(Asking("request-7"))
    try:
        logging.getLogger("a").info("with PLANTED-auth-token-0001", extra={"job": "j-1"})
        try:
            raise ValueError("https://x.example/y?sig=PLANTED")
        except ValueError:
            logging.getLogger("a").exception("it broke")
    finally:
        ASKING.reset(asking)

    first, second = (json.loads(line) for line in lines_of(capsys))
    assert first == {
        "at": first["at"],
        "level": "INFO",
        "process": "main",
        "logger": "a",
        "message": "with ***",
        "job": "j-1",
        "request": "request-7",
    }
    assert "ValueError: https://x.example/y?***" in second["trace"]
    kept = [json.loads(line) for line in (tmp_path / "log/main.log").read_text().splitlines()]
    assert kept == [first, second]


def test_for_people_the_ids_stand_at_the_end(tmp_path, capsys, restored_logging):
    logs.configure(Settings(data_dir=tmp_path), "dispatcher")
    logging.getLogger("daemon.x").warning("a %s word", "last", extra={"job": "j-2"})
    (line,) = lines_of(capsys)
    assert line.endswith("WARNING dispatcher daemon.x: a last word job=j-2")


def test_what_a_worker_writes_keeps_its_level_and_gets_its_job(tmp_path, capsys, restored_logging):
    logs.configure(Settings(data_dir=tmp_path, log_format="json"), "dispatcher")
    hear, speak = os.pipe()
    words = Words(hear, "cpu-1 (77)")
    words.job = lambda: "j-3"
    os.write(speak, b"ERROR daemon.worker: job j-3\nTraceback (most recent call last):\n")
    os.close(speak)
    assert words.hear()
    words.close()

    error, trace = (json.loads(line) for line in lines_of(capsys))
    assert (error["level"], error["job"], error["worker"]) == ("ERROR", "j-3", "cpu-1 (77)")
    assert error["message"] == "job j-3"
    assert (trace["level"], trace["job"]) == ("INFO", "j-3")


def test_the_kept_log_has_a_limit_and_is_nobody_elses_business(tmp_path, restored_logging):
    settings = Settings(data_dir=tmp_path, log_bytes=40_000)
    logs.configure(settings, "main")
    for _ in range(2000):
        logging.getLogger("a").info("x" * 100)
    files = list((tmp_path / "log").iterdir())
    assert sum(file.stat().st_size for file in files) <= 40_000
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_processes_that_get_their_settings_otherwise_get_no_secrets_in_their_environment():
    clean = without_secrets({**PLANTED, "HF_TOKEN": "x", "PATH": "/bin"})
    assert clean == {"PATH": "/bin"}


def ask(daemon, path, *, token=PLANTED["AUDIOLLA_AUTH_TOKEN"], **fields):
    """Status, headers and body, whatever it is."""
    body = None
    headers = {"Authorization": f"Bearer {token}"}
    if fields:
        body = json.dumps(fields).encode()
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(daemon.address + path, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, str(reply.headers), reply.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, str(refused.headers), refused.read()


def processes_below(pid):
    """Command lines of a process and all its descendants, and environments of the latter."""
    told = [Path(f"/proc/{pid}/cmdline").read_bytes()]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            told += processes_below(int(child))
            told.append(Path(f"/proc/{child}/environ").read_bytes())
    return told


def test_planted_secrets_appear_nowhere(tmp_path):
    """P22: logs, job JSON, error bodies, metrics, the process list, the support bundle."""
    data = tmp_path / "data"
    environment = {
        **PLANTED,
        "LOG_LEVEL": "DEBUG",
        "AUDIOLLA_CPU_WORKERS": "1",
        "AUDIOLLA_FETCH_MODE": "denylist",
        "AUDIOLLA_FETCH_SCHEMES": "http,https",
        "AUDIOLLA_FETCH_ALLOW_PRIVATE": "true",
        "AUDIOLLA_SMTP_HOST": "127.0.0.1",
        "AUDIOLLA_SMTP_USER": "me",
    }
    signature, password, fragment = IN_URLS
    seen = []
    with living(data, **environment) as daemon:
        write_wav(noise(seconds=0.2), data / "files/a.wav")
        dead = "http://127.0.0.1:9/take.wav"
        presigned = f"{dead}?X-Signature={signature}#{fragment}"
        orders = [
            {"file_url": presigned},
            {"file_url": f"http://me:{password}@127.0.0.1:9/take.wav"},
            {"file_url": presigned, "async_job": True},
            {"file_path": "a.wav", "output_url": presigned},
            {"file_path": "a.wav", "output_url": f"http://me:{password}@127.0.0.1:9/x"},
            {"file_path": "a.wav", "async_job": True, "webhook_url": presigned},
            {"file_path": "a.wav", "webhook_url": f"http://me:{password}@127.0.0.1:9/x"},
            {"file_path": presigned, "gain": signature},
        ]
        seen += [ask(daemon, "/v1/audio/reverse", **order) for order in orders]
        statuses = [status for status, _, _ in seen]
        assert statuses[0] == statuses[1] == 400
        assert statuses[2] == statuses[5] == 202
        seen.append(ask(daemon, "/v1/jobs", token=WRONG))
        assert seen[-1][0] == 401
        (jobs,) = [json.loads(ask(daemon, "/v1/jobs?limit=100")[2])]
        ids = [job["id"] for job in jobs.get("jobs", jobs.get("items", []))]
        assert len(ids) >= 4
        with Client(data / "run/dispatcher.sock") as client:
            for one in ids:
                client.wait(one, 60)
        for path in ("/v1/jobs?limit=100", "/v1/webhooks", "/metrics", "/readyz", "/healthz"):
            seen.append(ask(daemon, path))
            assert seen[-1][0] == 200, path
        seen += [ask(daemon, f"/v1/jobs/{one}") for one in ids]
        processes = processes_below(daemon.process.pid)
        assert len(processes) >= 5, "main, dispatcher, worker"
        # The one who was given the secrets in its environment has them there; nobody else has.
        assert daemon.stop() == 0
    bundle = tmp_path / "bundle.tgz"
    os.environ.update(environment)
    try:
        assert main(["support-bundle", str(bundle), "--data-dir", str(data)]) == 0
    finally:
        for name in environment:
            os.environ.pop(name, None)
    with tarfile.open(bundle) as archive:
        parts = {m.name: archive.extractfile(m).read() for m in archive}
    assert any(name.endswith("log/main.log") for name in parts)

    kept = {file.name: file.read_bytes() for file in (data / "log").iterdir()}
    places = {
        "answers": b"".join(headers.encode() + body for _, headers, body in seen),
        "stderr": daemon.log.read_bytes(),
        "processes": b"".join(processes),
        **kept,
        **parts,
    }
    assert b"is asked for" in places["stderr"], "the log says something"
    secrets = [*PLANTED.values(), *IN_URLS, WRONG]
    found = [
        (place, secret)
        for place, told in places.items()
        for secret in secrets
        if secret.encode() in told
    ]
    assert found == []


def test_the_support_bundle_has_what_a_report_needs_and_no_names(tmp_path, capsys, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    from daemon.clock import SystemClock
    from tests.daemon.safekeeping.studio import Desk

    settings = Settings(data_dir=data)
    desk = Desk(settings, SystemClock())
    desk.submit([NewJob(order="{}", source="rest", endpoint="/v1/audio/eq", input_name="Anna.wav")])
    desk.close()
    (data / "log").mkdir()
    (data / "log/main.log").write_text('{"message": "box: sub/Secret Song.flac failed"}\n')
    for names in (False, True):
        target = tmp_path / f"bundle-{names}.tgz"
        flag = ["--names"] if names else []
        assert main(["support-bundle", str(target), "--data-dir", str(data), *flag]) == 0
        assert main(["support-bundle", str(target), "--data-dir", str(data)]) == 3
        with tarfile.open(target) as archive:
            parts = {
                m.name.removeprefix("audiolla-support/"): archive.extractfile(m).read().decode()
                for m in archive
            }
        assert {"versions.json", "settings.json", "doctor.json", "queue.json"} <= parts.keys()
        queue = json.loads(parts["queue.json"])
        assert queue["jobs"] == {"pending": 1}
        assert queue["revision"]
        assert "numpy" in json.loads(parts["versions.json"])["packages"]
        everything = "".join(parts.values())
        assert "Anna" not in everything, "what was asked for is nobody's business"
        assert ("Song.flac" in everything) is names
        assert (str(data) in everything) is names
        assert target.stat().st_mode & 0o777 == 0o600
