"""Jobs per second and enqueue-to-start latency of no-op jobs, beside huey on the same work.

    python -m bench.queue [--jobs N] [--rounds N] [--workers N]

Three contenders with as many worker processes each: our queue handing out one job at a time, our
queue with prefetch, and huey's SqliteHuey. All write with `synchronous=FULL`. Rounds are
interleaved, so that the neighbours on the machine disturb all of them alike.

- backlog: N jobs are queued while the workers stand still; jobs/s from there to the last end.
- all in: jobs/s from the first submission to the last end, workers at work all the while.
- start: one job at a time, from before the call that submits it to the first line of the job,
  both read from `CLOCK_MONOTONIC`.
"""

import argparse
import multiprocessing
import os
import signal
import statistics
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from daemon.client import Client
from daemon.execution import Finished
from daemon.jobs import NewJob
from daemon.process import DispatcherProcess
from daemon.settings import Settings

LATENCY_JOBS = 200


def run(_claim, _context):
    """What our workers run: nothing, but they say when."""
    return Finished(result={"started": time.monotonic()})


# -- ours --------------------------------------------------------------------------------------
@contextmanager
def our_queue(folder, workers, prefetch):
    settings = Settings(
        data_dir=folder, cpu_workers=workers, worker_max_jobs=10**9, log_level="WARNING"
    )
    options = ["--run", "bench.queue:run", "--prefetch", str(prefetch)]
    process = DispatcherProcess(settings, options=options)
    process.start()
    assert process.wait_warm()
    client = Client(settings.socket, timeout=120)
    try:
        yield client
    finally:
        client.close()
        process.stop(at_once=True)


def ours(folder, jobs, workers, prefetch):
    with our_queue(folder, workers, prefetch) as client:
        for _ in range(20):
            client.submit_and_wait(_job())
        pids = [worker["pid"] for worker in client.stats()["workers"]]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        client.submit([_job() for _ in range(jobs)])
        begun = time.monotonic()
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        _wait_for_all(client)
        backlog = jobs / (time.monotonic() - begun)

        begun = time.monotonic()
        client.submit([_job() for _ in range(jobs)])
        _wait_for_all(client)
        all_in = jobs / (time.monotonic() - begun)

        delays = []
        for _ in range(LATENCY_JOBS):
            begun = time.monotonic()
            done = client.submit_and_wait(_job())
            delays.append(done.result["started"] - begun)
    return backlog, all_in, delays


def _wait_for_all(client):
    """A job behind all others ends: at most the last few of them are still at work."""
    client.submit_and_wait(_job(priority=-1))


def _job(priority=0):
    return NewJob(order="{}", source="rest", endpoint="/noop", cost=0.0005, priority=priority)


# -- huey --------------------------------------------------------------------------------------
def huey_queue(path):
    from huey import SqliteHuey

    # huey's own defaults, but for the one that it leaves to SQLite's build: every commit is synced.
    return SqliteHuey(filename=str(path), fsync=True)


def huey_worker(path, starts):
    """One process of huey's consumer, with one worker thread and no extras."""
    queue = huey_queue(path)
    _huey_task(queue, starts)
    # Its default poll of 100 ms, growing to 10 s, would only show itself; 5 ms flatter it.
    consumer = queue.create_consumer(workers=1, periodic=False, initial_delay=0.005, backoff=1.0)
    consumer.run()


def _huey_task(queue, starts):
    @queue.task(name="noop")
    def noop():
        starts.put(time.monotonic())

    return noop


def huey(folder, jobs, workers):
    context = multiprocessing.get_context("spawn")
    starts = context.Queue()
    path = folder / "huey.db"
    noop = _huey_task(huey_queue(path), starts)
    for _ in range(jobs):
        noop()
    processes = [
        context.Process(target=huey_worker, args=(path, starts), daemon=True)
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        # Its workers do not start at the same moment, so only the time when all are there counts.
        seen = sorted(starts.get(timeout=600) for _ in range(jobs))[jobs // 3 :]
        backlog = (len(seen) - 1) / (seen[-1] - seen[0])

        begun = time.monotonic()
        for _ in range(jobs):
            noop()
        for _ in range(jobs):
            starts.get(timeout=600)
        all_in = jobs / (time.monotonic() - begun)
        delays = [_huey_one(noop, starts) for _ in range(LATENCY_JOBS)]
    finally:
        for process in processes:
            process.kill()
            process.join()
    return backlog, all_in, delays


def _huey_one(noop, starts):
    begun = time.monotonic()
    noop()
    return starts.get(timeout=60) - begun


# -- the comparison ----------------------------------------------------------------------------
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20_000, help="per round, of ours with prefetch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=4)
    given = parser.parse_args()

    contenders = {
        "ours, one at a time": lambda d: ours(d, given.jobs // 4, given.workers, 1),
        "ours, prefetch 32": lambda d: ours(d, given.jobs, given.workers, 32),
        "huey SqliteHuey": lambda d: huey(d, given.jobs // 20, given.workers),
    }
    backlogs, all_ins, delays = ({name: [] for name in contenders} for _ in range(3))
    for number in range(given.rounds):
        names = list(contenders)
        for name in names[number % 3 :] + names[: number % 3]:
            with tempfile.TemporaryDirectory() as folder:
                backlog, all_in, some = contenders[name](Path(folder))
            backlogs[name].append(backlog)
            all_ins[name].append(all_in)
            delays[name] += some

    print(f"{given.workers} workers, {given.rounds} rounds, load {os.getloadavg()[0]:.1f}; medians")
    heads = ("backlog/s", "best", "x huey", "all in/s", "best", "x huey", "start ms", "p99")
    print(f"{'':20}" + "".join(f"{head:>10}" for head in heads))
    for name in contenders:
        some = sorted(delays[name])
        figures = [
            *_rates(backlogs, name),
            *_rates(all_ins, name),
            f"{1000 * statistics.median(some):.2f}",
            f"{1000 * some[int(len(some) * 0.99)]:.2f}",
        ]
        print(f"{name:20}" + "".join(f"{figure:>10}" for figure in figures))


def _rates(rates, name):
    middle = statistics.median(rates[name])
    base = statistics.median(rates["huey SqliteHuey"])
    return f"{middle:.0f}", f"{max(rates[name]):.0f}", f"{middle / base:.1f}"


if __name__ == "__main__":
    # huey names a task after its module, which must have the same name in its workers.
    from bench.queue import main as main_by_name

    main_by_name()
