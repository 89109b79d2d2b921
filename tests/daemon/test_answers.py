"""The same question again: the same answer, and nobody works for it."""

import json
import os
import time
from types import SimpleNamespace

import numpy as np
import pytest

from control_api.app import create_app
from daemon.answers.kept import Kept
from daemon.service import QueueService
from tests.control_api.requests import TestClient, multipart
from tests.daemon.running import PATIENCE, running
from tests.scores import music
from tests.sounds import tone, write_wav

TRIM = "/v1/audio/trim"
PICTURE = "/v1/audio/visualize/image/waveform"
CHAIN = json.dumps([{"op": "reverse"}, {"op": "normalize", "params": {"target_lufs": -20}}])
#: What of an answer is not the same the next time.
OF_ITS_TIME = {"x-job-id", "x-cache", "x-request-id", "date"}


class Api:
    """REST over a queue, without sockets."""

    def __init__(self, queue):
        self.queue = queue
        self.service = QueueService(queue.settings, queue.client, queue.reader)
        self.service.answers.start()
        self.news = self.service.tidy_up()
        self.client = TestClient(create_app(self.service, queue.settings))

    def close(self):
        self.news.close()
        self.service.answers.stop()

    def post(self, path, *parts, **headers):
        sent = multipart(*parts)
        sent["headers"] |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.simulate_post(path, **sent)

    def trimmed(self, sound, *parts, **headers):
        return self.post(TRIM, ("file", "a.wav", sound), ("end_sec", "0.25"), *parts, **headers)

    def ended(self, job_id):
        return self.service.wait(job_id, lambda: False, PATIENCE)

    def ran(self):
        return sum(worker["jobs_done"] for worker in self.queue.workers())


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answers")
    with running(folder, run="daemon.runner:run", cpu_workers=1) as queue:
        api = Api(queue)
        yield api
        api.close()


@pytest.fixture
def sound(tmp_path):
    """A sound that nobody has asked about yet."""
    pitch = 200 + np.random.default_rng().integers(0, 2**40) / 2**36
    return write_wav(tone(pitch, seconds=1.5, channels=2), tmp_path / "a.wav").read_bytes()


def cache_of(*answers):
    return [answer.headers.get("x-cache") for answer in answers]


def told(answer):
    return {k: v for k, v in answer.headers.items() if k.lower() not in OF_ITS_TIME}


# -- given again -----------------------------------------------------------------------------------
def test_the_same_again_has_the_same_bytes_and_headers_and_no_worker_runs(api, sound):
    first = api.trimmed(sound)
    ran = api.ran()
    second = api.trimmed(sound)

    assert cache_of(first, second) == ["MISS", "HIT"]
    assert (second.status_code, second.content) == (200, first.content)
    assert told(second) == told(first)
    assert api.ran() == ran
    job = api.service.job(second.headers["x-job-id"])
    assert (job.status, job.recalled, job.attempt) == ("completed", True, 0)
    assert job.id != first.headers["x-job-id"]
    assert [e.state for e in api.service.events(job.id, 0, 9)] == ["pending", "completed"]


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        pytest.param("/v1/audio/loudness", [], id="a report"),
        pytest.param("/v1/audio/separate/hpss", [("output_format", "flac")], id="several sounds"),
        pytest.param(PICTURE, [("width", "64"), ("height", "64")], id="a picture"),
        pytest.param("/v1/pipeline", [("steps", CHAIN)], id="a chain"),
    ],
)
def test_whatever_comes_out_is_given_again(api, sound, path, parts):
    first = api.post(path, ("file", "a.wav", sound), *parts)
    second = api.post(path, ("file", "a.wav", sound), *parts)

    assert first.status_code == 200, first.text
    assert cache_of(first, second) == ["MISS", "HIT"]
    assert second.content == first.content
    assert told(second) == told(first)


