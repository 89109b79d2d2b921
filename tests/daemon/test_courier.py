"""Jobs over URLs, through the real API, a real queue and real workers."""

import io
import os
import re
import sqlite3
import threading
import time
from urllib.parse import quote

import orjson
import pytest
import soundfile

from control_api.app import create_app
from control_api.mcp.toolbox import toolbox
from control_api.mcp.tools import Caller
from daemon.service import QueueService
from tests.control_api.requests import TestClient, form
from tests.daemon.peers import Peer, answer, redirect, silent
from tests.daemon.running import is_state, running, until
from tests.sounds import tone, write_wav

SECONDS = 20.0


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    with running(
        tmp_path_factory.mktemp("net"),
        run="daemon.runner:run",
        cpu_workers=1,
        fetch_mode="denylist",
        fetch_hosts=["127.0.0.3"],
        fetch_schemes=["http"],
        fetch_allow_private=True,
        fetch_timeout=5.0,
        fetch_workers=2,
        job_retry_delay=0.0,
        max_upload_bytes=2_000_000,
    ) as queue:
        yield queue


@pytest.fixture(scope="module")
def api(queue):
    service = QueueService(queue.settings, queue.client, queue.reader)
    news = service.tidy_up()
    service.deliverer.start(queue.client.subscribe())
    yield TestClient(create_app(service, queue.settings))
    service.deliverer.stop()
    news.close()


@pytest.fixture
def peer():
    made = []

    def make(*answers):
        made.append(Peer(*answers))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "take.wav"
    return write_wav(tone(440, seconds=2, peak_db=-6), path, "PCM_16").read_bytes()


def post(api, path, **fields):
    text = "&".join(f"{k}={quoted(v)}" for k, v in fields.items())
    return api.simulate_post(path, **form(text))


def quoted(value):
    return quote(value if isinstance(value, str) else orjson.dumps(value), safe="")


def seconds_of(data):
    return soundfile.info(io.BytesIO(data)).duration


def test_a_sound_comes_from_a_url_and_the_result_goes_to_one(api, peer, sound):
    home, bucket = peer(redirect("/take.wav"), answer(200, sound)), peer(answer(201))
    to = bucket.url("/out.wav?X-Amz-Signature=s3cret")
    reply = post(api, "/v1/audio/trim", file_url=home.url("/a"), end_sec="0.5", output_url=to)

    assert reply.status_code == 200, reply.text
    ((line, headers, body),) = bucket.asked
    assert line == "PUT /out.wav?X-Amz-Signature=s3cret HTTP/1.1"
    assert headers["content-type"] == "audio/wav"
    assert seconds_of(body) == pytest.approx(0.5)
    assert reply.json["url"] == to
    assert reply.json["size"] == len(body)
    assert reply.json["output_format"] == "wav"
    assert "path" not in reply.json


def test_every_named_input_and_every_list_takes_urls(api, peer, sound):
    home = peer(answer(200, sound))
    mixed = post(
        api,
        "/v1/audio/mix",
        tracks=[{"file_url": home.url("/a.wav"), "gain_db": -6}, {"file_url": home.url("/b.wav")}],
    )
    assert mixed.status_code == 200, mixed.text
    assert seconds_of(mixed.content) == pytest.approx(2.0)
    ducked = post(
        api,
        "/v1/audio/sidechain-duck",
        file_url=home.url("/bed.wav"),
        trigger_file_url=home.url("/host.wav"),
    )
    assert ducked.status_code == 200, ducked.text
    assert [line.split()[1] for line, *_ in home.asked] == [
        "/a.wav",
        "/b.wav",
        "/bed.wav",
        "/host.wav",
    ]


