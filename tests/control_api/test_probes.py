"""What programs that watch the server are told."""

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families


def test_a_server_that_is_ready_says_so_and_what_should_be_seen_to(client, service):
    service.vital = replace(service.vital, notes=("rules.yaml: line 3",))
    answer = client.simulate_get("/readyz")
    assert (answer.status_code, answer.json) == (
        200,
        {"ok": True, "problems": {}, "notes": ["rules.yaml: line 3"], "sandbox": ""},
    )


def test_a_server_that_is_not_ready_says_why(client, service):
    service.vital = replace(service.vital, problems={"disk": "full"})
    answer = client.simulate_get("/readyz")
    assert (answer.status_code, answer.json["problems"]) == (503, {"disk": "full"})


def test_prometheus_can_read_the_figures(client, service):
    service.vital = replace(
        service.vital,
        jobs={"pending": 3, "failed": 1},
        totals=[{"endpoint": '/v1/"x"\n', "outcome": "completed", "count": 4, "seconds": 2.5}],
        workers=[{"name": "cpu-1", "lane": "cpu", "memory": 99, "jobs_done": 7}],
        engines={"htdemucs": 12.0},
    )
    answer = client.simulate_get("/metrics")
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert found["audiolla_queue_depth", "pending"] == 3
    assert found["audiolla_jobs_total", '/v1/"x"\n', "completed"] == 4
    assert found["audiolla_job_seconds_total", '/v1/"x"\n', "completed"] == 2.5
    assert found["audiolla_worker_memory_bytes", "cpu", "cpu-1"] == 99
    assert found["audiolla_engine_idle_seconds", "htdemucs"] == 12
    assert found["audiolla_oldest_pending_seconds",] == 1.5
    assert found["audiolla_ready",] == 1
