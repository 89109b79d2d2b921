"""What a client may say about how it wants to be answered: Prefer, Idempotency-Key."""

import pytest

from control_api.ports import Job, Output


def trim(client, headers=None, data=b"RIFF", **query):
    return client.simulate_post(
        "/v1/audio/trim",
        params={"start_sec": "1", **query},
        body=(
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
            + data
            + b"\r\n--x--\r\n"
        ),
        headers={"Content-Type": "multipart/form-data; boundary=x", **(headers or {})},
    )


def test_who_prefers_a_job_gets_one(client, service):
    answer = trim(client, {"Prefer": "respond-async"})
    (submission,) = service.submitted
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{submission.id}"
    assert answer.headers["preference-applied"] == "respond-async"
    assert submission.background


def test_a_result_that_comes_in_time_is_the_answer(client, service):
    answer = trim(client, {"Prefer": "wait=5"})
    assert (answer.status_code, answer.content) == (200, b"result")
    assert answer.headers["preference-applied"] == "wait=5"
    assert not service.submitted[0].background


def test_a_result_that_does_not_come_in_time_is_a_job(client, service):
    service.patience_needed = 60
    answer = trim(client, {"Prefer": "respond-async, wait=5"})
    (submission,) = service.submitted
    assert answer.status_code == 202
    assert answer.json["job_id"] == submission.id
    assert submission.id not in service.discarded  # it is still at work

    later = client.simulate_get(answer.json["result_url"], headers={"Range": "bytes=1-3"})
    assert (later.status_code, later.content) == (206, b"esu")
    assert later.headers["content-type"] == "audio/wav"
    assert client.simulate_get(answer.json["result_url"]).content == b"result"  # as often as wanted


@pytest.mark.parametrize(
    ("status", "expected"), [("running", 409), ("cancelled", 409), ("completed", 200)]
)
def test_a_result_is_there_once_its_job_has_completed(client, service, status, expected):
    service.all_jobs["a"] = Job(
        "a", status, 1.0, ops=("info",), steps=[{"step": 0, "op": "info", "result": {"rate": 1}}]
    )
    answer = client.simulate_get("/v1/jobs/a/result")
    assert answer.status_code == expected
    assert status != "completed" or answer.json == {"rate": 1}


def test_the_files_of_a_folder_are_not_fetched_here(client, service, tmp_path):
    (tmp_path / "b.wav").write_bytes(b"theirs")
    output = Output(tmp_path / "b.wav", 6, "sound", "audio/wav")
    service.all_jobs["b"] = Job("b", "completed", 1.0, source="folder", outputs=[output])
    assert b"theirs" not in client.simulate_get("/v1/jobs/b/result").content


@pytest.mark.parametrize("wish", ["handling=strict", "wait=soon", "wait", ";;,,=", "wait=-1"])
def test_wishes_that_nobody_understands_change_nothing(client, wish):
    answer = trim(client, {"Prefer": wish})
    assert answer.status_code == 200
    assert "preference-applied" not in answer.headers


def test_the_same_request_again_is_the_same_job_and_the_same_answer(client, service):
    first = trim(client, {"Idempotency-Key": '"a-key"'})
    again = trim(client, {"Idempotency-Key": "a-key"})
    assert len(service.submitted) == 1
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["x-job-id"] == first.headers["x-job-id"]


@pytest.mark.parametrize("change", [{"data": b"RIFX"}, {"start_sec": "2"}, {"end_sec": "5"}])
def test_the_same_key_with_another_request_is_refused(client, service, change):
    trim(client, {"Idempotency-Key": "a-key"})
    answer = trim(client, {"Idempotency-Key": "a-key"}, **change)
    assert answer.status_code == 422
    assert "Idempotency-Key" in answer.json["detail"]
    assert len(service.submitted) == 1


def test_the_same_request_while_the_first_is_at_work_is_told_where(client, service):
    service.patience_needed = 60
    first = trim(client, {"Idempotency-Key": "k", "Prefer": "wait=1"})
    job = service.all_jobs[first.json["job_id"]]
    object.__setattr__(job, "status", "running")
    again = trim(client, {"Idempotency-Key": "k"})
    assert again.status_code == 409
    assert again.headers["location"] == f"/v1/jobs/{job.id}"


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "tab\tbed"])
def test_a_key_that_is_none_is_refused(client, service, key):
    assert trim(client, {"Idempotency-Key": key}).status_code == 400
    assert service.submitted == []
