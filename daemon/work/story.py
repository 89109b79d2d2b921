"""What the steps of a job have said and made, over all its segments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from daemon.execution import Context
from handlers import chain
from handlers.artifacts import File, FileCopy, Midi, Png, Svg, TextFile, Video
from handlers.registry import find


class Story:
    """What has been said and made so far, over all segments of a job."""

    def __init__(self) -> None:
        self.changed = False
        self.before: dict[str, Any] | None = None
        self.after: list[dict[str, Any]] = []
        self.reports: list[chain.StepReport] = []
        self.files: list[chain.SideFile] = []
        #: The MIDI file that the steps so far left to those of another lane.
        self.midi: Midi | None = None

    def add(self, outcome: chain.Outcome) -> None:
        """What one segment of the chain gave."""
        self.changed = self.changed or outcome.changed
        self.reports.extend(outcome.reports)
        if outcome.midi_taken:
            self.files = [side for side in self.files if side.file is not self.midi]
        self.files.extend(outcome.files)
        self.midi = outcome.midi

    def measurements(self) -> list[chain.StepReport]:
        """The reports of steps that are there to report."""
        return [report for report in self.reports if find(report.op).kind == "json"]

    def steps(self) -> list[dict[str, Any]]:
        """What each step did and said, as the job's result has it."""
        return [
            {"step": r.step, "op": r.op, "params": r.params, "result": r.facts}
            for r in self.reports
        ]

    def result(self, outputs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """The job's result; the descriptor is the last step's over its plain parameters."""
        descriptor: dict[str, Any] = {}
        if self.reports:
            last = self.reports[-1]
            if find(last.op).kind != "json":
                plain = (str, int, float, bool, type(None))
                descriptor = {k: v for k, v in last.params.items() if isinstance(v, plain)}
            descriptor |= last.facts
        told: dict[str, Any] = {
            "steps": self.steps(),
            "outputs": outputs or [],
            "descriptor": descriptor,
        }
        if self.before is not None:
            told["before"] = self.before
        if self.after:
            told["after"] = self.after[0]
        return told

    def keep(self, context: Context, name: str = "side") -> list[dict[str, Any]]:
        """This story as plain data; pictures and such wait in the job's scratch folder."""
        kept: list[dict[str, Any]] = [{"changed": self.changed, "before": self.before}]
        kept.extend({"report": vars(report)} for report in self.reports)
        for number, side in enumerate(self.files):
            flows = side.file is self.midi
            path = context.scratch / f"{name}-{number}.{side.file.ext}"
            if isinstance(side.file, Video | FileCopy):
                os.replace(side.file.path, path)
            else:
                path.write_bytes(side.file.data)
            kept.append(
                {
                    "file": {"step": side.step, "op": side.op, "name": side.name},
                    "kind": side.file.kind,
                    "media_type": side.file.media_type,
                    "path": os.fspath(path),
                    "flows": flows,
                }
            )
        return kept

    @classmethod
    def of(cls, kept: list[dict[str, Any]]) -> Story:
        """The story that `keep` wrote."""
        story = cls()
        for entry in kept:
            if "report" in entry:
                story.reports.append(chain.StepReport(**entry["report"]))
            elif "file" in entry:
                file = _side_file(entry)
                story.files.append(chain.SideFile(**entry["file"], file=file))
                if entry["flows"] and isinstance(file, Midi):
                    story.midi = file
            elif "changed" in entry:
                story.changed, story.before = entry["changed"], entry["before"]
        return story


def _side_file(entry: dict[str, Any]) -> File:
    path = Path(entry["path"])
    if entry["kind"] == Png.kind:
        return Png(path.read_bytes())
    if entry["kind"] == Svg.kind:
        return Svg(path.read_bytes())
    if entry["kind"] == Midi.kind:
        return Midi(path.read_bytes())
    if entry["kind"] == TextFile.kind:
        return TextFile(path.read_bytes(), path.suffix.removeprefix("."), entry["media_type"])
    kept = FileCopy if entry["kind"] == FileCopy.kind else Video
    return kept(path, path.suffix.removeprefix("."), entry["media_type"])
