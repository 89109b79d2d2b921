"""How an operation is declared, once, for every surface.

An operation is a function with a typed parameter model. Its signature names
what it takes and gives; `@operation` adds the little that a signature cannot
say. REST routes, OpenAPI, MCP tools, rule steps, CLI commands, the catalogue
and the docs are computed from the resulting `Operation`.

    class Pan(Params):
        position: float = Field(0.0, ge=-1, le=1, description="-1 left, 1 right.")

    @operation(route="/v1/audio/pan", category="eq-spatial", pipeline=True,
               examples=[Example("Hard left.", position=-1)])
    def pan(sound: Blocks, p: Pan) -> Blocks: ...

What a signature may say:

- `Blocks`: the sound piece by piece (flat memory; may be iterated more than
  once, each time a new pass: say how often with `passes`). `Heard`: a sound to
  listen to, through features that are computed once for all who ask; `hears`
  says which. `Audio`: the whole sound. `Midi`: a MIDI file. `SourceFile`: the
  file that the sound lies in, before any step has changed it. The first one is
  the operation's sound; further ones keep their names on every surface.
- `X | None`: may be left out. `Annotated[X, "sentence"]`: help text.
- `list[Item]`, `Item` a `SoundItem`: a list of sounds with settings each;
  `Annotated[list[Item], MinLen(2)]` says how many it needs.
- `list[NamedSound] | None`: sounds that parameters name (`NamesSound`); surfaces
  resolve the names, the operation finds each sound by its name and sees no path.
  `list[NamedFile] | None`: the same for files that are no sounds.
- `p`, of a `Params` subclass: the parameters.
- `model: Lent[Model]`: the engine that the parameter `engine` names (or the first
  one declared), to be borrowed while it works.
- `progress: Progress`: for long work between two blocks; called with the
  share done, raises `Cancelled` when the job was cancelled.
- `scratch: Scratch`: names a folder for a file too large for memory.
- Result: `Blocks`, `Audio`, `Png`, `Svg`, `Midi`, `Video`, or a `Result` with such
  fields and facts. One sound field is the sound; several make a ZIP, and so
  does one `dict[str, Blocks]`, any number of sounds by name. Where the parameters
  tell how many there will be, `several` says so: a single one is then the sound.
  A report may give a `FileCopy`.
"""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin, get_type_hints

from annotated_types import MinLen
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from handlers.artifacts import (
    Audio,
    Blocks,
    Midi,
    NamedFile,
    NamedSound,
    Png,
    Result,
    SoundItem,
    SourceFile,
    Svg,
    Video,
    artifact_types,
)
from handlers.engines.declare import Lane
from handlers.engines.registry import find_engine
from handlers.engines.shelf import Lent
from handlers.errors import AudiollaError, BadParameter, MistypedParameter
from handlers.hearing import Feature, Heard, with_needs

CATEGORIES: Mapping[str, str] = {
    "separation": "Take a mix apart into stems or layers.",
    "restoration": "Repair damage: noise, reverb, echo, clipping, hum.",
    "dynamics": "Shape level over time: compressors, gates, loudness.",
    "eq-spatial": "Shape spectrum and stereo image.",
    "mastering": "Finish a mix for release.",
    "time-pitch": "Change tempo and pitch.",
    "editing": "Cut, join, fade, convert.",
    "analysis": "Measure and describe.",
    "effects-creative": "Effects for their own sake.",
    "visualize": "Pictures and video of sound.",
    "midi": "Write, read, change, render and transcribe MIDI.",
    "metadata": "Tags and what else a container holds.",
    "workflow": "Chains, presets and batches of operations.",
    "speech": "Find speech and who speaks.",
    "files": "The staging area.",
    "jobs": "Work that is queued, running or done.",
    "management": "The server itself.",
}
"""The contract's 17 categories, in its order."""

Hears = tuple[Feature[Any], ...] | Callable[[Any], tuple[Feature[Any], ...]]
Kind = Literal["audio", "zip", "png", "svg", "midi", "video", "json"]
Parts = Literal["zip", "stems", "segments"]


