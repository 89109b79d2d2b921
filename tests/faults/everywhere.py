"""A file goes its whole way, folder, job, output and webhook, and one call after the other fails.

Whatever happens at whichever call: the file is in one place in the end, its output is whole or
not there, its end is told, and nothing lies about.
"""

import errno
import json
import logging
import shutil
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.points import Points, PowerCut
from tests.faults.whole import HOOK, Whole, is_reverse, sound

RULES = f"""
notify: [{{webhook: '{HOOK}', on: [success, failure]}}]
rules: [{{name: back, steps: [reverse]}}]
"""
#: What may happen to a call.
FAULTS: dict[str, str | int] = {
    "EIO": errno.EIO,
    "ENOSPC": errno.ENOSPC,
    "EMFILE": errno.EMFILE,
    "death before": "before",
    "death after": "after",
}
#: Attempts of one job that are no storm: the setting's five, each a few times held for storage.
_ATTEMPTS = 10


@dataclass
class Story:
    """What came of all runs of one fault."""

    fault: str
    #: Calls of a run in which nothing happens, and runs that were made.
    calls: int = 0
    runs: int = 0
    completed: int = 0
    failed: int = 0
    restarts: int = 0
    wrong: list[str] = field(default_factory=list)


def calls_of(folder: Path) -> list[str]:
    """The calls of a run in which nothing happens."""
    names: list[str] = []
    _run(folder / "calm", lambda _, name: names.append(name), Story("none"))
    return names


def fail_each(folder: Path, fault: str, numbers) -> Story:
    """Let the calls of these numbers fail, each in a run of its own."""
    story = Story(fault)
    wrong = FAULTS[fault]
    logging.disable(logging.CRITICAL)
    try:
        for number in numbers:
            here = folder / f"{fault} {number}"
            at = _run(here, lambda count, _: wrong if count == number else None, story)  # noqa: B023
            if at is None:
                break  # it passed untouched: there is no such call
            story.runs += 1
            shutil.rmtree(here)
    finally:
        logging.disable(logging.NOTSET)
    return story


def _run(folder: Path, fail, story: Story) -> tuple[int, str] | None:
    given = sound(1)
    with pytest.MonkeyPatch.context() as patch:
        points = Points(folder, fail).install(patch)
        whole = Whole(folder, RULES)
        try:
            whole.drop("a/take.wav", given)
            points.armed = True
            try:
                whole.pass_time(5, steps=2)
            except PowerCut:
                pass
            finally:
                points.armed = False
            if points.dead:
                whole.die()
                whole.start()
            # Long enough for all that is tried again later.
            whole.pass_time(10, steps=4)
            whole.pass_time(120, steps=6)
            if "done/a/take.wav" not in whole.files():
                whole.pass_time(1800, steps=20)
            said = _faults_of(whole, given, story)
            story.wrong += [f"{points.at}: {one}" for one in said]
            story.restarts += whole.restarts
        finally:
            points.armed = False
            whole.close()
    return points.at


def _faults_of(whole: Whole, given: bytes, story: Story) -> list[str]:
    wrong: list[str] = []
    there, jobs = whole.files(), whole.reader.jobs()
    done = "done/a/take.wav" in there
    story.completed += done
    story.failed += not done
    if done:
        expected = {"done/a/take.wav", "out/a/take.wav", "manifests/a/take.wav.json"}
        out = whole.root / "out/a/take.wav"
        if not out.exists() or not is_reverse(out.read_bytes(), given):
            wrong.append("the output is not what it must be")
    else:
        expected = {"failed/a/take.wav", "failed/a/take.wav.json"}
    wrong += [f"{extra} belongs to nobody" for extra in sorted(set(there) - expected)]
    wrong += [f"{missing} is missing" for missing in sorted(expected - set(there))]
    stage = "done" if done else "failed"
    kept = whole.root / stage / "a/take.wav"
    if kept.exists() and kept.read_bytes() != given:
        wrong.append("the original was changed")
    if len(jobs) > 1:
        wrong.append(f"{len(jobs)} jobs")
    wrong += [
        f"job {job.id} is {job.state}" for job in jobs if job.state not in ("completed", "failed")
    ]
    wrong += [f"{job.attempt} attempts" for job in jobs if job.attempt > _ATTEMPTS]
    ids = {one for one, _ in whole.receiver.told}
    if len(ids) != 1:
        wrong.append(f"{len(ids)} webhooks came")
    elif len(whole.receiver.told) > 2:
        wrong.append(f"the webhook came {len(whole.receiver.told)} times")
    wrong += [f"{stray} lies about" for stray in whole.strays()]
    with sqlite3.connect(whole.settings.database) as database:
        (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
    if verdict != "ok":
        wrong.append(f"the database: {verdict}")
    return wrong


def told(story: Story) -> str:
    """The story in a line."""
    return json.dumps({k: v for k, v in vars(story).items() if k != "wrong"})