def test_it_is_given_wherever_it_is_wanted(api, sound):
    inline = api.trimmed(sound)
    staged = [api.trimmed(sound, ("output_path", f"cut/{name}.wav")) for name in "ab"]

    assert cache_of(inline, *staged) == ["MISS", "HIT", "HIT"]
    assert staged[0].json == staged[1].json | {"path": "cut/a.wav"}
    paths = [api.queue.settings.files / "cut" / f"{name}.wav" for name in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes() == inline.content
    # Whoever writes into one of them by hand changes no other.
    assert paths[0].stat().st_ino != paths[1].stat().st_ino


def test_an_async_job_is_completed_at_once_and_can_be_fetched(api, sound):
    first = api.trimmed(sound, ("async_job", "true"))
    done = api.ended(first.json["job_id"])
    second = api.trimmed(sound, ("async_job", "true"))

    assert cache_of(first, second) == ["MISS", "HIT"]
    job = api.service.job(second.json["job_id"])
    assert (job.status, job.recalled) == ("completed", True)
    assert job.outputs[0].staged == f"jobs/{job.id}.wav"
    fetched = api.client.simulate_get(second.json["result_url"])
    assert fetched.content == done.outputs[0].path.read_bytes()
    shown = api.client.simulate_get(second.json["status_url"]).json
    assert shown["recalled"] is True


def test_an_entry_of_a_batch_is_given_again(api, sound):
    (api.queue.settings.files / "batch.wav").write_bytes(sound)
    body = json.dumps([{"op": "reverse", "file_path": "batch.wav", "output_path": "r.wav"}])
    sent = {"body": body, "headers": {"Content-Type": "application/json"}}
    first, second = (
        api.client.simulate_post("/v1/batch", **sent).json["results"][0] for _ in range(2)
    )

    assert first.pop("job_id") != (again := second.pop("job_id"))
    assert first == second
    assert api.service.job(again).recalled


# -- another question ------------------------------------------------------------------------------
def test_another_byte_anywhere_is_another_question(api, sound):
    at = len(sound) // 3 & ~1  # where no sketch looks
    other = sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :]
    deep = ("bit_depth", "32f")
    answers = [
        api.post("/v1/audio/reverse", ("file", "a.wav", s), deep) for s in (sound, other, other)
    ]

    assert cache_of(*answers) == ["MISS", "MISS", "HIT"]
    assert answers[0].content != answers[1].content == answers[2].content


@pytest.mark.parametrize(
    "parts",
    [[("start_sec", "0.1")], [("output_format", "flac")], [("bit_depth", "16")]],
    ids=["a parameter", "a format", "a bit depth"],
)
def test_another_parameter_is_another_question(api, sound, parts):
    assert cache_of(api.trimmed(sound), api.trimmed(sound, *parts)) == ["MISS", "MISS"]


def test_a_parameter_that_is_said_is_the_one_that_holds_anyway(api, sound):
    assert cache_of(api.trimmed(sound), api.trimmed(sound, ("start_sec", "0"))) == ["MISS", "HIT"]


def test_where_chance_decides_nothing_is_given_again(api):
    score = ("file", "m.mid", music().data)
    takes = [api.post("/v1/midi/humanize", score) for _ in range(2)]
    seeded = [api.post("/v1/midi/humanize", score, ("seed", "4")) for _ in range(2)]

    assert cache_of(*takes, *seeded) == ["BYPASS", "BYPASS", "MISS", "HIT"]
    assert takes[0].content != takes[1].content
    assert seeded[0].content == seeded[1].content


def test_who_wants_it_made_anew_gets_it_made_anew(api, sound):
    api.trimmed(sound)
    ran = api.ran()
    anew = api.trimmed(sound, Cache_Control="no-cache")

    assert cache_of(anew, api.trimmed(sound)) == ["BYPASS", "HIT"]
    assert api.ran() == ran + 1


def test_what_is_not_to_be_kept_is_not_kept(api, sound):
    secret = api.trimmed(sound, Cache_Control="no-store")
    assert cache_of(secret, api.trimmed(sound)) == ["BYPASS", "MISS"]


def test_a_refusal_is_not_kept(api):
    answers = [api.trimmed(b"this is no sound") for _ in range(2)]
    assert [a.status_code for a in answers] == [400, 400]
    assert cache_of(*answers) == ["MISS", "MISS"]


# -- keys ------------------------------------------------------------------------------------------
def test_a_key_that_is_taken_has_nothing_put_anywhere(api, sound):
    key = {"Idempotency_Key": f"key-{time.time_ns()}"}
    api.trimmed(sound)
    first = api.trimmed(sound, ("output_path", "keyed/a.wav"), **key)
    again = api.trimmed(sound, ("output_path", "keyed/a.wav"), **key)
    other = api.trimmed(sound, ("output_path", "keyed/b.wav"), **key)

    assert cache_of(first, again) == ["HIT", "HIT"]
    assert again.headers["x-job-id"] == first.headers["x-job-id"]
    assert other.status_code == 422
    assert not (api.queue.settings.files / "keyed/b.wav").exists()


