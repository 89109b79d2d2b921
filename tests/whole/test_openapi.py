"""What a real daemon answers, against what its OpenAPI document says it would."""

import json
import urllib.error
import urllib.request

import jsonschema_rs
import pytest

from handlers.registry import operations
from tests.control_api.test_contract import route
from tests.scores import music
from tests.sounds import groove, write_wav
from tests.whole.living import living

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("told")
    with living(folder / "data") as daemon:
        staged = daemon.data / "files"
        staged.mkdir(exist_ok=True)
        sound, _ = groove(seconds=6, channels=2)
        write_wav(sound, staged / "a.wav", "PCM_16")
        (staged / "a.mid").write_bytes(music().data)
        yield daemon


@pytest.fixture(scope="module")
def document(daemon):
    return daemon.get("/v1/openapi.json")


def asked(daemon, op, example, **more):
    """(status, media type, body) of an operation's documented example."""
    params = dict(example.params)
    path = route(op)
    for name in op.path_params:
        params.pop(name, None)
    for declared in op.inputs:
        if declared.named or not declared.required:
            continue
        if declared.many:
            params[declared.name] = [{"file_path": "a.wav"}] * 2
        else:
            name = "file" if declared is op.sound else declared.name
            params[f"{name}_path"] = "a.mid" if declared.kind == "midi" else "a.wav"
    request = urllib.request.Request(
        daemon.address + path,
        json.dumps(params | more).encode(),
        {"Content-Type": "application/json", "Accept": "application/json"},
    )
    try:
        reply = urllib.request.urlopen(request, timeout=120)
    except urllib.error.HTTPError as refused:
        reply = refused
    with reply:
        return reply.status, reply.headers.get_content_type(), reply.read()


def cases():
    return [
        pytest.param(op, example, id=f"{op.name}: {example.title}")
        for op in operations().values()
        for example in op.examples[:1]
    ]


@pytest.mark.parametrize(("op", "example"), cases())
def test_an_operations_example_is_answered_as_the_document_says(daemon, document, op, example):
    told = document["paths"][op.route]["post"]["responses"]
    more = {} if op.kind == "json" else {"output_path": f"out/{op.name}"}
    status, media, body = asked(daemon, op, example, **more)

    # Weights and SoundFonts are not on every machine; everything else has to work.
    assert status in (200, 503), body
    response = told[str(status)]
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    assert media == "application/json"
    # Of the alternatives, what ran: not a plan.
    schema = response["content"][media]["schema"]
    schema = schema["anyOf"][0] if status == 200 else schema
    whole = {**schema, "components": document["components"]}
    told_body = json.loads(body)
    jsonschema_rs.Draft202012Validator(whole).validate(told_body)
    if status == 200 and "properties" in schema:
        assert set(told_body) <= set(schema["properties"]), "it says more than is told"
