"""Laws for whatever is registered: a new operation is covered the moment it exists."""

import atexit
import json
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from handlers.artifacts import (
    Audio,
    Blocks,
    FileCopy,
    Midi,
    NamedFile,
    Png,
    Result,
    SourceFile,
    Svg,
    Video,
)
from handlers.codecs.reader import open_sound
from handlers.declare import Example, Operation
from handlers.engines.shelf import Lent
from handlers.errors import AudiollaError, BadParameter
from handlers.hearing import Heard
from handlers.registry import operations
from tests.handlers.engines import tiny
from tests.scores import music
from tests.sounds import as_blocks, difference_db, noise, silence, sound, speech, write_wav

OPERATIONS = operations()
#: For files that operations make.
ROOM = tempfile.TemporaryDirectory(prefix="audiolla-laws-")
EXAMPLES = [
    pytest.param(op, example, id=f"{op.name}: {example.title}")
    for op in OPERATIONS.values()
    for example in op.examples
]
#: Operations that are meant to carry sound from one channel to another.
CROSSES_CHANNELS = {
    "beats",
    "convert",
    "fx",
    "mid_side",
    "mix",
    "pan",
    "remix",
    "restore",
    "separate",
    "stereo_width",
}
#: For files of operations that work on files; it goes away with this process.
FOLDER = tempfile.TemporaryDirectory(prefix="audiolla-laws-")
#: Seconds that an operation needs to say anything, where a moment is not enough.
NEEDS = {"fingerprint": 3.0}
#: Values that a longer or shorter way of adding up may change in the last digit shown.
ROUNDING = 0.011

SOUNDS = [
    pytest.param(speech(seconds=1.6, rate=8000), id="mono at 8 kHz"),
    pytest.param(speech(seconds=1.6, rate=44100, channels=2), id="stereo at 44.1 kHz"),
    pytest.param(noise(seconds=1.6, rate=22050, channels=8), id="eight channels at 22.05 kHz"),
    pytest.param(noise(seconds=1.6, rate=96000, channels=2, peak_db=6), id="beyond full scale"),
    pytest.param(noise(seconds=1.6, rate=192000), id="mono at 192 kHz"),
    pytest.param(silence(seconds=1.6, channels=2), id="silence"),
    pytest.param(sound(np.array([0.5]), 48000), id="one sample"),
    pytest.param(sound(np.zeros(0), 48000), id="no sample"),
]


@cache
def _shelves() -> tiny.Shelves:
    folder = tempfile.TemporaryDirectory(prefix="tiny-models-")
    atexit.register(folder.cleanup)
    return tiny.Shelves(Path(folder.name))


def lasting(op: Operation, seconds: float) -> float:
    """Seconds that a sound for this operation should last, if possible `seconds`."""
    return max(seconds, NEEDS.get(op.name, 0))


def as_file(audio: Audio) -> SourceFile:
    """The sound in a file of its own, with room for others beside it."""
    folder = Path(tempfile.mkdtemp(dir=FOLDER.name))
    # Whole numbers: beside floats libsndfile writes a PEAK chunk, with the second of writing.
    opened = open_sound(write_wav(audio, folder / "sound.wav", "PCM_24"))
    assert opened.facts.file
    return SourceFile(opened.facts.file, opened, lambda: folder)


def call(op: Operation, example: Example, audio: Audio, block: int = 4096) -> Any:
    """Run the operation with `audio` wherever it takes a sound, in read-only pieces."""
    given: dict[str, Any] = {}
    for declared in op.inputs:
        if declared.kind == "heard":
            # As a chain hands it over: only what was declared may be asked for.
            features = op.features(op.read_params(example.params, strict=True))
            given[declared.name] = Heard(as_blocks(audio, block)).asked_by(op.name, features)
        elif not (declared.required or declared.many):
            # One that may be left out can exclude what an example asks for.
            given[declared.name] = None
        elif declared.kind == "file":
            given[declared.name] = as_file(audio)
        elif declared.kind == "blocks":
            given[declared.name] = as_blocks(audio, block)
        elif declared.kind == "audio":
            samples = audio.samples.copy()
            samples.flags.writeable = False
            given[declared.name] = audio.like(samples)
        elif declared.kind == "midi":
            given[declared.name] = music()
        elif declared.item and issubclass(declared.item, NamedFile):
            given[declared.name] = None  # no example names a file
        elif declared.item:
            given[declared.name] = [declared.item().opened(as_blocks(audio, block))] * 2
        elif declared.required:
            pytest.fail(f"teach the laws to make a {declared.kind} for {op.name}")
    params = op.read_params(example.params, strict=True)
    if op.params_name:
        given[op.params_name] = params
    if op.lent:
        # The real code on a model of the real kind, only small and with random weights.
        given[op.lent] = Lent(op.lent_for(params), _shelves().borrow)
    if op.wants_progress:
        given["progress"] = lambda fraction: None
    if op.wants_scratch:
        given["scratch"] = lambda: Path(ROOM.name)
    return op.func(**given)