# -- on disk ---------------------------------------------------------------------------------------
def test_it_is_known_after_a_restart_and_made_anew_if_it_was_damaged(api, sound):
    first = api.trimmed(sound)
    assert cache_of(api.trimmed(sound)) == ["HIT"]
    restarted = Api(api.queue)
    assert cache_of(restarted.trimmed(sound)) == ["HIT"]

    for path in api.queue.settings.cache.glob("*/*.0"):
        with path.open("r+b") as file:
            file.seek(-8, os.SEEK_END)
            file.write(b"damaged!")
    mended = restarted.trimmed(sound)
    assert cache_of(mended, restarted.trimmed(sound)) == ["MISS", "HIT"]
    assert mended.content == first.content
    restarted.close()


def test_without_room_nothing_is_kept_and_nothing_is_said(api, sound):
    off = api.queue.settings.model_copy(update={"cache_bytes": 0})
    service = QueueService(off, api.queue.client, api.queue.reader)
    plain = SimpleNamespace(client=TestClient(create_app(service, off)))
    answers = [Api.trimmed(SimpleNamespace(post=lambda *a, **k: Api.post(plain, *a, **k)), sound)]
    assert answers[0].status_code == 200
    assert cache_of(*answers) == [None]


class Shelf:
    """Answers of some bytes each, and a clock."""

    def __init__(self, folder, limit=1000, ttl=100.0):
        self.folder, self.at, self.free = folder, 1000.0, 2**40
        self.kept = Kept(
            folder / "cache", limit, ttl, now=lambda: self.at, free=lambda _: self.free
        )
        self.kept.read()

    def put(self, letter, size=300):
        path = self.folder / "result"
        path.write_bytes(letter.encode() * size)
        taken = self.kept.take(path)
        path.unlink()
        return self.kept.put(self.key(letter), {"about": letter}, [taken])

    @staticmethod
    def key(letter):
        return letter * 64

    def has(self):
        return "".join(letter for letter in "abcdef" if self.kept.get(self.key(letter)))

    def files(self):
        return sorted(p.name[:1] for p in (self.folder / "cache").glob("[a-f]*/*") if "." in p.name)


def test_what_was_not_asked_for_the_longest_goes_first(tmp_path):
    shelf = Shelf(tmp_path)
    for letter in "abc":
        shelf.put(letter)
    assert shelf.kept.get(shelf.key("a"))
    shelf.put("d")
    assert shelf.has() == "acd"
    assert shelf.files() == list("acd")


def test_what_is_too_old_is_not_given_and_goes(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.put("a")
    shelf.at += 60
    shelf.put("b")
    shelf.at += 60
    assert shelf.has() == "b"
    shelf.kept.expire()
    assert shelf.files() == ["b"]


def test_what_is_larger_than_all_room_is_not_kept(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.put("a")
    assert not shelf.put("b", 1001)
    assert shelf.has() == "a"


def test_a_full_disk_takes_the_room_back(tmp_path):
    shelf = Shelf(tmp_path)
    for letter in "ab":
        shelf.put(letter)
    shelf.free = 0
    shelf.kept.make_room()
    assert shelf.files() == []


def test_a_newer_answer_takes_the_place_of_the_older_with_its_file(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.put("a", 300)
    shelf.put("a", 400)
    (name,) = shelf.kept.get(shelf.key("a"))["names"]
    assert shelf.kept.file(shelf.key("a"), name).stat().st_size == 400
    assert shelf.files() == ["a"]


def test_a_new_start_knows_what_there_was_and_tidies_up_what_a_crash_left(tmp_path):
    shelf = Shelf(tmp_path)
    for letter in "abc":
        shelf.put(letter)
    folder = tmp_path / "cache"
    (folder / "aa" / ("a" * 62)).write_bytes(b'{"made": 10')  # a power cut
    (folder / "bb" / f"{'x' * 62}.1234.0").write_bytes(b"facts were never written")
    (folder / "incoming" / "left").write_bytes(b"taken")
    os.utime(folder / "bb" / ("b" * 62), (9e9, 9e9))

    shelf = Shelf(tmp_path)
    assert shelf.has() == "bc"
    assert shelf.files() == ["b", "c"]
    assert not list(folder.glob("incoming/*"))
    for letter in "de":
        shelf.put(letter)
    assert len(shelf.has()) == 3
