"""The record that an order of a hot folder carries: where what is kept of its job goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
        replaced=stages.replaced if any(o.conflict == "replace" for o in rule.outputs) else None,
    )


def record_of_all(records: Sequence[Record | None]) -> Record | None:
    """What is kept of a job that several rules share.

    What one of them wants is kept; the original is deleted only if all of them say so, and stays
    if one of them does.
    """
    known = [record for record in records if record is not None]
    if not known:
        return None
    wishes = {record.originals for record in known}
    reporting = [record for record in known if record.report is not None]
    return known[0].model_copy(
        update={
            "manifest": next((r.manifest for r in known if r.manifest is not None), None),
            "report": next((r.report for r in reporting), None),
            "profile": next((r.profile for r in reporting if r.profile), ""),
            "originals": "keep"
            if "keep" in wishes
            else "delete"
            if wishes == {"delete"}
            else "move",
            "replaced": next((r.replaced for r in known if r.replaced is not None), None),
        }
    )


def _beside(path: Path, ext: str) -> Path:
    """`take.wav` and `.json` give `take.wav.json`; a name at the system's limit is cut."""
    name = os.fsencode(path.name)
    if len(name) <= _MOST_NAME_BYTES - _ROOM:
        return Path(f"{path}{ext}")
    return path.with_name(os.fsdecode(name[: _MOST_NAME_BYTES - _ROOM]) + ext)
