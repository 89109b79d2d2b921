from pathlib import Path

import pytest

from control_api.ports import Job, Output


@pytest.fixture
def jobs(service):
    staged = Output(Path("/staged/out/a.mp3"), 44, "sound", "audio/mpeg", staged="out/a.mp3")
    elsewhere = Output(Path("/music/out/b.wav"), 99, "sound", "audio/wav")
    service.all_jobs = {
        job.id: job
        for job in (
            Job(
                id="done",
                status="completed",
                created_at=100.0,
                started_at=100.5,
                completed_at=102.12345,
                endpoint="/v1/audio/trim",
                ops=("trim",),
                outputs=[staged],
                output_format="mp3",
                descriptor={"start_sec": 0.0, "end_sec": 3.0},
                webhook_url="https://x.org/",
            ),
            Job(
                id="report",
                status="completed",
                created_at=101.0,
                started_at=101.0,
                completed_at=101.5,
                endpoint="/v1/audio/info",
                ops=("info",),
                steps=[{"step": 0, "op": "info", "params": {}, "result": {"channels": 2}}],
            ),
            Job(
                id="broken",
                status="failed",
                created_at=102.0,
                started_at=102.1,
                completed_at=102.2,
                endpoint="/v1/audio/trim",
                ops=("trim",),
                error_kind="UnreadableInput",
                error="take.wav holds no audio",
            ),
            Job(
                id="waits", status="pending", created_at=103.0, endpoint="/v1/audio/eq", ops=("eq",)
            ),
            Job(
                id="runs",
                status="running",
                created_at=104.0,
                started_at=105.0,
                endpoint="/v1/audio/eq",
                ops=("eq",),
                progress=0.5,
                step="eq",
            ),
            Job(
                id="folder",
                status="completed",
                created_at=105.0,
                started_at=105.0,
                completed_at=106.0,
                source="folder",
                endpoint="podcast: talk",
                name="talk.wav",
                ops=("trim", "normalize"),
                outputs=[elsewhere],
                descriptor={"measured_lufs": -20.0},
            ),
        )
    }
    return service.all_jobs


def test_all_jobs_are_listed_oldest_first(client, jobs):
    answer = client.simulate_get("/v1/jobs")

    assert [j["id"] for j in answer.json["jobs"]] == list(jobs)


@pytest.mark.parametrize(
    ("status", "ids"),
    [("completed", ["done", "report", "folder"]), ("failed", ["broken"]), ("asleep", [])],
)
def test_a_status_picks_jobs(client, jobs, status, ids):
    answer = client.simulate_get("/v1/jobs", params={"status": status})

    assert [j["id"] for j in answer.json["jobs"]] == ids


@pytest.mark.parametrize(("limit", "status"), [("1", 200), ("x", 422), ("0", 400), ("-1", 422)])
def test_a_limit_is_a_number(client, jobs, limit, status):
    answer = client.simulate_get("/v1/jobs", params={"limit": limit})

    assert answer.status_code == status
    if status == 200:
        assert [j["id"] for j in answer.json["jobs"]] == ["folder"], "the newest"


def test_a_completed_job_has_the_contracts_fields(client, jobs):
    job = client.simulate_get("/v1/jobs/done").json

    assert job["endpoint"] == "/v1/audio/trim"
    assert job["status"] == "completed"
    assert (job["created_at"], job["started_at"], job["completed_at"]) == (100.0, 100.5, 102.12345)
    assert job["duration_sec"] == 1.623
    assert job["webhook_url"] == "https://x.org/"
    assert job["result"] == {
        "path": "out/a.mp3",
        "size": 44,
        "output_format": "mp3",
        "start_sec": 0.0,
        "end_sec": 3.0,
    }
    assert "error" not in job


def test_a_json_operations_result_is_its_report(client, jobs):
    assert client.simulate_get("/v1/jobs/report").json["result"] == {"channels": 2}


def test_a_failed_job_says_why(client, jobs):
    job = client.simulate_get("/v1/jobs/broken").json

    assert job["error"] == "take.wav holds no audio"
    assert job["error_kind"] == "UnreadableInput"
    assert "result" not in job
    assert "duration_sec" not in job


def test_a_waiting_job_has_no_times_yet(client, jobs):
    job = client.simulate_get("/v1/jobs/waits").json

    assert not {"started_at", "completed_at", "result", "error"} & set(job)


def test_a_running_job_says_how_far_it_is(client, jobs):
    job = client.simulate_get("/v1/jobs/runs").json

    assert (job["progress"], job["step"]) == (0.5, "eq")
    assert "completed_at" not in job


def test_a_folders_job_shows_no_path_of_the_machine(client, jobs):
    answer = client.simulate_get("/v1/jobs/folder")

    assert answer.json["result"]["outputs"] == [{"file": "b.wav", "size": 99, "role": "sound"}]
    assert answer.json["result"]["measured_lufs"] == -20.0
    assert "/music" not in answer.text


def test_deleting_touches_only_the_named_job(client, jobs):
    assert client.simulate_delete("/v1/jobs/runs").json == {"job_id": "runs", "cancelled": True}
    assert client.simulate_delete("/v1/jobs/done").json == {"job_id": "done", "deleted": True}
    assert client.simulate_get("/v1/jobs/done").status_code == 404
    assert client.simulate_get("/v1/jobs/broken").status_code == 200


@pytest.mark.parametrize(("job", "status"), [("broken", 202), ("done", 409), ("nobody", 404)])
def test_only_a_failed_job_can_be_retried(client, jobs, job, status):
    answer = client.simulate_post(f"/v1/jobs/{job}/retry")

    assert answer.status_code == status
    assert job in answer.text


@pytest.mark.parametrize(("job", "status"), [("done", 200), ("nobody", 409)])
def test_a_job_that_the_journal_knows_can_be_undone(client, jobs, job, status):
    answer = client.simulate_post(f"/v1/jobs/{job}/undo")

    assert answer.status_code == status
    assert job in answer.text


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_job_is_a_404(client, method):
    answer = client.simulate_request(method, "/v1/jobs/nobody")

    assert answer.status_code == 404
    assert "nobody" in answer.json["detail"]