def outcome(
    op: Operation, example: Example, audio: Audio, block: int = 4096
) -> tuple[dict[str, Audio], dict[str, bytes], dict[str, Any]]:
    """What came out: sounds (read whole), files and facts."""
    result = call(op, example, audio, block)
    facts: dict[str, Any] = {}
    artifacts: list[tuple[str, Any]] = [("", result)]
    if isinstance(result, Result):
        facts, artifacts = result.descriptor(), result.artifacts()
    sounds, files = {}, {}
    for name, artifact in artifacts:
        if isinstance(artifact, Blocks):
            pieces = list(artifact)
            assert all(p.flags.c_contiguous and p.shape[1] >= 1 for p in pieces)
            assert all(p.dtype == np.float32 for p in pieces)
            assert sum(p.shape[1] for p in pieces) == artifact.frames
            sounds[name] = artifact.whole()
        elif isinstance(artifact, Audio):
            sounds[name] = artifact
        elif isinstance(artifact, Png | Svg | Midi):
            files[name] = artifact.data
        elif isinstance(artifact, Video | FileCopy):
            files[name] = artifact.path.read_bytes()
    return sounds, files, facts


def test_the_ten_operations_of_the_first_issue_are_registered():
    ten = "info convert trim fade eq normalize loudness waveform reverse mix"
    assert set(ten.split()) <= set(OPERATIONS)


def test_what_chance_decides_unless_a_seed_is_given_says_so():
    seeded = {op.name for op in OPERATIONS.values() if "seed" in op.params.model_fields}
    assert "midi_humanize" in seeded
    for op in OPERATIONS.values():
        assert (op.varies is not None) == (op.name in seeded), op.name
        for example in op.examples if op.varies else ():
            told = {k: v for k, v in example.params.items() if k != "seed"}
            assert op.varies(op.read_params(told, strict=True))
            assert not op.varies(op.read_params({**told, "seed": 1}, strict=True))


@pytest.mark.parametrize("op", OPERATIONS.values(), ids=OPERATIONS)
def test_it_says_what_it_does_in_one_sentence(op):
    assert op.summary.endswith(".")
    assert len(op.summary) <= 100
    assert all(example.title for example in op.examples)


@pytest.mark.parametrize("op", OPERATIONS.values(), ids=OPERATIONS)
def test_every_parameter_is_described_and_every_number_has_a_unit_or_a_sentence(op):
    schema = op.params.model_json_schema()
    for owner in [schema, *schema.get("$defs", {}).values()]:
        for name, field in owner.get("properties", {}).items():
            assert field.get("description"), f"{op.name}.{name}"
    items = [declared.item for declared in op.inputs if declared.item]
    for item in items:
        for name, field in item.model_json_schema()["properties"].items():
            assert field.get("description"), f"{op.name}.{name}"


@pytest.mark.parametrize(("op", "example"), EXAMPLES)
def test_every_example_does_what_it_says_on_an_ordinary_sound(op, example):
    sounds, files, facts = outcome(op, example, speech(seconds=lasting(op, 2), channels=2))
    assert sounds or files or facts


@pytest.mark.parametrize("audio", SOUNDS)
@pytest.mark.parametrize(("op", "example"), EXAMPLES)
def test_any_sound_gives_finite_samples_or_a_named_refusal(op, example, audio):
    try:
        sounds, files, facts = outcome(op, example, audio)
    except AudiollaError as refusal:
        assert refusal.detail
        return
    for result in sounds.values():
        assert result.samples.dtype == np.float32
        assert result.samples.ndim == 2
        assert np.isfinite(result.samples).all()
    json.dumps(facts, allow_nan=False)
    assert all(files.values())


