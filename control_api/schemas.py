"""JSON Schemas (2020-12) of what operations take and tell, from their declarations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, create_model

from control_api.fields import SPEC, Fields, aliases_of
from handlers.artifacts import Result, artifact_types
from handlers.codecs.formats import OUTPUT_FORMATS
from handlers.declare import Input, Operation

Schema = dict[str, Any]

_OPTIONS: Mapping[str, Schema] = {
    "output_format": {"type": "string", "enum": list(OUTPUT_FORMATS), "default": "wav"},
    "bit_depth": {
        "type": "string",
        "enum": [
            *dict.fromkeys(d for f in OUTPUT_FORMATS.values() for d in f.bit_depths),
            "source",
        ],
    },
    "bitrate": {"type": "integer", "minimum": 8, "maximum": 640, "unit": "kbit/s"},
    "quality": {"type": "number", "minimum": 0, "maximum": 10},
    "async_job": {"type": "boolean", "default": False},
    "plan": {"type": "boolean", "default": False},
}
_MANY = ("anyOf", "oneOf", "allOf", "prefixItems")
_ONE = ("items", "additionalProperties", "not")
_NAMED = ("properties", "$defs", "patternProperties")


def arguments_of(fields: Fields) -> Schema:
    """The arguments of an operation as JSON: staged files and URLs, parameters, options."""
    op = fields.op
    params = model_schema(op.params)
    properties: dict[str, Schema] = {}
    for sound in fields.sounds:
        what = sound.declared.doc or _WHAT.get(sound.declared.kind, "The sound.")
        need = "" if sound.declared.required else " May be left out."
        either = f"{what} Give this or {sound.url}.{need}"
        properties[sound.path] = {
            "type": "string",
            "description": f"Path of a staged file. {either}",
        }
        properties[sound.url] = {"type": "string", "description": f"URL in place of {sound.path}."}
    definitions = dict(params.get("$defs", {}))
    for name, declared in fields.lists.items():
        assert declared.item is not None
        item = model_schema(declared.item)
        properties[name] = _list(declared, item)
        definitions |= item.get("$defs", {})
    required = [name for name, declared in fields.lists.items() if declared.required]
    required += params.get("required", [])
    given = dict(params.get("properties", {}))
    for name, others in aliases_of(op.params).items():
        given |= {o: {**given[name], "description": f"Another name of {name}."} for o in others}
    properties |= given
    for name, sentence in fields.options.items():
        properties[name] = {"type": "string", **_OPTIONS.get(name, {}), "description": sentence}
    if fields.takes_spec:
        # What is required may be in it.
        required = []
        properties[SPEC] = {
            "type": "object",
            "description": "All of these parameters as one object, in place of each by itself.",
        }
    return _object(properties, required, definitions, closed=True)


def facts_of(op: Operation) -> Schema:
    """What an operation says beside its sounds and files; nothing is promised to be there."""
    if not issubclass(op.result, Result):
        return _object({}, [])
    kept = {
        name: (info.annotation, info)
        for name, info in op.result.model_fields.items()
        if not artifact_types(info.annotation)
    }
    model = create_model(op.result.__name__, **kept)  # type: ignore[call-overload]
    told = model_schema(model, mode="serialization")
    return _object(told.get("properties", {}), [], told.get("$defs"))


def model_schema(model: type[BaseModel], mode: Any = "validation") -> Schema:
    """A model's own schema, without the titles that only repeat names."""
    schema: Schema = untitled(_model_schema(model, mode))
    return schema


@cache
def _model_schema(model: type[BaseModel], mode: Any) -> Schema:
    return model.model_json_schema(by_alias=False, mode=mode)


def untitled(schema: Any) -> Any:
    """A copy of a schema without the titles that pydantic makes up."""
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key != "title"}
    for key in _MANY:
        if key in kept:
            kept[key] = [untitled(one) for one in kept[key]]
    for key in _ONE:
        if key in kept:
            kept[key] = untitled(kept[key])
    for key in _NAMED:
        if key in kept:
            kept[key] = {name: untitled(one) for name, one in kept[key].items()}
    return kept


def _list(declared: Input, item: Schema) -> Schema:
    properties = {
        "file_path": {"type": "string", "description": "Path of a staged file; or give file_url."},
        "file_url": {"type": "string", "description": "URL in place of file_path."},
        **item.get("properties", {}),
    }
    entry = _object(properties, item.get("required", []), closed=True)
    return {
        "type": "array",
        "items": entry,
        "minItems": declared.at_least if declared.required else 0,
        "description": declared.doc or "The sounds, in order.",
    }


def _object(
    properties: Mapping[str, Schema],
    required: list[str],
    definitions: Mapping[str, Schema] | None = None,
    *,
    closed: bool = False,
) -> Schema:
    schema: Schema = {"type": "object", "properties": dict(properties)}
    if required:
        schema["required"] = list(required)
    if definitions:
        schema["$defs"] = dict(definitions)
    if closed:
        schema["additionalProperties"] = False
    return schema


_WHAT = {"midi": "The MIDI file.", "file": "The file."}
