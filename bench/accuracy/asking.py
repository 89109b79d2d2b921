"""Puts a task's questions to pieces; runs in the processes of a pool."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from bench.accuracy.render import Rendered, key_of, rendered
from bench.accuracy.tasks import Answer, Judged, Question, questions

Marks = dict[tuple[str, str], Mapping[str, float | None]]
"""(question, who) to marks by column."""


def chosen(corpus: str, split: str, count: int | None, only: str) -> list[str]:
    """Names of pieces: for music those of the specs, for talk numbers as text."""
    if corpus == "talk":
        from bench.accuracy.talk import talks

        names = [t.truth.name for t in talks() if t.truth.split == split]
    else:
        from bench.accuracy.corpus import specs

        names = [s.name for s in specs() if s.split == split]
    names = [name for name in names if only in name]
    if count and count < len(names):
        names = [names[i * len(names) // count] for i in range(count)]
    return names


def piece(name: str) -> Rendered:
    """A piece by name, rendered if need be."""
    if name.startswith("talk"):
        from bench.accuracy.talk import talks

        return next(t for t in talks() if t.truth.name == name)
    from bench.accuracy.compose import compose
    from bench.accuracy.corpus import specs

    return rendered(compose(next(s for s in specs() if s.name == name)))


def heard(job: tuple[str, Sequence[str], str, bool]) -> tuple[str, Marks, list[Judged]]:
    """All questions of a task about one piece, in a process of the pool."""
    task, names, which, with_peers = job
    found = piece(which)
    marks: Marks = {}
    judged: list[Judged] = []
    for question in questions(task):
        if question.name not in names:
            continue
        path = found.lead if question.hears == "lead" else found.mix
        if question.ours is not None:
            answer = question.ours(path)
            marks[question.name, "ours"] = question.score(found.truth, answer)
            if question.judged is not None:
                judged += question.judged(found.truth, answer)
        if question.peer is not None and with_peers:
            answer = _kept(found.folder, task, question, path)
            marks[question.name, "librosa"] = question.score(found.truth, answer)
    return which, marks, judged


def _kept(folder: Path, task: str, question: Question, path: Path) -> Answer:
    """The peer's answer, computed once per piece and version of everything that it stands on."""
    assert question.peer is not None
    name = question.peer.__name__.strip("_")
    key = key_of(version("librosa"), question.peer_version, task, name)
    kept = folder / f"{name}-{task}-{key}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    answer = question.peer(path)
    part = kept.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(answer))
    part.replace(kept)
    return answer
