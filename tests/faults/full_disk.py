"""A running daemon whose disk fills and is emptied again, round after round.

The disk is a small tmpfs, once under everything that the daemon keeps, once under its scratch
files, once under what it delivers. In each round sounds are dropped, the disk fills at some moment
around that, and is emptied. What was dropped must be delivered, by the same process.
"""

import os
import random
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.whole import is_reverse, sound
from tests.whole.living import living

PLACES = ("data", "scratch", "output")
#: Under everything it must be so large that the reserve (64 MiB) fits in four times.
SIZES = {"data": 640, "scratch": 64, "output": 64}
RULES = "rules: [{name: back, steps: [reverse]}]"
_PATIENCE = 240.0
#: Sounds in a round: enough that some are on their way when the disk fills.
_AT_ONCE = 20


class CannotMount(Exception):
    """Nothing may be mounted here; the message says why."""


@dataclass
class Story:
    """What happened."""

    rounds: int = 0
    #: Rounds in which something was not delivered while the disk was full.
    hindered: int = 0
    files: int = 0
    #: Seconds from the emptying to the delivery of all that was dropped, by round.
    recovered: list[float] = field(default_factory=list)
    #: Seconds that a question took while the disk was full.
    answered: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@contextmanager
def small_disk(point: Path, mebibytes: int):
    """A tmpfs.

    Raises:
        CannotMount: it is refused.
    """
    point.mkdir(parents=True, exist_ok=True)
    how = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(point)]
    try:
        subprocess.run(how, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as refused:
        said = getattr(refused, "stderr", b"").decode().strip() or str(refused)
        raise CannotMount(said) from None
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(point)], check=False, capture_output=True)


def fill(point: Path, leave: int) -> None:
    """Take all room but so many bytes."""
    with (point / "filler").open("ab") as file:
        for _ in range(10):
            room = os.statvfs(point)
            more = room.f_bavail * room.f_frsize - leave
            if more <= 0:
                return
            # Somebody else may take of the same room at this moment.
            with suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size + more)


def full_disks(folder: Path, place: str, rounds: int, seed: int) -> Story:
    """Let the disk of one place fill so many times."""
    story, dice = Story(), random.Random(f"{place} {seed}")
    data, output = folder / "data", folder / "output"
    points = {"data": data, "scratch": data / "scratch", "output": output}
    point = points[place]
    with small_disk(point, SIZES[place]):
        box = data / "folders" / "box"
        box.mkdir(parents=True)
        (box / "rules.yaml").write_text(f"output: {{folder: '{output}/out'}}\n{RULES}")
        # Without memory for sounds, what a step needs whole goes to scratch.
        environment = {"AUDIOLLA_MEMORY_PER_SOUND": "0"} if place == "scratch" else {}
        environment |= {"AUDIOLLA_MIN_FREE": "0", "AUDIOLLA_CPU_WORKERS": "1"}
        with living(data, **environment) as daemon:
            pid = daemon.process.pid
            _round(daemon, box, output / "out", story, dice, point=None)
            for _ in range(rounds):
                _round(daemon, box, output / "out", story, dice, point=point)
                if daemon.process.poll() is not None or daemon.process.pid != pid:
                    story.wrong.append("the daemon ended")
                    return story
                if len(story.wrong) > 20:
                    return story
    return story


def _round(daemon, box: Path, out: Path, story: Story, dice, *, point: Path | None) -> None:
    pause = threading.Event()
    dropped = {}
    early = dice.random() < 0.5
    if point is not None and early and not box.is_relative_to(point):
        fill(point, dice.randrange(0, 200_000))
    for _ in range(3 if point is None else _AT_ONCE):
        story.files += 1
        name = f"{story.files}.wav"
        dropped[name] = sound(story.files, dice.randrange(20_000, 60_000))
        part = box / f".{name}.part"
        part.write_bytes(dropped[name])
        part.rename(box / name)
    if point is not None:
        pause.wait(0.0 if box.is_relative_to(point) else dice.choice((0.0, 0.01, 0.05, 0.2)))
        fill(point, dice.randrange(0, 200_000))
        pause.wait(dice.uniform(0.2, 1.0))
        begun = time.monotonic()
        try:
            daemon.get("/v1/jobs")
        except OSError as wrong:
            story.wrong.append(f"round {story.rounds}: a question was not answered: {wrong}")
        story.answered.append(time.monotonic() - begun)
        story.hindered += any(not (box / "done" / name).exists() for name in dropped)
        (point / "filler").unlink()
        story.rounds += 1
    emptied = time.monotonic()
    done = box / "done"
    while left := [name for name in dropped if not (done / name).exists()]:
        if time.monotonic() - emptied > _PATIENCE:
            story.wrong.append(f"round {story.rounds}: {left} were not delivered")
            return
        pause.wait(0.05)
    if point is not None:
        story.recovered.append(time.monotonic() - emptied)
    for name, given in dropped.items():
        made = out / name
        if not made.exists() or not is_reverse(made.read_bytes(), given):
            story.wrong.append(f"round {story.rounds}: {name} is not what it must be")
        if (done / name).read_bytes() != given:
            story.wrong.append(f"round {story.rounds}: the original {name} was changed")
        made.unlink(missing_ok=True)
        (done / name).unlink()
    strays = [p.name for p in out.iterdir()] if out.exists() else []
    story.wrong += [f"round {story.rounds}: {stray} lies about" for stray in strays]
