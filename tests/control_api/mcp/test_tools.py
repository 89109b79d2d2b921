"""What tools agents see, and that they are the same as REST's operations."""

import base64
import json
from functools import cache
from pathlib import Path

import pytest
import yaml

from control_api.fields import SPEC, fields_of
from control_api.mcp.toolbox import toolbox
from control_api.mcp.tools import Caller
from control_api.workflow import pipeline_fields, preset_fields
from handlers.errors import AudiollaError, BadParameter, MistypedParameter
from handlers.registry import operations
from tests.control_api.fake import FakeService, api_settings

SOUND = {"file_path": "a.wav"}
CONTRACT = Path(__file__).parents[2] / "contract"
#: Tools of engines that are another's to add; each is here the moment it is declared.
ABSENT = {"diarize", "enhance"} - {op.tool for op in operations().values()}


@cache
def contract():
    told = yaml.safe_load((CONTRACT / "management.yaml").read_text(encoding="utf-8"))
    return told["mcp"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    service = FakeService(tmp_path_factory.mktemp("service"))
    return service, {tool.name: tool for tool in toolbox(service, api_settings())}


@pytest.fixture
def service(shared):
    service, _ = shared
    service.submitted.clear()
    service.discarded.clear()
    service.stored = {"a.wav": b"RIFF", "b.wav": b"RIFF"}
    return service


@pytest.fixture
def tools(shared):
    return shared[1]


def call(tools, name, arguments, **caller):
    tools[name].check_names(arguments)
    return tools[name].run(arguments, Caller(**caller))


# -- which there are -------------------------------------------------------------------------------
def test_every_tool_of_the_contract_is_there(tools):
    assert set(contract()["tools"]) - ABSENT <= set(tools)


def test_the_compact_set_is_small_and_reaches_every_operation(service):
    tools = {tool.name: tool for tool in toolbox(service, api_settings(mcp_tools="compact"))}

    assert len(tools) <= 20
    found = call(tools, "find_operation", {}).result["operations"]
    assert {one["name"] for one in found} == set(operations())
    for name in operations():
        about = call(tools, "describe_operation", {"name": name}).result
        assert about["arguments"]["properties"]
        assert about["description"].startswith(operations()[name].summary[:20])


@pytest.mark.parametrize("tools_of", ["full", "compact"])
def test_every_tool_says_what_it_does_and_takes(service, tools_of):
    from jsonschema import Draft202012Validator

    for tool in toolbox(service, api_settings(mcp_tools=tools_of)):
        assert tool.description
        for schema in (tool.arguments, tool.gives):
            Draft202012Validator.check_schema(dict(schema))
            assert schema["type"] == "object"
        for name, about in tool.arguments["properties"].items():
            assert about.get("description") or "anyOf" in about or "enum" in about, (
                tool.name,
                name,
            )


def test_tools_come_in_one_order(service):
    first = [tool.name for tool in toolbox(service, api_settings())]

    assert first == [tool.name for tool in toolbox(service, api_settings())]


# -- the same as REST ------------------------------------------------------------------------------
def alone():
    """Tools that are one operation, with it."""
    named = [(op.tool, op) for op in operations().values() if op.tool]
    names = [name for name, _ in named]
    return [pytest.param(n, op, id=n) for n, op in named if names.count(n) == 1]


@pytest.mark.parametrize(("name", "op"), alone())
def test_names_types_defaults_and_ranges_are_those_of_rest(tools, name, op):
    fields, schema = fields_of(op), tools[name].arguments
    known = set(schema["properties"])

    special = contract()["special"].get(name, {}).get("args", {})
    assert fields.names - fields.uploads <= known
    assert known - fields.names <= set(special) | {"output_paths", "output_urls"}
    if SPEC in known:
        known.remove(SPEC)
    model = op.params.model_json_schema(by_alias=False)
    for field in model["properties"]:
        said, declared = dict(schema["properties"][field]), dict(model["properties"][field])
        agreed = {"engine"} & set(op.path_params) | set(op.mcp_defaults)
        if field in agreed:
            said.pop("default", None)
            declared.pop("default", None)
        assert without_titles(said) == without_titles(declared), field


def without_titles(schema):
    if isinstance(schema, dict):
        kept = {k: v for k, v in schema.items() if k != "title" or not isinstance(v, str)}
        return {key: without_titles(value) for key, value in kept.items()}
    return [without_titles(v) for v in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize("name", contract()["special"])
def test_arguments_that_only_the_tool_has(tools, name):
    if name in ABSENT:
        return  # nobody declares it yet
    known = tools[name].arguments["properties"]
    for argument, about in contract()["special"][name].get("args", {}).items():
        assert argument in known
        default = about
        if isinstance(about, str):
            said = [part for part in about.replace(",", " ").split() if part]
            if "default" not in said:
                continue
            default = said[said.index("default") + (1 if said[-1] != "default" else -1)]
        if isinstance(about, (int, bool)) or argument in ("engine", "mode", "container"):
            assert known[argument]["default"] == default


def test_both_doors_build_the_same_order(tools, service, client):
    settings = {"start_sec": 0.5, "end_sec": 2.0, "output_format": "flac"}
    call(tools, "trim", {"file_path": "a.wav", **settings})
    client.simulate_post("/v1/audio/trim", json={"file_path": "a.wav", **settings})

    by_tool, by_rest = (s.order.model_dump() for s in service.submitted)
    for order in (by_tool, by_rest):
        order["delivery"].pop("folder")
        order["delivery"].pop("fleeting")  # a call may become a task, which somebody asks for later
        order.pop("call")
    assert by_tool == by_rest
    assert [s.source for s in service.submitted] == ["mcp", "rest"]
    assert {s.endpoint for s in service.submitted} == {"/v1/audio/trim"}


def test_chains_have_the_fields_of_rest(tools, service):
    for fields in (pipeline_fields(), preset_fields(service)):
        known = set(tools[fields.op.tool].arguments["properties"])
        assert fields.names - fields.uploads == known


# -- what is taken and refused ---------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "arguments", "error", "words"),
    [
        pytest.param("trim", {**SOUND, "ende": 1}, MistypedParameter, "ende", id="no such"),
        pytest.param("trim", {"file": "a.wav"}, MistypedParameter, "file", id="no uploads here"),
        pytest.param("separate", SOUND, MistypedParameter, "engine", id="missing"),
        pytest.param("pan", {**SOUND, "position": 2}, BadParameter, "position", id="range"),
        pytest.param("pan", {**SOUND, "position": "x"}, MistypedParameter, "position",
                     id="type"),
        pytest.param("pan", {}, AudiollaError, "file_path", id="no sound"),
        pytest.param("pan", {**SOUND, "file_url": "http://x"}, AudiollaError, "one",
                     id="two sounds"),
        pytest.param("pan", {**SOUND, "output_path": "x", "output_url": "http://x"},
                     BadParameter, "not both", id="two destinations"),
        pytest.param("visualize", {**SOUND, "mode": "cube"}, BadParameter, "mode",
                     id="no such choice"),
        pytest.param("visualize", {**SOUND, "mode": "waveform", "fps": 7},
                     AudiollaError, "fps", id="another choice's"),
        pytest.param("hpss", {**SOUND, "output_paths": {"drums": "x"}}, BadParameter,
                     "drums", id="no such stem"),
        pytest.param("hpss", {**SOUND, "output_urls": {"drums": "x"}}, BadParameter,
                     "harmonic, percussive", id="a URL for no stem"),
        pytest.param("hpss", {**SOUND, "output_urls": {"harmonic": "https://a.example"},
                              "output_paths": {"harmonic": "x"}}, BadParameter,
                     "harmonic is in", id="a stem for two places"),
        pytest.param("hpss", {**SOUND, "output_urls": {"harmonic": "https://a.example"},
                              "async_job": True}, BadParameter,
                     "percussive has none", id="a stem for nowhere"),
        pytest.param("hpss", {**SOUND, "output_urls": {"harmonic": "https://a.example"}},
                     AudiollaError, "output_urls: harmonic is refused", id="no URLs allowed"),
        pytest.param("hpss", {**SOUND, "output_paths": {"harmonic": "../x"}},
                     AudiollaError, "..", id="a path that leaves"),
        pytest.param("midi_compose", {"spec": []}, BadParameter, "spec", id="a spec that is none"),
        pytest.param("put_file", {"path": "x", "content_base64": "%"}, BadParameter, "base64",
                     id="no base64"),
        pytest.param("get_job", {"job_id": "none"}, AudiollaError, "none", id="no such job"),
        pytest.param("get_file", {"path": "none"}, AudiollaError, "none", id="no such file"),
        pytest.param("list_jobs", {"limit": 0}, BadParameter, "limit", id="none at all"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_a_job_exists(tools, service, name, arguments, error, words):
    with pytest.raises(error) as refused:
        call(tools, name, arguments)

    assert words in refused.value.detail
    assert service.submitted == []


@pytest.mark.parametrize(
    ("name", "arguments", "param", "value"),
    [
        pytest.param("restore", {}, "engine", "uvr-dereverb", id="the engine in the route"),
        pytest.param("denoise", {}, "engine", "uvr-denoise", id="an alias with its own"),
        pytest.param("restore", {"engine": "uvr-deecho"}, "engine", "uvr-deecho", id="given"),
        pytest.param("normalize", {}, "target_lufs", -14, id="a target"),
        pytest.param("normalize", {"profile": "spotify"}, "target_lufs", None, id="not needed"),
        pytest.param("bpm_match", {}, "target_bpm", 120, id="a tempo"),
        pytest.param("key_match", {}, "target_key", "C", id="a key"),
        pytest.param("visualize", {}, "mode", "spectrum", id="a mode"),
    ],
)
def test_what_is_missing_has_the_default_of_the_contract(
    tools, service, name, arguments, param, value
):
    call(tools, name, {"file_path": "a.wav", "async_job": True, **arguments})

    (submitted,) = service.submitted
    assert submitted.order.steps[0].params.get(param) == value


def test_a_document_may_come_whole_or_in_parts(tools, service):
    drums = {"pattern": {"kick": [1, 0, 0, 0]}}
    call(tools, "drum_pattern", {**drums, "async_job": True})
    call(tools, "drum_pattern", {"spec": drums, "async_job": True})

    one, other = (s.order.steps for s in service.submitted)
    assert one == other
    with pytest.raises(BadParameter, match="beside"):
        call(tools, "drum_pattern", {"spec": drums, **drums})


def test_arrays_written_as_text_are_read(tools, service):
    bands = [{"freq": 1000, "gain_db": 3}]
    given = {"file_path": "a.wav", "async_job": True}
    call(tools, "eq", {**given, "bands": bands})
    call(tools, "eq", {**given, "bands": json.dumps(bands)})

    one, other = (s.order.steps for s in service.submitted)
    assert one == other


def test_a_plan_runs_nothing(tools, service):
    plan = call(tools, "reverse", {"plan": True}).result

    assert plan["missing"] == ["file"]
    assert service.submitted == []


# -- what comes back -------------------------------------------------------------------------------
def test_a_result_is_inline_until_it_is_too_large(tools, service):
    small = call(tools, "reverse", {"file_path": "a.wav"}, inline_bytes=6).result
    large = call(tools, "reverse", {"file_path": "a.wav"}, inline_bytes=5)

    assert base64.b64decode(small["audio_base64"]) == b"result"
    assert "audio_base64" not in large.result
    assert large.result["size"] == 6
    assert "6 bytes are more than the 5" in large.result["staged_because"]
    assert service.stored[large.result["path"]] == b"result"
    assert [link.path for link in large.links] == [large.result["path"]]


def test_what_a_job_keeps_is_removed_once_it_was_told(tools, service):
    call(tools, "reverse", {"file_path": "a.wav"})
    call(tools, "reverse", {"file_path": "a.wav", "async_job": True})

    waited, background = service.submitted
    assert service.discarded == [waited.id]
    assert background.background


def test_a_file_that_is_too_large_for_an_answer_is_linked(tools):
    answer = call(tools, "get_file", {"path": "a.wav"}, inline_bytes=3)

    assert "content_base64" not in answer.result
    assert "4 bytes" in answer.result["staged_because"]
    assert [link.uri for link in answer.links] == ["audiolla://files/a.wav"]


def test_compact_tools_stage_what_they_make(service):
    tools = {tool.name: tool for tool in toolbox(service, api_settings(mcp_tools="compact"))}
    given = {"name": "reverse", "arguments": {"file_path": "a.wav"}}

    staged = call(tools, "run_operation", given)
    inline = call(tools, "run_operation", {**given, "inline": True})
    assert service.stored[staged.result["path"]] == b"result"
    assert staged.links
    assert "staged_because" not in staged.result
    assert "audio_base64" in inline.result
    plan = call(tools, "plan_operation", {"name": "reverse"}).result
    assert plan["missing"] == ["file"]


@pytest.mark.parametrize(
    ("query", "first"),
    [("noise", "noise_reduce"), ("loudness", "loudness"), ("MIDI drums", "midi_drum")],
)
def test_operations_are_found_by_words(service, query, first):
    tools = {tool.name: tool for tool in toolbox(service, api_settings(mcp_tools="compact"))}
    found = call(tools, "find_operation", {"query": query}).result["operations"]

    assert first in [one["name"] for one in found[:3]]
    assert len(found) <= 12


def test_tools_that_remove_or_send_say_so(tools):
    assert tools["delete_file"].destroys
    assert tools["info"].reads_only
    assert not tools["trim"].reads_only
    assert tools["trim"].reaches_out
    assert not tools["list_files"].reaches_out