def test_an_async_job_is_answered_before_anybody_is_asked(api, queue, peer, sound):
    asked, go = threading.Event(), threading.Event()

    def slow(sock):
        asked.set()
        go.wait(SECONDS)
        sock.sendall(answer(200, sound))

    home, bucket = peer(slow), peer(answer(200))
    news = queue.client.subscribe()
    secret = bucket.url("/out.flac?sig=s3cret")
    reply = post(
        api,
        "/v1/audio/reverse",
        file_url=home.url("/a.wav?key=s3cret"),
        output_url=secret,
        output_format="flac",
        async_job="true",
    )
    assert reply.status_code == 202
    job = reply.json["job_id"]
    assert asked.wait(SECONDS)
    assert api.simulate_get(f"/v1/jobs/{job}").json["status"] in ("pending", "running")
    go.set()
    until(news, is_state(job, "completed"))
    news.close()

    shown = api.simulate_get(f"/v1/jobs/{job}").json
    assert shown["result"]["url"] == bucket.url("/out.flac")
    assert shown["result"]["size"] == len(bucket.asked[0][2])
    assert bucket.asked[0][2][:4] == b"fLaC"
    assert shown["attempt"] == 1
    with sqlite3.connect(queue.settings.database) as database:
        rows = database.execute("SELECT * FROM jobs WHERE id = ?", [job]).fetchall()
    assert len(rows) == 1
    assert "s3cret" not in str(rows)
    # Whoever tidies up hears of the end at the same moment as we do.
    end = time.monotonic() + SECONDS
    while list((queue.settings.results / job).rglob("*.flac")):
        assert time.monotonic() < end
        os.sched_yield()


@pytest.mark.parametrize(
    ("said", "status", "detail"),
    [
        (answer(404), 400, r"file_url: http://127.0.0.1:\d+: it answered with status 404"),
        (answer(200, b""), 400, "file_url: the URL gives nothing"),
        (answer(200, bytes(2_000_001)), 413, "file_url: what the URL gives has 2000001 bytes"),
        (redirect("http://127.0.0.3/x"), 400, "file_url is refused: the host 127.0.0.3 is in"),
        (answer(200, b"this is no sound at all"), 400, "download.wav"),
    ],
)
def test_a_fetch_that_fails_is_the_answer(api, peer, said, status, detail):
    reply = post(api, "/v1/audio/info", file_url=peer(said).url("/download.wav"))

    assert reply.status_code == status
    assert re.search(detail, reply.json["detail"])


def test_what_the_policy_refuses_never_becomes_a_job(api, queue):
    before = queue.reader.counts()
    refused = [
        {"file_url": "http://127.0.0.3/a.wav"},
        {"file_url": "https://127.0.0.1/a.wav"},
        {"file_url": "http://user@127.0.0.1/a.wav"},
        {"file_url": "http://127.0.0.1/a.wav", "output_url": "http://127.0.0.3/x"},
        {"file_url": "http://127.0.0.1/a.wav", "webhook_url": "http://127.0.0.3/x"},
    ]
    for fields in refused:
        reply = post(api, "/v1/audio/trim", end_sec="1", async_job="true", **fields)
        assert reply.status_code == 400, reply.text
        assert reply.json["detail"].startswith(f"{reply.json['field']} is refused: ")
    track = post(api, "/v1/audio/mix", tracks=[{"file_url": "ftp://x"}, {"file_url": "http://x"}])
    assert track.json["detail"].startswith("track 0: file_url is refused: its scheme must be http")
    assert queue.reader.counts() == before


def test_a_patient_job_tries_a_fetch_again(api, queue, peer, sound):
    home = peer(answer(503), b"", answer(200, sound))
    news = queue.client.subscribe()
    reply = post(api, "/v1/audio/info", file_url=home.url("/a.wav"), async_job="true")
    until(news, is_state(reply.json["job_id"], "completed"))
    news.close()

    assert len(home.asked) == 3
    once = peer(answer(503), answer(200, sound))
    assert post(api, "/v1/audio/info", file_url=once.url("/a.wav")).status_code == 400
    assert len(once.asked) == 1


def test_an_upload_that_is_not_taken_is_tried_again_without_the_work(api, queue, peer, sound):
    home, bucket = peer(answer(200, sound)), peer(answer(403))
    reply = post(
        api, "/v1/audio/trim", file_url=home.url("/a.wav"), end_sec="1", output_url=bucket.url()
    )
    assert reply.status_code == 400
    assert reply.json["detail"].startswith("output_url: http://127.0.0.1")
    assert "status 403" in reply.json["detail"]

    news = queue.client.subscribe()
    reply = post(
        api,
        "/v1/audio/trim",
        file_url=home.url("/a.wav"),
        end_sec="1",
        output_url=bucket.url(),
        async_job="true",
    )
    job = reply.json["job_id"]
    until(news, is_state(job, "failed"))
    bucket.answers.append(answer(200))
    bucket.answers.popleft()
    assert api.simulate_post(f"/v1/jobs/{job}/retry").status_code == 202
    until(news, is_state(job, "completed"))
    news.close()
    assert len(home.asked) == 2  # once for each job, not for the retry
    assert seconds_of(bucket.asked[-1][2]) == pytest.approx(1.0)


