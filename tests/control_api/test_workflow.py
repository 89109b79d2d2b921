import json
from pathlib import Path

import pytest
import yaml

from control_api.ports import EngineState
from handlers.engines.declare import Unready
from handlers.engines.registry import find_engine
from handlers.errors import CannotProcess, UnreadableInput, WeightsMissing
from handlers.registry import operations
from rules.presets import Preset, PresetStep
from tests.control_api.requests import multipart
from tests.control_api.test_contract import route

CONTRACT = yaml.safe_load(
    (Path(__file__).parents[1] / "contract" / "management.yaml").read_text(encoding="utf-8")
)
SOUND = ("file", "take 1.wav", b"RIFFsound")
STEPS = [
    {"op": "trim", "params": {"end_sec": 2}},
    {"op": "normalize", "params": {"target_lufs": -14}},
]
LOUD = "/v1/presets/master-for-spotify"


def pipe(client, steps, *parts):
    written = steps if isinstance(steps, str) else json.dumps(steps)
    return client.simulate_post("/v1/pipeline", **multipart(SOUND, ("steps", written), *parts))


def ordered(service):
    (submission,) = service.submitted
    return submission.order


# -- what there is -----------------------------------------------------------------------------
def test_the_operations_of_pipelines_are_those_of_the_contract(client):
    wanted = next(e for e in CONTRACT["endpoints"] if e["name"] == "ops")["pipeline_op_slugs"]

    answer = client.simulate_get("/v1/ops").json
    assert answer == {"object": "list", "data": sorted(wanted)}


