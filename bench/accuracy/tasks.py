"""What a task of the bench is: two ways to answer, and marks for the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.accuracy.truth import Truth

Answer = dict[str, Any]
"""What was found, ready for JSON."""

Way = Callable[[Path], Answer]
"""Listens to a file."""


@dataclass(frozen=True)
class Judged:
    """One statement that came with a confidence."""

    kind: str
    confidence: float
    #: 1 right, 0 wrong, or a share.
    right: float


@dataclass(frozen=True)
class Question:
    """One thing that is asked about a piece, and how an answer is marked.

    `peer` is plain librosa's (or a rule's) answer, kept per piece under `peer_version`;
    `ours` is computed anew by each run; None shows no column. `score` gives a mark
    between 0 and 1 by column, None where a piece says nothing about it; `judged` lists
    what was said with a confidence.
    """

    name: str
    columns: Sequence[str]
    score: Callable[[Truth, Answer], Mapping[str, float | None]]
    ours: Way | None = None
    peer: Way | None = None
    peer_version: int = 1
    judged: Callable[[Truth, Answer], Sequence[Judged]] | None = None
    #: Which of a piece's files is heard.
    hears: Literal["mix", "lead"] = "mix"
    corpus: Literal["music", "talk"] = "music"


#: Task to the module whose QUESTIONS it asks.
TASKS = {
    "rhythm": "bench.accuracy.rhythm",
    "tonal": "bench.accuracy.tonal",
    "structure": "bench.accuracy.structure",
    "speech": "bench.accuracy.speech",
}


def questions(task: str) -> list[Question]:
    """The questions of a task."""
    from importlib import import_module

    return list(import_module(TASKS[task]).QUESTIONS)
