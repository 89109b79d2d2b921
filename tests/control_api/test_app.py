import re

import pytest

from control_api.app import all_routes, create_app
from control_api.errors import STATUS, status_of
from control_api.mcp.door import Door
from control_api.ports import Health
from handlers import errors
from handlers.declare import CATEGORIES
from handlers.errors import all_kinds
from handlers.registry import operations
from tests.control_api.fake import api_settings
from tests.control_api.requests import TestClient, multipart

TOKEN = "geheim-\u00e9\u65e5"


@pytest.fixture
def locked(service):
    settings = api_settings(auth_token=TOKEN, max_upload_bytes=1000)
    return TestClient(create_app(service, settings))


def bearer(token):
    # As curl sends it: the bytes of the text, which WSGI hands on as Latin-1.
    return {"Authorization": f"Bearer {token.encode().decode('latin-1')}"}


# -- the token ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="missing"),
        pytest.param({"Authorization": "Bearer"}, id="empty"),
        pytest.param({"Authorization": "Basic Z2VoZWlt"}, id="another scheme"),
        pytest.param(bearer("geheim"), id="wrong"),
        pytest.param(bearer("geheim-\u00e8\u65e5"), id="wrong by an accent"),
        pytest.param({"Authorization": TOKEN.encode().decode("latin-1")}, id="no scheme"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/files", "/v1/catalog", "/nothing/here"])
def test_without_the_token_nothing_is_told(locked, headers, path):
    answer = locked.simulate_get(path, headers=headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Bearer" in answer.json["detail"]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_token_opens_everything(locked, scheme):
    headers = {"Authorization": bearer(TOKEN)["Authorization"].replace("Bearer", scheme)}

    assert locked.simulate_get("/v1/jobs", headers=headers).status_code == 200


def test_health_and_options_need_no_token(locked):
    assert locked.simulate_get("/healthz").status_code == 200
    assert locked.simulate_options("/v1/jobs").status_code == 200


# -- other web pages ---------------------------------------------------------------------------
def test_a_form_on_another_page_is_not_taken(client, service):
    answer = client.simulate_put(
        "/v1/files/a", body=b"x", headers={"Origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    assert service.stored == {}


def test_our_own_page_may_ask(client):
    headers = {"Host": "studio.local:8000", "Origin": "http://studio.local:8000"}

    assert client.simulate_get("/v1/jobs", headers=headers).status_code == 200


# -- errors ------------------------------------------------------------------------------------
def test_a_path_that_does_not_exist_is_a_404(client):
    answer = client.simulate_get("/v1/nothing")

    assert answer.status_code == 404
    assert "/v1/nothing" in answer.json["detail"]


def test_a_wrong_method_is_a_405_that_names_the_right_ones(client):
    answer = client.simulate_get("/v1/audio/trim")

    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]
    assert "GET" in answer.json["detail"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(ZeroDivisionError("secret /path"), 500, id="a bug"),
        pytest.param(MemoryError(), 503, id="no memory"),
        pytest.param(OSError(28, "No space left on device"), 507, id="a full disk"),
        pytest.param(OSError(5, "Input/output error"), 500, id="a bad disk"),
        pytest.param(RecursionError(), 500, id="too deep"),
    ],
)
def test_whatever_goes_wrong_is_json(client, service, error, status, caplog):
    def broken():
        raise error

    service.files = broken
    answer = client.simulate_get("/v1/files")

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["detail"]
    assert "secret" not in answer.text
    if status == 500:
        assert "/v1/files" in caplog.text, "the log has what the client must not see"


def test_every_kind_of_error_has_a_status():
    assert {cls for cls in all_kinds().values() if cls.__module__ == "handlers.errors"} <= set(
        STATUS
    )
    assert all(400 <= status_of(cls) < 600 for cls in all_kinds().values())


# -- the server itself -------------------------------------------------------------------------
def test_health_names_the_device(client, service):
    assert client.simulate_get("/healthz").json == {"ok": True, "device": "cpu", "engines": []}

    service.healthy = Health(False, "cuda:0", ("hpss",))
    answer = client.simulate_get("/healthz")
    assert answer.status_code == 503
    assert answer.json == {"ok": False, "device": "cuda:0", "engines": ["hpss"]}


def test_hot_folders_are_shown_and_scanned(client):
    assert client.simulate_get("/v1/folders").json == {"folders": [], "scanned": False}
    assert client.simulate_post("/v1/folders/scan").json == {"folders": [], "scanned": True}


def test_the_held_jobs_of_a_folder_are_released(client):
    released = client.simulate_post("/v1/folders/podcast/release")
    assert (released.status_code, released.json) == (200, {"folder": "podcast", "released": 2})
    nobody = client.simulate_post("/v1/folders/nobody/release")
    assert nobody.status_code == 404
    assert nobody.json["detail"] == "there is no hot folder 'nobody'"


def test_the_catalogue_has_the_17_categories_and_every_operation(client):
    catalog = client.simulate_get("/v1/catalog").json

    assert catalog["object"] == "catalog"
    assert [c["name"] for c in catalog["categories"]] == list(CATEGORIES)
    assert all(c["description"] for c in catalog["categories"])
    listed = {e["path"]: e["summary"] for c in catalog["categories"] for e in c["endpoints"]}
    assert listed.items() >= {(op.route, op.summary) for op in operations().values()}


def test_the_catalogue_lists_only_what_exists(client, service):
    routes = {
        (route.method, route.path) for route in all_routes(service, Door(service, api_settings()))
    }
    catalog = client.simulate_get("/v1/catalog").json

    for category in catalog["categories"]:
        for endpoint in category["endpoints"]:
            assert (endpoint["method"], endpoint["path"]) in routes
            path = endpoint["path"].replace("{path}", "a").replace("{job_id}", "b")
            answer = client.simulate_request(endpoint["method"], path)
            assert "nothing at" not in answer.text
            assert answer.status_code != 405


# -- problem details -----------------------------------------------------------------------------
def test_a_refusal_says_its_kind_around_the_detail(client):
    answer = client.simulate_get("/v1/jobs/none", headers={"X-Request-Id": "my-7"})

    assert answer.json == {
        "type": "urn:audiolla:problem:unknown-job",
        "title": "No job has this id",
        "status": 404,
        "detail": "there is no job 'none'",
        "request_id": "my-7",
    }
    assert answer.headers["x-request-id"] == "my-7"


def test_what_the_framework_refuses_has_the_same_shape(client):
    answer = client.simulate_get("/none")

    told = answer.json
    assert (told["type"], told["title"], told["status"]) == ("about:blank", "Not Found", 404)
    assert "/none" in told["detail"]
    assert told["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "é", "a\r\nb"])
def test_an_id_that_is_none_is_not_repeated(client, sent):
    answer = client.simulate_get("/v1/jobs", headers={"X-Request-Id": sent})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


def test_a_failed_job_is_named_beside_its_error(client, service):
    service.outcome = errors.CannotProcess("too quiet", hint="turn it up")
    answer = client.simulate_post("/v1/audio/reverse", **multipart(("file", "a.wav", b"x")))

    assert answer.status_code == 400
    assert answer.json["job_id"] == service.submitted[0].id
    assert answer.json["title"].startswith("The sound is readable")
