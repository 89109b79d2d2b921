"""Kills processes of a queue under load, and looks what became of every job.

Each job delivers one file through the intent protocol; many of them want the same name. The
killer works with SIGKILL at seeded random moments. Afterwards every job must have delivered
exactly one file, whole, under a name of its own; a watcher looks at the folder all the while.
"""

import os
import random
import signal
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise

from tests.daemon.running import job, running
from tests.daemon.runs import content


@dataclass
class Story:
    """What happened."""

    jobs: int = 0
    worker_kills: int = 0
    daemon_kills: int = 0
    #: One line for every broken promise.
    wrong: list[str] = field(default_factory=list)
    #: Seconds from a worker's death to the next start of its job.
    waits: list[float] = field(default_factory=list)


def rampage(
    folder, *, worker_kills, daemon_kills, seed, workers=2, job_seconds=0.03, patience=1200.0
):
    """Run jobs, kill processes for `patience` seconds at most, and tell what became of it."""
    story = Story()
    dice = random.Random(seed)
    out = folder / "out"
    out.mkdir()
    with running(folder / "data", cpu_workers=workers, job_max_deaths=10**6) as queue:
        feeder = Feeder(queue, out, job_seconds)
        watcher = Watcher(out, story)
        try:
            _kill_them(queue, story, worker_kills, daemon_kills, dice, patience)
            ids = feeder.finish()
            ended = [queue.client.wait(one, 120.0) for one in ids]
        finally:
            feeder.finish()
            watcher.finish()
        story.jobs = len(ids)
        _check_files(out, ended, story)
        _check_log(queue, ids, story)
        queue.process.stop()
    with sqlite3.connect(folder / "data" / "audiolla.db") as database:
        (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
    if verdict != "ok":
        story.wrong.append(f"the database is damaged: {verdict}")
    return story


class Feeder:
    """Keeps the queue full enough that a kill always meets work, and remembers what it was told."""

    def __init__(self, queue, out, job_seconds):
        self._queue = queue
        self._out = out
        self._seconds = job_seconds
        self._acknowledged = []
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def _feed(self):
        while not self._enough.is_set():
            number = len(self._acknowledged)
            some = [
                job("deliver", folder=self._out, name=f"take {i % 7}.bin", pause=self._seconds)
                for i in range(number, number + 8)
            ]
            # Kept only once the queue has said that it has them; the client asks until it does.
            self._acknowledged += [one.id for one in self._queue.client.submit(some)]
            done = set()
            while len(self._acknowledged) - len(done) > 16 and not self._enough.wait(0.05):
                counts = self._queue.reader.counts()
                done = range(counts["completed"] + counts["failed"])

    def finish(self):
        self._enough.set()
        self._thread.join()
        return self._acknowledged


class Watcher:
    """Looks at every final name again and again: what is there is whole."""

    def __init__(self, out, story):
        self._out = out
        self._story = story
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self):
        size = len(content("any"))
        while not self._enough.wait(0.02):
            for entry in os.scandir(self._out):
                if not entry.name.endswith(".part") and entry.stat().st_size != size:
                    self._story.wrong.append(f"{entry.name} was seen half-written")

    def finish(self):
        self._enough.set()
        self._thread.join()


def _kill_them(queue, story, worker_kills, daemon_kills, dice, patience):
    kills = ["worker"] * worker_kills + ["daemon"] * daemon_kills
    dice.shuffle(kills)
    pause, begun = threading.Event(), time.monotonic()
    for kind in kills:
        if time.monotonic() - begun > patience:
            return  # the story tells how many there were
        end = time.monotonic() + 300
        # Some jobs get through between two kills, now many, now none.
        enough = queue.reader.counts()["completed"] + dice.randrange(5)
        while queue.reader.counts()["completed"] < enough:
            assert time.monotonic() < end, "no job gets through"
            pause.wait(0.01)
        pause.wait(dice.uniform(0.0, 0.1))
        if kind == "daemon":
            story.daemon_kills += _kill_everything(queue)
            continue
        while not _kill_a_worker(queue, dice):
            assert time.monotonic() < end, "no worker ever got a job"
            pause.wait(dice.uniform(0.0, 0.05))
        story.worker_kills += 1


def _kill_a_worker(queue, dice):
    """Kill one that runs a job, and now and then one that is idle."""
    workers = queue.client.stats()["workers"]
    busy = [worker for worker in workers if worker["jobs"]]
    idle = [worker for worker in workers if worker["state"] == "ready" and not worker["jobs"]]
    victims = idle if idle and dice.random() < 0.1 else busy
    return bool(victims) and _kill(dice.choice(victims)["pid"])


def _kill_everything(queue):
    stats = queue.client.stats()
    killed = _kill(stats["pid"])
    for worker in stats["workers"]:
        _kill(worker["pid"])
    return killed


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _check_files(out, ended, story):
    owners = {}
    for one in ended:
        if one.state != "completed":
            story.wrong.append(f"{one.id} is {one.state}: {one.error}")
            continue
        path = one.result["path"]
        if path in owners:
            story.wrong.append(f"{path} was delivered by {owners[path]} and {one.id}")
        owners[path] = one.id
        try:
            with open(path, "rb") as file:
                if file.read() != content(one.id):
                    story.wrong.append(f"{path} does not hold what {one.id} wrote")
        except FileNotFoundError:
            story.wrong.append(f"{path} of {one.id} is lost")
    strays = {entry.path for entry in os.scandir(out)} - owners.keys()
    story.wrong += [f"{stray} belongs to nobody" for stray in sorted(strays)]


def _check_log(queue, ids, story):
    for one in ids:
        for event, following in pairwise(queue.reader.events(one)):
            if event.text and event.text.startswith("put back: the worker ended"):
                story.waits.append(following.at - event.at)