class Params(BaseModel):
    """The parameters of one operation: frozen, no unknown names, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Spec(Params):
    """Parameters that are one document: a song, a drum pattern.

    REST takes it as the JSON body, or as JSON text in the form field `spec`. What
    is missing or mistyped in it is a wrong value of the document: `BadParameter`.
    """


class Missing(ValueError):
    """Raise it in a model's validator: one of several parameters must be given, and none was."""

    def __init__(self, field: str, otherwise: str) -> None:
        super().__init__(f"{field} is required, {otherwise}")
        self.field = field


class Progress(Protocol):
    """Called from long work; raises `Cancelled` when the job was cancelled."""

    def __call__(self, fraction: float) -> None:
        """Say that `fraction` (0 to 1) of this step is done."""


class Scratch(Protocol):
    """Makes (once) and names a folder for files that a job needs only while it runs."""

    def __call__(self) -> Path:
        """The folder."""


@dataclass(frozen=True)
class Header:
    """Marks a result field that is also sent as a response header on inline replies."""

    name: str


class Measures:
    """Marks a field of a report as a fact of the sound that rules can ask for by name.

        loudness_lufs: Annotated[LoudnessUnitsFS | None, Measures("lufs")]

    The keywords are the parameters with which it is measured.
    """

    def __init__(self, name: str, **params: Any) -> None:
        self.name = name
        self.params = params


class Example:
    """One documented use: a sentence and the parameters it takes."""

    def __init__(self, title: str, **params: Any) -> None:
        self.title = title
        self.params = params


@dataclass(frozen=True)
class NamesSound:
    """Marks a text among the parameters, at any depth, as the name of a further sound.

        file: Annotated[str, NamesSound("impulses")]

    The name is a path as in `file_path` fields. `input` is the `list[NamedSound]`
    input of the operation that receives the sounds so named.
    """

    input: str


@dataclass(frozen=True)
class Input:
    """One sound, MIDI file or list of sounds that an operation takes."""

    name: str
    kind: Literal["blocks", "heard", "audio", "midi", "file", "items"]
    required: bool
    doc: str
    item: type[SoundItem] | None = None
    #: How many entries a list needs: `Annotated[list[Item], MinLen(2)]`.
    at_least: int = 1
    #: Filled by names among the parameters (`NamesSound`), never by a field of its own.
    named: bool = False

    @property
    def many(self) -> bool:
        """True for a list of sounds."""
        return self.kind == "items"


