"""The tools of operations, computed from the declarations.

Operations that share a tool are told apart by the parameter that one of them
has in its route (`mode`); the others are chosen by their name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from control_api.fields import DESTINATIONS, Fields, fields_of
from control_api.intake import Request
from control_api.mcp.destinations import STEM_PATHS, STEM_URLS, Destinations
from control_api.mcp.results import Teller
from control_api.mcp.tools import Answer, Call, Caller, Tool
from control_api.mcp.work import form_of, run
from control_api.ports import Job, Service
from control_api.schemas import Schema, arguments_of, facts_of
from handlers.declare import Operation
from handlers.engines.registry import find_engine
from handlers.errors import BadParameter

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
            properties[STEM_PATHS] = {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "Where single stems go in the staging area: stem to path.",
            }
            properties[STEM_URLS] = {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "URLs that single stems are sent to (PUT): stem to URL.",
            }
        return schema

    @cached_property
    def gives(self) -> Schema:
        """JSON Schema of the result."""
        schema = facts_of(self.op)
        properties = schema["properties"]
        for name in _PARTS:
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
            run=lambda given, caller: self.run(given, caller, name=name),
            tell=self.tell,
            reads_only=self.op.kind == "json" and not self.op.extras,
            destroys=bool(set(DESTINATIONS) & set(self.fields.options)),
            reaches_out=True,
        )

    def run(
        self,
        arguments: Mapping[str, Any],
        caller: Caller,
        *,
        name: str = "",
        inline: bool = True,
    ) -> Answer:
        """Do it, under the name of a tool.

        Raises:
            AudiollaError: what is wrong with the arguments, or what the job ended with.
        """
        given = dict(arguments)
        single = Destinations.taken_from(given) if self._by_stem else Destinations()
        form = form_of(self.fields, given, self.defaults)
        if single:
            checked = {n: v for n, v in form.values.items() if n in self.fields.params}
            single.check(self.op, self.op.read_params(checked, strict=True), form.values)
        paths = {stem: self._service.staged_name(path) for stem, path in single.paths.items()}

        def tell(job: Job, call: Call, caller: Caller) -> Answer:
            # Only whoever gave a URL gets to see all of it again.
            whole = {"": text} if (text := form.text("output_url")) else {}
            return self.tell(job, call, caller, single.urls or whole)

        def destined(job_id: str, request: Request) -> Request:
            return single.applied(job_id, request, self._service)

        call = Call(name, inline, paths)
        return run(self.fields, form, caller, self._service, tell, call, destined)

    def tell(
        self, job: Job, call: Call, caller: Caller, urls: Mapping[str, str] | None = None
    ) -> Answer:
        """Say what came out of a job of this tool."""
        limit = caller.inline_bytes if call.inline else None
        return self._teller.of_operation(self.op, job, limit=limit, paths=call.paths, urls=urls)

    @property
    def _by_stem(self) -> bool:
        return self.op.tool_parts == "stems"

    @property
    def _words(self) -> list[str]:
        if self.op.tool_parts != "zip":
            return []
        kinds = [self.op.kind] + (["zip"] if self.op.several else [])
        return [_KINDS.get(kind, kind) for kind in kinds]


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
            tell=self.tell,
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
        answer = one.run(self._of_others_dropped(given, one), caller, name=self.name)
        told = answer.result if answer.task else {**answer.result, "engine": engine}
        return replace(answer, result=told)

    def tell(self, job: Job, call: Call, caller: Caller) -> Answer:
        """Say what came out of a job of this tool."""
        one = next((one for one in self.all_of_it if one.op.name in job.ops), self.all_of_it[0])
        answer = one.tell(job, call, caller)
        params = job.steps[-1]["params"] if job.steps else {}
        engine = one.op.engine_of(params) or self._engines[0]
        return replace(answer, result={**answer.result, "engine": engine})

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
        "uploaded_stems": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"url": _PLACE["url"], "size": _PLACE["size"]},
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