def test_presets_are_listed_and_described(client):
    listed = client.simulate_get("/v1/presets").json
    assert listed["object"] == "list"
    assert [p["name"] for p in listed["data"]] == sorted(CONTRACT["presets"]["shipped"])
    assert all(p["description"] for p in listed["data"])

    shown = client.simulate_get(LOUD).json
    assert shown["name"] == "master-for-spotify"
    assert shown["steps"] == CONTRACT["presets"]["shipped"]["master-for-spotify"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_preset_is_a_404(client, method):
    answer = client.simulate_request(method, "/v1/presets/none", **multipart(SOUND))
    assert answer.status_code == 404
    assert "unknown preset 'none'" in answer.json["detail"]


# -- running -----------------------------------------------------------------------------------
def test_a_pipeline_is_one_order_and_its_sound_is_the_reply(client, service):
    answer = pipe(client, STEPS, ("output_format", "flac"))

    assert answer.status_code == 200, answer.text
    assert answer.content == b"result"
    assert answer.headers["content-type"] == "audio/flac"
    assert 'filename="pipeline.flac"' in answer.headers["content-disposition"]
    order = ordered(service)
    assert [(s.op, s.params) for s in order.steps] == [
        ("trim", {"end_sec": 2.0}),
        ("normalize", {"target_lufs": -14.0}),
    ]
    assert order.delivery.encoding.format == "flac"
    assert order.delivery.sound is True
    assert service.submitted[0].endpoint == "/v1/pipeline"


def test_a_preset_is_its_steps(client, service):
    answer = client.simulate_post(LOUD, **multipart(SOUND))

    assert answer.status_code == 200, answer.text
    assert 'filename="master-for-spotify.wav"' in answer.headers["content-disposition"]
    assert [s.op for s in ordered(service).steps] == ["multiband_compress", "normalize"]


@pytest.mark.parametrize("number", [1, 2])
def test_what_ran_is_told_where_the_sound_is_staged(client, number):
    answer = pipe(client, STEPS[:number], ("output_path", "out/a.wav"))

    assert set(answer.json) == {"path", "size", "output_format", "steps"}
    assert (answer.json["path"], answer.json["size"]) == ("out/a.wav", 6)
    told = [(s["step"], s["op"], s["params"]) for s in answer.json["steps"]]
    assert (
        told == [(0, "trim", {"end_sec": 2.0}), (1, "normalize", {"target_lufs": -14.0})][:number]
    )


def test_a_preset_says_which_one_it_was(client, service):
    service.known_presets = [Preset("à la mode", "", (PresetStep("reverse"),))]
    answer = client.simulate_post(
        "/v1/presets/%C3%A0%20la%20mode", **multipart(SOUND, ("output_path", "a.wav"))
    )
    assert answer.json["preset"] == "à la mode"
    assert [s["op"] for s in answer.json["steps"]] == ["reverse"]


def test_a_chain_may_run_in_the_background(client, service):
    answer = pipe(client, STEPS, ("async_job", "true"), ("webhook_url", "https://x.example/"))

    assert answer.status_code == 202
    job = client.simulate_get(answer.json["status_url"]).json
    assert job["endpoint"] == "/v1/pipeline"
    assert job["webhook_url"] == "https://x.example/"
    assert job["result"]["path"] == f"jobs/{job['id']}.wav"
    assert len(job["result"]["steps"]) == 2


def test_a_json_body_says_the_same(client, service):
    service.stored["a.wav"] = b"x"
    request = {"steps": STEPS, "file_path": "a.wav"}
    answer = client.simulate_post("/v1/pipeline", json=request)

    assert answer.status_code == 200, answer.text
    assert str(ordered(service).sound.path) == "/staged/a.wav"


def test_a_step_may_name_a_further_sound_of_the_staging_area(client, service):
    service.stored["ref.wav"] = b"x"
    step = {"op": "master", "params": {"mode": "reference", "reference_path": "ref.wav"}}
    assert pipe(client, [step]).status_code == 200
    (master,) = ordered(service).steps
    assert str(master.sounds["reference"].path) == "/staged/ref.wav"


def test_the_album_of_a_step_is_a_list_of_staged_sounds(client, service):
    service.stored["b.wav"] = b"x"
    params = {"target_lufs": -14, "album": [{"file_path": "b.wav"}]}
    assert pipe(client, [{"op": "normalize", "params": params}]).status_code == 200
    (step,) = ordered(service).steps
    assert [str(item.sound.path) for item in step.items["album"]] == ["/staged/b.wav"]


# -- refusing ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("steps", "status", "says"),
    [
        pytest.param("[{]", 400, "JSON", id="not JSON"),
        pytest.param("{}", 400, "steps", id="not an array"),
        pytest.param("[]", 400, "steps", id="empty"),
        pytest.param("", 422, "steps is required", id="missing"),
        pytest.param([3], 400, "steps[0]", id="no object"),
        pytest.param([{"params": {}}], 400, "steps[0].op", id="no op"),
        pytest.param([{"op": "none"}], 400, "step 0 (none): unknown op", id="unknown op"),
        pytest.param([STEPS[0], {"op": "mix"}], 400, "step 1 (mix): unknown op", id="no chain op"),
        pytest.param([{"op": "trim", "params": []}], 400, "params", id="params are no object"),
        pytest.param(
            [{"op": "trim", "params": {"end_sec": -1}}], 400, "step 0 (trim): end_sec", id="range"
        ),
        pytest.param(
            [{"op": "trim", "params": {"end_sec": "x"}}], 400, "step 0 (trim): end_sec", id="type"
        ),
        pytest.param(
            [{"op": "fade", "params": {"file_path": "a"}}], 400, "no parameter", id="an input"
        ),
        pytest.param(
            [{"op": "fade", "params": {"output_format": "a"}}], 400, "no parameter", id="an output"
        ),
        pytest.param(
            [{"op": "master", "params": {"mode": "reference", "reference_path": "a"}}],
            400,
            "step 0 (master): no file 'a'",
            id="no such further sound",
        ),
        pytest.param([STEPS[0]] * 65, 400, "64", id="too many"),
    ],
)
def test_a_wrong_step_is_refused_before_a_job_exists(client, service, steps, status, says):
    answer = pipe(client, steps)

    assert answer.status_code == status, answer.text
    assert says in answer.json["detail"]
    assert service.submitted == []


