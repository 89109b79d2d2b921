"""`/v1/openapi.json`: every route as OpenAPI 3.1, computed from the declarations.

What an operation takes and says is in its declaration; what the other routes
answer is in `control_api.shapes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, get_args

import falcon
from pydantic import TypeAdapter
from typing_extensions import is_typeddict

from control_api import shapes
from control_api.errors import status_of
from control_api.fields import SPEC, Fields
from control_api.ports import Cached
from control_api.routes import Route
from control_api.schemas import Schema, arguments_of, facts_of, model_schema, untitled
from control_api.shapes import SHAPES, Shape
from control_api.wire import to_json
from handlers.codecs.formats import OUTPUT_FORMATS
from handlers.declare import CATEGORIES, Operation
from handlers.errors import all_kinds

_JSON = falcon.MEDIA_JSON
_ANY_ROUTE = (401, 403, 500, 503)
_OPERATION = (400, 404, 409, 413, 415, 422, 507)
_TITLES = {
    400: "The request is wrong, or its sound cannot be worked on.",
    401: "The token is missing, malformed or wrong.",
    403: "Requests from another web page are not taken.",
    404: "What is named is not there.",
    409: "The job was cancelled, or is in no state for this.",
    406: "The client takes neither of what this answers with.",
    412: "The client speaks another version of the protocol.",
    413: "Something is larger than its limit.",
    416: "The part that is asked for lies behind the end.",
    415: "The output format or the body's media type is unknown.",
    422: "A value is missing, or cannot be read as its type.",
    421: "The Host is none that this server answers to.",
    423: "Another request is just finishing this upload.",
    460: "The bytes do not hash to what their client says.",
    500: "Something unexpected; the server's log has the details.",
    503: "Weights are missing, an engine cannot run, or the server is busy.",
    507: "A disk is full.",
}
_CACHE = {
    "X-Cache": {
        "schema": {"type": "string", "enum": list(get_args(Cached))},
        "description": "Whether the result was known, and so given again.",
    }
}
_MEDIA = {
    "audio": sorted({f.content_type.partition(";")[0] for f in OUTPUT_FORMATS.values()}),
    "zip": ["application/zip"],
    "png": ["image/png"],
    "svg": ["image/svg+xml"],
    "midi": ["audio/midi"],
    "video": ["video/mp4", "video/webm"],
    "json": [],
}


def routes(all_routes: Callable[[], Sequence[Route]]) -> list[Route]:
    """The one route; the document is computed when it is first asked for."""

    @cache
    def written() -> bytes:
        return to_json(document(all_routes()))

    def openapi(_: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = _JSON
        resp.data = written()

    return [
        Route("GET", "/v1/openapi.json", "management", "This interface as OpenAPI 3.1.", openapi)
    ]


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI document of these routes."""
    parts = _Components()
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.path.endswith("/"):
            continue  # the same as without
        told = _operation(route, parts) if route.fields else _other(route, parts)
        paths.setdefault(route.path, {})[route.method.lower()] = told
    responses: dict[str, Any] = {
        str(status): _reply(text, {_JSON: parts.typed(shapes.Problem)})
        for status, text in _TITLES.items()
    }
    assert set(_TITLES) >= {status_of(kind) for kind in all_kinds().values()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "audiolla",
            "version": version("audiolla"),
            "description": "A self-hosted audio studio.",
            "license": {"name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later"},
        },
        "tags": [{"name": name, "description": text} for name, text in CATEGORIES.items()],
        "security": [{"token": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {f"Error{status}": told for status, told in responses.items()},
            "schemas": dict(sorted(parts.schemas.items())),
        },
    }


