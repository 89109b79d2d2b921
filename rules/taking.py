"""How a hot folder finds its files and what counts as one: the folder's own keys beside its rules.

watch: poll 30s             # or events, or manual; chosen by the kind of mount if not said
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from rules.match import Seconds
from rules.sets import SetText
from rules.tickets import TicketsText

_LEAST_POLL: Final = 0.5
_SECONDS: Final[TypeAdapter[float]] = TypeAdapter(Seconds)


@dataclass(frozen=True)
class Watch:
    """How new files are noticed."""

    method: Literal["events", "poll", "manual"]
    #: Seconds between two looks; None is the daemon's own measure.
    every: float | None = None

    def __str__(self) -> str:
        """As it is written."""
        return self.method if self.every is None else f"{self.method} {self.every:g}s"


def read_watch(value: Any) -> Watch:
    """`events`, `manual`, `poll` or `poll 30s`.

    Raises:
        ValueError: it is none of them.
    """
    if isinstance(value, Watch):
        return value
    text = value.strip().lower() if isinstance(value, str) else ""
    if text in ("events", "manual", "poll"):
        return Watch(text)  # type: ignore[arg-type]  # one of the three that were just compared
    polled = re.fullmatch(r"poll\s+(\S.*)", text)
    if polled is None:
        raise ValueError(f"{value!r} is not a way to watch: events, manual, poll, or poll 30s")
    try:
        every = _SECONDS.validate_python(polled.group(1))
    except ValidationError as wrong:
        raise ValueError(wrong.errors()[0]["msg"].removeprefix("Value error, ")) from None
    if every < _LEAST_POLL:
        raise ValueError(f"{value!r} is too often: at least every {_LEAST_POLL:g} s")
    return Watch("poll", every)


WatchText = Annotated[
    Watch,
    BeforeValidator(read_watch, json_schema_input_type=str),
    PlainSerializer(str, return_type=str),
]


class TakingText(BaseModel):
    """The keys of a rule file that say how files are found and taken."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    watch: WatchText | None = Field(
        None,
        description="`events`, `poll 30s`, or `manual` (only `audiolla folders scan`); default: "
        "events on local disks, polling where they do not tell everything (NFS, SMB, FUSE).",
    )

    duplicates: Literal["process", "skip", "link"] = Field(
        "process",
        description="The same sound again, under whatever name, in whatever lossless container: "
        "work on it again, skip it (its original goes to done), or link to what came out then.",
    )

    sidecars: Literal["ignore", "take", "require"] = Field(
        "ignore",
        description="What lies beside `take.wav` as `take.yaml` or `take.json`: nothing special, "
        "parameters and tags for that file, or needed before the file is taken.",
    )
    tickets: TicketsText | None = Field(
        None, description="Take `*.job.yaml` as orders on sounds elsewhere, below `roots`."
    )
    set: SetText | None = Field(None, description="Files that are taken together.")

    @model_validator(mode="after")
    def _sets_have_no_single_sounds(self) -> Self:
        if self.set is not None and self.duplicates != "process":
            raise ValueError(
                f"duplicates: {self.duplicates} compares single sounds, and with `set:` there "
                "are none; leave one of the two out"
            )
        for key, said in (("sidecars", self.sidecars != "ignore"), ("tickets", bool(self.tickets))):
            if self.set is not None and said:
                raise ValueError(
                    f"{key} are about single sounds, and with `set:` there are none; leave one of "
                    "the two out"
                )
        return self

    def taking(self) -> Taking:
        """What was written, checked."""
        return Taking(
            watch=self.watch,
            duplicates=self.duplicates,
            sidecars=self.sidecars,
            tickets=self.tickets.roots if self.tickets else (),
            set=self.set,
        )


@dataclass(frozen=True)
class Taking:
    """How one hot folder finds and takes its files."""

    watch: Watch | None = None
    duplicates: Literal["process", "skip", "link"] = "process"
    sidecars: Literal["ignore", "take", "require"] = "ignore"
    #: Folders that job tickets may point into; none, and there are no tickets.
    tickets: tuple[str, ...] = ()
    set: SetText | None = None
