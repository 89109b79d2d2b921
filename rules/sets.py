"""Files that belong together: by their names, and when all of them are there.

    set:
      by: "{song}_{stem}"                     # the last field names the member, the others the set
      complete_when: [drums, bass, vocals]    # or {count: 3}, {marker: "{song}.done"}, {quiet: 60s}
      give_up: 10m
    rules:
      - steps:
          - mix:
              tracks:
                - {file: "{input:drums}"}
                - {file: "{input:bass}", gain_db: -3}
                - {file: "{input:vocals}"}

`{input:NAME}` is a member, wherever a step takes a further sound; `{input:*}` in a
list is all of them. `{input}`, and what flows through a chain whose first step takes
one sound, is the member called `main` (default the first).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from handlers.errors import CannotProcess
from rules.match import Seconds, Text
from rules.orders import ItemRef, Order, SoundRef, StepOrder

ALL: Final = "*"
_MEMBER: Final = re.compile(r"\{input:([^{}]+)\}")
_FIELD: Final = re.compile(r"\{([^{}]*)\}")


class NoSuchMember(CannotProcess):
    """A rule names a member that the set does not have."""


def member_named(text: str) -> str | None:
    """The member that a sound written as `{input:drums}` stands for; None if it stands for none."""
    found = _MEMBER.fullmatch(text)
    return found.group(1) if found else None


# -- written ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Pattern:
    """File names with fields: `{song}_{stem}`. Without a slash it is about the name alone."""

    text: str

    @property
    def fields(self) -> list[str]:
        """The names of its fields, in order."""
        return _FIELD.findall(self.text)

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        out, at = "", 0
        for found in _FIELD.finditer(self.text):
            out += re.escape(self.text[at : found.start()]) + f"(?P<{found.group(1)}>[^/]+)"
            at = found.end()
        return re.compile(out + re.escape(self.text[at:]), re.DOTALL | re.IGNORECASE)

    def read(self, rel: str) -> dict[str, str] | None:
        """The values of the fields in a path (without its extension); None if it does not fit."""
        subject = rel if "/" in self.text else rel.rpartition("/")[2]
        found = self._regex.fullmatch(subject)
        return None if found is None else found.groupdict()

    def filled(self, fields: Mapping[str, str]) -> str:
        """The path that has these values."""
        return _FIELD.sub(lambda found: fields[found.group(1)], self.text)


def read_pattern(value: Any, least: int = 1) -> Pattern:
    """A pattern of file names.

    Raises:
        ValueError: its fields cannot be told apart.
    """
    if isinstance(value, Pattern):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a pattern of names like {{song}}_{{stem}}")
    pattern = Pattern(value)
    names = pattern.fields
    if len(names) < least or not all(name.isidentifier() for name in names):
        raise ValueError(f"{value!r} needs fields like in {{song}}_{{stem}}: the set, the member")
    if len(set(names)) < len(names) or "}{" in value:
        raise ValueError(f"{value!r}: its fields cannot be told apart")
    return pattern


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Until(_Written):
    """When a set is complete."""

    names: tuple[Text, ...] = Field((), description="Members that must all be there.")
    count: int | None = Field(None, ge=1, le=1000, description="So many files.")
    marker: Annotated[Pattern, BeforeValidator(read_pattern)] | None = Field(
        None, description="A file of this name, with the set's fields: `{song}.done`."
    )
    quiet: Seconds | None = Field(None, gt=0, description="No further file for this long.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Until:
        given = [bool(self.names), *(v is not None for v in (self.count, self.marker, self.quiet))]
        if sum(given) != 1:
            raise ValueError("is a list of members, or one of count, marker and quiet")
        lowered = [name.casefold() for name in self.names]
        if len(set(lowered)) < len(lowered):
            raise ValueError("names a member twice")
        return self


def _read_until(value: Any) -> Any:
    if isinstance(value, list):
        return {"names": tuple(value)}
    return value


class SetText(_Written):
    """Which files belong together, and when they are complete."""

    by: Annotated[Pattern, BeforeValidator(lambda value: read_pattern(value, 2))] = Field(
        description="Names of the files without extension; the last field is the member."
    )
    complete_when: Annotated[Until, BeforeValidator(_read_until)] = Field(
        description="A list of members, {count: 3}, {marker: '{song}.done'} or {quiet: 60s}."
    )
    give_up: Seconds = Field(
        600.0, gt=0, description="So long after its last file an incomplete set is failed."
    )
    main: Text | None = Field(
        None, description="The member that flows through the chain; default the first."
    )
    fit: bool = Field(
        False, description="Fail a set whose members differ in rate, or in length by over a frame."
    )

    @model_validator(mode="after")
    def _fields_agree(self) -> SetText:
        of_set = self.by.fields[:-1]
        marker = self.complete_when.marker
        if marker is not None and sorted(marker.fields) != sorted(of_set):
            wanted = " and ".join(f"{{{name}}}" for name in of_set)
            raise ValueError(f"complete_when.marker must name the set by {wanted}")
        if self.main is not None and self.complete_when.names:
            self.check_member(self.main)
        return self

    def check_member(self, name: str) -> None:
        """Refuse a member that no complete set has.

        Raises:
            ValueError: with those that it has.
        """
        names = self.complete_when.names
        if names and name != ALL and name.casefold() not in [n.casefold() for n in names]:
            raise ValueError(f"the set has no member {name}; it has: {', '.join(names)}")


# -- planned ---------------------------------------------------------------------------------------
def with_members(order: Order, members: Mapping[str, SoundRef], *, fit: bool) -> Order:
    """The order with the members of a set in their places.

    Raises:
        NoSuchMember: it names one that is not there.
    """

    def member(name: str) -> SoundRef:
        found = next((r for n, r in members.items() if n.casefold() == name.casefold()), None)
        if found is None:
            known = ", ".join(members)
            raise NoSuchMember(f"a rule names the member {name}; the set has: {known}")
        return found

    def filled(step: StepOrder) -> StepOrder:
        return step.model_copy(
            update={
                "sounds": {key: _one(ref, member) for key, ref in step.sounds.items()},
                "items": {
                    key: [item for entry in entries for item in _some(entry, members, member)]
                    for key, entries in step.items.items()
                },
            }
        )

    return order.with_each_step(filled).model_copy(
        update={"members": list(members.values()), "fit": fit}
    )


def names_members(order: Order) -> bool:
    """True when a step takes a sound by the name of a member."""
    for step in order.all_steps():
        refs = [*step.sounds.values(), *(i.sound for entry in step.items.values() for i in entry)]
        if any(member_named(str(ref.path)) is not None for ref in refs):
            return True
    return False


def _one(ref: SoundRef, member: Callable[[str], SoundRef]) -> SoundRef:
    name = member_named(str(ref.path))
    return ref if name is None else member(name)


def _some(
    entry: ItemRef, members: Mapping[str, SoundRef], member: Callable[[str], SoundRef]
) -> Sequence[ItemRef]:
    name = member_named(str(entry.sound.path))
    if name is None:
        return [entry]
    refs = list(members.values()) if name == ALL else [member(name)]
    return [entry.model_copy(update={"sound": ref}) for ref in refs]