@pytest.mark.parametrize(("op", "example"), EXAMPLES)
def test_the_same_sound_gives_the_same_result(op, example):
    audio = speech(seconds=lasting(op, 2), channels=2, rate=44100)
    first, second = (outcome(op, example, audio) for _ in range(2))
    assert first[1:] == second[1:]
    for name, result in first[0].items():
        assert np.array_equal(result.samples, second[0][name].samples)


def short_noise(op: Operation) -> Audio:
    """What is cut into blocks of every size."""
    return noise(seconds=lasting(op, 1.4), channels=2, rate=8000, peak_db=-1)


@lru_cache(maxsize=1)
def in_one_block(name: str, example: int) -> tuple[dict[str, Audio], dict[str, bytes], Any]:
    """The outcome of an example on it, in one block; for each block size in turn."""
    op = OPERATIONS[name]
    audio = short_noise(op)
    return outcome(op, op.examples[example], audio, audio.frames)


@pytest.mark.parametrize("block", [1, 333, 4096])
@pytest.mark.parametrize(("op", "example"), EXAMPLES)
def test_the_block_size_is_never_heard(op, example, block):
    whole = in_one_block(op.name, op.examples.index(example))
    pieces = outcome(op, example, short_noise(op), block)

    assert pieces[1] == whole[1]
    assert pieces[2].keys() == whole[2].keys()
    for name, value in whole[2].items():
        if isinstance(value, float):
            assert pieces[2][name] == pytest.approx(value, abs=ROUNDING)
        else:
            assert pieces[2][name] == value
    for name, result in whole[0].items():
        assert pieces[0][name].rate == result.rate
        assert difference_db(pieces[0][name], result) < -120


def endless_numbers() -> Iterator[Any]:
    """Every number parameter that says no largest value, with a value near the end of its type."""
    for op in OPERATIONS.values():
        properties = op.params.model_json_schema().get("properties", {})
        for name, schema in properties.items():
            for kind in schema.get("anyOf", [schema]):
                if not {"maximum", "exclusiveMaximum", "enum"} & kind.keys():
                    value = {"number": 8e307, "integer": 2**62}.get(kind.get("type"))
                    if value:
                        yield pytest.param(op, name, value, id=f"{op.name}: {name}")


@pytest.mark.parametrize(("op", "name", "value"), list(endless_numbers()))
def test_a_number_without_a_largest_value_may_be_any(op, name, value):
    example = op.examples[0]
    asked = Example(example.title, **{**example.params, name: value})
    try:
        outcome(op, asked, speech(seconds=lasting(op, 1), rate=22050))
    except AudiollaError as refused:
        # Refused by name: what the base class alone says, a client takes for a fault of ours.
        assert type(refused) is not AudiollaError


def test_a_whole_number_beyond_64_bits_is_refused():
    with pytest.raises(BadParameter, match=f"num_speakers = {2**63} is beyond 64 bits"):
        OPERATIONS["diarize"].read_params({"engine": "pyannote", "num_speakers": 2**63})


def keeps_channels_apart(op: Operation) -> bool:
    """True unless it mixes them on purpose, or makes its sound from something else."""
    takes_sound = any(not i.named and i.kind != "midi" for i in op.inputs)
    return takes_sound and op.name not in CROSSES_CHANNELS


@pytest.mark.parametrize(
    ("op", "example"), [e for e in EXAMPLES if keeps_channels_apart(e.values[0])]
)
def test_a_silent_channel_stays_silent(op, example):
    audio = speech(seconds=lasting(op, 2), channels=4, rate=22050)
    audio.samples[2] = 0
    for result in outcome(op, example, audio)[0].values():
        assert result.channels == 4
        assert not result.samples[2].any()
        assert result.samples[1].any()


CONTRACT: Mapping[str, Mapping[str, Any]] = {
    entry["name"]: entry
    for entry in yaml.safe_load(
        (Path(__file__).parents[1] / "contract" / "operations.yaml").read_text()
    )["operations"]
}
AGREED = [
    pytest.param(op, CONTRACT[name], id=name) for name, op in OPERATIONS.items() if name in CONTRACT
]
#: Where more is allowed than the contract asks for; it says so itself.
MORE_THAN_ASKED = {
    ("trim", "end_sec", "required"),
    ("noise_reduce", "engine", "required"),
    ("noise_reduce", "engine", "default"),
    ("enhance", "engine", "required"),
    ("enhance", "engine", "default"),
    ("normalize", "target_lufs", "required"),
    ("master", "mode", "required"),
}