@pytest.mark.parametrize("number", [1, 2])
def test_a_step_that_fails_says_which_one_it_was(client, service, number):
    service.outcome = CannotProcess("too quiet")
    service.outcome.step = number - 1
    answer = pipe(client, STEPS[:number])

    assert answer.status_code == 400
    op = STEPS[number - 1]["op"]
    assert answer.json["detail"] == f"step {number - 1} ({op}): too quiet"
    assert answer.json["step"] == number - 1
    (job,) = client.simulate_get("/v1/jobs").json["jobs"]
    assert job["error"] == answer.json["detail"]


def test_a_sound_that_cannot_be_read_is_no_steps_fault(client, service):
    service.outcome = UnreadableInput("no sound in it")
    answer = pipe(client, STEPS)
    assert (answer.status_code, answer.json["detail"]) == (400, "no sound in it")


def test_weights_of_a_step_that_are_missing_are_a_503(client, service):
    service.refused["uvr-dereverb"] = WeightsMissing("uvr-dereverb: weights are missing")
    answer = client.simulate_post("/v1/presets/vocal-cleanup", **multipart(SOUND))

    assert answer.status_code == 503
    assert answer.json["detail"].startswith("step 0 (restore): uvr-dereverb")
    assert service.submitted == []


# -- batch -------------------------------------------------------------------------------------
def batch(client, *entries):
    answer = client.simulate_post("/v1/batch", json=list(entries))
    assert answer.status_code == 200, answer.text
    return answer.json["results"]


def test_entries_run_in_order_and_do_not_stop_each_other(client, service):
    service.stored["a.wav"] = b"x"
    results = batch(
        client,
        {"op": "trim", "file_path": "a.wav", "end_sec": 2, "output_path": "b.wav"},
        {"op": "trim", "file_path": "a.wav", "end_sec": -2},
        {"op": "reverse", "file_path": "none.wav"},
        "reverse",
        {"file_path": "a.wav"},
        {"op": "mix", "file_path": "a.wav"},
        {"op": "reverse", "file_path": "a.wav", "plan": True},
        {"op": "convert", "file_path": "a.wav", "output_format": "mp3"},
    )

    assert [r["index"] for r in results] == list(range(8))
    assert [r.get("status") for r in results] == ["ok", *[None] * 6, "ok"]
    assert results[0] | {"job_id": ""} == {
        "index": 0,
        "op": "trim",
        "status": "ok",
        "job_id": "",
        "path": "b.wav",
        "size": 6,
        "output_format": "wav",
    }
    assert "end_sec" in results[1]["error"]
    assert "none.wav" in results[2]["error"]
    assert results[3]["op"] is None
    assert "op is required" in results[4]["error"]
    assert "unknown op" in results[5]["error"]
    assert "plan" in results[6]["error"]
    assert results[7]["path"] == f"jobs/{results[7]['job_id']}.mp3"
    assert [s.endpoint for s in service.submitted] == ["/v1/audio/trim", "/v1/audio/convert"]
    assert not any(s.background for s in service.submitted)


def test_an_entry_that_fails_says_why(client, service):
    service.stored["a.wav"] = b"x"
    service.outcome = CannotProcess("too quiet")
    (result,) = batch(client, {"op": "reverse", "file_path": "a.wav"})
    assert result == {"index": 0, "op": "reverse", "error": "too quiet"}


@pytest.mark.parametrize(
    ("given", "params"),
    [
        pytest.param({}, {"target_lufs": -14.0}, id="the batch's own default"),
        pytest.param({"target_lufs": -20}, {"target_lufs": -20.0}, id="what is given"),
        pytest.param({"profile": "acx"}, {"profile": "acx"}, id="what tells it"),
    ],
)
def test_a_batch_knows_the_usual_loudness(client, service, given, params):
    service.stored["a.wav"] = b"x"
    batch(client, {"op": "normalize", "file_path": "a.wav", **given})
    assert ordered(service).steps[0].params == params


