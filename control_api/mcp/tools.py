"""What a tool is, in plain types: nothing here knows the protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from control_api.ports import Job
from handlers.errors import MistypedParameter

SCHEME = "audiolla"
Scope = Literal["read", "run", "files"]


def _still_there() -> bool:
    return False


@dataclass(frozen=True)
class Caller:
    """Who called a tool."""

    #: Told the share done (0 to 1) and the step that runs; None when nobody listens.
    tell: Callable[[float, str], None] | None = None
    #: True once nobody waits for the answer any more.
    gone: Callable[[], bool] = _still_there
    #: Bytes of sound, pictures and files that the answer may hold as base64.
    inline_bytes: int = 8 * 2**20
    #: Seconds after which the caller would rather have a task than wait; None waits to the end.
    patience: float | None = None


@dataclass(frozen=True)
class Link:
    """A staged file that an answer speaks of."""

    path: str
    size: int
    media_type: str

    @property
    def uri(self) -> str:
        """Under which `resources/read` gives it."""
        return file_uri(self.path)


@dataclass(frozen=True)
class Picture:
    """A picture for the eyes of the model, as base64."""

    data: str
    media_type: str


@dataclass
class Answer:
    """What a tool has found or done."""

    #: A JSON object.
    result: dict[str, Any]
    links: list[Link] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    #: The job that goes on, where the caller's patience ended before it did.
    task: str = ""


@dataclass(frozen=True)
class Call:
    """What is kept of a call with its job, so that whoever asks later is answered as now."""

    #: Name of the tool.
    tool: str = ""
    #: What is made comes within the answer if it fits; else it is always staged.
    inline: bool = True
    #: Where single ones of several sounds go in the staging area.
    paths: Mapping[str, str] = field(default_factory=dict)


Tell = Callable[[Job, Call, Caller], Answer]
"""What a tool answers when its job has ended; raises `AudiollaError` the job ended with."""
Run = Callable[[Mapping[str, Any], Caller], Answer]
"""Runs a tool with its arguments; raises `AudiollaError` with what is wrong."""


@dataclass(frozen=True)
class Tool:
    """One tool."""

    name: str
    description: str
    #: JSON Schema of its arguments, an object.
    arguments: Mapping[str, Any]
    #: JSON Schema of its result, an object.
    gives: Mapping[str, Any]
    run: Run
    #: What the caller's token must be good for.
    scope: Scope = "run"
    #: Changes nothing, wherever it is called.
    reads_only: bool = False
    #: May replace or remove what is there.
    destroys: bool = False
    #: May fetch from or send to URLs.
    reaches_out: bool = False
    #: Of a tool whose work is a job.
    tell: Tell | None = None

    def check_names(self, given: Mapping[str, Any]) -> None:
        """Refuse arguments that the tool does not have, and name those that it needs.

        Raises:
            MistypedParameter: the first that is wrong.
        """
        known = self.arguments["properties"]
        for name in given:
            if name not in known:
                listed = ", ".join(known) or "none"
                raise MistypedParameter(
                    f"{self.name} has no argument {name}; it has: {listed}", field=name
                )
        for name in self.arguments.get("required", []):
            if given.get(name) is None:
                raise MistypedParameter(f"{self.name}: {name} is required", field=name)


def file_uri(path: str) -> str:
    """The resource that a staged file is."""
    return f"{SCHEME}://files/{quote(path)}"
