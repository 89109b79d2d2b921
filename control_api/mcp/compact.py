"""Few tools that reach every operation, for clients that take only some.

What they make is staged and linked, not sent as base64, unless it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field

from control_api.fields import fields_of
from control_api.mcp.management import Arguments, tool, wait_tool
from control_api.mcp.operations import OperationTool, description_of
from control_api.mcp.results import Teller
from control_api.mcp.tools import Answer, Call, Caller, Tool
from control_api.ports import Job, Service
from handlers.declare import CATEGORIES, Operation
from handlers.errors import UnknownOperation

_SHOWN = 12
"""Operations that a search gives at most."""
_WORD = re.compile(r"[a-z0-9]{3,}")
_SAYS_NOTHING = frozenset({"and", "for", "from", "into", "sound", "audio", "the", "with"})
_INLINE = "Give the result as base64 within the answer instead of a link to it."


class _Find(Arguments):
    query: str = Field("", description="What is to be done, in words; empty lists all.")
    category: str | None = Field(
        None,
        description="Only of this category.",
        json_schema_extra={"enum": [*CATEGORIES, None]},
    )


class _Describe(Arguments):
    name: str = Field(description="As find_operation has it.")


class _Run(_Describe):
    arguments: dict[str, Any] = Field(
        {}, description="As describe_operation says: file_path or file_url, parameters, options."
    )
    inline: bool = Field(False, description=_INLINE)


class _Plan(_Describe):
    arguments: dict[str, Any] = Field({}, description="As for run_operation.")


def compact_tools(
    operations: Mapping[str, Operation],
    chains: Sequence[OperationTool],
    service: Service,
    teller: Teller,
) -> list[Tool]:
    """Find, describe, run and plan any operation; run a preset or a pipeline; wait for a job."""
    desk = _Desk(operations, chains, service, teller)
    listed = {"operations": {"type": "array", "items": {"type": "object"}}}
    about = {"name": {"type": "string"}, "arguments": {"type": "object"}}
    return [
        tool("find_operation", "Find operations on sound by what they do.", _Find, listed,
             desk.find, reads=True),
        tool("describe_operation", "Show what an operation does, takes and tells.", _Describe,
             about, desk.describe, reads=True),
        replace(tool("run_operation", "Run an operation. What it makes is staged and linked.", _Run,
                     {}, desk.run, destroys=True, reaches_out=True), tell=desk.tell),
        tool("plan_operation", "Say what run_operation would do, without doing it.", _Plan, {},
             desk.plan, reads=True, scope="run"),
        *(_chain(chain) for chain in chains),
        wait_tool(service),
    ]  # fmt: skip


class _Desk:
    """What the tools do."""

    def __init__(
        self,
        operations: Mapping[str, Operation],
        chains: Sequence[OperationTool],
        service: Service,
        teller: Teller,
    ) -> None:
        self._known = dict(operations)
        self._names = {
            name: op
            for op in operations.values()
            for name in (op.name, op.tool, *op.tool_aliases)
            if name
        } | dict(operations)
        self._chains = {str(chain.op.tool): chain for chain in chains}
        self._service, self._teller = service, teller

    def find(self, given: _Find, _: Caller) -> Answer:
        words = set(_WORD.findall(given.query.lower())) - _SAYS_NOTHING
        ops = [op for op in self._known.values() if given.category in (None, op.category)]
        if words:
            rated = [(_score(op, words), op.name) for op in ops]
            best = sorted((-score, name) for score, name in rated if score)[:_SHOWN]
            ops = [self._known[name] for _, name in best]
        return Answer(
            {
                "operations": [
                    {"name": op.name, "summary": op.summary, "category": op.category} for op in ops
                ]
            }
        )

    def describe(self, given: _Describe, _: Caller) -> Answer:
        one = self._tool(given.name)
        op = one.op
        examples = [{"title": e.title, "arguments": e.params} for e in op.examples]
        return Answer(
            {
                "name": given.name,
                "category": op.category,
                "description": description_of(op),
                "arguments": one.arguments,
                "gives": one.gives,
                "engines": list(op.engines),
                "examples": examples,
            }
        )

    def run(self, given: _Run, caller: Caller) -> Answer:
        one = self._tool(given.name)
        one.tool(given.name).check_names(given.arguments)
        return one.run(given.arguments, caller, name="run_operation", inline=given.inline)

    def tell(self, job: Job, call: Call, caller: Caller) -> Answer:
        return self._tool(job.ops[-1]).tell(job, call, caller)

    def plan(self, given: _Plan, caller: Caller) -> Answer:
        one = self._tool(given.name)
        one.tool(given.name).check_names(given.arguments)
        return one.run({**given.arguments, "plan": True}, caller)

    def _tool(self, name: str) -> OperationTool:
        if name in self._chains:
            return self._chains[name]
        op = self._names.get(name)
        if op is None:
            raise UnknownOperation(
                f"there is no operation {name!r}", field="name", hint="find_operation lists them"
            )
        defaults = op.tool_aliases.get(name)
        return OperationTool(fields_of(op), self._service, self._teller, defaults)


def _chain(chain: OperationTool) -> Tool:
    """The tool of a chain, whose result is staged unless it is asked for."""
    name = str(chain.op.tool)
    full = chain.tool(name)
    properties = dict(full.arguments["properties"])
    properties["inline"] = {"type": "boolean", "default": False, "description": _INLINE}

    def run(given: Mapping[str, Any], caller: Caller) -> Answer:
        rest = {name: value for name, value in given.items() if name != "inline"}
        return chain.run(rest, caller, name=name, inline=bool(given.get("inline", False)))

    return Tool(
        name=name,
        description=full.description,
        arguments={**full.arguments, "properties": properties},
        gives=full.gives,
        run=run,
        tell=chain.tell,
        destroys=True,
        reaches_out=True,
    )


def _score(op: Operation, words: set[str]) -> int:
    """How well an operation fits words: in its name, its summary, the rest of its text."""
    parts = [
        (8, f"{op.name} {op.tool or ''} {' '.join(op.tool_aliases)}"),
        (4, op.summary),
        (2, f"{op.category} {CATEGORIES[op.category]}"),
        (1, f"{op.doc} {' '.join(op.params.model_fields)} {' '.join(op.engines)}"),
    ]
    return sum(
        weight
        for weight, text in parts
        for known in [set(_WORD.findall(text.lower().replace("_", " ")))]
        for word in words
        if any(one.startswith(word) or (word.startswith(one) and len(one) > 3) for one in known)
    )
