"""Every registered operation against the contract, through its route."""

import json
from functools import cache
from pathlib import Path

import pytest
import yaml

from control_api.app import all_routes
from control_api.fields import fields_of
from handlers.codecs.formats import OUTPUT_FORMATS
from handlers.registry import operations
from tests.control_api.fake import FakeService
from tests.control_api.requests import multipart

CONTRACT = Path(__file__).parents[1] / "contract"
SOUND = ("file", "a.wav", b"RIFF")
#: What may be left out although the contract has it required: told by what else is given.
TOLD = {
    ("enhance", "engine"),
    ("master", "mode"),
    ("noise_reduce", "engine"),
    ("normalize", "target_lufs"),
}


@cache
def contract(name):
    return yaml.safe_load((CONTRACT / name).read_text(encoding="utf-8"))


@cache
def entries():
    """Contract entries by operation name, for what is registered."""
    known = {e["name"]: e for e in contract("operations.yaml")["operations"]}
    return {name: known[name] for name in operations() if name in known}


def cases(read):
    """One case per (operation, whatever `read` gives for its entry)."""
    return [
        pytest.param(name, *case, id=f"{name}: {case[0]}" if case else name)
        for name, entry in entries().items()
        for case in read(entry)
    ]


def a_request(name, **changes):
    """A request that the operation takes, from its declared example; None leaves a field out."""
    op = operations()[name]
    parts = as_text(in_form(op, dict(op.examples[0].params) | changes))
    for declared in op.inputs:
        if not declared.required or declared is op.sound or declared.name in changes:
            continue
        if declared.many:
            parts.append((declared.name, json.dumps([{"file_path": "a.wav"}] * 2)))
        else:
            parts.append((f"{declared.name}_path", "a.wav"))
    if op.sound is not None:
        parts.append(SOUND)
    return multipart(*parts)


def in_form(op, params):
    return {name: value for name, value in params.items() if name not in op.path_params}


def route(op):
    """The operation's route, filled in from its example."""
    params = op.read_params(op.examples[0].params, strict=True)
    return op.route.format(**{name: getattr(params, name) for name in op.path_params})


def as_text(params):
    return [
        (field, value if isinstance(value, str) else json.dumps(value))
        for field, value in params.items()
        if value is not None
    ]


@pytest.fixture
def service(tmp_path):
    service = FakeService(tmp_path)
    service.stored["a.wav"] = b"RIFF"
    return service


def test_the_contract_has_operations_that_we_have():
    assert len(entries()) >= 10


@pytest.mark.parametrize("name", cases(lambda e: [()]))
def test_route_category_and_kind(name):
    op, entry = operations()[name], entries()[name]

    assert op.route == entry["path"]
    assert entry["method"] == "POST"
    assert op.category == entry["category"]
    assert op.kind == entry["returns"]["kind"]
    assert set(op.headers.values()) == set(entry["returns"].get("headers", {}))


@pytest.mark.parametrize("name", cases(lambda e: [()]))
def test_its_fields_are_all_there(name):
    entry = entries()[name]
    sets = contract("operations.yaml")
    wanted = set()
    for used in entry["inputs"].get("sets", []):
        wanted |= set(sets["input_sets"][used]["fields"])
    outputs = sets["output_sets"][entry["outputs"]]
    wanted |= set(outputs.get("fields") or sets["output_sets"][outputs["fields_of"]]["fields"])
    wanted -= set(outputs.get("without", []))
    for param, about in entry["params"].items():
        wanted |= {param, *about.get("aliases", [])}

    assert wanted <= fields_of(operations()[name]).names


@pytest.mark.parametrize(
    ("name", "param", "about"), cases(lambda e: [(p, a) for p, a in e["params"].items()])
)
def test_its_defaults(name, param, about):
    model = operations()[name].params
    if param not in model.model_fields:  # a list of sounds is an input
        assert param in fields_of(operations()[name]).lists
        return
    info = model.model_fields[param]
    superset = "allowed superset" in about.get("doc", "") or (name, param) in TOLD

    if about.get("required"):
        assert info.is_required() or superset
    elif "default" in about:
        assert not info.is_required()
        assert info.default == about["default"]
    else:
        assert info.default is None


@pytest.mark.parametrize("name", cases(lambda e: [()]))
def test_its_example_is_taken(client, name):
    answer = client.simulate_post(route(operations()[name]), **a_request(name))

    assert answer.status_code == 200, answer.text


