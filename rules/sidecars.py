"""What lies beside a sound and is about it alone: `take.yaml` (or `.yml`, `.json`) for `take.wav`.

    params:                                # instead of the rule's, by operation
      normalize: {target_lufs: -18}
    tags: {title: Morning, artist: [Ann, Bob]}
    sounds: {voice: host.wav}              # what `{input:voice}` in the rule's steps means

Whoever may drop a sound may drop this as well: it changes numbers and words, never where something
is written; and what is read are files that were dropped beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from handlers.declare import field_path
from handlers.errors import AudiollaError, CannotProcess
from rules.match import Text
from rules.orders import Order, StepOrder
from rules.written import MAX_BYTES, RulesBroken, read_yaml

ENDS: Final = (".yaml", ".yml", ".json")

_Tag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_ .:-]{1,64}$")]
_Words = Annotated[str, Field(max_length=10_000)]


class BadSidecar(CannotProcess):
    """What lies beside a sound cannot be used; says which key, and what would be right."""


class Sidecar(BaseModel):
    """What is wanted for one file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    params: dict[str, dict[str, Any]] = Field({}, description="Parameters by operation.")
    tags: dict[_Tag, _Words | list[_Words]] = Field({}, description="Tags of what comes out.")
    sounds: dict[Text, Text] = Field(
        {}, max_length=100, description="Further sounds, by the names that the rule's steps use."
    )


def read_sidecar(text: bytes, name: str, kind: type[Sidecar] = Sidecar) -> Sidecar:
    """Read what lies beside a sound.

    Args:
        text: its content; hostile as far as anybody knows.
        name: its file name, for messages.
        kind: what it may hold.

    Raises:
        BadSidecar: it cannot be used.
    """
    if len(text) > MAX_BYTES:
        raise BadSidecar(f"{name} is larger than {MAX_BYTES // 1024} KiB")
    try:
        data = json.loads(text) if name.endswith(".json") else read_yaml(text, Path(name))[0]
    except RulesBroken as broken:
        raise BadSidecar(str(broken.problems[0])) from None
    except (ValueError, RecursionError) as wrong:
        raise BadSidecar(f"{name} is not JSON: {wrong}") from None
    if not isinstance(data, dict):
        raise BadSidecar(f"{name} holds no keys; there are: {', '.join(kind.model_fields)}")
    try:
        return kind.model_validate(data)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        field = field_path(first["loc"])
        said = first["msg"]
        if first["type"] == "extra_forbidden":
            said = f"there is no such key; there are: {', '.join(kind.model_fields)}"
        raise BadSidecar(f"{name}: {field}: {said}", field=field) from None


def overridden(order: Order, sidecar: Sidecar, name: str) -> Order:
    """The order with what its file's sidecar wants.

    Raises:
        BadSidecar: it names a step that no rule has for this file, or a value that cannot be.
    """
    known = {step.op for step in order.all_steps()}
    for op in sidecar.params:
        if op not in known:
            there = ", ".join(sorted(known)) or "none"
            raise BadSidecar(
                f"{name}: params.{op}: the rule has no such step; it has: {there}",
                field=f"params.{op}",
            )
    tags = {
        key: [value] if isinstance(value, str) else value for key, value in sidecar.tags.items()
    }
    changed = order.with_each_step(lambda step: _changed(step, sidecar, name))
    return changed.model_copy(update={"tags": tags})


def _changed(step: StepOrder, sidecar: Sidecar, name: str) -> StepOrder:
    wanted = sidecar.params.get(step.op)
    if wanted is None:
        return step
    from handlers.registry import find

    op = find(step.op)
    try:
        before = op.read_params(step.params, strict=True)
        read = op.read_params({**step.params, **wanted}, strict=True)
    except AudiollaError as wrong:
        field = f"params.{step.op}" + (f".{wrong.field}" if wrong.field else "")
        raise BadSidecar(f"{name}: {field}: {wrong.detail}", field=field) from None
    if op.sounds_named(read) != op.sounds_named(before):
        raise BadSidecar(
            f"{name}: params.{step.op}: which sounds are used is for the rules to say",
            field=f"params.{step.op}",
        )
    return step.model_copy(update={"params": read.model_dump(mode="json", exclude_unset=True)})
