"""The record that an order of a hot folder carries: where what is kept of its job goes."""

from __future__ import annotations

import os
from pathlib import Path

from rules.model import FolderRules, Rule
from rules.orders import Record

_MOST_NAME_BYTES = 255
_ROOM = 20  # for a number and an extension


def record_of(folder: FolderRules, rule: Rule, rel: str, at: Path) -> Record:
    """What is kept of a job.

    Args:
        folder, rule: what it is made by.
        rel: path of the dropped file below the hot folder.
        at: where it lies while its job runs.
    """
    kept, stages = rule.records, folder.stages
    return Record(
        folder=folder.name,
        rel=Path(rel),
        input=at,
        manifest=_beside(stages.manifests / rel, ".json") if kept.manifest else None,
        report=_beside(stages.reports / rel, "") if kept.report else None,
        profile=kept.profile,
        originals=kept.originals,
        replaced=stages.replaced if rule.output.conflict == "replace" else None,
    )


def _beside(path: Path, ext: str) -> Path:
    """`take.wav` and `.json` give `take.wav.json`; a name at the system's limit is cut."""
    name = os.fsencode(path.name)
    return path.with_name(os.fsdecode(name[: _MOST_NAME_BYTES - _ROOM]) + ext)