def limits(entry):
    """Values just beyond each limit, and one outside each enumeration."""
    for param, about in entry["params"].items():
        if about.get("type") in ("number", "integer"):
            if "min" in about:
                yield param, about["min"] - 1
            if "max" in about:
                yield param, about["max"] + 1
            if "min_exclusive" in about:
                yield param, about["min_exclusive"]
        # An engine that nobody knows is a 404.
        named = param == "engine" and "engine_param" in entry["errors"]["sets"]
        if "enum" in about and about.get("in") != "path" and not named:
            yield param, 3 if about["type"] == "integer" else "none-of-these"


@pytest.mark.parametrize(("name", "param", "value"), cases(limits))
def test_a_value_beyond_its_limit_is_a_400(client, service, name, param, value):
    answer = client.simulate_post(route(operations()[name]), **a_request(name, **{param: value}))

    assert answer.status_code == 400, answer.text
    assert param in answer.json["detail"]
    assert service.submitted == []


def mistyped(entry):
    for param, about in entry["params"].items():
        if about.get("type") in ("number", "integer", "boolean"):
            yield (param,)


@pytest.mark.parametrize(("name", "param"), cases(mistyped))
def test_a_value_of_another_type_is_a_422(client, service, name, param):
    answer = client.simulate_post(route(operations()[name]), **a_request(name, **{param: "soon"}))

    assert answer.status_code == 422, answer.text
    assert param in answer.json["detail"]
    assert service.submitted == []


def required(entry):
    for param, about in entry["params"].items():
        if about.get("required") and "allowed superset" not in about.get("doc", ""):
            yield (param,)


@pytest.mark.parametrize(("name", "param"), cases(required))
def test_a_missing_parameter_is_a_422(client, name, param):
    op = operations()[name]
    if param in op.path_params or (name, param) == ("master", "mode"):
        return  # without the first there is no such route; the second is told by a preset
    is_list = param in fields_of(op).lists
    request = multipart() if is_list else a_request(name, **{param: None})

    answer = client.simulate_post(route(op), **request)
    assert answer.status_code == 422, answer.text
    assert param in answer.json["detail"]


@pytest.mark.parametrize(
    ("name", "param"),
    cases(lambda e: [(p,) for p, a in e["params"].items() if a.get("type") == "json"]),
)
def test_text_that_is_not_json_is_a_400(client, name, param):
    answer = client.simulate_post(route(operations()[name]), **a_request(name, **{param: "[{]"}))

    assert answer.status_code == 400, answer.text
    assert param in answer.json["detail"]


@pytest.mark.parametrize("name", cases(lambda e: [()] if "single" in str(e["inputs"]) else []))
def test_one_sound_goes_in(client, name):
    op = operations()[name]
    params = as_text(in_form(op, op.examples[0].params))

    assert client.simulate_post(route(op), **multipart(*params)).status_code == 400
    two = multipart(*params, SOUND, ("file_path", "a.wav"))
    assert client.simulate_post(route(op), **two).status_code == 400
    absent = multipart(*params, ("file_path", "b.wav"))
    assert client.simulate_post(route(op), **absent).status_code == 404
    url = multipart(*params, ("file_url", "https://example.org/a.wav"))
    assert client.simulate_post(route(op), **url).status_code == 400


@pytest.mark.parametrize("name", cases(lambda e: [()] if e["outputs"] == "audio" else []))
def test_an_unknown_output_format_is_a_415(client, name):
    request = a_request(name, output_format="wma")

    assert client.simulate_post(route(operations()[name]), **request).status_code == 415


def test_output_formats_are_the_contracts():
    for name, about in contract("operations.yaml")["output_formats"].items():
        ours = OUTPUT_FORMATS[name]
        assert (ours.content_type, ours.ext) == (about["content_type"], about["ext"])
        assert ours.sample_rate == about.get("sample_rate")
        bitrate = about.get("bitrate", "").removesuffix("k")
        assert ours.default_bitrate == (int(bitrate) if bitrate else None)


OURS = ("healthz", "catalog", "files_list", "files_put", "files_get", "files_delete",
        "jobs_list", "jobs_get", "jobs_delete")  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_management_routes_are_the_contracts(service, name):
    entry = next(e for e in contract("management.yaml")["endpoints"] if e["name"] == name)
    routes = {(r.method, r.path): r for r in all_routes(service)}

    assert routes[entry["method"], entry["path"]].category == entry["category"]
