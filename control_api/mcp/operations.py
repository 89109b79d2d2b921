"""The tools of operations, computed from the declarations.

Operations that share a tool are told apart by the parameter that one of them
has in its route (`mode`); the others are chosen by their name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from control_api.fields import DESTINATIONS, Fields, fields_of
from control_api.mcp.results import Teller
from control_api.mcp.tools import Answer, Caller, Tool
from control_api.mcp.work import form_of, run
from control_api.ports import Service
from control_api.schemas import Schema, arguments_of, facts_of
from handlers.declare import Operation
from handlers.engines.registry import find_engine
from handlers.errors import BadParameter, MistypedParameter

_PLACE: Mapping[str, Schema] = {
    "path": {"type": "string", "description": "Where the result is in the staging area."},
    "url": {"type": "string", "description": "Where the result was sent."},
    "size": {"type": "integer", "unit": "bytes"},
    "output_format": {"type": "string"},
    "staged_because": {
        "type": "string",
        "description": "Why the result is staged though it was not asked for.",
    },
}
_PENDING: Mapping[str, Schema] = {
    "job_id": {"type": "string", "description": "With async_job: ask get_job about it."},
    "status": {"type": "string"},
    "status_url": {"type": "string"},
    "result_url": {"type": "string", "description": "Where its result is, once it has completed."},
}
_KINDS = {"png": "image", "svg": "image"}
_BASE64: Schema = {"type": "string", "contentEncoding": "base64"}
_STEM_PATHS = "output_paths"


def operation_tools(
    operations: Iterable[Operation], service: Service, teller: Teller
) -> list[Tool]:
    """A tool for each name that operations declare."""
    sharing: dict[str, list[Operation]] = defaultdict(list)
    for op in operations:
        if op.tool is not None:
            sharing[op.tool].append(op)
    tools: list[Tool] = []
    for name, ops in sharing.items():
        all_of_it = [OperationTool(fields_of(op), service, teller) for op in ops]
        only, *more = all_of_it
        tools.append(only.tool(name) if not more else _Shared(name, all_of_it).tool)
        for one in all_of_it:
            for alias, defaults in one.op.tool_aliases.items():
                tools.append(OperationTool(one.fields, service, teller, defaults).tool(alias))
    return tools


class OperationTool:
    """One operation, or what stands for a chain of them, as a tool does it."""

    def __init__(
        self,
        fields: Fields,
        service: Service,
        teller: Teller,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        """`defaults` hold for one name of the tool, before those of the operation."""
        self.op, self.fields = fields.op, fields
        self.defaults = _defaults(fields.op) | dict(defaults or {})
        self._service, self._teller = service, teller

    @cached_property
    def arguments(self) -> Schema:
        """JSON Schema of the arguments."""
        schema = arguments_of(self.fields)
        properties = schema["properties"]
        for name, value in self.defaults.items():
            properties[name] = {**properties[name], "default": value}
        left = [name for name in schema.get("required", []) if name not in self.defaults]
        schema.pop("required", None)
        if left:
            schema["required"] = left
        if self._by_stem:
            properties[_STEM_PATHS] = {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "Where single stems go in the staging area: stem to path.",
            }
        return schema

    @cached_property
    def gives(self) -> Schema:
        """JSON Schema of the result."""
        schema = facts_of(self.op)
        properties = schema["properties"]
        for name in ("stems", "segments"):
            if name == self.op.tool_parts:
                properties |= _PARTS[name]
        if self.op.kind != "json":
            properties |= {f"{word}_base64": _BASE64 for word in self._words}
            properties |= _PLACE
        for name in self.op.extras:
            properties[f"{name}_base64"] = _BASE64
            properties |= {f"{name}_path": _PLACE["path"], f"{name}_size": _PLACE["size"]}
            properties |= {k: v for k, v in _PLACE.items() if k not in properties}
        if self.fields.chain is not None:
            properties |= {"preset": {"type": "string"}, "steps": {"type": "array"}}
        return {**schema, "properties": {**properties, **_PENDING}}

    def tool(self, name: str) -> Tool:
        """The tool, under one of its names."""
        return Tool(
            name=name,
            description=description_of(self.op),
            arguments=self.arguments,
            gives=self.gives,
            run=self.run,
            reads_only=self.op.kind == "json" and not self.op.extras,
            destroys=bool(set(DESTINATIONS) & set(self.fields.options)),
            reaches_out=True,
        )

    def run(self, arguments: Mapping[str, Any], caller: Caller, *, inline: bool = True) -> Answer:
        """Do it.

        Raises:
            AudiollaError: what is wrong with the arguments, or what the job ended with.
        """
        given = dict(arguments)
        paths = self._stem_paths(given)
        form = form_of(self.fields, given, self.defaults)
        if paths:
            if "output_path" in form.values or "output_url" in form.values:
                raise BadParameter(f"give {_STEM_PATHS} or one destination, not both")
            self._check_stems(paths, form.values)
        return run(
            self.fields,
            form,
            caller,
            self._service,
            lambda job: self._teller.of_operation(
                self.op, job, limit=caller.inline_bytes if inline else None, paths=paths
            ),
        )

    @property
    def _by_stem(self) -> bool:
        return self.op.tool_parts == "stems"

    @property
    def _words(self) -> list[str]:
        if self.op.tool_parts != "zip":
            return []
        kinds = [self.op.kind] + (["zip"] if self.op.several else [])
        return [_KINDS.get(kind, kind) for kind in kinds]

    def _stem_paths(self, given: dict[str, Any]) -> dict[str, str]:
        paths = given.pop(_STEM_PATHS, None) if self._by_stem else None
        if paths is None:
            return {}
        if not isinstance(paths, dict) or not all(isinstance(p, str) for p in paths.values()):
            raise MistypedParameter(
                f"{_STEM_PATHS} must be an object of stems and paths", field=_STEM_PATHS
            )
        if given.get("async_job"):
            raise BadParameter(
                f"{_STEM_PATHS} needs somebody who waits; with async_job give output_path",
                field=_STEM_PATHS,
            )
        return {stem: self._service.staged_delivery(path)[1] for stem, path in paths.items()}

    def _check_stems(self, paths: Mapping[str, str], values: Mapping[str, Any]) -> None:
        params = {name: v for name, v in values.items() if name in self.fields.params}
        checked = self.op.read_params(params, strict=True)
        engine = self.op.engine_of(checked)
        known = self.op.sounds or tuple(find_engine(engine).stems or ())
        for stem in paths:
            if stem not in known:
                raise BadParameter(
                    f"{_STEM_PATHS}: there is no stem {stem!r}; there are: {', '.join(known)}",
                    field=_STEM_PATHS,
                )


@dataclass(frozen=True)
class _Shared:
    """Several operations behind one tool."""

    name: str
    all_of_it: Sequence[OperationTool]

    @cached_property
    def tool(self) -> Tool:
        """The tool."""
        properties: dict[str, Schema] = {}
        definitions: dict[str, Schema] = {}
        gives: dict[str, Schema] = {}
        for one in self.all_of_it:
            for name, schema in one.arguments["properties"].items():
                properties[name] = _either(properties.get(name), schema)
            definitions |= one.arguments.get("$defs", {})
            for name, schema in one.gives["properties"].items():
                gives[name] = _either(gives.get(name), schema)
        properties[self._chooser] = {
            "type": "string",
            "enum": list(self._by_choice),
            "default": self._default,
            "description": "What to make.",
        }
        properties["engine"] = {
            "type": "string",
            "enum": self._engines,
            "default": self._engines[0],
        }
        arguments: Schema = {"type": "object", "properties": properties}
        if definitions:
            arguments["$defs"] = definitions
        return Tool(
            name=self.name,
            description=self._description,
            arguments={**arguments, "additionalProperties": False},
            gives={"type": "object", "properties": {**gives, "engine": {"type": "string"}}},
            run=self.run,
            destroys=True,
            reaches_out=True,
        )

    def run(self, arguments: Mapping[str, Any], caller: Caller) -> Answer:
        """Do what is chosen."""
        given = {name: value for name, value in arguments.items() if value is not None}
        choice = given.pop(self._chooser, self._default)
        engine = given.pop("engine", self._engines[0])
        if engine not in self._engines:
            find_engine(str(engine))
            raise BadParameter(f"engine {engine} is not for {self.name}", field="engine")
        one = self._by_choice.get(choice)
        if one is None:
            listed = ", ".join(self._by_choice)
            raise BadParameter(
                f"{self._chooser} = {choice!r} is not one of {listed}", field=self._chooser
            )
        if self._chooser in one.fields.params:
            given[self._chooser] = choice
        answer = one.run(self._of_others_dropped(given, one), caller)
        return Answer({**answer.result, "engine": engine}, answer.links, answer.pictures)

    def _of_others_dropped(self, given: Mapping[str, Any], one: OperationTool) -> dict[str, Any]:
        """Without defaults of the other operations, which a client may have filled in."""
        tool = self.tool.arguments["properties"]
        own = one.arguments["properties"]
        kept = dict(given)
        for name, value in given.items():
            foreign = name not in own or (
                "enum" not in own[name] and value != own[name].get("default")
            )
            if foreign and "default" in tool.get(name, {}) and value == tool[name]["default"]:
                del kept[name]
        return kept

    @property
    def _chooser(self) -> str:
        (name,) = {name for one in self.all_of_it for name in one.op.path_params}
        return name

    @cached_property
    def _by_choice(self) -> dict[str, OperationTool]:
        found: dict[str, OperationTool] = {}
        for one in self.all_of_it:
            said = one.arguments["properties"].get(self._chooser)
            choices = said["enum"] if said and one.op.path_params else [one.op.name]
            found |= dict.fromkeys(choices, one)
        return found

    @property
    def _default(self) -> Any:
        return next(v for o in self.all_of_it for n, v in o.defaults.items() if n == self._chooser)

    @property
    def _engines(self) -> list[str]:
        return list(dict.fromkeys(slug for one in self.all_of_it for slug in one.op.engines))

    @property
    def _description(self) -> str:
        lines = []
        for one in self.all_of_it:
            choices = [choice for choice, chosen in self._by_choice.items() if chosen is one]
            lines.append(f"{self._chooser} {', '.join(choices)}: {description_of(one.op)}")
        return "\n\n".join(lines)


def description_of(op: Operation) -> str:
    """What an operation does, without the errors and sources that its docstring ends with."""
    kept = []
    for paragraph in op.doc.split("\n\n"):
        if paragraph.startswith(("Raises:", "Source:", "Sources:", "Args:", "Returns:")):
            break
        kept.append(" ".join(line.strip() for line in paragraph.splitlines()))
    return "\n\n".join(kept)


def _defaults(op: Operation) -> dict[str, Any]:
    """Values for required parameters: an engine that the route would name is the first one."""
    named = "engine" in op.path_params and op.params.model_fields["engine"].is_required()
    return ({"engine": op.engines[0]} if named else {}) | dict(op.mcp_defaults)


def _either(one: Schema | None, other: Schema) -> Schema:
    """A schema for what either allows; defaults and words are the first one's."""
    if one is None or one == other:
        return other
    bare, both = dict(one), []
    if set(one) <= {"anyOf", "default", "description"}:
        both = list(one["anyOf"])
    else:
        both = [{k: v for k, v in one.items() if k not in ("default", "description")}]
    extra = {k: v for k, v in other.items() if k not in ("default", "description")}
    if extra not in both:
        both += extra.get("anyOf", [extra])
    kept = {k: v for k, v in bare.items() if k in ("default", "description")}
    return both[0] | kept if len(both) == 1 else {"anyOf": both, **kept}


_PARTS: Mapping[str, Mapping[str, Schema]] = {
    "stems": {
        "stems": {"type": "object", "additionalProperties": _BASE64},
        "staged_stems": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"path": _PLACE["path"], "size": _PLACE["size"]},
            },
        },
    },
    "segments": {
        "segments": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "audio_base64": _BASE64,
                    "path": _PLACE["path"],
                    "size": _PLACE["size"],
                },
            },
        },
        "count": {"type": "integer"},
    },
}
