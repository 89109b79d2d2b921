"""A hot folder whose jobs are really run, by the runner, one after the other in this process."""

from daemon import runner
from daemon.client import News
from daemon.execution import Claim
from daemon.faults import fault_of
from daemon.shelves import shelf_of
from tests.daemon.inboxes import Studio


class Bench:
    """A worker's context without a worker."""

    lane = "cpu"
    recall = None

    def __init__(self, settings, job):
        self.settings = settings
        self.job = job
        self.scratch = settings.scratch / job
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.shelf = shelf_of(settings, "cpu")

    def progress(self, fraction, step):
        pass

    def intend(self, intent):
        return []

    def first(self, key, *, take=False):
        return None  # every sound is new


class Workshop(Studio):
    """A studio with a worker."""

    def work(self):
        """Run every job that waits, and tell the manager."""
        for job in [j for j in self.queue.jobs.values() if j.state == "pending"]:
            claim = Claim(id=job.id, attempt=1, order=job.order)
            try:
                done = runner.run(claim, Bench(self.settings, job.id))
            except Exception as wrong:  # noqa: BLE001  # as the worker's: whatever a job raises ends the job
                fault = fault_of(wrong, "cpu")
                facts = {"error_kind": fault.kind, "error": fault.detail}
                facts["completed"] = self.clock.now()
                self.queue.end(job.id, "failed", **facts)
                state = "failed"
            else:
                self.queue.end(job.id, "completed", result=done.result)
                state = "completed"
            self.manager.heard(News(state=state, id=job.id))
        self.manager.turn()

    def deliver(self, rel, data):
        """Drop a file and have it delivered; its job."""
        before = set(self.queue.jobs)
        self.drop(rel, data)
        self.pass_time(2.5)
        self.work()
        (job,) = set(self.queue.jobs) - before
        return self.queue.jobs[job]