def test_a_job_that_waits_for_a_silent_server_can_be_cancelled(api, queue, peer):
    home = peer(silent)
    news = queue.client.subscribe()
    reply = post(api, "/v1/audio/info", file_url=home.url("/a.wav"), async_job="true")
    job = reply.json["job_id"]
    home_asked = until(news, is_state(job, "running"))
    assert home_asked.worker.startswith("net-")
    assert api.simulate_delete(f"/v1/jobs/{job}").json["cancelled"] is True
    until(news, is_state(job, "cancelled"))
    news.close()


def test_a_report_whose_sound_goes_to_a_url_is_the_descriptor(api, peer, sound):
    bucket = peer(answer(204))
    home = peer(answer(200, sound))
    reply = post(
        api,
        "/v1/audio/beats",
        file_url=home.url("/a.wav"),
        click_track="true",
        output_url=bucket.url("/click.wav"),
    )
    assert reply.status_code == 200, reply.text
    assert reply.json["url"] == bucket.url("/click.wav")
    assert reply.json["size"] == len(bucket.asked[0][2])
    assert "click_track_base64" not in reply.json
    assert "tempo_bpm" in reply.json


@pytest.mark.parametrize("sent", [("harmonic",), ("harmonic", "percussive")])
def test_an_agents_stems_go_to_urls_of_their_own(api, queue, peer, sound, sent):
    receiver = peer(answer(200))
    service = QueueService(queue.settings, queue.client, queue.reader)
    service.put_file("mix.wav", io.BytesIO(sound))
    tools = {tool.name: tool for tool in toolbox(service, queue.settings)}
    urls = {stem: receiver.url(f"/{stem}?key=s3cret") for stem in sent}
    given = {"file_path": "mix.wav", "output_urls": urls, "output_format": "flac"}
    result = tools["hpss"].run(given, Caller()).result

    uploaded = {line.split()[1]: body for line, _, body in receiver.asked}
    assert set(uploaded) == {f"/{stem}?key=s3cret" for stem in sent}
    for body in uploaded.values():
        assert soundfile.info(io.BytesIO(body)).format == "FLAC"
    assert result["uploaded_stems"] == {
        stem: {"url": url, "size": len(uploaded[f"/{stem}?key=s3cret"])}
        for stem, url in urls.items()
    }
    assert set(result.get("stems", {})) == {"harmonic", "percussive"} - set(sent)
    assert "staged_stems" not in result


def test_an_agents_result_is_sent_and_not_told_as_base64(api, queue, peer, sound):
    receiver = peer(answer(200))
    service = QueueService(queue.settings, queue.client, queue.reader)
    service.put_file("mix.wav", io.BytesIO(sound))
    tools = {tool.name: tool for tool in toolbox(service, queue.settings)}
    url = receiver.url("/there?key=s3cret")
    for name in ("reverse", "hpss"):
        result = tools[name].run({"file_path": "mix.wav", "output_url": url}, Caller()).result
        assert result["url"] == url
        assert result["size"] == len(receiver.asked[-1][2])
        assert not [key for key in result if "base64" in key]


def test_a_webhook_carries_the_job_as_the_api_shows_it(api, queue, peer, sound):
    home, receiver = peer(answer(200, sound)), peer(answer(200))
    reply = post(
        api,
        "/v1/audio/trim",
        file_url=home.url("/a.wav"),
        end_sec="1",
        async_job="true",
        webhook_url=receiver.url("/hook?key=s3cret"),
    )
    job = reply.json["job_id"]
    receiver.wait_asked(1)
    told = orjson.loads(receiver.asked[0][2])

    assert told.pop("type") == "job.completed"
    assert told.pop("timestamp").endswith("Z")
    assert told == api.simulate_get(f"/v1/jobs/{job}").json
    assert told["result"]["path"] == f"jobs/{job}.wav"
    assert told["duration_sec"] >= 0
    assert b"s3cret" not in receiver.asked[0][2]
    (listed,) = api.simulate_get("/v1/webhooks", query_string=f"job_id={job}").json["webhooks"]
    assert listed["url"] == receiver.url("/hook")
    assert receiver.asked[0][1]["webhook-id"] == listed["id"]
