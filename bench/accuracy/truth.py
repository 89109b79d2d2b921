"""What is known about a piece: everything that an analysis may be asked about."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Split = str
"""`tuning`, which may be looked at while a method is made, or `final`, which may not."""


@dataclass(frozen=True)
class Truth:
    """All times are seconds from the first sample of the rendered sound."""

    name: str
    split: Split
    duration: float
    #: What the piece is like, for tables by kind.
    style: str = ""
    meter: str = ""
    drums: bool = False
    swing: float = 0.5
    drift: str = ""
    tuning_cents: float = 0.0
    #: Beats per minute (6/8: dotted quarters), from the median distance of beats.
    tempo: float = 0.0
    beats: list[float] = field(default_factory=list)
    downbeats: list[float] = field(default_factory=list)
    #: As mir_eval writes it, e.g. `F# minor`.
    key: str = ""
    #: `(start, end, label)`; labels in Harte's syntax, e.g. `F#:min7`, `C:maj/3`.
    chords: list[tuple[float, float, str]] = field(default_factory=list)
    #: The lead's notes: `(start, end, Hz)`; between them it is silent.
    melody: list[tuple[float, float, float]] = field(default_factory=list)
    #: First attack of each group of notes that sound as one.
    onsets: list[float] = field(default_factory=list)
    #: `(start, end, letter)`; what has the same letter is the same music.
    sections: list[tuple[float, float, str]] = field(default_factory=list)
    #: Where somebody speaks.
    speech: list[tuple[float, float]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """As JSON, for eyes and other tools."""
        path.write_text(json.dumps(asdict(self), indent=1))


def load(path: Path) -> Truth:
    """What `save` wrote."""
    raw: dict[str, Any] = json.loads(path.read_text())
    for name in ("chords", "melody", "sections", "speech"):
        raw[name] = [tuple(entry) for entry in raw[name]]
    return Truth(**raw)
