"""What a rule file may say about originals, manifests and reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from handlers.loudness_profiles import ProfileName
from rules.names import check_template, render

Originals = Literal["move", "keep", "delete"]

DONE_FIELDS: Final[Mapping[str, str]] = {
    "date": "Day and time the job ended; `{date:%Y-%m}` takes a format as of strftime.",
    "rule": "Name of the rule.",
    "folder": "Name of the hot folder.",
}
"""Fields of the template of the `done` stage."""


class RecordsText(BaseModel):
    """What may be said once for a folder and again for a rule of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    originals: Literal["move", "keep", "delete"] | None = Field(
        None,
        description="What becomes of a file whose job is completed: moved to done (default), back "
        "to its place in the inbox until it changes, or deleted once every output was read back.",
    )
    manifest: bool | None = Field(
        None, description="Write down how each delivery was made, in `manifests` (default)."
    )
    report: bool | None = Field(
        None, description="A report on each file, JSON and HTML with pictures, in `reports`."
    )
    profile: ProfileName | None = Field(
        None, description="Loudness profile that reports hold the result to."
    )

    def records(self, folder: RecordsText) -> Records:
        """What holds for a rule; what it does not say is the folder's."""
        names = RecordsText.model_fields
        asked = folder.model_dump(include=set(names), exclude_none=True)
        return Records(**(asked | self.model_dump(include=set(names), exclude_none=True)))


@dataclass(frozen=True)
class Records:
    """What is kept of the jobs of a rule, checked."""

    originals: Originals = "move"
    manifest: bool = True
    report: bool = False
    #: Name of a loudness profile; empty for none.
    profile: str = ""


def split_template(text: str) -> tuple[str, str]:
    """A stage's path up to its first segment with a field, and the rest, a template."""
    fixed: list[str] = []
    segments = text.split("/")
    while segments and "{" not in segments[0] and "}" not in segments[0]:
        fixed.append(segments.pop(0))
    return "/".join(fixed), "/".join(segments)


def check_done(below: str) -> None:
    """Refuse a template that no original could be put away by.

    Raises:
        BadParameter: says which part is wrong and which fields exist.
    """
    if not below:
        return
    check_template(below, DONE_FIELDS, field="stages.done")
    done_folder(below, datetime(2026, 1, 31, 12, tzinfo=UTC), rule="rule", folder="folder")


def done_folder(below: str, date: datetime, *, rule: str, folder: str) -> PurePosixPath:
    """The folder below `done` that an original goes to; `.` for none."""
    if not below:
        return PurePosixPath()
    if "{date}" in below:
        # A plain date is a day: what `str` makes of a moment has a colon in it.
        below = below.replace("{date}", "{date:%Y-%m-%d}")
    return render(below, {"date": date, "rule": rule, "folder": folder}, field="stages.done")