@dataclass(frozen=True)
class Operation:
    """Everything that any surface needs to know about one operation."""

    name: str
    func: Callable[..., Any]
    params: type[Params]
    params_name: str
    inputs: tuple[Input, ...]
    wants_progress: bool
    #: Parameter that takes the engine, lent; "" for none.
    lent: str
    wants_scratch: bool
    kind: Kind
    #: The annotated result type; a `Result` subclass or one artifact.
    result: type[Any]
    #: Result fields that are sounds, in order; empty when the result is one bare artifact, or
    #: a dict of sounds whose names only the result knows.
    sounds: tuple[str, ...]
    #: Artifacts that a report gives only when its parameters ask for them: field to type.
    extras: Mapping[str, type[Any]]
    #: Result field to response header.
    headers: Mapping[str, str]
    #: Result fields that rules can ask for.
    measures: Mapping[str, Measures]
    summary: str
    doc: str
    route: str
    category: str
    tool: str | None
    #: Further names of the tool, each with the defaults that hold only there.
    tool_aliases: Mapping[str, Mapping[str, Any]]
    #: How the tool gives several sounds within its reply.
    tool_parts: Parts
    examples: tuple[Example, ...]
    lane: Lane
    #: Lanes of engines that need another one than `lane`.
    lanes: Mapping[str, Lane]
    #: Whether parameters ask for more than one sound, where that is theirs to say.
    several: Callable[[Any], bool] | None
    #: The engine that is lent for parameters, where it is not the one that they name.
    lends: Callable[[Any], str] | None
    #: Whether chance decides with these parameters, so that the next run gives something else;
    #: None where it never does.
    varies: Callable[[Any], bool] | None
    engines: tuple[str, ...]
    #: The features that it asks its sound for; from its parameters where they decide.
    hears: Hears
    #: Whole passes over its sound, for progress: 2 for measure-then-apply.
    passes: int
    #: Listed as a pipeline operation by the contract.
    pipeline: bool
    #: Usable in `/v1/batch`; with the defaults that hold only there.
    batch: bool
    batch_defaults: Mapping[str, Any]
    mcp_defaults: Mapping[str, Any]
    #: Raise it when the same parameters give other samples: old cached results no longer count.
    version: int
    module: str
    path_params: tuple[str, ...] = field(default=())

    @property
    def sound(self) -> Input | None:
        """The first, unnamed sound (or MIDI file); None when nothing or a list goes in."""
        first = self.inputs[0] if self.inputs else None
        return None if first is None or first.many else first

    @property
    def streams(self) -> bool:
        """True when it takes its sound in blocks: neighbours fuse into one pass."""
        return self.sound is not None and self.sound.kind in ("blocks", "heard")

    @property
    def listens(self) -> bool:
        """True when it takes its sound to listen to."""
        return self.sound is not None and self.sound.kind == "heard"

    def features(self, params: Params) -> tuple[Feature[Any], ...]:
        """The features that it asks its sound for."""
        return self.hears(params) if callable(self.hears) else self.hears

    def revision(self, params: Params) -> str:
        """Its version and those of all features that it stands on: names what its results are."""
        needed = sorted(f"{f.name}={f.version}" for f in with_needs(self.features(params)))
        return ",".join([f"{self.name}={self.version}", *needed])

    @property
    def may_give_sound(self) -> bool:
        """True when a sound comes out, be it only when parameters ask for it."""
        return self.changes_sound or any(kind in (Blocks, Audio) for kind in self.extras.values())

    @property
    def changes_sound(self) -> bool:
        """True when a sound comes out; otherwise the sound passes by unchanged in a chain."""
        return self.kind in ("audio", "zip")

    @property
    def chainable(self) -> bool:
        """True when its first sound is its only required input."""
        return self.sound is not None and not any(i.required for i in self.inputs[1:])

    def engine_of(self, params: Params | Mapping[str, Any]) -> str:
        """The engine that these parameters (checked, or as an order has them) ask for; "" if none.

        Operations that stand on several at once have no parameter for it.
        """
        info = self.params.model_fields.get("engine")
        if info is None:
            return self.engines[0] if self.lent and self.engines else ""
        given = params.get("engine") if isinstance(params, Mapping) else None
        if isinstance(params, Params):
            given = getattr(params, "engine", None)
        return str(given or info.get_default())

    def lent_for(self, params: Params) -> str:
        """The engine to lend for these parameters; that of `engine_of` unless `lends` differs."""
        return self.lends(params) if self.lends else self.engine_of(params)

    def needs(self, params: Params) -> tuple[str, ...]:
        """All engines that these parameters need."""
        engine = self.lent_for(params)
        return (engine,) if engine else self.engines

    def kind_for(self, params: Params | Mapping[str, Any]) -> Kind:
        """What comes out for these parameters (checked, or as an order has them)."""
        if self.several is None:
            return self.kind
        if not isinstance(params, Params):
            params = self.read_params(params, strict=True)
        return "zip" if self.several(params) else self.kind

    def lane_for(self, params: Params | Mapping[str, Any]) -> Lane:
        """The worker that these parameters need."""
        return self.lanes.get(self.engine_of(params), self.lane) if self.lanes else self.lane

    @property
    def takes_spec(self) -> bool:
        """True when its parameters are one document."""
        return issubclass(self.params, Spec)

    @property
    def _beside_spec(self) -> set[str]:
        """Names of parameters that are no part of the document: those of plain base classes."""
        bases = (base for base in self.params.__mro__ if issubclass(base, Params))
        return {n for base in bases if not issubclass(base, Spec) for n in base.model_fields}

    def read_params(self, raw: Mapping[str, Any], *, strict: bool = False) -> Params:
        """Check raw values and turn them into the parameter model.

        Args:
            raw: names to values; text is accepted for any type unless `strict`.
            strict: native JSON types only (a JSON body, a YAML rule, MCP).

        Raises:
            MistypedParameter: a name is missing or unknown, or a value cannot
                be read as its type; not for a `Spec`.
            BadParameter: a value is out of range, or its parts do not fit; or the
                engine is for something else.
            UnknownEngine: there is no such engine.
        """
        data = dict(raw)
        if not strict:
            data = {name: self._from_text(name, value) for name, value in data.items()}
        try:
            checked = self.params.model_validate(data, strict=strict)
        except ValidationError as wrong:
            raise self._refusal(wrong) from None
        for name, value in checked:
            _check_size(name, value)
        self._check_engine(self.engine_of(checked))
        return checked

    def _check_engine(self, slug: str) -> None:
        if slug and slug not in self.engines:
            find_engine(slug)
            raise BadParameter(
                f"engine {slug} is not for {self.name}; it takes: {', '.join(self.engines)}",
                field="engine",
            )

    def from_text(self, name: str, text: Any) -> Any:
        """The value that a parameter given as text stands for, where others have JSON's types.

        Raises:
            MistypedParameter: it cannot be read as its type.
        """
        field = _field_by_any_name(self.params, name)
        try:
            return TypeAdapter(field.annotation).validate_python(self._from_text(name, text))
        except ValidationError as wrong:
            said = f"{name} = {_shown(text)}: {wrong.errors()[0]['msg']}"
            raise MistypedParameter(said, field=name) from None

    def sounds_named(self, params: Params) -> Mapping[str, Sequence[str]]:
        """Sounds that these parameters name, once each: input to names, in their order."""
        found: dict[str, list[str]] = {i.name: [] for i in self.inputs if i.named}
        for marker, name in _names_in(params):
            if name not in found[marker.input]:
                found[marker.input].append(name)
        return {name: names for name, names in found.items() if names}

    def structured(self, name: str) -> bool:
        """True when the parameter is a list or an object: JSON text in a form field."""
        known = _field_by_any_name(self.params, name)
        return known is not None and _is_structured(known.annotation)

    def _from_text(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and self.structured(name):
            try:
                return json.loads(value)
            except ValueError as wrong:
                raise BadParameter(f"{name} is not valid JSON: {wrong}", field=name) from None
        return value

    def _refusal(self, wrong: ValidationError) -> AudiollaError:
        first = wrong.errors()[0]
        loc = first["loc"]
        # A check of several fields together may say which one it is about.
        where = field_path(loc) or first.get("ctx", {}).get("field") or "parameters"
        top = str(loc[0]) if loc else ""
        message = first["msg"].removeprefix("Value error, ")
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, Missing):
            return MistypedParameter(message, field=cause.field)
        given = first.get("input")
        if first["type"] == "missing":
            text = f"{where} is required"
        elif first["type"] == "extra_forbidden":
            known = ", ".join(self.params.model_fields) or "none"
            text = f"{self.name} has no parameter {where}; it has: {known}"
        elif loc:
            text = f"{where} = {_shown(given)}: {message}"
        else:
            text = message
        mistyped = first["type"] in ("missing", "extra_forbidden") or first["type"].endswith(
            ("_type", "_parsing", "_from_float")
        )
        # A JSON parameter with wrong parts is a wrong value; only a whole one can be mistyped.
        nested = len(loc) > 1 or (first["type"] != "missing" and self.structured(top))
        within = self.takes_spec and top not in self._beside_spec
        plain = mistyped and not nested and not within
        error = MistypedParameter if plain else BadParameter
        return error(text, field=where)


