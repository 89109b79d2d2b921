"""Encodes the sounds of one job, and meters them on the way."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon.delivery import Draft, Drafts
from daemon.execution import Context
from daemon.work.naming import Names
from daemon.work.story import Story
from handlers import chain
from handlers.artifacts import Blocks
from handlers.forked import side_by_side
from handlers.measured import Measured


class Writing:
    """Encodes the sounds of one job."""

    def __init__(
        self,
        context: Context,
        names: Names,
        story: Story,
        monitor: chain.Monitor,
    ) -> None:
        self._context = context
        self._names = names
        self._encoding = names.delivery.encoding
        self._story = story
        self._monitor = monitor

    def sound(self, drafts: Drafts, sound: Blocks, part: str) -> None:
        """One sound as one file; `part` is its name where there are several."""
        self.fill(self.draft(drafts, part), sound)

    def sounds(self, drafts: Drafts, sounds: Mapping[str, Blocks]) -> None:
        """Several sounds as one file each."""
        made = [self.draft(drafts, part) for part in sounds]
        abouts = self._write_all(sounds, [draft.part for draft in made])
        for draft, about in zip(made, abouts, strict=True):
            draft.about.update(about)

    def fill(self, draft: Draft, sound: Blocks) -> None:
        """Encode a sound into its draft."""
        draft.about.update(self._told(*self._write(self._watched(sound), draft.part)))

    def draft(self, drafts: Drafts, part: str) -> Draft:
        """A place for a sound; `part` is its name where there are several."""
        media_type = self._encoding.target.content_type
        draft = drafts.add(self._names.sound(part), "sound", media_type=media_type)
        draft.ensure = self._names.ensure
        if part:
            draft.about["name"] = part
        return draft

    def bundle(self, drafts: Drafts, sounds: Mapping[str, Blocks]) -> None:
        """All sounds as one ZIP. They are stored: compressed sound does not shrink."""
        draft = drafts.add(self._names.bundle(), "sound", media_type="application/zip")
        draft.about["names"] = list(sounds)
        draft.about["output_format"] = self._encoding.format
        names = [f"{part}.{self._encoding.target.ext}" for part in sounds]
        files = [self._context.scratch / f"encoded-{name}" for name in names]
        together = _together(sounds)
        if together:
            self._write_all(sounds, files)
        with zipfile.ZipFile(draft.part, "w", zipfile.ZIP_STORED) as archive:
            for name, encoded, sound in zip(names, files, sounds.values(), strict=True):
                if not together:
                    self._told(*self._write(self._watched(sound), encoded))
                # A fixed date: the same sounds give the same bytes.
                entry = zipfile.ZipInfo(name)
                entry.external_attr = 0o644 << 16
                with encoded.open("rb") as source, archive.open(entry, "w", force_zip64=True) as to:
                    shutil.copyfileobj(source, to, 1 << 20)
                encoded.unlink()

    def _watched(self, sound: Blocks) -> Blocks:
        return self._monitor.watch(sound, f"write {self._encoding.format}")

    def _write_all(self, sounds: Mapping[str, Blocks], paths: list[Path]) -> list[dict[str, Any]]:
        """Write several sounds; those that one pass makes, in one pass."""
        if not _together(sounds):
            return [
                self._told(*self._write(self._watched(sound), path))
                for sound, path in zip(sounds.values(), paths, strict=True)
            ]
        first, *others = sounds.values()
        written = side_by_side(
            [self._watched(first), *others], lambda at, sound: self._write(sound, paths[at])
        )
        return [self._told(*one) for one in written]

    def _write(self, sound: Blocks, path: Path) -> tuple[dict[str, Any], Measured | None]:
        from handlers.codecs.writer import write_sound

        tap = Measured(sound) if self._names.measure else None
        written = write_sound(
            tap.sound if tap else sound,
            path,
            self._encoding,
            metadata=self._names.metadata(sound),
        )
        about: dict[str, Any] = {
            "output_format": self._encoding.format,
            "sample_rate": written.rate,
            "channels": written.channels,
            "duration": written.frames / written.rate,
        }
        if written.clipped:
            # Nothing clips by surprise: the result says how much was lost.
            about.update(clipped_samples=written.clipped, clipped_db=written.over_db)
        return about, tap

    def _told(self, about: dict[str, Any], tap: Measured | None) -> dict[str, Any]:
        """What was written, once it has been measured for the job's story."""
        if tap is not None:
            self._story.after.append(tap.facts())
        return about


def _together(sounds: Mapping[str, Blocks]) -> bool:
    """True when one pass makes all of them."""
    first, *others = sounds.values()
    return (
        bool(others)
        and first.beside is not None
        and all(other.beside is first.beside for other in others)
    )
