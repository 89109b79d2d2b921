import pytest

from control_api.app import all_routes, create_app
from control_api.scopes import SCOPES, Keys, NamedToken, token_hash
from tests.control_api.requests import TestClient


def named(name, *scopes, expires=None):
    return NamedToken(name, token_hash(name.encode()), scopes, 0.0, expires)


TOKENS = [named(scope, scope) for scope in SCOPES] + [named("late", "admin", expires=100.0)]


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def guarded(service, settings):
    keys = Keys("own", lambda: TOKENS, now=lambda: 101.0)
    return TestClient(create_app(service, settings, keys))


@pytest.mark.parametrize(
    ("method", "path", "needs"),
    [
        ("GET", "/v1/jobs", "read"),
        ("GET", "/v1/jobs/x", "read"),
        ("DELETE", "/v1/jobs/x", "run"),
        ("POST", "/v1/jobs/x/retry", "run"),
        ("POST", "/v1/jobs/x/undo", "admin"),
        ("GET", "/v1/webhooks", "read"),
        ("POST", "/v1/webhooks/x/redeliver", "run"),
        ("POST", "/v1/audio/info", "run"),
        ("GET", "/v1/files", "files"),
        ("GET", "/v1/files/a.wav", "files"),
        ("PUT", "/v1/files/a.wav", "files"),
        ("DELETE", "/v1/files/a.wav", "files"),
        ("GET", "/v1/engines", "read"),
        ("DELETE", "/v1/ps/x", "admin"),
        ("POST", "/v1/unload", "admin"),
        ("GET", "/v1/catalog", "read"),
    ],
)
def test_each_route_opens_to_its_scope_and_to_admin_only(guarded, method, path, needs):
    for scope in SCOPES:
        reply = guarded.simulate_request(method, path, headers=bearer(scope))
        if scope in (needs, "admin"):
            assert reply.status_code not in (401, 403)
        else:
            assert reply.status_code == 403
            challenge = f'Bearer error="insufficient_scope", scope="{needs}"'
            assert reply.headers["WWW-Authenticate"] == challenge
            assert reply.json["detail"] == f"the token {scope} does not have the scope {needs}"
    assert guarded.simulate_request(method, path, headers=bearer("own")).status_code != 403


def test_every_operation_needs_run(service):
    for route in all_routes(service):
        if route.path.startswith(("/v1/audio", "/v1/midi")):
            assert route.needs == "run"


@pytest.mark.parametrize(
    "header",
    [{}, bearer(""), bearer("wrong"), {"Authorization": "Basic own"}, bearer("late"), bearer("ö")],
)
def test_anything_else_is_401_as_in_the_contract(guarded, header):
    reply = guarded.simulate_get("/v1/jobs", headers=header)

    assert reply.status_code == 401
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert guarded.simulate_get("/healthz", headers=header).status_code == 200


def test_without_any_token_everybody_may_enter_but_not_after_the_last_was_revoked():
    assert Keys("").holder("").may("admin")
    assert Keys("", list).holder("") is None
    assert Keys("", lambda: TOKENS).holder("") is None


def test_a_route_that_says_nothing_of_scopes_is_closed_to_small_tokens():
    from control_api.routes import Route

    def respond(*_):
        pass

    assert Route("POST", "/x", "jobs", "", respond).needs == "admin"
    assert Route("GET", "/x", "jobs", "", respond).needs == "read"
