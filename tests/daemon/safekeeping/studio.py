"""A hot folder on a real database, in one process: jobs are really run, when the test says so."""

from daemon import runner
from daemon.client import News
from daemon.execution import Claim
from daemon.folders import FolderManager
from daemon.jobs import new_id
from daemon.queue import Policy, Queue
from daemon.reader import JobReader
from daemon.safekeeping.opening import open_store
from tests.daemon.contexts import Here
from tests.daemon.inboxes import Studio
from tests.sounds import noise, write_wav


class Desk:
    """What folders and commands ask of the dispatcher, answered at once."""

    def __init__(self, settings, clock):
        self.store = open_store(settings, clock)
        self.queue = Queue(self.store, Policy(), clock, lambda: 0.5)
        self.store.commit()

    def submit(self, jobs):
        answers = self.queue.submit(jobs)
        self.store.commit()
        return answers

    def retry(self, job):
        self.queue.retry(job)
        self.store.commit()

    def release(self, jobs):
        return sum(self.queue.release(job) for job in jobs)

    def close(self):
        self.store.commit()
        self.store.close()


class Workshop(Studio):
    """A studio whose queue is a database and whose jobs give real files."""

    def __init__(self, tmp_path, rules="rules: [{name: all, steps: [{trim: {end_sec: 0.05}}]}]"):
        super().__init__(tmp_path, rules)
        self.manager.stop()
        self.tmp = tmp_path
        self.sound = write_wav(noise(seconds=0.1), tmp_path / "noise.wav").read_bytes()
        self.open()

    def open(self):
        """Start: the database, then the folders."""
        self.desk = Desk(self.settings, self.clock)
        self.reader = JobReader(self.settings.database)
        self.manager = FolderManager(
            self.settings,
            self.desk,
            self.reader,
            clock=self.clock,
            new_job_id=new_id,
            listen=False,
        )

    def crash(self):
        """End at once: nothing is cleared up."""
        self.manager.stop()
        self.reader.close()
        self.desk.close()

    def drop_sounds(self, *names):
        for name in names:
            self.drop(name, self.sound)

    def work(self, most=10**6, *, tell=True):
        """Run what waits; without `tell`, nobody hears of it before the next start."""
        done = 0
        while done < most and (ready := list(self.desk.queue.next_jobs("cpu", 1))):
            (held,) = ready
            self.desk.queue.claim(held, "test")
            self.desk.store.commit()
            context = Here(self.tmp)
            context.settings = self.settings
            finished = runner.run(Claim.model_validate(_plain(held.claim())), context)
            self.desk.queue.complete(held, finished.result)
            self.desk.store.commit()
            done += 1
            if tell:
                self.manager.heard(News(state="completed", id=held.id))
        return done


def _plain(claim):
    return {name: value for name, value in claim.items() if isinstance(value, str | int | None)}
