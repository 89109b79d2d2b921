"""Jobs that end their worker, or never end, among a hundred good ones."""

import statistics
from dataclasses import dataclass, field
from pathlib import Path

from tests.daemon.running import PATIENCE, job, running

#: How a poisonous job ends its process: a crash, an abort, and what the kernel does to the largest.
DEADLY = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGKILL")


@dataclass
class Story:
    """What came of it."""

    poisoned: int = 0
    #: Seconds from the submission to the end: of the good jobs, in the order of their ends.
    good: list[float] = field(default_factory=list)
    #: The same without any poison among them.
    alone: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def delay(self) -> float:
        """Seconds by which the slowest good job was later than the slowest without poison."""
        return max(self.good) - max(self.alone)

    @property
    def median_delay(self) -> float:
        """The same of those in the middle."""
        return statistics.median(self.good) - statistics.median(self.alone)


def poison(folder: Path, *, rounds: int, good: int = 100) -> Story:
    """Put one of each deadly kind among good jobs, so many times."""
    story = Story()
    with running(folder, cpu_workers=2) as queue:
        queue.run(job("nothing", cost=0.001))
        story.alone = _ends(queue, [job("nothing", cost=0.001) for _ in range(good)])
        for _ in range(rounds):
            bad = [job("die", by=by, words=by, cost=0.001) for by in DEADLY]
            jobs = [job("nothing", cost=0.001) for _ in range(good)]
            step = good // len(bad)
            mixed = list(jobs)
            for number, one in enumerate(bad):
                mixed.insert(number * (step + 1), one)
            queue.submit(*mixed)
            for one, by in zip(bad, DEADLY, strict=True):
                ended = queue.client.wait(one.id, PATIENCE)
                story.poisoned += 1
                if ended.state != "failed" or ended.error_kind != "WorkerKilled":
                    story.wrong.append(f"{by}: {ended.state} {ended.error_kind}")
                elif by not in (ended.error or "") or ended.attempt > 2:
                    story.wrong.append(f"{by}: {ended.attempt} attempts: {ended.error}")
            ended = [queue.client.wait(one.id, PATIENCE) for one in jobs]
            story.good += [one.completed - one.created for one in ended]
            story.wrong += [f"{one.id} is {one.state}" for one in ended if one.state != "completed"]
            story.wrong += [f"{one.id} was blamed" for one in ended if one.deaths]
            queue.wait_warm()
    return story


def _ends(queue, jobs) -> list[float]:
    queue.submit(*jobs)
    ended = [queue.client.wait(one.id, PATIENCE) for one in jobs]
    return [one.completed - one.created for one in ended]
