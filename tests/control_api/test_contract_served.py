"""The contract against the served OpenAPI document, entry by entry, value by value."""

import re
from pathlib import Path

import pytest
import yaml

from control_api.app import create_app
from handlers.registry import operations
from tests.control_api.fake import FakeService, api_settings
from tests.control_api.requests import TestClient
from tests.control_api.test_contract import TOLD

FOLDER = Path(__file__).parents[1] / "contract"
CONTRACT, MANAGEMENT = (
    yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    for name in ("operations.yaml", "management.yaml")
)
ENTRIES = {e["name"]: e for e in CONTRACT["operations"] if e["name"] in operations()}
#: The door for agents is one route of all methods, and no REST.
ENDPOINTS = {e["name"]: e for e in MANAGEMENT["endpoints"] if e["name"] != "mcp"}
TYPES = {"list": "array", "json": ("array", "object")}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    settings = api_settings(auth_token="", max_upload_bytes=10_000)
    service = FakeService(tmp_path_factory.mktemp("served"))
    return TestClient(create_app(service, settings)).simulate_get("/v1/openapi.json").json


def at(served, entry):
    """What is served of an entry's route."""
    return served["paths"][entry["path"]][entry["method"].lower()]


def resolve(served, schema):
    """What a schema refers to."""
    while "$ref" in schema:
        found = served
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def request(served, entry, media="application/json"):
    content = at(served, entry)["requestBody"]["content"]
    return resolve(served, content[media]["schema"])


def replies(served, entry, status="200"):
    """Every object that a route may answer with as JSON."""
    reply = resolve(served, at(served, entry)["responses"][status])
    schema = resolve(served, reply["content"]["application/json"]["schema"])
    return [resolve(served, one) for one in schema.get("anyOf", [schema])]


def param_cases():
    return [
        pytest.param(name, param, about, id=f"{name}: {param}")
        for name, entry in ENTRIES.items()
        for param, about in entry["params"].items()
    ]


def property_of(served, entry, param):
    """The schema of a parameter, in the path or in the body, without its null."""
    in_path = {p["name"]: p["schema"] for p in at(served, entry)["parameters"]}
    found = in_path.get(param) or request(served, entry)["properties"].get(param)
    assert found is not None, f"{param} is not served"
    found = resolve(served, found)
    choices = [resolve(served, c) for c in found.get("anyOf", []) if c.get("type") != "null"]
    first = next((c for c in choices if c.get("type") != "string"), choices[0]) if choices else {}
    return {**found, **first}


def admits(schema, value):
    """True where a value is one of those that are listed, or lies in the range."""
    if isinstance(value, int) and "minimum" in schema:
        return schema["minimum"] <= value <= schema["maximum"]
    return value in (schema.get("enum") or schema.get("items", {}).get("enum", []))


# -- operations --------------------------------------------------------------------------------
@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_an_operations_route_and_statuses_are_served(served, name):
    told = at(served, ENTRIES[name])
    assert told["tags"] == [ENTRIES[name]["category"]]
    wanted = {s for s in ENTRIES[name]["errors"] if s.isdigit()}
    for used in ENTRIES[name]["errors"].get("sets", []):
        wanted |= set(CONTRACT["error_sets"][used])
    assert wanted | {"200", "202"} <= set(told["responses"])


@pytest.mark.parametrize(("name", "param", "about"), param_cases())
def test_a_parameter_has_the_contracts_type_and_range(served, name, param, about):
    told = property_of(served, ENTRIES[name], param)

    wanted = TYPES.get(about["type"], about["type"])
    if "comma separated" in about.get("doc", ""):
        wanted = "array"  # in a form, the field repeated or its parts with commas
    assert told["type"] in (wanted if isinstance(wanted, tuple) else (wanted,))
    if "min" in about:
        assert told.get("minimum", told.get("exclusiveMinimum")) == about["min"]
    if "max" in about:
        assert told["maximum"] == about["max"]
    if "min_exclusive" in about:
        assert told["exclusiveMinimum"] == about["min_exclusive"]
    if "enum" in about:
        assert all(admits(told, value) for value in about["enum"])
    if "default" in about and (name, param) not in TOLD:
        assert told["default"] == about["default"]


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_a_reply_has_the_contracts_fields(served, name):
    returns = ENTRIES[name]["returns"]
    wanted = set(returns.get("fields") or {}) | set(returns.get("descriptor") or {})
    reply = replies(served, ENTRIES[name])[0]

    assert wanted <= set(reply["properties"])
    headers = at(served, ENTRIES[name])["responses"]["200"]["headers"]
    assert set(returns.get("headers", {})) <= set(headers)


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_the_media_types_of_a_reply_are_the_contracts(served, name):
    returns = ENTRIES[name]["returns"]
    content = at(served, ENTRIES[name])["responses"]["200"]["content"]
    wanted = {"application/json"}
    for kind in {returns["kind"], returns.get("kind_if_many", "json")} - {"json"}:
        if kind == "audio":
            types = (f["content_type"] for f in CONTRACT["output_formats"].values())
            wanted |= {t.partition(";")[0] for t in types}
        elif kind == "video":
            wanted |= {CONTRACT["other_media"][k]["content_type"] for k in ("mp4", "webm")}
        else:
            wanted.add(CONTRACT["other_media"][kind]["content_type"])
    assert wanted <= set(content)


