"""A dispatcher with its workers as real processes, for tests."""

import time
from contextlib import contextmanager

import orjson

from daemon.client import Client
from daemon.jobs import NewJob
from daemon.process import DispatcherProcess
from daemon.reader import JobReader
from daemon.settings import Settings

PATIENCE = 120.0  # seconds; a busy machine may be slow, a test that hangs is wrong


def job(do, *, source="cli", endpoint="/test", **about):
    """A job whose order says what to do; fields of `NewJob` are told from the order's."""
    fields = {name: about.pop(name) for name in list(about) if name in NewJob.__slots__}
    order = orjson.dumps({"do": do, **about}, default=str).decode()
    return NewJob(order=order, source=source, endpoint=endpoint, **fields)


class Running:
    """Everything that a test wants to know of a running queue."""

    def __init__(self, settings, options):
        self.settings = settings
        self.process = DispatcherProcess(settings, options=options)
        self.process.start()
        self.client = Client(settings.socket, timeout=PATIENCE)
        self.reader = JobReader(settings.database)

    def wait_warm(self):
        assert self.process.wait_warm(PATIENCE), "the workers did not get warm"

    def submit(self, *jobs):
        """Submit jobs and give their ids."""
        return [submitted.id for submitted in self.client.submit(jobs)]

    def run(self, new, seconds=PATIENCE):
        """Submit a job and give it back when it has ended."""
        return self.client.submit_and_wait(new, seconds)

    def workers(self, lane="cpu"):
        return [w for w in self.client.stats()["workers"] if w["lane"] == lane]

    def worker_of(self, job):
        return next(w for w in self.client.stats()["workers"] if job in w["jobs"])

    def close(self):
        self.client.close()
        self.process.stop(at_once=True)
        self.reader.close()


@contextmanager
def running(folder, *options, run="tests.daemon.runs:scripted", warm=True, **settings):
    """A running queue in a folder."""
    # Jobs of tests do whatever they are told, wherever; those of the runner stay inside.
    sandbox = "off" if run.startswith("tests.") else "auto"
    usual = {"cpu_workers": 2, "log_level": "WARNING", "sandbox": sandbox}
    settings = Settings(data_dir=folder, **{**usual, **settings})
    queue = Running(settings, ["--run", run, *options])
    try:
        if warm:
            queue.wait_warm()
        yield queue
    finally:
        queue.close()


def until(subscription, wanted, seconds=PATIENCE):
    """Hear news until one is wanted; give it."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        news = subscription.get(timeout=left)
        if news is not None and wanted(news):
            return news
    raise AssertionError("it did not happen in time")


def is_state(job, state):
    """Wanted: this job enters this state."""
    return lambda news: news.id == job and news.state == state and news.progress is None


def gets_going(job):
    """Wanted: the job itself says something, so it is really running."""
    return lambda news: news.id == job and news.progress is not None
