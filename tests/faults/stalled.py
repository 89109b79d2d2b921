"""A real daemon whose processes are stopped while files arrive in all ways."""

import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.whole import is_reverse, sound
from tests.whole.living import living

RULES = "no_match: leave\nrules: [{name: back, match: {ext: wav}, steps: [reverse]}]"


@dataclass
class Story:
    """What was seen, in seconds after it went on."""

    seen: float = 0.0
    delivered: float = 0.0
    writers: int = 0
    wrong: list[str] = field(default_factory=list)


def stalled(folder: Path, *, files: int, sounds: int, seed: int, writers: int = 6) -> Story:
    """Stop it, let files arrive, and let it go on."""
    box = folder / "data/folders/box"
    prepare(box)
    with living(folder / "data") as daemon:
        return stand_still(daemon, box, files=files, sounds=sounds, seed=seed, writers=writers)


def prepare(box: Path) -> None:
    """Make the hot folder."""
    box.mkdir(parents=True)
    (box / "rules.yaml").write_text(RULES)


def stand_still(
    daemon, box: Path, *, files: int, sounds: int, seed: int, writers: int = 6
) -> Story:
    """The same with a daemon that runs."""
    story, dice = Story(writers=writers), random.Random(seed)
    aside = daemon.data.parent / "aside"
    given: dict[str, bytes] = {}
    os.kill(daemon.process.pid, signal.SIGSTOP)
    try:
        _arrive(box, aside, given, files - sounds, sounds - writers)
        slow = []
        for number in range(writers):
            rel = f"slow {number}.wav"
            given[rel] = sound(10**6 + number, 2000)
            about = (box / rel, given[rel], dice.uniform(0.1, 2.0))
            slow.append(threading.Thread(target=_write, args=about))
            slow[-1].start()
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)
    began = time.monotonic()
    _until(lambda: _left(daemon) == files - sounds, story, "left")
    story.seen = time.monotonic() - began
    for one in slow:
        one.join()
    done = box / "done"
    _until(lambda: all((done / rel).exists() for rel in given), story, "delivered")
    story.delivered = time.monotonic() - began
    _check(daemon, box, given, files - sounds, story)
    return story


def _arrive(box: Path, aside: Path, given: dict[str, bytes], notes: int, sounds: int) -> None:
    """Notes one by one, sounds one by one and in trees that are moved in."""
    for number in range(notes):
        below = box / f"{number // 1000}"
        below.mkdir(exist_ok=True)
        (below / f"{number}.txt").touch()
    for number in range(sounds):
        tree = number % 2 == 0
        rel = f"tree {number // 200}/{number}.wav" if tree else f"{number}.wav"
        given[rel] = sound(number, 500)
        path = (aside if tree else box) / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(given[rel])
    for tree in sorted(aside.iterdir()) if aside.exists() else []:
        os.rename(tree, box / tree.name)


def _check(daemon, box: Path, given: dict[str, bytes], notes: int, story: Story) -> None:
    if (left := _left(daemon)) != notes:
        story.wrong.append(f"{left} files are left of {notes}")
    for rel, data in given.items():
        kept, out = box / "done" / rel, box / "out" / rel
        if not kept.exists() or kept.read_bytes() != data:
            story.wrong.append(f"{rel} is not in done as it was dropped")
        if not out.exists() or not is_reverse(out.read_bytes(), data):
            story.wrong.append(f"{rel} was not delivered whole")
    for stage in ("done", "out"):
        there = sum(len(names) for _, _, names in os.walk(box / stage))
        if there != len(given):
            story.wrong.append(f"{there} files in {stage}, {len(given)} were dropped")
    counts = daemon.get("/v1/folders")["folders"][0]
    if counts["taken"] != len(given) or counts["failed"]:
        story.wrong.append(f"taken {counts['taken']}, failed {counts['failed']}")


def _left(daemon) -> int:
    return int(daemon.get("/v1/folders")["folders"][0]["left"])


def _until(true, story: Story, what: str, patience: float = 900.0) -> None:
    pause, end = threading.Event(), time.monotonic() + patience
    while not true():
        if time.monotonic() > end:
            story.wrong.append(f"not all are {what} after {patience:.0f} s")
            return
        pause.wait(0.1)


def _write(path: Path, data: bytes, pause: float) -> None:
    """One that opens the file anew for each piece, and pauses between them."""
    wait = threading.Event()
    for at in range(0, len(data), len(data) // 3 + 1):
        with path.open("ab") as file:
            file.write(data[at : at + len(data) // 3 + 1])
        wait.wait(pause)