def test_an_output_format_is_one_of_the_contracts(served):
    told = property_of(served, ENTRIES["trim"], "output_format")
    wanted = CONTRACT["output_sets"]["audio"]["fields"]["output_format"]
    assert told["default"] == wanted["default"]
    assert set(wanted["enum"]) <= set(told["enum"])


# -- everything else ---------------------------------------------------------------------------
def fields_of(returns):
    """Names of the fields of a reply, and those of the objects in its lists."""
    fields = returns["fields"]
    if fields == "job_object":
        fields = MANAGEMENT["job_object"]
    inner = {}
    for name, text in fields.items():
        listed = re.search(r"list of {([^}]*)}", str(text))
        if listed:
            named = re.split(r",|: list of .*", listed.group(1))
            inner[name] = {re.split(r"[: ]", n.strip())[0] for n in named if n.strip()}
    return set(fields), inner


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_an_endpoint_is_served_with_its_parameters_and_statuses(served, name):
    entry = ENDPOINTS[name]
    told = at(served, entry)

    assert told["tags"] == [entry["category"]]
    wanted = {s for s in entry["errors"] if s != "sets"}
    for used in entry["errors"].get("sets", []):
        wanted |= set(CONTRACT["error_sets"][used])
    assert wanted | {str(entry.get("status", 200))} <= set(told["responses"])
    places = {p["name"]: p for p in told["parameters"]}
    for param, about in entry.get("params", {}).items():
        if about.get("in", "body") in ("path", "query"):
            assert places[param]["in"] == about["in"]
            assert places[param]["schema"]["type"] == about["type"]
        else:
            assert param in request(served, entry)["properties"]
    if entry.get("auth") == "never":
        assert told["security"] == []


@pytest.mark.parametrize(
    "name", sorted(n for n, e in ENDPOINTS.items() if e["returns"]["kind"] == "json")
)
def test_an_endpoints_reply_has_the_contracts_fields(served, name):
    entry = ENDPOINTS[name]
    wanted, inner = fields_of(entry["returns"])
    reply = replies(served, entry, str(entry.get("status", 200)))[0]

    assert wanted <= set(reply["properties"])
    for field, names in inner.items():
        items = resolve(served, reply["properties"][field]["items"])
        assert names <= set(items["properties"]), field


@pytest.mark.parametrize("name", ["preset_run", "pipeline"])
def test_a_chain_takes_and_tells_what_the_contract_says(served, name):
    entry = ENDPOINTS[name]
    fields = request(served, entry, "multipart/form-data")["properties"]
    single = CONTRACT["input_sets"]["single"]["fields"]
    assert {*single, *CONTRACT["output_sets"]["audio"]["fields"]} <= set(fields)
    told = replies(served, entry)[0]["properties"]
    assert {"path", "url", "size", "output_format", *entry["returns"]["descriptor"]} <= set(told)
    steps = resolve(served, told["steps"]["items"])["properties"]
    assert {"step", "op", "params", "size_after"} <= set(steps)
    submitted = replies(served, entry, "202")[0]
    assert set(submitted["required"]) >= {"job_id", "status"}


def test_a_batch_takes_and_tells_what_the_contract_says(served):
    entry = ENDPOINTS["batch"]
    body = request(served, entry)
    item = resolve(served, body["items"])
    assert set(entry["batch_list"]["item"]) - {"other_keys"} <= set(item["properties"])
    result = resolve(served, replies(served, entry)[0]["properties"]["results"]["items"])
    assert {"index", "op", "status", "error", "path", "size"} <= set(result["properties"])


def test_a_batch_takes_every_operation_of_the_contracts_batches():
    usable = {e["batch"]["slug"] for e in CONTRACT["operations"] if e["batch"]}
    assert usable == set(ENDPOINTS["batch"]["batch_list"]["item"]["op"]["enum"])
    assert all(operations()[slug].batch and operations()[slug].pipeline for slug in usable)


def test_a_job_has_all_fields_of_the_contract(served):
    told = resolve(served, {"$ref": "#/components/schemas/JobObject"})["properties"]
    assert set(MANAGEMENT["job_object"]) <= set(told)
    states = re.split(r" \| ", MANAGEMENT["job_object"]["status"])
    assert told["status"]["enum"] == states


def test_the_categories_are_the_contracts_in_its_order(served):
    assert [tag["name"] for tag in served["tags"]] == CONTRACT["categories"]
