import pytest

from control_api.app import all_routes


def test_a_schedule_is_made_shown_replaced_and_forgotten(client, service):
    made = client.simulate_post("/v1/schedules", json={"name": "a b", "cron": "@daily"})
    assert made.status_code == 201
    assert made.headers["Location"] == "/v1/schedules/a%20b"
    assert made.json["origin"] == "api"
    assert made.json["next_at"] == 60.0

    listed = client.simulate_get("/v1/schedules").json
    assert [one["name"] for one in listed["data"]] == ["sweep", "a b"]
    assert client.simulate_get(made.headers["Location"]).json == made.json

    off = client.simulate_put("/v1/schedules/a b", json={"cron": "@daily", "enabled": False})
    assert (off.status_code, off.json["next_at"]) == (200, None)
    assert service.schedules.made["a b"].written["name"] == "a b"
    assert client.simulate_delete("/v1/schedules/a b").json == {"deleted": "a b"}
    assert client.simulate_delete("/v1/schedules/a b").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "", {"cron": "@daily"}, 422, "name is required"),
        ("POST", "", {"name": "x"}, 400, "cron: is required"),
        ("POST", "", ["x"], 400, "must be a JSON object"),
        ("POST", "", {"name": "sweep", "cron": "@daily"}, 409, "PUT replaces it"),
        ("PUT", "/a", {"name": "b", "cron": "@daily"}, 400, "the path 'a'"),
        ("DELETE", "/sweep", None, 409, "comes with the program"),
        ("GET", "/nobody", None, 404, "no schedule 'nobody'"),
        ("GET", "/nobody/next", None, 404, "no schedule"),
        ("GET", "/nobody/plan", None, 404, "no schedule"),
        ("GET", "/nobody/history", None, 404, "no schedule"),
        ("POST", "/nobody/run", None, 404, "no schedule"),
        ("GET", "/sweep/next?count=0", None, 400, "count = 0 is outside 1..1000"),
        ("GET", "/sweep/next?count=x", None, 422, "count = 'x' is not a whole number"),
    ],
)
def test_what_is_wrong_is_said(client, method, path, body, status, said):
    path, _, query = path.partition("?")
    answer = client.simulate_request(method, f"/v1/schedules{path}", query_string=query, json=body)
    assert (answer.status_code, said in answer.json["detail"]) == (status, True), answer.json


def test_the_next_times_are_told_in_seconds_and_on_the_wall(client):
    told = client.simulate_get("/v1/schedules/sweep/next").json
    assert len(told["next"]) == 10
    assert told["local"][0] == "1970-01-01T00:01:00+00:00"
    assert len(client.simulate_get("/v1/schedules/sweep/next?count=3").json["next"]) == 3


def test_one_is_run_now_and_its_history_shown(client):
    fired = client.simulate_post("/v1/schedules/sweep/run")
    assert (fired.status_code, fired.json["jobs"]) == (202, {"job-1": "pending"})
    assert client.simulate_get("/v1/schedules/sweep/history").json["data"] == [fired.json]
    assert client.simulate_get("/v1/schedules/sweep/plan").json["work"] == [{"chore": "sweep"}]


def test_who_may_run_may_not_change(service):
    needs = {
        (route.method, route.path.removeprefix("/v1/schedules")): route.needs
        for route in all_routes(service)
        if route.path.startswith("/v1/schedules")
    }
    assert needs["GET", ""] == needs["GET", "/{name}/history"] == "read"
    assert needs["POST", "/{name}/run"] == "run"
    assert {needs[one] for one in (("POST", ""), ("PUT", "/{name}"), ("DELETE", "/{name}"))} == {
        "admin"
    }
