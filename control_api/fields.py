"""From a declaration to the flat fields that REST, MCP and forms offer.

An operation's first sound is `file`, `file_path` or `file_url`; every other
keeps its parameter's name (`trigger_file`, `trigger_file_path`, ...). A list of
sounds is one field of objects, each with a `file_path` or `file_url` and its
own settings. All further fields are the operation's parameters and what may
be said about the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from handlers.declare import Input, Operation
from rules.presets import PresetStep

DESTINATIONS: Mapping[str, str] = {
    "output_path": "Write the result to this path of the staging area and answer with JSON.",
    "output_url": "Send the result to this URL and answer with JSON.",
}
ENCODING: Mapping[str, str] = {
    "output_format": "Format of the result; default wav.",
    "bit_depth": "Bits per sample: 16, 24, 32f or source.",
    "bitrate": "kbit/s of a lossy format.",
    "quality": "Variable bitrate for mp3 and ogg, 0 to 10 (best).",
}
WAITING: Mapping[str, str] = {
    "async_job": "Answer at once with a job id; the work goes on in the background.",
    "webhook_url": "http or https URL that receives the finished job.",
    "plan": "Answer with what would run; nothing runs, and no sound is needed yet.",
}

SPEC = "spec"
"""Form field for parameters that are one document."""


@dataclass(frozen=True)
class SoundFields:
    """The three ways to name one sound."""

    declared: Input
    upload: str
    path: str
    url: str

    @property
    def names(self) -> tuple[str, str, str]:
        """All three field names."""
        return self.upload, self.path, self.url


@dataclass(frozen=True)
class Chain:
    """What a request for several steps stands for."""

    #: Stem of the result's file name.
    name: str
    steps: Sequence[PresetStep]


@dataclass(frozen=True)
class Fields:
    """Every field of one operation on a flat surface."""

    op: Operation
    sounds: tuple[SoundFields, ...]
    #: Lists of sounds, by field name.
    lists: Mapping[str, Input]
    #: Parameter names with their aliases.
    params: frozenset[str]
    #: Parameters that are lists of plain values: the field may be repeated.
    repeatable: frozenset[str]
    #: Fields about the result and the reply, each with its sentence.
    options: Mapping[str, str]
    #: Takes all parameters as one JSON text in the field `spec`.
    takes_spec: bool = False
    #: Which steps checked parameters stand for, where that is not the operation itself.
    chain: Callable[[Any], Chain] | None = None

    @property
    def uploads(self) -> frozenset[str]:
        """Names under which bytes may be sent."""
        return frozenset(s.upload for s in self.sounds)

    @property
    def names(self) -> frozenset[str]:
        """Every name that the operation takes."""
        sources = {name for s in self.sounds for name in s.names}
        whole = {SPEC} if self.takes_spec else set()
        return self.params | sources | set(self.lists) | set(self.options) | whole


def fields_of(op: Operation, chain: Callable[[Any], Chain] | None = None) -> Fields:
    """The flat fields of an operation, or of what stands for a chain of others.

    Raises:
        TypeError: a parameter has the name of a source or of an option.
    """
    sounds = tuple(_sound_fields(op, i) for i in op.inputs if not i.many)
    params = {
        name for field, info in op.params.model_fields.items() for name in _names(field, info)
    }
    options = dict(WAITING)
    if op.kind != "json" or op.extras:
        options |= DESTINATIONS
    if op.may_give_sound:
        options |= ENCODING
    # A parameter may bear a superset option's name (a bitcrusher's bit_depth); it goes first.
    for name in ("bit_depth", "bitrate", "quality"):
        if name in params:
            options.pop(name, None)
    found = Fields(
        op=op,
        sounds=sounds,
        lists={i.name: i for i in op.inputs if i.many and not i.named},
        params=frozenset(params),
        repeatable=frozenset(
            name
            for field, info in op.params.model_fields.items()
            if _is_plain_list(info.annotation)
            for name in _names(field, info)
        ),
        options=options,
        takes_spec=op.takes_spec,
        chain=chain,
    )
    sources = {name for sound in sounds for name in sound.names}
    clash = params & (sources | set(found.lists) | set(options) | {SPEC})
    if clash:
        raise TypeError(f"{op.name}: a parameter cannot be called {', '.join(sorted(clash))}")
    return found


def aliases_of(model: type[BaseModel]) -> Mapping[str, list[str]]:
    """Further names of a model's fields, for those that have any."""
    found = {field: _names(field, info)[1:] for field, info in model.model_fields.items()}
    return {field: others for field, others in found.items() if others}


def _sound_fields(op: Operation, declared: Input) -> SoundFields:
    base = "file" if declared is op.sound else declared.name
    return SoundFields(declared, base, f"{base}_path", f"{base}_url")


def _names(field: str, info: FieldInfo) -> list[str]:
    alias = info.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [field, *(c for c in choices if isinstance(c, str) and c != field)]


def _is_plain_list(annotation: Any) -> bool:
    """True for a list (or tuple) of text or numbers, optional or not."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _is_plain_list(arguments[0])
    if origin in (Union, UnionType):
        return any(_is_plain_list(a) for a in arguments)
    if origin not in (list, tuple):
        return False
    return not any(_has_parts(argument) for argument in arguments)


def _has_parts(annotation: Any) -> bool:
    """True for what may be an object or a list."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return issubclass(annotation, BaseModel | dict | list | tuple)
    if get_origin(annotation) in (list, dict, tuple):
        return True
    return any(_has_parts(argument) for argument in get_args(annotation))