def field_path(loc: Sequence[str | int]) -> str:
    """`("bands", 0, "freq")` as `bands[0].freq`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


_registry: dict[str, Operation] = {}


def operation(**about: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as an operation; takes what `describe` takes.

    Raises:
        TypeError: the declaration is incomplete, contradicts itself, or its
            name is taken.
    """

    def register(func: Callable[..., Any]) -> Callable[..., Any]:
        declared = describe(func, **about)
        taken = _registry.get(declared.name)
        if taken is not None:
            raise TypeError(f"{declared.name}: declared twice ({taken.module}, {declared.module})")
        for marker in declared.measures.values():
            others = (m.name for op in _registry.values() for m in op.measures.values())
            if marker.name in others:
                raise TypeError(f"{declared.name}: {marker.name} is measured by another, too")
        _registry[declared.name] = declared
        return func

    return register


def describe(
    func: Callable[..., Any],
    *,
    route: str,
    category: str,
    examples: Sequence[Example],
    tool: str | None = "",
    tool_aliases: Mapping[str, Mapping[str, Any]] | None = None,
    tool_parts: Parts = "zip",
    lane: Lane = "cpu",
    lanes: Mapping[str, Lane] | None = None,
    several: Callable[[Any], bool] | None = None,
    lends: Callable[[Any], str] | None = None,
    varies: Callable[[Any], bool] | None = None,
    engines: Sequence[str] = (),
    hears: Hears = (),
    passes: int = 1,
    pipeline: bool = False,
    batch: bool = False,
    batch_defaults: Mapping[str, Any] | None = None,
    mcp_defaults: Mapping[str, Any] | None = None,
    version: int = 1,
) -> Operation:
    """What a function's signature and these few words say, as an `Operation`.

    Args:
        func: see the module's docstring for what its signature may say.
        route: path under which REST serves it; `{name}` parts are parameters.
        category: one of `CATEGORIES`.
        examples: at least one; each must validate.
        tool: MCP tool name; "" means the function's name, None means no tool.
        tool_aliases: further names of the tool, each with the defaults that hold only there.
        tool_parts: how the tool gives several sounds within its reply: as one ZIP, or by name
            as `stems` or `segments`.
        lane: the worker it needs.
        lanes: lanes of engines that need another one.
        several: of a result that is a dict of sounds: whether parameters ask for more than one.
        lends: the engine that parameters need, where it is not the one that they name.
        varies: whether chance decides with these parameters: no kept result may stand for them.
        engines: slugs of the engines that it stands on.
        hears: the features that it asks a `Heard` sound for, or a function that
            gives them from its parameters.
        passes: how often it reads its sound.
        pipeline: the contract lists it as a pipeline operation.
        batch: usable in `/v1/batch`.
        batch_defaults: defaults that hold only there.
        mcp_defaults: values that its MCP tool takes where a required one is not given.
        version: raise it when the same parameters give other samples.

    Raises:
        TypeError: the declaration is incomplete or contradicts itself.
    """
    name = func.__name__
    if category not in CATEGORIES:
        raise TypeError(f"{name}: no category {category!r}")
    doc = inspect.getdoc(func) or ""
    if not doc:
        raise TypeError(f"{name}: a docstring is needed; its first line is every surface's text")
    params, params_name, inputs = _read_signature(name, func)
    hints = get_type_hints(func, include_extras=True)
    inputs = _with_named(name, inputs, params)
    kind, result, sounds, headers = _read_result(name, hints["return"])
    if several is not None:
        if kind != "zip" or sounds:
            raise TypeError(f"{name}: several is for a result with a dict of sounds")
        kind = "audio"
    extras = _optional_artifacts(result) if kind == "json" else {}
    declared = Operation(
        name=name,
        func=func,
        params=params,
        params_name=params_name,
        inputs=inputs,
        wants_progress=Progress in hints.values(),
        lent=_lent(hints),
        wants_scratch=Scratch in hints.values(),
        kind=kind,
        result=result,
        sounds=sounds,
        extras=extras,
        headers=headers,
        measures=_measures(result),
        summary=doc.splitlines()[0].rstrip(),
        doc=doc,
        route=route,
        category=category,
        tool=name if tool == "" else tool,
        tool_aliases=dict(tool_aliases or {}),
        tool_parts=tool_parts,
        examples=tuple(examples),
        lane=lane,
        lanes=dict(lanes or {}),
        several=several,
        lends=lends,
        varies=varies,
        engines=tuple(engines),
        hears=hears,
        passes=passes,
        pipeline=pipeline,
        batch=batch,
        batch_defaults=dict(batch_defaults or {}),
        mcp_defaults=dict(mcp_defaults or {}),
        version=version,
        module=func.__module__,
        path_params=tuple(part[1:-1] for part in route.split("/") if part.startswith("{")),
    )
    if declared.measures and (kind != "json" or lane != "cpu" or not declared.chainable):
        raise TypeError(f"{name}: only a report on one sound, on the CPU, measures for rules")
    for marker in declared.measures.values():
        declared.read_params(marker.params, strict=True)
    for slug in declared.engines:
        find_engine(slug)
    if not declared.examples:
        raise TypeError(f"{name}: at least one example is needed")
    for example in declared.examples:
        try:
            declared.read_params(example.params, strict=True)
        except AudiollaError as wrong:
            raise TypeError(f"{name}: example {example.title!r}: {wrong}") from None
    return declared


