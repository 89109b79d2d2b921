"""Hostile inputs at a whole daemon: over HTTP, and dropped into a hot folder."""

import http.client
import json
import os
import struct
import time
import urllib.parse
from pathlib import Path

import pytest

from daemon.walls import landlock
from tests.hostile.asking import ask_all, processes, routes, workers
from tests.hostile.canaries import Canaries
from tests.hostile.inputs import NAMES, Hostile, many, wav
from tests.hostile.seeds import seeds
from tests.whole.living import Changes, living

pytestmark = pytest.mark.slow

_INFO = "/v1/audio/info"


@pytest.fixture(scope="module")
def canaries(tmp_path_factory):
    canaries = Canaries(tmp_path_factory.mktemp("canaries") / "secrets")
    yield canaries
    canaries.close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    data = tmp_path_factory.mktemp("hostile") / "data"
    inbox = data / "folders" / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "rules.yaml").write_text("rules:\n  - name: flac\n    steps:\n      - reverse: {}\n")
    with living(data, AUDIOLLA_CPU_WORKERS="2") as daemon:
        # An answer by a worker: from now on there is one.
        ask_all(daemon.address, [Hostile(0, "good", "x.wav", seeds()["pcm16.wav"])], [_INFO])
        yield daemon


def test_the_daemon_says_what_stands_around_its_workers(daemon):
    told = daemon.get("/readyz")
    if landlock.abi():
        assert f"Landlock {landlock.abi()}" in told["sandbox"]
    else:
        assert any("Landlock" in note for note in told["notes"])


def test_p9_hostile_uploads_restart_neither_api_nor_dispatcher_and_are_never_answered_500(
    daemon, canaries
):
    before = processes(daemon.process.pid)
    answers = ask_all(daemon.address, many(52, canaries.targets("mp3"), first=700), routes())

    assert sum(answers.statuses.values()) == 52
    assert set(answers.statuses) <= {200, 400, 413, 415, 422}
    assert answers.broken == answers.loose == []
    assert processes(daemon.process.pid) == before
    assert sorted(before.values()) == ["api", "dispatcher"]
    assert canaries.touched() == []


def test_p14_what_is_no_number_in_a_sound_is_none_in_an_answer(daemon):
    body = struct.pack("<8f", *[float("nan"), 1e38, float("inf"), 0.0] * 2) * 12_000
    sound = wav(body, tag=3, channels=2, bits=32)
    asked = [route for route in routes() if not route.endswith(("/stretch", "/image/spectrogram"))]
    inputs = [Hostile(number, "samples", "x.wav", sound) for number in range(len(asked))]
    answers = ask_all(daemon.address, inputs, asked)

    assert answers.broken == answers.loose == []
    assert answers.statuses[200] > 10


@pytest.mark.parametrize(
    ("route", "field", "value", "named"),
    [
        ("/v1/audio/loop", "count", "1000000000", "count"),
        ("/v1/audio/stretch", "tempo_factor", "1e-9", "tempo 1e-09"),
        ("/v1/audio/stretch", "tempo_factor", "nan", "tempo_factor"),
        ("/v1/audio/normalize", "target_lufs", "-inf", "target_lufs"),
        ("/v1/audio/visualize/image/waveform", "width", "100000", "width"),
        ("/v1/audio/trim", "start_sec", "1e400", "start_sec"),
    ],
)
def test_p12_a_parameter_out_of_its_range_is_refused_within_a_second(
    daemon, route, field, value, named
):
    host = urllib.parse.urlsplit(daemon.address).netloc
    body = (
        f'--x\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        '--x\r\nContent-Disposition: form-data; name="file"; filename="x.wav"\r\n\r\n'
    ).encode()
    body += seeds()["pcm16.wav"] + b"\r\n--x--\r\n"

    def once():
        began = time.monotonic()
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.request("POST", route, body, {"Content-Type": "multipart/form-data; boundary=x"})
        reply = connection.getresponse()
        said = json.loads(reply.read())
        connection.close()
        return reply.status, said, time.monotonic() - began

    answers = [once() for _ in range(3)]

    assert {status for status, _, _ in answers} <= {400, 422}, answers[0]
    assert all(named in said["detail"] for _, said, _ in answers)
    assert min(seconds for _, _, seconds in answers) < 1.0


def test_p9_files_of_every_name_and_kind_in_a_hot_folder_are_done_failed_or_left(daemon, canaries):
    inbox = os.fsencode(daemon.folders / "inbox")
    good = seeds()["pcm16.wav"]
    for name in NAMES:
        Path(os.fsdecode(inbox + b"/" + name)).write_bytes(good)
    place = Path(os.fsdecode(inbox))
    os.mkfifo(place / "fifo.wav")
    (place / "folder.wav").mkdir()
    (place / "link.wav").symlink_to(canaries.targets("wav").file)
    (place / "device.wav").symlink_to("/dev/zero")
    (place / "self.wav").symlink_to("/proc/self/mem")
    (place / "empty.wav").touch()
    with (place / "sparse.wav").open("wb") as sparse:
        head = wav(b"", channels=2, bits=16, claim=2**32 - 2**12)
        sparse.write(head)
        sparse.truncate(len(head) + 2**32 - 2**12)

    def settled():
        homes = [inbox + b"/done/", inbox + b"/failed/"]
        return all(any(os.path.exists(home + name) for home in homes) for name in NAMES)

    with Changes(daemon.folders / "inbox") as changes:
        changes.until(settled)
    done = set(os.listdir(inbox + b"/done"))

    assert {name for name in NAMES if name not in done} == set()
    assert canaries.touched() == []
    assert (place / "link.wav").is_symlink()
    assert not any(Path(b).name == "canary" for b in os.listdir(os.getcwd()))


def test_the_api_process_and_the_dispatcher_hold_no_decoder(daemon):
    """Of all that was asked of them: nothing that decodes, compiles or computes was loaded."""
    never = ("libav", "libsndfile", "libmp3lame", "llvmlite", "libtorch", "libfluidsynth", "onnx")
    for pid in processes(daemon.process.pid):
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert [name for name in never if name in maps] == []


def test_workers_carry_no_secret_in_their_environment(tmp_path):
    secrets = {"AUDIOLLA_AUTH_TOKEN": "planted-secret", "HF_TOKEN": "planted-too"}
    with living(tmp_path / "data", **secrets) as daemon:
        found = workers(daemon.process.pid)
        environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in found]

    assert found
    assert [env for env in environments if b"planted" in env] == []
