"""A daemon that starts on a long queue, with jobs that its end interrupted."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from daemon.clock import SystemClock
from daemon.jobs import NewJob, new_id
from daemon.queue import Policy, Queue
from daemon.reader import JobReader
from daemon.settings import Settings
from daemon.store import Store
from tests.whole.living import Living, living
from tests.whole.test_start_and_stop import processor_time


@dataclass
class Story:
    """Seconds, from the start of the process."""

    health: float = 0.0
    #: What the main process computed by then.
    computed: float = 0.0
    #: From the first answer until the last interrupted job was queued again; negative if before.
    again: float = 0.0
    ended: float = 0.0
    wrong: list[str] = field(default_factory=list)


def restart(
    folder: Path, *, queued: int, interrupted: int, then: Callable[[Living], None] = lambda _: None
) -> Story:
    """Leave a queue as a power cut would, and start on it; `then` has the daemon afterwards."""
    story, settings = Story(), Settings(data_dir=folder / "data")
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    store = Store(settings.database)
    queue = Queue(store, Policy(), SystemClock(), lambda: 0.5)
    jobs = [
        NewJob(id=new_id(), order="{}", source="cli", endpoint="/nothing")
        for _ in range(queued + interrupted)
    ]
    queue.submit(jobs)
    store.commit()
    running = [held.id for held in queue.next_jobs("cpu", interrupted)]
    for held in list(queue.next_jobs("cpu", interrupted)):
        queue.claim(held, "cpu-1")
    store.commit()
    store.close()

    begun, start = time.monotonic(), time.time()
    with living(settings.data_dir) as daemon:
        assert daemon.get("/healthz")["ok"] is True
        story.health, answered = time.monotonic() - begun, time.time()
        story.computed = processor_time(daemon.process.pid)
        reader = JobReader(settings.database)
        pause = threading.Event()
        while sum(reader.counts()[state] for state in ("completed", "failed")) < len(jobs):
            if time.monotonic() - begun > 900:
                story.wrong.append(f"not all ended: {reader.counts()}")
                break
            pause.wait(0.1)
        story.ended = time.monotonic() - begun
        again = []
        for one in running:
            put_back = [e.at for e in reader.events(one) if e.text and "restarted" in e.text]
            again += [at for at in put_back if at >= start]
            if len(put_back) != 1:
                story.wrong.append(f"{one} was put back {len(put_back)} times")
        story.again = max(again, default=answered) - answered
        if (counts := reader.counts())["completed"] != len(jobs):
            story.wrong.append(f"{counts}")
        reader.close()
        then(daemon)
    return story
