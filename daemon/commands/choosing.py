"""Chooses who runs a command's tasks: the daemon, if it is there, or children of the command."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence

from daemon import wire
from daemon.client import Client, QueueUnavailable
from daemon.commands.running import Children, Ended, Runner, Task, Tell
from daemon.jobs import Job, NewJob, NoSuchJob
from daemon.settings import Settings


def runner(settings: Settings, *, local: bool) -> Runner:
    """The daemon's queue if its socket answers, else child processes."""
    if not local and is_running(settings):
        return OnQueue(settings)
    return Children(settings)


def is_running(settings: Settings) -> bool:
    """True when a dispatcher takes connections."""
    try:
        wire.connect(settings.socket, 1.0).close()
    except OSError:
        return False
    return True


class OnQueue:
    """Jobs of the command on the daemon's queue."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, tasks: Sequence[Task], tell: Tell) -> Iterator[Ended]:
        """Submit all, then yield them in order as they end; leaving early cancels the rest."""
        left = {task.id for task in tasks}
        with Client(self._settings.socket) as client:
            news = client.subscribe()

            def pass_on() -> None:
                for one in news:
                    if one.id in left and one.progress is not None:
                        tell(one.id, one.progress, one.step or "")

            threading.Thread(target=pass_on, daemon=True).start()
            client.submit([_new_job(task, self._settings) for task in tasks])
            try:
                for task in tasks:
                    try:
                        ended = _ended(task, client.wait(task.id))
                    except (NoSuchJob, QueueUnavailable) as wrong:
                        ended = Ended(task, None, f"the daemon lost it: {wrong}")
                    left.discard(task.id)
                    yield ended
            finally:
                for job_id in left:
                    with contextlib.suppress(QueueUnavailable, NoSuchJob):
                        client.cancel(job_id)


def _new_job(task: Task, settings: Settings) -> NewJob:
    return NewJob(
        id=task.id,
        order=task.order.model_dump_json(exclude_defaults=True),
        source="cli",
        endpoint=task.endpoint,
        input_name=task.name,
        lane=task.lane,
        share="cli",
        max_attempts=settings.job_max_attempts,
    )


def _ended(task: Task, job: Job) -> Ended:
    if job.state == "completed":
        return Ended(task, job.result or {})
    why = job.error or "it was cancelled"
    return Ended(task, None, why, job.error_hint)