@pytest.mark.parametrize("as_text", [False, True])
def test_bands_of_an_entry_are_an_array_or_its_text(client, service, as_text):
    service.stored["a.wav"] = b"x"
    bands = [{"freq": 1000, "gain_db": 3}]
    given = json.dumps(bands) if as_text else bands
    (result,) = batch(client, {"op": "eq", "file_path": "a.wav", "bands": given})
    assert result["status"] == "ok", result
    assert ordered(service).steps[0].params["bands"][0]["freq"] == 1000


@pytest.mark.parametrize("slug", ["restore", "noise_reduce"])
def test_an_engine_in_the_path_is_a_parameter_of_an_entry(client, service, slug):
    service.stored["a.wav"] = b"x"
    engine = operations()[slug].engines[0]
    (result,) = batch(client, {"op": slug, "file_path": "a.wav", "engine": engine})
    assert result["status"] == "ok", result
    assert service.submitted[0].endpoint == operations()[slug].route.format(engine=engine)


def test_an_empty_batch_has_no_results(client):
    assert batch(client) == []


@pytest.mark.parametrize("body", ["{}", "[", "", "3"])
def test_a_body_that_is_no_array_is_a_400(client, body):
    answer = client.simulate_post(
        "/v1/batch", body=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json["detail"]


# -- plans -------------------------------------------------------------------------------------
def test_a_plan_says_what_would_run_and_nothing_does(client, service):
    slug = "uvr-dereverb"
    why = Unready("weights", "weights are missing", "audiolla models pull uvr-dereverb")
    service.shelf[slug] = EngineState(find_engine(slug), None, why)
    service.refused[slug] = WeightsMissing("never asked")
    steps = [{"op": "restore", "params": {"engine": slug}}, STEPS[1]]
    answer = pipe(
        client, steps, ("plan", "true"), ("output_path", "/a/b"), ("output_format", "mp3")
    )

    assert answer.status_code == 200, answer.text
    plan = answer.json
    assert (plan["object"], plan["endpoint"], plan["ready"]) == ("plan", "/v1/pipeline", False)
    first, second = plan["steps"]
    assert (first["op"], first["lane"], first["gives"]) == ("restore", "gpu", "audio")
    assert first["params"] == {"engine": slug, "aggressive": False}
    assert first["engines"] == [
        {"slug": slug, "ready": False, "reason": why.detail, "hint": why.hint}
    ]
    assert second["params"]["true_peak_dbtp"] == -1.0
    assert plan["output"] == {
        "kind": "audio",
        "path": "a/b",
        "format": "mp3",
        "media_type": "audio/mpeg",
        "name": "b",
    }
    assert service.submitted == []
    assert len(service.discarded) == 1
    assert client.simulate_get("/v1/jobs").json == {"jobs": []}


def test_a_plan_needs_no_sound_and_says_that_one_is_missing(client, service):
    plan = client.simulate_post(LOUD, **multipart(("plan", "1"))).json
    assert (plan["missing"], plan["ready"]) == (["file"], False)
    assert client.simulate_post(LOUD, **multipart(("plan", "1"), SOUND)).json["missing"] == []


def test_a_plan_is_refused_as_its_request_would_be(client):
    wrong = multipart(SOUND, ("plan", "true"), ("end_sec", "-1"))
    assert client.simulate_post("/v1/audio/trim", **wrong).status_code == 400


@pytest.mark.parametrize("name", sorted(operations()))
def test_every_operation_can_be_planned(client, service, name):
    op = operations()[name]
    params = dict(op.examples[0].params)
    path = route(op)
    for part in op.path_params:
        params.pop(part, None)
    for named in ("ir_file", "picture", "cover"):
        service.stored[str(params.get(named))] = b"x"
    answer = client.simulate_post(path, json={**params, "plan": True})

    assert answer.status_code == 200, answer.text
    plan = answer.json
    assert [s["op"] for s in plan["steps"]] == [name]
    assert plan["steps"][0]["params"].items() >= plan_params(op).items()
    assert set(plan["missing"]) == {
        "file" if i is op.sound else i.name for i in op.inputs if i.required and not i.named
    }
    assert service.submitted == []


def plan_params(op):
    checked = op.read_params(dict(op.examples[0].params), strict=True)
    return checked.model_dump(mode="json")