TYPES = {
    "number": {"number"},
    "integer": {"integer"},
    "string": {"string"},
    "boolean": {"boolean"},
    "json": {"array", "object"},
    "list": {"array"},
}


def parameters(model: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, field and JSON Schema (without the null of an optional one) of each parameter."""
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        own = schema["properties"][name]
        kinds = [kind for kind in own.get("anyOf", [own]) if kind.get("type") != "null"]
        yield name, field, {**own, **kinds[0]}


def compare(where: tuple[str, ...], field: Any, schema: Mapping[str, Any], entry: Any) -> None:
    """One parameter of ours against the contract's."""
    said = {
        "required": field.is_required(),
        "default": None if field.is_required() else field.default,
        "min": schema.get("minimum"),
        "max": schema.get("maximum"),
        "min_exclusive": schema.get("exclusiveMinimum"),
        "unit": schema.get("unit"),
        "enum": schema.get("enum", schema.get("items", {}).get("enum")),
    }
    if said["enum"] is None and "enum" in entry and schema["type"] == "integer":
        said["enum"] = list(range(schema["minimum"], schema["maximum"] + 1))
    expected = {"required": False, "default": None, **entry}
    if "enum_superset" in entry:
        expected["enum"] = [*entry["enum"], *entry["enum_superset"]]
    for key, ours in said.items():
        if key in expected and (*where, key) not in MORE_THAN_ASKED:
            assert ours == expected[key], (*where, key)
    assert schema["type"] in TYPES[entry["type"]], where
    for alias in entry.get("aliases", []):
        assert alias in field.validation_alias.choices, where


@pytest.mark.parametrize(("op", "entry"), AGREED)
def test_name_place_and_uses_are_those_of_the_contract(op, entry):
    assert op.route == entry["path"]
    assert op.category == entry["category"]
    assert op.lane == entry["lane"] or f"fine on {op.lane}" in entry.get("lane_note", "")
    assert entry["mcp_tool"] in (op.tool, *op.tool_aliases)
    assert op.kind == entry["returns"]["kind"]
    assert op.pipeline == bool(entry["pipeline_op"]["usable"])
    assert entry["pipeline_op"]["slug"] in (op.name, None)
    assert op.batch == bool(entry["batch"])
    assert entry.get("mcp_param_defaults", {}).items() <= op.mcp_defaults.items()


@pytest.mark.parametrize(("op", "entry"), AGREED)
def test_parameters_are_those_of_the_contract(op, entry):
    lists = {declared.name: declared.item for declared in op.inputs if declared.item}
    ours = {name: (field, schema) for name, field, schema in parameters(op.params)}
    for name, asked in entry["params"].items():
        if name in lists:
            inner = {n: (f, s) for n, f, s in parameters(lists[name])}
        else:
            compare((op.name, name), *ours[name], asked)
            model = ours[name][0].annotation
            inner = (
                {n: (f, s) for n, f, s in parameters(model.__args__[0])} if "item" in asked else {}
            )
        for part, wanted in asked.get("item", {}).items():
            # A track's source is a reference that the surfaces resolve.
            if part not in ("file_path", "file_url"):
                compare((op.name, name, part), *inner[part], wanted)


@pytest.mark.parametrize(("op", "entry"), AGREED)
def test_what_comes_back_has_the_fields_and_headers_of_the_contract(op, entry):
    returns = entry["returns"]
    # The descriptor holds the facts of the result and, under them, the plain parameters.
    fields = {*getattr(op.result, "model_fields", {}), *op.params.model_fields}
    # The surfaces send an extra file of a report inline, under its own name.
    fields |= {f"{extra}_{part}" for extra in op.extras for part in ("base64", "size")}
    for name in returns.get("descriptor", {}):
        assert name in fields or name == "output_format"
    # Files that a report gives when asked lie in an inline reply as base64.
    fields |= {f"{name}_base64" for name in op.extras}
    for name, text in returns.get("fields", {}).items():
        assert name in fields or name == "output_format" or "optional" in str(text)
    assert set(returns.get("headers", {})) <= set(op.headers.values())


def test_a_batch_normalizes_to_minus_14_unless_told():
    assert OPERATIONS["normalize"].batch_defaults == {"target_lufs": -14.0}
