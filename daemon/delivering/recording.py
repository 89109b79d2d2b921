"""What a worker keeps of a job beside its outputs: hashes, and the manifest.

The notes are files of the same delivery: promised with the outputs, renamed
with them. So there is never an output without its manifest, nor the reverse.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from daemon.delivering.hashes import hash_of
from daemon.delivering.manifest import manifest_of
from daemon.delivering.readback import read_back
from daemon.delivery import Built, Draft, Drafts
from handlers.artifacts import Blocks, Midi
from rules.orders import Order, Record


class Recording:
    """What one job's record asks for. A job without one has nothing kept."""

    def __init__(self, job: str, order: Order) -> None:
        self.job = job
        self.order = order
        self.record = order.record
        self._facts: dict[str, Any] = {}
        #: Where files are kept whose names the outputs take over.
        self.replaced = order.record.replaced if order.record is not None else None

    def inspect(self, draft: Draft) -> None:
        """Hash a finished part; read it back where its original will be deleted."""
        if self.record is None:
            return
        draft.about["sha256"] = hash_of(draft.part)
        if self.record.originals == "delete":
            read_back(draft.part, draft.final.name, draft.about)
            draft.about["verified"] = True

    def add_to(self, drafts: Drafts, given: Blocks | Midi | None) -> None:
        """Add the notes to all that a job delivers; `given` is what went in."""
        source = given if isinstance(given, Blocks) else None
        record = self.record
        if record is None:
            return
        content = {"size": record.input.stat().st_size, "sha256": hash_of(record.input)}
        rule = self.order.names.get("rule", "")
        self._facts = {"rule": rule, "originals": record.originals, "input": content}
        at = datetime.now(UTC)
        if record.report is not None:
            self._add_report(drafts, record.report, record, source, at)
        if record.manifest is None:
            return
        about = manifest_of(self.job, self.order, record, content, _facts(source), at)

        def told(result: dict[str, Any]) -> bytes:
            text = json.dumps(about(result), indent=2, allow_nan=False, ensure_ascii=False)
            return text.encode("utf-8", "replace") + b"\n"

        drafts.add_note("manifest", record.manifest, told)

    def _add_report(
        self, drafts: Drafts, to: Path, record: Record, source: Blocks | None, at: datetime
    ) -> None:
        from daemon.delivering.report import MOST_DRAWN, FileReport
        from handlers.codecs.reader import open_sound
        from handlers.sound_report import sound_report

        sounds = [
            (number, draft)
            for number, draft in enumerate(drafts.files)
            if draft.about["role"] == "sound" and "duration" in draft.about
        ]
        report = FileReport(
            job=self.job,
            rule=self.order.names.get("rule", ""),
            record=record,
            at=at,
            before=None if source is None else sound_report(source),
            after={
                number: sound_report(open_sound(draft.part, name=draft.final.name), record.profile)
                for number, draft in sounds[:MOST_DRAWN]
            },
        )
        drafts.add_note("report", to.with_name(f"{to.name}.html"), report.as_page)
        drafts.add_note("report_data", to.with_name(f"{to.name}.json"), report.as_json)

    def with_facts(self, built: Built) -> Built:
        """The job's result with what the hot folder wants to know of it, under `record`."""
        if self.record is None:
            return built
        return lambda outputs: built(outputs) | {"record": self._facts}


def _facts(source: Blocks | None) -> dict[str, Any]:
    """Of the sound that went in: rate in Hz, channels, and its length in s where that is known."""
    if source is None:
        return {}
    frames = source.expected_frames
    length = {} if frames is None else {"duration": frames / source.rate}
    return {"sample_rate": source.rate, "channels": source.channels, **length}