def registered() -> Mapping[str, Operation]:
    """What has been declared so far; `handlers.registry.operations` loads everything first."""
    return _registry


class NoParams(Params):
    """For operations that take none."""


def _read_signature(
    name: str, func: Callable[..., Any]
) -> tuple[type[Params], str, tuple[Input, ...]]:
    hints = get_type_hints(func, include_extras=True)
    params: type[Params] = NoParams
    params_name = ""
    inputs: list[Input] = []
    for parameter in inspect.signature(func).parameters:
        bare, doc = _split_annotated(hints[parameter])
        bare, optional = _split_optional(bare)
        if bare in (Progress, Scratch) or (get_origin(bare) or bare) is Lent:
            continue
        if isinstance(bare, type) and issubclass(bare, Params):
            params, params_name = bare, parameter
        elif get_origin(bare) is list and issubclass(get_args(bare)[0], SoundItem):
            item, at_least = get_args(bare)[0], _least(hints[parameter])
            inputs.append(Input(parameter, "items", not optional, doc, item, at_least))
        elif bare in _INPUT_KINDS:
            inputs.append(Input(parameter, _INPUT_KINDS[bare], not optional, doc))
        else:
            raise TypeError(f"{name}: no meaning for parameter {parameter}: {bare!r}")
    return params, params_name, tuple(inputs)


