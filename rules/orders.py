"""An order: what is to be done to which sounds, and where the result goes.

Every door builds the same order, checks it whole, and puts it on the queue as
JSON. A sound travels as a reference until `daemon.runner` opens it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator

from handlers.codecs.formats import Encoding
from handlers.declare import Operation, Params
from rules.budgets import Budget
from rules.match import Conditions

_RAW = "raw:"


def path_to_text(path: str | os.PathLike[str]) -> str:
    """A path as text that JSON and a database can hold, whatever its bytes.

    A path that is valid UTF-8 stays as it is; any other (and one that begins
    with `raw:`) becomes `raw:` and its percent-encoded bytes.
    """
    plain = os.fspath(path)
    if plain.isascii() and not plain.startswith(_RAW):
        return plain
    raw = os.fsencode(path)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return _RAW + quote_from_bytes(raw)
    return _RAW + quote_from_bytes(raw) if text.startswith(_RAW) else text


def path_from_text(text: str) -> Path:
    """The path that `path_to_text` wrote."""
    if text.startswith(_RAW):
        return Path(os.fsdecode(unquote_to_bytes(text.removeprefix(_RAW))))
    return Path(text)


WirePath = Annotated[
    Path,
    PlainValidator(lambda v: v if isinstance(v, Path) else path_from_text(v)),
    PlainSerializer(path_to_text, return_type=str),
]
"""A path inside an order, safe for any bytes that a file system allows."""


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Remote(_Plain):
    """Where a sound is fetched from before a job begins."""

    url: str
    #: How messages call it (`track 1: file_url`), and the field that an error is about.
    label: str
    field: str


class SoundRef(_Plain):
    """A file on this machine that a worker will open."""

    path: WirePath
    #: Set for a file that is not there yet. It travels beside the order and is never stored
    #: with it: a URL may hold a secret.
    remote: Remote | None = Field(None, exclude=True)
    #: Its name as the user knows it (an upload's, a staged path's), for templates and messages.
    #: Always printable text.
    name: str


class ItemRef(_Plain):
    """One entry of a list of sounds, with its settings (a mixer's `gain_db`)."""

    sound: SoundRef
    settings: dict[str, Any] = Field(default_factory=dict)


def named_items(
    op: Operation, params: Params, resolve: Callable[[str], SoundRef]
) -> dict[str, list[ItemRef]]:
    """The sounds that checked parameters name, found by the rules of this surface.

    Args:
        op: the operation.
        params: its checked parameters.
        resolve: name to reference; raises what is wrong with the name.
    """
    return {
        name: [ItemRef(sound=resolve(text), settings={"name": text}) for text in names]
        for name, names in op.sounds_named(params).items()
    }


class StepOrder(_Plain):
    """One step: an operation, its checked parameters, and its further sounds by name."""

    op: str
    params: dict[str, Any] = Field(default_factory=dict)
    sounds: dict[str, SoundRef] = Field(default_factory=dict)
    items: dict[str, list[ItemRef]] = Field(default_factory=dict)


class Delivery(_Plain):
    """Where what comes out is put, and under which names.

    `name` is a template over the fields of `rules.names`; its extension is
    added if it does not end in it. With `conflict` "number", a name that is
    taken gets ` (2)`, ` (3)`, ...; with "replace", the new file takes its place.
    """

    folder: WirePath
    name: str = "{stem}.{ext}"
    #: Template for what comes out beside the sound (or the MIDI file of a chain without
    #: sound): pictures, reports, MIDI.
    side_name: str = "{stem}.{step}.{ext}"
    conflict: Literal["number", "replace"] = "number"
    #: Take `name` as it stands: a path that a client chose, not a template.
    exact: bool = False
    #: With `exact`: the name has no extension; that of what is written is added.
    bare: bool = False
    encoding: Encoding = Encoding()
    #: Deliver the sound itself: None means when a step changed it or nothing else came out,
    #: "changed" only when a step changed it.
    sound: bool | Literal["changed"] | None = None
    #: What becomes of the source's tags: all kept, none, or some set (templates) or removed.
    tags: Literal["keep", "clear"] | dict[str, tuple[str, ...]] = "keep"
    #: Permissions of the files, and who gets them (see `rules.owners`).
    mode: int | None = None
    owner: str | None = None
    #: Bytes that one file may have (a staged result); None is no limit.
    max_bytes: int | None = None
    #: Only who waits for it gets it, and then it goes: it need not outlast a power failure.
    fleeting: bool = False
    #: Put several sounds into one ZIP (a reply over HTTP) instead of beside each other.
    bundle: bool = False
    #: URLs that files are sent to once they are written: by the name of the part, and with an
    #: empty name that of the file that the job is about. Not stored with the order, as above.
    urls: dict[str, str] = Field(default_factory=dict, exclude=True)
    #: Write each report as a JSON file too (a folder); else it is only in the job's result.
    reports: bool = False


class Record(_Plain):
    """What is kept of a job that a hot folder gave, beside what it delivers."""

    #: Name of the hot folder, and path of the dropped file below it.
    folder: str
    rel: WirePath
    #: Where the dropped file lies while its job runs.
    input: WirePath
    #: Wanted path of the manifest; a number is added where it is taken. None writes none.
    manifest: WirePath | None = None
    #: Wanted path of the report without its extension; None draws none.
    report: WirePath | None = None
    #: Loudness profile that the report holds the result to; empty is none.
    profile: str = ""
    #: What becomes of the dropped file. Where it is deleted, every output is read back first.
    originals: Literal["move", "keep", "delete"] = "move"
    #: Where files go whose names the outputs take over.
    replaced: WirePath | None = None


class Once(_Plain):
    """The same sound is to be worked on once: what happens when it comes again."""

    policy: Literal["skip", "link"]
    #: The hot folder within which it is the same.
    folder: str
    #: The file that was dropped.
    sound: SoundRef


class Branch(_Plain):
    """One of several deliveries that are made from the same sound."""

    name: str
    #: The sound flows on; False when the first step takes a list of sounds instead.
    takes_sound: bool = True
    steps: list[StepOrder] = Field(default_factory=list)
    delivery: Delivery
    names: dict[str, str] = Field(default_factory=dict)
    #: What each written sound must be (see `rules.measures`).
    ensure: dict[str, Any] = Field(default_factory=dict)
    branches: list[Branch] = Field(default_factory=list)


class Choice(_Plain):
    """One rule that may apply: only the file's header, read by the worker, can tell."""

    rule: str
    match: Conditions
    #: Conditions on what is measured (see `rules.measures`), as they are written.
    when: dict[str, Any] = Field(default_factory=dict)
    #: The sound flows through the chain; False when it is one of a list.
    takes_sound: bool = True
    steps: list[StepOrder] = Field(default_factory=list)
    delivery: Delivery
    ensure: dict[str, Any] = Field(default_factory=dict)
    branches: list[Branch] = Field(default_factory=list)
    measure: bool = False
    names: dict[str, str] = Field(default_factory=dict)
    record: Record | None = None


class Order(_Plain):
    """A whole chain over one sound (or none, when its first step takes a list)."""

    sound: SoundRef | None = None
    steps: list[StepOrder] = Field(default_factory=list)
    delivery: Delivery | None = None
    #: Deliveries that are made from the sound that the steps give; `delivery` then says where
    #: those files go that the steps themselves give beside it.
    branches: list[Branch] = Field(default_factory=list)
    #: What each written sound must be; else the job fails.
    ensure: dict[str, Any] = Field(default_factory=dict)
    #: Measure duration, loudness and true peak of what goes in and what comes out.
    measure: bool = False
    #: Extra fields for name templates (a rule's name, the folder a file lay in).
    names: dict[str, str] = Field(default_factory=dict)
    #: Rules of which the first that fits the sound's header makes the rest of this order;
    #: `rules.plan.resolve` chooses.
    choose: list[Choice] = Field(default_factory=list)
    #: All that fit, not only the first, each a delivery of its own.
    choose_all: bool = False
    #: What kept the rules before them from taking the file, for the message if none fits.
    refusals: list[str] = Field(default_factory=list)
    #: What is written down of it; only jobs of hot folders have this.
    record: Record | None = None
    #: All files of a set, of which `sound` is one; with `fit`, they must have one rate and length.
    members: list[SoundRef] = Field(default_factory=list)
    fit: bool = False
    #: Tags of what comes out, beside those that the sound has; they take the place of its own.
    tags: dict[str, list[str]] = Field(default_factory=dict)
    #: What each attempt may use up, beside what the settings allow.
    budget: Budget | None = None
    #: A sound that was worked on before is not worked on again.
    once: Once | None = None
    #: Hash of the request that it was made of, where its sender may send it again.
    request: str = ""
    #: What an agent's door needs to answer whoever asks about the job later, as JSON.
    call: str = ""

    def with_each_step(self, changed: Callable[[StepOrder], StepOrder]) -> Order:
        """The order with every step that it may run changed, wherever it stands."""
        return _with_each_step(self, changed)

    def all_steps(self) -> Iterator[StepOrder]:
        """Every step that the job may run: its own, and those of its deliveries and choices."""
        waiting: list[Order | Choice | Branch] = [self]
        while waiting:
            part = waiting.pop()
            yield from part.steps
            waiting.extend(part.branches)
            if isinstance(part, Order):
                waiting.extend(part.choose)


_Part = TypeVar("_Part", Order, Choice, Branch)


def _with_each_step(part: _Part, changed: Callable[[StepOrder], StepOrder]) -> _Part:
    update: dict[str, Any] = {
        "steps": [changed(step) for step in part.steps],
        "branches": [_with_each_step(one, changed) for one in part.branches],
    }
    if isinstance(part, Order):
        update["choose"] = [_with_each_step(one, changed) for one in part.choose]
    return part.model_copy(update=update)
