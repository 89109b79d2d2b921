"""Names for what one job delivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from daemon.work.story import Story
from handlers.artifacts import Blocks, Metadata, Midi, SourceFacts
from handlers.registry import find
from handlers.smf.clock import duration as midi_seconds
from rules.names import fill, render, with_extension
from rules.orders import Delivery, Order


class Names:
    """Names for what one job delivers."""

    def __init__(
        self,
        order: Order,
        delivery: Delivery,
        job: str,
        source: Blocks | Midi | None,
        story: Story,
        ensure: Mapping[str, Any] | None = None,
    ) -> None:
        now = datetime.now(UTC).astimezone()
        name = order.sound.name if order.sound else order.names.get("name", "mix")
        stem, dot, ext = name.rpartition(".")
        self.delivery = delivery
        self.measure = order.measure
        #: What each sound must be once it is written.
        self.ensure = order.ensure if ensure is None else ensure
        self._fields: dict[str, Any] = {
            "name": name,
            "stem": stem if dot and stem else name,
            "source_ext": ext if dot and stem else "",
            "ext": delivery.encoding.target.ext,
            "rel": "",
            "step": "",
            "part": "",
            "date": f"{now:%Y-%m-%d}",
            "time": f"{now:%H-%M-%S}",
            "job": job,
        }
        tags: Mapping[str, tuple[str, ...]] = {}
        if source is not None and "{duration" in delivery.name + delivery.side_name:
            self._fields["duration"] = length_of(source)
        if isinstance(source, Blocks):
            self._fields["sample_rate"] = source.rate
            self._fields["channels"] = source.channels
            tags = source.facts.metadata.tags if source.facts else {}
        for tag in ("title", "artist", "album"):
            self._fields[tag] = next(iter(tags.get(tag, ())), None)
        self._fields["title"] = self._fields["title"] or self._fields["stem"]
        self._fields.update(order.names)
        for report in story.reports:
            for key, value in (report.params | report.facts).items():
                if isinstance(value, str | int | float):
                    self._fields[f"{report.op}.{key}"] = value

    def metadata(self, sound: Blocks) -> Metadata:
        """What is written beside the samples: the source's, as far as the rule keeps it."""
        found = sound.facts.metadata if sound.facts else Metadata()
        tags = self.delivery.tags
        if isinstance(tags, str):
            if tags == "keep":
                return found
            # Marks and loops are about the samples; all else is about where they come from.
            chunks = {k: v for k, v in found.chunks.items() if k in ("cue ", "smpl")}
            return replace(found, tags={}, pictures=(), chunks=chunks)
        written = {
            tag: tuple(fill(text, self._fields, field=f"tags.{tag}") for text in texts)
            for tag, texts in tags.items()
        }
        kept = {tag: texts for tag, texts in found.tags.items() if tag not in written}
        return replace(found, tags=kept | {tag: texts for tag, texts in written.items() if texts})

    def sound(self, part: str) -> PurePosixPath:
        """Where the sound goes; `part` names one of several."""
        ext = self.delivery.encoding.target.ext
        if self.delivery.exact:
            return self._exact(ext)
        template = self.delivery.name
        if part and "{part}" not in template:
            template = self.delivery.side_name.replace("{step}", "{part}")
        return self._rendered(template, ext, part=part)

    def bundle(self) -> PurePosixPath:
        """Where a ZIP of several sounds goes."""
        if self.delivery.exact:
            return PurePosixPath(self.delivery.name)
        return self._rendered(self.delivery.name, "zip")

    def copy(self, ext: str) -> PurePosixPath:
        """Where a changed copy of the source goes that is delivered in the sound's place."""
        return self._rendered(self.delivery.name, ext)

    def midi(self, op: str, ext: str) -> PurePosixPath:
        """Where the MIDI file of a chain without sound goes."""
        if self.delivery.exact:
            return self.side(op, ext)
        return self._rendered(self.delivery.name, ext)

    def side(self, op: str, ext: str, field: str = "") -> PurePosixPath:
        """Where a picture, report or other file of a step goes.

        `field` is its name in the step's result. An exact name is that of the first
        file that the operation may give; any other has its own name in its.
        """
        extras = list(find(op).extras)
        further = field in extras[1:]
        if self.delivery.exact and not further:
            return self._exact(ext)
        if self.delivery.exact:
            whole = PurePosixPath(self.delivery.name)
            stem = whole.name if self.delivery.bare else whole.stem
            return whole.with_name(f"{stem}.{field}.{ext}")
        step = f"{op}.{field}" if further else op
        return self._rendered(self.delivery.side_name, ext, step=step)

    def _exact(self, ext: str) -> PurePosixPath:
        path = PurePosixPath(self.delivery.name)
        return path.with_name(f"{path.name}.{ext}") if self.delivery.bare else path

    def _rendered(self, template: str, ext: str, **more: str) -> PurePosixPath:
        return with_extension(render(template, {**self._fields, "ext": ext, **more}), ext)


def length_of(source: Blocks | Midi) -> float:
    """Seconds."""
    return midi_seconds(source) if isinstance(source, Midi) else source.duration


def tagged(facts: SourceFacts, tags: Mapping[str, Sequence[str]]) -> SourceFacts:
    """A file's facts with other tags in the place of its own."""
    own = facts.metadata
    given = {name: tuple(words) for name, words in tags.items()}
    return replace(facts, metadata=replace(own, tags={**own.tags, **given}))