def _lent(hints: Mapping[str, Any]) -> str:
    """The parameter that takes a lent engine; "" for none."""
    return next((name for name, hint in hints.items() if (get_origin(hint) or hint) is Lent), "")


def _with_named(name: str, inputs: tuple[Input, ...], params: type[Params]) -> tuple[Input, ...]:
    wanted = {marker.input for marker in _markers(params, set())}
    kinds = (NamedSound, NamedFile)
    for missing in wanted - {i.name for i in inputs if i.item and issubclass(i.item, kinds)}:
        raise TypeError(f"{name}: a parameter names sounds of {missing}: list[NamedSound] | None")
    return tuple(replace(i, named=i.name in wanted) for i in inputs)


def _markers(annotation: Any, seen: set[Any]) -> Iterator[NamesSound]:
    """Every `NamesSound` within a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in seen:
            return
        seen.add(annotation)
        for info in annotation.model_fields.values():
            yield from (m for m in info.metadata if isinstance(m, NamesSound))
            yield from _markers(info.annotation, seen)
        return
    for part in get_args(annotation):
        if isinstance(part, NamesSound):
            yield part
        else:
            yield from _markers(part, seen)


def _names_in(value: Any) -> Iterator[tuple[NamesSound, str]]:
    """Every name of a sound within checked parameters."""
    if isinstance(value, BaseModel):
        for field_name, info in type(value).model_fields.items():
            inner = getattr(value, field_name)
            markers = [m for m in info.metadata if isinstance(m, NamesSound)]
            if markers and isinstance(inner, str):
                yield markers[0], inner
            else:
                yield from _names_in(inner)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _names_in(part)


def _least(hint: Any) -> int:
    limits = [m.min_length for m in getattr(hint, "__metadata__", ()) if isinstance(m, MinLen)]
    return max(limits, default=1)


_INPUT_KINDS: Mapping[Any, Literal["blocks", "heard", "audio", "midi", "file"]] = {
    Blocks: "blocks",
    Heard: "heard",
    Audio: "audio",
    Midi: "midi",
    SourceFile: "file",
}
_FILE_KINDS: Mapping[Any, Kind] = {Png: "png", Svg: "svg", Midi: "midi", Video: "video"}


def _read_result(name: str, hint: Any) -> tuple[Kind, type[Any], tuple[str, ...], dict[str, str]]:
    bare, _ = _split_annotated(hint)
    if bare in (Blocks, Audio):
        return "audio", bare, (), {}
    if bare in _FILE_KINDS:
        return _FILE_KINDS[bare], bare, (), {}
    if not (isinstance(bare, type) and issubclass(bare, Result)):
        raise TypeError(f"{name}: no meaning for result {bare!r}")
    sounds: list[str] = []
    kind: Kind = "json"
    headers: dict[str, str] = {}
    many = False
    for field_name, info in bare.model_fields.items():
        inner, optional = _split_optional(_split_annotated(info.annotation)[0])
        if inner in (Blocks, Audio):
            if not optional:
                sounds.append(field_name)
        elif get_origin(inner) is dict and get_args(inner)[1] in (Blocks, Audio):
            many = True
        elif inner in _FILE_KINDS and not optional:
            kind = _FILE_KINDS[inner]
        for extra in info.metadata:
            if isinstance(extra, Header):
                headers[field_name] = extra.name
    if many:
        kind = "zip"
    elif sounds:
        kind = "audio" if len(sounds) == 1 else "zip"
    return kind, bare, tuple(sounds), headers


def _measures(result: type[Any]) -> dict[str, Measures]:
    fields = getattr(result, "model_fields", {})
    return {n: m for n, info in fields.items() for m in info.metadata if isinstance(m, Measures)}


def _optional_artifacts(result: type[Result]) -> dict[str, type[Any]]:
    found = {name: artifact_types(info.annotation) for name, info in result.model_fields.items()}
    return {name: kinds[0] for name, kinds in found.items() if kinds}


def _split_annotated(hint: Any) -> tuple[Any, str]:
    if get_origin(hint) is Annotated:
        bare, *extra = get_args(hint)
        return bare, next((e for e in extra if isinstance(e, str)), "")
    return hint, ""


def _split_optional(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) in (Union, types.UnionType):
        rest = [a for a in get_args(hint) if a is not type(None)]
        if len(rest) == 1 and len(rest) < len(get_args(hint)):
            return _split_annotated(rest[0])[0], True
    return hint, False


def _is_structured(annotation: Any) -> bool:
    bare, _ = _split_annotated(annotation)
    bare, _ = _split_optional(bare)
    origin = get_origin(bare) or bare
    return origin in (list, dict, tuple) or (
        isinstance(origin, type) and issubclass(origin, BaseModel)
    )


def _field_by_any_name(model: type[BaseModel], name: str) -> Any:
    known = model.model_fields.get(name)
    if known is not None:
        return known
    for info in model.model_fields.values():
        choices = getattr(info.validation_alias, "choices", [info.validation_alias])
        if name in choices:
            return info
    return None


def _check_size(name: str, value: Any) -> None:
    """Refuse a number without bounds of its own that neither the queue nor a file can hold."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise BadParameter(f"{name} = {value} is beyond 64 bits", field=name)


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
