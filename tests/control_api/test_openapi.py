"""The served OpenAPI document, and whether the server does what it says."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from control_api.app import all_routes, create_app
from control_api.shapes import SHAPES
from handlers.registry import operations
from tests.control_api.fake import FakeService, all_ready, api_settings, leaving
from tests.control_api.requests import TestClient

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
#: Few of many, the same on each run: the examples are there to be kept, not to be found.
EXAMPLES = settings(
    max_examples=3,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@schemathesis.serializer("application/offset+octet-stream")
def a_piece(_, value):
    """A piece of an upload, as it is."""
    return value if isinstance(value, bytes) else str(value).encode()


def whole(app):
    """The application, whose answers are read and closed as a server would."""

    def answer(environ, start_response):
        body = leaving(app)(environ, start_response)
        try:
            return [b"".join(body)]
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()

    return answer


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    service = FakeService(tmp_path_factory.mktemp("openapi"))
    service.stored["a.wav"] = b"RIFF"
    service.shelf = all_ready()
    return service


@pytest.fixture(scope="module")
def app(service):
    return create_app(service, api_settings(auth_token="", max_upload_bytes=10_000))


@pytest.fixture(scope="module")
def document(app):
    return TestClient(app).simulate_get("/v1/openapi.json").json


@pytest.fixture(scope="module")
def schema(app):
    return schemathesis.openapi.from_wsgi("/v1/openapi.json", whole(app))


def every_route():
    routes = all_routes(FakeService.__new__(FakeService))
    return [pytest.param(r, id=f"{r.method} {r.path}") for r in routes]


# -- the document ------------------------------------------------------------------------------
def test_it_is_openapi_3_1(document):
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_is_in_it_once(document):
    told = {(m.upper(), path) for path, at in document["paths"].items() for m in at}
    served = {(p.values[0].method, p.values[0].path) for p in every_route()}
    assert told == served | {("POST", "/v1/mcp")}
    ids = [about["operationId"] for at in document["paths"].values() for about in at.values()]
    assert len(ids) == len(set(ids))


def test_no_shape_is_told_of_a_route_that_is_not_there():
    served = {f"{p.values[0].method} {p.values[0].path}" for p in every_route()}
    assert set(SHAPES) <= served | {"POST /v1/mcp"}


@pytest.mark.parametrize("name", sorted(operations()))
def test_an_operation_tells_its_fields_in_each_kind_of_body(document, name):
    op = operations()[name]
    content = document["paths"][op.route]["post"]["requestBody"]["content"]
    assert set(content) == {
        "multipart/form-data",
        "application/x-www-form-urlencoded",
        "application/json",
    }
    form = resolved(document, content["multipart/form-data"]["schema"])
    body = resolved(document, content["application/json"]["schema"])
    own = set(op.params.model_fields) - set(op.path_params)
    assert own | {"async_job", "webhook_url", "plan"} <= set(form["properties"])
    assert own <= set(body["properties"])
    uploads = {i.name if i is not op.sound else "file" for i in op.inputs if not i.many}
    binary = {n for n, s in form["properties"].items() if s.get("format") == "binary"}
    assert binary == uploads
    assert not uploads & set(body["properties"])
    in_path = [p["name"] for p in document["paths"][op.route]["post"]["parameters"]]
    assert set(op.path_params) <= set(in_path)


def test_a_structure_is_json_text_in_a_form_and_itself_in_json(document):
    content = document["paths"]["/v1/audio/eq"]["post"]["requestBody"]["content"]
    form = resolved(document, content["multipart/form-data"]["schema"])["properties"]["bands"]
    body = resolved(document, content["application/json"]["schema"])["properties"]["bands"]

    assert (form["type"], form["contentMediaType"]) == ("string", "application/json")
    assert form["contentSchema"]["type"] == body["type"] == "array"


def test_units_and_ranges_are_those_of_the_declaration(document):
    content = document["paths"]["/v1/audio/normalize"]["post"]["requestBody"]["content"]
    form = resolved(document, content["multipart/form-data"]["schema"])
    target = form["properties"]["target_lufs"]
    assert (target["minimum"], target["maximum"], target["unit"]) == (-70, -0.1, "LUFS")


def resolved(document, schema):
    reference = schema.get("$ref")
    if reference is None:
        return schema
    return document["components"]["schemas"][reference.removeprefix("#/components/schemas/")]


# -- the server --------------------------------------------------------------------------------
def with_a_sound(case):
    """The same request, with one sound that is there in place of made-up files and URLs."""
    if not isinstance(case.body, dict) or not {"plan", "async_job"} & declared(case):
        return
    kept = {n: v for n, v in case.body.items() if not n.endswith(("file", "_path", "_url"))}
    for name in ("file", "reference", "bit_depth", "bitrate", "quality"):
        kept.pop(name, None)
    sources = {n for n in declared(case) if n.endswith("_path") and n != "output_path"}
    case.body = kept | dict.fromkeys(sources, "a.wav")


def declared(case):
    body = case.operation.body[0].definition.get("schema", {}) if case.operation.body else {}
    return set(body.get("properties", {}))


@pytest.mark.parametrize("route", every_route())
def test_what_is_asked_rightly_is_answered_as_told(schema, route):
    operation = schema[route.path][route.method]

    @EXAMPLES
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    def ask(case):
        with_a_sound(case)
        case.validate_response(case.call(), checks=CHECKS)

    ask()


@pytest.mark.parametrize("route", every_route())
def test_what_is_asked_wrongly_is_refused_as_told(schema, route):
    operation = schema[route.path][route.method]
    if not operation.body and not operation.query:
        return  # there is nothing to get wrong

    @EXAMPLES
    @given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def ask(case):
        case.validate_response(case.call(), checks=CHECKS)

    ask()