class _Components:
    """Schemas with names, collected while the document is written."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}

    def typed(self, kind: Any) -> Schema:
        """The schema of a type; one with a name is kept under it."""
        schema = self.placed(untitled(TypeAdapter(kind).json_schema(mode="serialization")), "")
        return self.named(kind.__name__, schema) if is_typeddict(kind) else schema

    def placed(self, schema: Schema, prefix: str) -> Schema:
        """A schema of its own document, as part of ours: its definitions get names here."""
        names = {name: _component(prefix + name) for name in schema.get("$defs", {})}
        for name, part in schema.get("$defs", {}).items():
            self.schemas[names[name]] = _referring(part, names)
        placed: Schema = _referring({k: v for k, v in schema.items() if k != "$defs"}, names)
        return placed

    def named(self, name: str, schema: Schema) -> Schema:
        """A reference to a schema, kept under a name."""
        self.schemas[name] = schema
        return {"$ref": f"#/components/schemas/{name}"}


def _component(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def _referring(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        changed = {k: _referring(v, names) for k, v in value.items()}
        target = changed.get("$ref")
        if isinstance(target, str) and target.startswith("#/$defs/"):
            name = names[target.removeprefix("#/$defs/")]
            changed["$ref"] = f"#/components/schemas/{name}"
        mapping = changed.get("mapping")
        if isinstance(mapping, dict) and "propertyName" in changed:
            changed["mapping"] = {
                k: f"#/components/schemas/{names[v.removeprefix('#/$defs/')]}"
                if isinstance(v, str) and v.startswith("#/$defs/")
                else v
                for k, v in mapping.items()
            }
        return changed
    if isinstance(value, list):
        return [_referring(entry, names) for entry in value]
    return value


# -- operations ------------------------------------------------------------------------------------
def _operation(route: Route, parts: _Components) -> dict[str, Any]:
    assert route.fields is not None
    fields = route.fields
    op = fields.op
    taken = parts.placed(arguments_of(fields), f"{op.name}.")
    in_path: dict[str, Schema] = {name: taken["properties"][name] for name in op.path_params}
    body: Schema = {
        "type": "object",
        "properties": {n: s for n, s in taken["properties"].items() if n not in in_path},
        "required": [n for n in taken.get("required", []) if n not in in_path],
        "additionalProperties": False,
    }
    parameters = [_parameter(name, "path", schema) for name, schema in in_path.items()]
    if fields.takes_spec:
        beside = {n: s for n, s in body["properties"].items() if n in fields.options}
        parameters += [_parameter(n, "query", s, required=False) for n, s in beside.items()]
    form = parts.named(f"{op.name}.Form", _form(fields, body))
    json = parts.named(f"{op.name}.Body", _json_body(fields, body, parts))
    return _described(route, op.doc) | {
        "parameters": parameters,
        "requestBody": {
            "required": bool(body["required"] or fields.sounds),
            "content": {
                "multipart/form-data": {"schema": form},
                "application/x-www-form-urlencoded": {"schema": form},
                _JSON: {"schema": json},
            },
        },
        "responses": {
            "200": _success(fields, parts),
            "202": _reply(
                "The job runs in the background.",
                {_JSON: parts.typed(shapes.Submitted)},
                {
                    "Location": {"schema": {"type": "string"}, "description": "Where to ask."},
                    **_CACHE,
                },
            ),
            **_errors(_OPERATION),
        },
    }


def _json_body(fields: Fields, body: Schema, parts: _Components) -> Schema:
    if not fields.takes_spec:
        return body
    prefix = f"{fields.op.name}."
    document = parts.placed(model_schema(fields.op.params), prefix)
    options = {n: s for n, s in body["properties"].items() if n in fields.options}
    return {**document, "properties": {**document["properties"], **options}}


def _form(fields: Fields, body: Schema) -> Schema:
    """The same fields in a form, where a structure is JSON text and nothing is null."""
    properties = {name: _in_form(fields, name, s) for name, s in body["properties"].items()}
    for sound in fields.sounds:
        either = f"Or name it in {sound.path} or {sound.url}; exactly one of the three."
        properties[sound.upload] = {
            "type": "string",
            "format": "binary",
            "description": f"{sound.declared.doc or 'The sound.'} {either}",
        }
    required = body["required"] if not fields.takes_spec else []
    return {**body, "properties": properties, "required": required}


def _in_form(fields: Fields, name: str, schema: Schema) -> Schema:
    wanted = _never_null(schema)
    if name in fields.repeatable:
        return wanted
    if name in fields.lists or name == SPEC or fields.op.structured(name):
        told = {k: schema[k] for k in ("description",) if k in schema}
        return {
            "type": "string",
            "contentMediaType": _JSON,
            "contentSchema": wanted,
            **told,
        }
    return wanted


def _never_null(schema: Schema) -> Schema:
    """A form has no null: what is left out has its default."""
    kept = {k: v for k, v in schema.items() if not (k == "default" and v is None)}
    choices = kept.get("anyOf")
    if not isinstance(choices, list):
        return kept
    rest = [choice for choice in choices if choice.get("type") != "null"]
    if len(rest) == 1:
        del kept["anyOf"]
        return {**rest[0], **kept}
    return {**kept, "anyOf": rest}


def _success(fields: Fields, parts: _Components) -> dict[str, Any]:
    op = fields.op
    answers = [_told_by(fields, parts), parts.typed(shapes.Plan)]
    content: dict[str, Schema] = {_JSON: {"anyOf": answers}}
    kinds = [op.kind, *(["zip"] if op.several else []), *(["audio"] if op.may_give_sound else [])]
    for kind in kinds:
        content |= {media: {"type": "string", "format": "binary"} for media in _MEDIA[kind]}
    headers = {
        header: {"schema": {"type": "string"}, "description": f"{name} of the result."}
        for name, header in op.headers.items()
    }
    headers["X-Job-Id"] = {"schema": {"type": "string"}, "description": "The job that did it."}
    headers |= _CACHE
    what = "The report." if op.kind == "json" else "The result, or where it was put."
    return _reply(what, content, headers)


def _told_by(fields: Fields, parts: _Components) -> Schema:
    """The JSON that a completed request is answered with."""
    op = fields.op
    if fields.chain is not None:
        return parts.typed(shapes.ChainObject)
    facts = facts_of(op)
    properties: dict[str, Schema] = {}
    definitions = dict(facts.get("$defs", {}))
    if op.kind != "json":
        params = model_schema(op.params, mode="serialization")
        definitions |= params.get("$defs", {})
        # Lists and objects among the parameters are not told again.
        properties |= {n: s for n, s in params["properties"].items() if not op.structured(n)}
    if op.kind != "json" or op.extras:
        properties |= _placed(op)
    schema = {
        "type": "object",
        "properties": {**properties, **facts["properties"]},
        "$defs": definitions,
    }
    return parts.placed(schema, f"{op.name}.")


def _placed(op: Operation) -> dict[str, Schema]:
    """Where the result was put, and what a report holds of its pictures and sounds."""
    text: Schema = {"type": "string"}
    size: Schema = {"type": "integer", "unit": "bytes"}
    told = {"path": text, "url": text, "size": size}
    if op.may_give_sound:
        told["output_format"] = {"type": "string", "enum": list(OUTPUT_FORMATS)}
    for name in op.extras:
        told |= {f"{name}_base64": text, f"{name}_size": size, f"{name}_path": text}
    return told


# -- other routes ----------------------------------------------------------------------------------
def _other(route: Route, parts: _Components) -> dict[str, Any]:
    shape = SHAPES.get(f"{route.method} {route.path}", Shape(dict[str, Any]))
    in_path = re.findall(r"{(\w+)}", route.path)
    parameters = [_parameter(name, "path", {"type": "string"}) for name in in_path]
    for name, kind in shape.query.items():
        parameters.append(_parameter(name, "query", parts.typed(kind), required=False))
    for name, kind in shape.headers.items():
        schema = parts.typed(kind)
        needed = all(one.get("type") != "null" for one in schema.get("anyOf", ()))
        parameters.append(_parameter(name, "header", schema, required=needed))
    told_in = {
        name: {"schema": {"type": "string"}, "description": text}
        for name, text in shape.told.items()
    }
    content = {_JSON: parts.typed(shape.reply)} if shape.reply else {}
    if shape.streams:
        content["text/event-stream"] = {"type": "string"}
    if shape.reply is bytes:
        content = {shape.media: {"type": "string", "format": "binary"}}
    if shape.or_json:
        content[_JSON] = {}
    errors = _errors(shape.errors)
    if shape.streams:
        # Told in the protocol's words where it got that far.
        either = {"anyOf": [parts.typed(shapes.Problem), parts.typed(shape.reply)]}
        errors |= {s: _reply(_TITLES[int(s)], {_JSON: either}) for s in map(str, shape.errors)}
    told = _described(route, "") | {
        "parameters": parameters,
        "responses": {
            str(shape.status): _reply(route.summary, content, told_in),
            **({"202": _reply("Taken; there is no answer.", {})} if shape.silent else {}),
            **({"206": _reply("The part that was asked for.", content)} if shape.parts else {}),
            **({"304": _reply("You have it.", {})} if shape.parts else {}),
            **errors,
        },
    }
    if shape.body is not None:
        body = {_JSON: {"schema": parts.typed(shape.body) if shape.body is not bytes else {}}}
        if shape.body is bytes:
            body = {shape.body_media: {"schema": {"type": "string", "format": "binary"}}}
        told["requestBody"] = {"required": True, "content": body}
    if route.path == "/healthz":
        told["security"] = []
    return told


# -- both ------------------------------------------------------------------------------------------
def _described(route: Route, doc: str) -> dict[str, Any]:
    names = re.findall(r"[A-Za-z0-9]+", route.path.removeprefix("/v1"))
    told = {
        "operationId": "_".join([route.method.lower(), *names]),
        "tags": [route.category],
        "summary": route.summary,
    }
    return told | ({"description": doc} if doc else {})


def _parameter(name: str, where: str, schema: Schema, *, required: bool = True) -> dict[str, Any]:
    described = schema.get("description")
    told = {"name": name, "in": where, "required": required, "schema": _never_null(schema)}
    return told | ({"description": described} if described else {})


def _reply(
    text: str, content: Mapping[str, Schema], headers: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "description": text,
        "content": {media: {"schema": schema} for media, schema in content.items()},
    }
    return told | ({"headers": dict(headers)} if headers else {})


def _errors(statuses: Sequence[int]) -> dict[str, Any]:
    return dict(_referenced(sorted({*statuses, *_ANY_ROUTE})))


def _referenced(statuses: Sequence[int]) -> Iterator[tuple[str, Any]]:
    for status in statuses:
        yield str(status), {"$ref": f"#/components/responses/Error{status}"}
