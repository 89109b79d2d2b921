"""Jobs per second and enqueue-to-start latency of no-op jobs, beside huey on the same work.

    python -m bench.queue [--jobs N] [--rounds N] [--workers N]

Three contenders with as many worker processes each: our queue handing out one job at a time, our
queue with prefetch, and huey's SqliteHuey. All write with `synchronous=FULL`. Rounds are
interleaved, so that the neighbours on the machine disturb all of them alike.

- jobs/s: N jobs are submitted, then counted until the last one has ended, submission included.
- latency: one job at a time, from before the call that submits it to the first line of the job,
  both read from `CLOCK_MONOTONIC`.
"""

import argparse
import multiprocessing
import os
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
        news = client.subscribe()
        begun = time.monotonic()
        client.submit([_job() for _ in range(jobs)])
        left = jobs
        for one in news:
            left -= one.state == "completed"
            if not left:
                break
        rate = jobs / (time.monotonic() - begun)
        news.close()
        delays = []
        for _ in range(LATENCY_JOBS):
            begun = time.monotonic()
            done = client.submit_and_wait(_job())
            delays.append(done.result["started"] - begun)
    return rate, delays


def _job():
    return NewJob(order="{}", source="rest", endpoint="/noop", cost=0.0005)


# -- huey --------------------------------------------------------------------------------------
def huey_queue(path):
    from huey import SqliteHuey

    # huey's own defaults, but for the one that it leaves to SQLite's build: every commit is synced.
    return SqliteHuey(filename=str(path), fsync=True)


def huey_worker(path, count, starts):
    """One process of huey's consumer, with one worker thread and no extras."""
    queue = huey_queue(path)
    _huey_task(queue, count, starts)
    # Its default poll of 100 ms, growing to 10 s, would only show itself; 5 ms flatter it.
    consumer = queue.create_consumer(workers=1, periodic=False, initial_delay=0.005, backoff=1.0)
    consumer.run()


def _huey_task(queue, count, starts):
    @queue.task(name="noop")
    def noop():
        if starts is not None:
            starts.put(time.monotonic())
        with count.get_lock():
            count.value += 1

    return noop


def huey(folder, jobs, workers):
    context = multiprocessing.get_context("spawn")
    count, starts = context.Value("i", 0), context.Queue()
    path = folder / "huey.db"
    queue = huey_queue(path)
    noop = _huey_task(queue, count, None)
    processes = [
        context.Process(target=huey_worker, args=(path, count, starts), daemon=True)
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        _huey_one(noop, starts)
        begun = time.monotonic()
        for _ in range(jobs):
            noop()
        for _ in range(jobs):
            starts.get(timeout=600)
        rate = jobs / (time.monotonic() - begun)
        delays = [_huey_one(noop, starts) for _ in range(LATENCY_JOBS)]
    finally:
        for process in processes:
            process.kill()
            process.join()
    return rate, delays


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
    rates = {name: [] for name in contenders}
    delays = {name: [] for name in contenders}
    for number in range(given.rounds):
        names = list(contenders)
        for name in names[number % 3 :] + names[: number % 3]:
            with tempfile.TemporaryDirectory() as folder:
                rate, some = contenders[name](Path(folder))
            rates[name].append(rate)
            delays[name] += some

    print(f"{given.workers} workers, {given.rounds} rounds, load {os.getloadavg()[0]:.1f}")
    print(f"{'':22}{'jobs/s':>10}{'best':>10}{'x huey':>8}{'start ms':>10}{'p99':>8}")
    base = statistics.median(rates["huey SqliteHuey"])
    for name in contenders:
        rate, some = statistics.median(rates[name]), sorted(delays[name])
        p99 = some[int(len(some) * 0.99)]
        print(
            f"{name:22}{rate:10.0f}{max(rates[name]):10.0f}{rate / base:8.1f}"
            f"{1000 * statistics.median(some):10.2f}{1000 * p99:8.1f}"
        )


if __name__ == "__main__":
    # huey names a task after its module, which must have the same name in its workers.
    from bench.queue import main as main_by_name

    main_by_name()
