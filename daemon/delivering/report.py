"""The report on one file: JSON for programs, and a page with pictures for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from daemon.delivering.pages import figure, heading, page, table, verdict
from handlers.loudness_profiles import profiles
from handlers.sound_report import SoundReport
from rules.orders import Record, path_from_text, path_to_text

#: Outputs that are drawn: a rule that cuts a take into a thousand slices gets no thousand pictures.
MOST_DRAWN = 8

_ROWS = (
    ("Length (s)", "duration"),
    ("Rate (Hz)", "sample_rate"),
    ("Channels", "channels"),
    ("Loudness (LUFS)", "loudness_lufs"),
    ("Loudness range (LU)", "loudness_range"),
    ("Loudest 400 ms (LUFS)", "momentary_max"),
    ("Loudest 3 s (LUFS)", "short_term_max"),
    ("True peak (dBTP)", "true_peak_dbtp"),
    ("Sample peak (dBFS)", "sample_peak_dbfs"),
)


@dataclass(frozen=True)
class FileReport:
    """Everything that is known before the outputs have their names."""

    job: str
    rule: str
    record: Record
    at: datetime
    #: None where no sound came in (MIDI, a list of sounds).
    before: SoundReport | None
    #: By the number of the output.
    after: dict[int, SoundReport]

    @property
    def passed(self) -> bool | None:
        """Whether every sound meets the profile; None where nothing was asked."""
        held = [one.passed for one in self.after.values() if one.passed is not None]
        return all(held) if held else None

    def as_json(self, result: dict[str, Any]) -> bytes:
        """For programs."""
        outputs = [
            {
                **about,
                **({"measured": self.after[n].facts} if n in self.after else {}),
                **(
                    {"passed": self.after[n].passed, "verdict": self.after[n].verdict}
                    if n in self.after and self.record.profile
                    else {}
                ),
            }
            for n, about in enumerate(result["outputs"])
        ]
        told = {
            "audiolla_report": 1,
            "job": self.job,
            "folder": self.record.folder,
            "rule": self.rule,
            "file": path_to_text(self.record.rel),
            "made_at": self.at.isoformat(timespec="seconds"),
            "profile": self.record.profile or None,
            "passed": self.passed,
            "input": None if self.before is None else self.before.facts,
            "steps": result["steps"],
            "outputs": outputs,
        }
        text = json.dumps(told, indent=2, allow_nan=False, ensure_ascii=False)
        return text.encode("utf-8", "replace") + b"\n"

    def as_page(self, result: dict[str, Any]) -> bytes:
        """For people."""
        local = self.at.astimezone()
        about = f"{self.record.folder} / {self.rule or 'no rule'} · {local:%Y-%m-%d %H:%M}"
        return page(path_to_text(self.record.rel), about, self._body(result))

    def _body(self, result: dict[str, Any]) -> Iterator[str]:
        outputs = [(n, path_from_text(o["path"]).name) for n, o in enumerate(result["outputs"])]
        drawn = [(name, self.after[n]) for n, name in outputs if n in self.after]
        if self.record.profile:
            yield from self._verdicts(drawn)
        columns = [("Before", self.before)] if self.before is not None else []
        columns += drawn
        if columns:
            yield heading("Figures")
            rows = [[label, *(one.facts[key] for _, one in columns)] for label, key in _ROWS]
            yield table(["", *(name for name, _ in columns)], rows)
        if result["steps"]:
            yield heading("Steps")
            yield table(
                ["", "Operation", "Parameters"],
                [
                    [number, step["op"], json.dumps(step["params"], ensure_ascii=False)]
                    for number, step in enumerate(result["steps"], 1)
                ],
            )
        yield heading("Delivered")
        yield table(
            ["File", "Bytes", "SHA-256"],
            [[o["path"], o["size"], o.get("sha256")] for o in result["outputs"]],
        )
        for name, one in columns:
            yield heading(name)
            for caption, picture in one.pictures.items():
                yield figure(caption, picture.data, picture.media_type)

    def _verdicts(self, drawn: list[tuple[str, SoundReport]]) -> Iterator[str]:
        title = profiles()[self.record.profile].title
        for name, one in drawn:
            word = {True: "meets", False: "does not meet", None: "is not judged by"}[one.passed]
            yield verdict(one.passed, f"{name} {word} {title}: {'; '.join(one.verdict)}")
