"""A week in a studio, in minutes: time is moved by hand, the disks are real, chance is seeded.

Three hot folders, one on this machine's disk, one on a share of its own (a small tmpfs, treated
as a network mount), one that takes files only at night. Writers drop sounds into them in all the
ways that people and programs do. Meanwhile events are lost, the share goes away and comes back,
its disk fills, somebody sets the clock, summer time ends, and the daemon dies at random calls.
In the end every file is accounted for.
"""

import heapq
import logging
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from daemon.mounts import Mount, mount_of
from tests.faults.points import Points, PowerCut
from tests.faults.whole import SetClock, Whole, is_reverse, sound

ZONE = ZoneInfo("Europe/Berlin")
#: Monday of the week at whose end summer time ends, far ahead of the kernel's times.
MONDAY = datetime(2033, 10, 24, tzinfo=ZONE)
RULES = "settle: {truncated_after: 600}\nrules: [{name: back, match: {ext: wav}, steps: [reverse]}]"
_DAY = 86400.0

Writing = Iterator[float]
"""Says how many seconds pass, then does the next thing."""


@dataclass
class Drop:
    """One sound that must come out in the end."""

    folder: str
    content: bytes
    #: It is not a whole sound: it has to fail.
    bad: bool = False
    written: bool = False


@dataclass
class Story:
    """What happened, and what came of it."""

    seed: int
    files: int = 0
    delivered: int = 0
    refused: int = 0
    restarts: int = 0
    overflows: int = 0
    absences: int = 0
    full_disks: int = 0
    clocks_set: int = 0
    turns: int = 0
    #: How the share was made: a real disk of its own, or why it is none.
    share: str = ""
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Share:
    """A disk of its own that can go, come back, and fill. What it says of itself is: a NAS."""

    def __init__(self, point: Path, patch) -> None:
        self.point, self.aside = point, point.with_name(f"{point.name} aside")
        point.mkdir(parents=True)
        self.aside.mkdir()
        self._here = True
        try:
            _run("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(point))
            self.how = "a tmpfs of 16 MiB"
            self._real = True
        except (OSError, subprocess.CalledProcessError) as refused:
            said = getattr(refused, "stderr", b"") or str(refused).encode()
            self.how = f"a plain folder, because mounting is refused: {said.decode().strip()}"
            self._real = False
        real = mount_of

        def mount_at(path, *table):
            found = real(path, *table)
            if found.point == str(self.point) or (not self._real and self._below(path)):
                return Mount(str(self.point), "nfs4") if self._here else Mount("/", "ext4")
            return found

        for module in ("daemon.hotfolder", "daemon.taking.roots", "daemon.delivering.storage"):
            patch.setattr(f"{module}.mount_of", mount_at)

    def _below(self, path) -> bool:
        return Path(path).is_relative_to(self.point)

    def away(self, yes: bool) -> None:
        """Unmount it, or mount it again."""
        if self._here is not yes:
            return
        self._here = not yes
        if self._real:
            # Detached as a share is when its server goes: files that are open do not keep it.
            here, there = (self.point, self.aside) if yes else (self.aside, self.point)
            _run("mount", "--bind", str(here), str(there))
            _run("umount", "--lazy", str(here))
            return
        here, there = (self.point, self.aside) if yes else (self.aside, self.point)
        os.rmdir(there)
        os.rename(here, there)
        os.mkdir(here)

    def fill(self, leave: int) -> None:
        if self._real:
            room = os.statvfs(self.point)
            with (self.point / "filler").open("wb") as file:
                size = max(room.f_bavail * room.f_frsize - leave, 1)
                os.posix_fallocate(file.fileno(), 0, size)

    def empty(self) -> None:
        (self.point / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        for path in (self.point, self.aside):
            subprocess.run(["umount", "--lazy", path], check=False, capture_output=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def week(folder: Path, *, files: int, restarts: int, seed: int) -> Story:
    """Live through it."""
    story = Story(seed, files=files)
    begun = time.monotonic()
    before = os.environ.get("TZ")
    logging.disable(logging.CRITICAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        share = Share(folder / "nas", patch)
        story.share = share.how
        one = _Week(folder, share, story, random.Random(seed), restarts, patch)
        try:
            one.live(files)
            one.check()
        finally:
            one.close()
            share.close()
            logging.disable(logging.NOTSET)
            os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
            time.tzset()
    story.seconds = time.monotonic() - begun
    return story


class _Week:
    def __init__(
        self, folder: Path, share: Share, story: Story, dice, restarts: int, patch
    ) -> None:
        self.share, self.story, self.dice = share, story, dice
        # So many calls are about to be made that this share of them makes so many deaths.
        self._left, self._next_death = restarts, 0
        data = folder / "data"
        self.points = Points(folder, self._fail).install(patch)
        clock = SetClock(MONDAY.timestamp())
        self.whole = Whole(data, RULES, listen=True, seed=story.seed, clock=clock)
        self.roots = {"box": self.whole.root, "night": data / "folders/night"}
        self.roots["night"].mkdir()
        (self.roots["night"] / "rules.yaml").write_text(f'only: "22:00-06:00"\n{RULES}')
        self.roots["nas"] = share.point / "inbox"
        self.roots["nas"].mkdir()
        central = data / "rules"
        central.mkdir(parents=True)
        (central / "nas.yaml").write_text(f"folder: {self.roots['nas']}\n{RULES}")
        self.clock = clock
        self.drops: list[Drop] = []
        self.waiting: list[tuple[float, int, Writing]] = []
        self._number = 0
        self._deaf = False

    # -- chance ----------------------------------------------------------------------------------
    def _fail(self, count: int, _name: str) -> str | None:
        if self._left and count >= self._next_death:
            if self._next_death:
                self._left -= 1
                self._next_death = 0
                return self.dice.choice(("before", "after"))
            self._next_death = count + self.dice.randrange(20, 300)
        return None

    def live(self, files: int) -> None:
        """Seven days."""
        dice, end = self.dice, 7 * _DAY
        start = self.clock.monotonic()
        for _ in range(files):
            self._begin(start + dice.uniform(0, end - _DAY / 4), self._a_writer())
        for trouble, often in ((self._overflow, 3), (self._absence, 2), (self._full, 2)):
            for _ in range(often):
                self._begin(start + dice.uniform(0, end - _DAY / 2), trouble())
        for hour in (30, 75, 110):
            self._begin(start + hour * 3600, self._set_clock())
        while self.waiting:
            at, number, writing = heapq.heappop(self.waiting)
            self._until(at)
            pause = next(writing, None)
            if pause is not None:
                heapq.heappush(self.waiting, (self.clock.monotonic() + pause, number, writing))
            self._turn()
        self._until(start + end)
        # The night takes a few at a time, and what was held is tried again.
        for _ in range(40):
            self._until(self.clock.monotonic() + 1800)

    def _begin(self, at: float, writing: Writing) -> None:
        self._number += 1
        heapq.heappush(self.waiting, (at, self._number, writing))

    def _until(self, at: float) -> None:
        """Let time pass: closely after something has happened, then in strides."""
        for pause in (2.5, 5.0, 15.0, 60.0, 150.0, 600.0):
            if self.clock.monotonic() + pause >= at:
                break
            self.clock.advance(pause)
            self._turn()
        while self.clock.monotonic() < at:
            self.clock.advance(min(4 * 3600.0, at - self.clock.monotonic()))
            self._turn()

    def _turn(self) -> None:
        self.story.turns += 1
        points, whole = self.points, self.whole
        points.armed = True
        try:
            whole.turn(hooks=False)
        except PowerCut:
            points.armed = points.dead = False
            whole.die()
            self.clock.advance(self.dice.choice((0.5, 30.0, 900.0)))
            whole.start()
            self._listen()
            self.story.restarts += 1
        finally:
            points.armed = False

    # -- writers ---------------------------------------------------------------------------------
    def _a_writer(self) -> Writing:
        dice = self.dice
        where = dice.choices(("box", "nas", "night"), (5, 3, 2))[0]
        kinds = [self._rename, self._slow, self._stalls, self._replaced, self._renamed, self._twice]
        kinds += [self._tree, self._cut]
        return dice.choice(kinds)(where)

    def _drop(self, where: str, **about) -> tuple[Drop, Path]:
        number = len(self.drops)
        drop = Drop(where, sound(1000 * self.story.seed + number, 1000 + number), **about)
        self.drops.append(drop)
        return drop, self.roots[where] / f"take {number}.wav"

    def _ready(self, where: str) -> Iterator[float]:
        """Nobody can write to a share that is away or full."""
        while where == "nas" and (not self.share._here or (self.share.point / "filler").exists()):
            yield 600.0

    def _rename(self, where: str) -> Writing:
        """rsync and browsers: another name until it is whole."""
        yield from self._ready(where)
        drop, path = self._drop(where)
        part = path.with_name(f".{path.name}.Xy12Zz")
        part.write_bytes(drop.content[:500])
        yield self.dice.uniform(1, 60)
        yield from self._ready(where)
        part.write_bytes(drop.content)
        part.rename(path)
        drop.written = True

    def _slow(self, where: str) -> Writing:
        """A bounce: holds the file, pauses for a minute now and then."""
        if where == "nas":
            where = "box"
        drop, path = self._drop(where)
        with path.open("wb", buffering=0) as file:
            for at in range(0, len(drop.content), 700):
                file.write(drop.content[at : at + 700])
                _touch(path, self.clock)
                yield self.dice.uniform(1, 90)
        drop.written = True

    def _stalls(self, where: str) -> Writing:
        """A copy over the network: opened anew for each piece, stands still now and then."""
        yield from self._ready(where)
        drop, path = self._drop(where)
        for at in range(0, len(drop.content), 900):
            yield from self._ready(where)
            with path.open("ab") as file:
                file.write(drop.content[at : at + 900])
            _touch(path, self.clock)
            yield self.dice.uniform(0.1, 45)
        drop.written = True

    def _replaced(self, where: str) -> Writing:
        """Half a file, then another in its place."""
        yield from self._ready(where)
        drop, path = self._drop(where)
        path.write_bytes(sound(9 * 10**8 + len(self.drops))[:600])
        _touch(path, self.clock)
        yield self.dice.uniform(1, 120)
        yield from self._ready(where)
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(drop.content)
        os.replace(part, path)
        drop.written = True

    def _renamed(self, where: str) -> Writing:
        """A file that gets another name while it is written."""
        yield from self._ready(where)
        drop, path = self._drop(where)
        path.write_bytes(drop.content[:600])
        _touch(path, self.clock)
        yield self.dice.uniform(1, 60)
        yield from self._ready(where)
        other = path.with_name(f"renamed {path.name}")
        os.rename(path, other)
        yield self.dice.uniform(1, 60)
        yield from self._ready(where)
        with other.open("ab") as file:
            file.write(drop.content[600:])
        _touch(other, self.clock)
        drop.written = True

    def _twice(self, where: str) -> Writing:
        """The same name again, with another sound, when the first has been taken."""
        yield from self._ready(where)
        drop, path = self._drop(where)
        _put(path, drop)
        while path.exists():
            yield 3600.0
            yield from self._ready(where)
        again, _ = self._drop(where)
        _put(path, again)

    def _tree(self, where: str) -> Writing:
        """A folder that is moved in whole."""
        yield from self._ready(where)
        home = self.roots[where] / f".tree {len(self.drops)}"
        for _ in range(3):
            drop, path = self._drop(where)
            below = home / "day" / path.name
            below.parent.mkdir(parents=True, exist_ok=True)
            _put(below, drop)
        os.rename(home, home.with_name(home.name[1:]))
        return
        yield  # a generator

    def _cut(self, where: str) -> Writing:
        """A file that never becomes whole."""
        yield from self._ready(where)
        drop, path = self._drop(where, bad=True)
        drop.content = drop.content[:-400]
        path.write_bytes(drop.content)
        _touch(path, self.clock)
        drop.written = True

    # -- troubles --------------------------------------------------------------------------------
    def _listen(self) -> None:
        """While the kernel's queue overflows nobody hears anything."""
        manager = self.whole.manager
        for one in manager._everyone():
            arrivals = one.folder.arrivals
            arrivals.hint = _nothing if self._deaf else type(arrivals).hint.__get__(arrivals)

    def _overflow(self) -> Writing:
        self.story.overflows += 1
        self._deaf = True
        self._listen()
        yield self.dice.uniform(60, 6 * 3600)
        self._deaf = False
        self._listen()
        self.whole.manager._lost()

    def _absence(self) -> Writing:
        if (self.share.point / "filler").exists():
            yield 2 * 3600.0
        self.story.absences += 1
        self.share.away(True)
        yield self.dice.uniform(60, 8 * 3600)
        self.share.away(False)

    def _full(self) -> Writing:
        while not self.share._here:
            yield 3600.0
        self.story.full_disks += 1
        self.share.fill(self.dice.randrange(0, 8192))
        yield self.dice.uniform(60, 6 * 3600)
        while not self.share._here:
            yield 3600.0
        self.share.empty()

    def _set_clock(self) -> Writing:
        self.story.clocks_set += 1
        self.clock.set_by(self.dice.choice((-7200.0, -3600.0, -90.0, 90.0, 3600.0, 7200.0)))
        return
        yield  # a generator

    # -- accounting ------------------------------------------------------------------------------
    def check(self) -> None:
        """Every file is in one place, once, whole; what came of it, too."""
        story, wrong = self.story, self.story.wrong
        done, outs, failed = Counter[bytes](), [], Counter[bytes]()
        for name, root in self.roots.items():
            for path in (p for p in root.rglob("*") if p.is_file()):
                stage, *_ = path.relative_to(root).parts
                if stage in ("rules.yaml", "manifests"):
                    continue
                data = path.read_bytes()
                if stage == "done":
                    done[data] += 1
                elif stage == "out":
                    outs.append(data)
                elif stage == "failed" and path.suffix == ".wav":
                    failed[data] += 1
                elif stage != "failed":
                    wrong.append(f"{name}: {path.relative_to(root)} is left over")
        story.files = len(self.drops)
        for number, drop in enumerate(self.drops):
            told = f"take {number} ({drop.folder})"
            if not drop.written:
                wrong.append(f"{told} was never written: the week is too short")
            elif drop.bad:
                story.refused += failed[drop.content] == 1
                if failed[drop.content] != 1:
                    wrong.append(f"{told} is {failed[drop.content]} times in failed")
            else:
                if done[drop.content] != 1:
                    wrong.append(f"{told} is {done[drop.content]} times in done")
                made = sum(is_reverse(out, drop.content) for out in outs)
                story.delivered += made == 1
                if made != 1:
                    wrong.append(f"{told} was delivered {made} times")
        good = sum(not drop.bad for drop in self.drops)
        if len(outs) != good:
            wrong.append(f"{len(outs)} outputs of {good} sounds")
        if sum(done.values()) != good:
            wrong.append(f"{sum(done.values())} originals of {good} sounds")
        wrong += [f"{stray} lies about" for stray in self.whole.strays()]
        for job in self.whole.reader.jobs():
            at = datetime.fromtimestamp(job.created, ZONE)
            # One that was taken at the last minute may be submitted after a death.
            if job.endpoint.startswith("night/") and not (at.hour >= 22 or at.hour < 7):
                wrong.append(f"{job.input_name} was taken at {at:%a %H:%M}")
        wrong += [
            f"job {job.input_name} is {job.state}: {job.error}"
            for job in self.whole.reader.jobs()
            if job.state != "completed"
        ]

    def close(self) -> None:
        self.points.armed = False
        self.whole.close()


def _put(path: Path, drop: Drop) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(drop.content)
    part.rename(path)
    drop.written = True


def _touch(path: Path, clock: SetClock) -> None:
    """The time of the last write, by the clock of the week."""
    os.utime(path, (clock.now(), clock.now()))


def _nothing(*_: str) -> None:
    """Hear nothing."""
