"""Chapters: stretches of a sound with a title."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict, Field

from handlers.errors import BadParameter
from handlers.units import Seconds


class Chapter(BaseModel):
    """One chapter. Without an end, it lasts until the next one or the end of the sound."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    start: Seconds = Field(ge=0, description="Where it begins.")
    end: Seconds | None = Field(None, ge=0, description="Where it ends; default: the next begins.")
    title: str = Field("", max_length=4096, description="What it is called.")
    url: str = Field("", max_length=4096, description="A link that belongs to it.")


def in_order(chapters: Iterable[Chapter], duration: float) -> list[Chapter]:
    """Chapters in order of time, each with its end.

    Raises:
        BadParameter: one begins after the end of the sound, or ends before it begins.
    """
    ordered = sorted(chapters, key=lambda c: c.start)
    return [_ended(number, ordered, duration) for number in range(len(ordered))]


def _ended(number: int, ordered: Sequence[Chapter], duration: float) -> Chapter:
    chapter = ordered[number]
    if chapter.start >= duration:
        raise BadParameter(
            f"chapter {chapter.title!r} begins at {chapter.start:g} s, "
            f"but the sound lasts {duration:.3f} s",
            field="chapters",
        )
    following = ordered[number + 1].start if number + 1 < len(ordered) else duration
    end = following if chapter.end is None else chapter.end
    if end < chapter.start:
        raise BadParameter(
            f"chapter {chapter.title!r} ends at {end:g} s, before it begins at {chapter.start:g} s",
            field="chapters",
        )
    return chapter.model_copy(update={"end": min(end, duration)})
