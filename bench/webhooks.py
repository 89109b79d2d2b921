"""Kills the whole daemon between submit and delivery, and counts who was told.

    python -m bench.webhooks [--kills 100]

Every round submits a job with a webhook and an Idempotency-Key over HTTP, kills
every process of the daemon with SIGKILL (before it has answered, some
milliseconds later, when a job has completed, or when a webhook has come), and
submits the same again once the daemon is back, as a client does that cannot
know. Afterwards there must be one job for each key; each must have run to its
end once, and each webhook must have come at least once. Every second job may be
answered from the result cache, so that no worker is between its submission and
its end.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
import urllib.request
from contextlib import closing, suppress
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from tests.sounds import tone, write_wav
from tests.whole.living import Living

_PATIENCE = 120.0
#: When a round kills. Workers take a while to start: jobs pile up, and end in some round to come.
MOMENTS = ("at once", "at once", "at once", "completed", "told")


class Receiver(BaseHTTPRequestHandler):
    """Counts what it is told."""

    told: ClassVar[collections.Counter[str]] = collections.Counter()
    ids: ClassVar[collections.defaultdict[str, set[str]]] = collections.defaultdict(set)

    def do_POST(self) -> None:
        """Take one webhook."""
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["id"]
        self.told[job] += 1
        self.ids[job].add(self.headers["webhook-id"])
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def submit(address: str, sound: Path, hook: str, key: str, *, anew: bool) -> str | None:
    """The id of an acknowledged job; None where the server was not there to answer."""
    body = json.dumps({"file_path": sound.name, "async_job": True, "webhook_url": hook}).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    headers |= {"Cache-Control": "no-cache"} if anew else {}
    request = urllib.request.Request(f"{address}/v1/audio/loudness", body, headers)
    with suppress(OSError, HTTPException), urllib.request.urlopen(request, timeout=30) as reply:
        return str(json.load(reply)["job_id"])
    return None


def kill_everything(living: Living) -> None:
    """SIGKILL for the daemon and all of its processes, the daemon first."""
    listed = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid="], check=True, capture_output=True, text=True
    ).stdout
    parents = {int(pid): int(parent) for pid, parent in map(str.split, listed.splitlines())}
    family = [living.process.pid]
    for one in family:
        family += [pid for pid, parent in parents.items() if parent == one]
    for one in family:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    living.process.wait()


def main() -> int:
    """Print what was lost; the exit code is 1 if anything was."""
    parser = argparse.ArgumentParser(prog="bench.webhooks")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    dice = random.Random(args.seed)
    pause = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hook = f"http://127.0.0.1:{server.server_address[1]}/hook"
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        (data / "files").mkdir(parents=True)
        sound = write_wav(tone(440, seconds=1, peak_db=-6), data / "files/take.wav")
        environment = {"AUDIOLLA_FETCH_ALLOW_PRIVATE": "true", "AUDIOLLA_CPU_WORKERS": "1"}
        environment |= {"AUDIOLLA_JOB_MAX_DEATHS": "1000", "AUDIOLLA_JOB_TTL": "24h"}
        living = Living(data, environment)
        acknowledged: dict[str, set[str]] = {}
        retried = unanswered = 0
        began = time.monotonic()
        for number in range(args.kills):
            key, anew = f"kill-{number}", number % 2 == 0
            given: list[str | None] = []
            address = living.address

            def first(
                address: str = address,
                key: str = key,
                anew: bool = anew,
                given: list[str | None] = given,
            ) -> None:
                given.append(submit(address, sound, hook, key, anew=anew))

            asking = threading.Thread(target=first)
            asking.start()
            if dice.random() < 0.7:
                asking.join()
            wait_for(dice.choice(MOMENTS), data / "audiolla.db", pause)
            pause.wait(dice.choice([0.0, 0.002, 0.02, 0.2]) * dice.random())
            kill_everything(living)
            asking.join()
            living.start()
            unanswered += given == [None]
            given.append(submit(living.address, sound, hook, key, anew=anew))
            retried += given[-1] is not None
            acknowledged[key] = {one for one in given if one is not None}
        jobs = sorted({one for some in acknowledged.values() for one in some})
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and not all(Receiver.told[job] for job in jobs):
            pause.wait(0.2)
        story = look(data / "audiolla.db", jobs)
        story["retries_not_answered"] = args.kills - retried
        story["two_jobs_for_a_key"] = sum(len(some) > 1 for some in acknowledged.values())
        story["jobs_without_an_acknowledgement"] = story.pop("rows") - len(jobs)
        living.stop()
    broken = {name: count for name, count in story.items() if name != "told_more_than_once"}
    about = {"kills": args.kills, "jobs": len(jobs), "first_requests_unanswered": unanswered}
    about["seconds"] = round(time.monotonic() - began)
    print(json.dumps({**about, **story}))
    return int(any(broken.values()) or not jobs)


def wait_for(moment: str, database: Path, pause: threading.Event) -> None:
    """Wait until one more job has completed, or one more webhook has come."""

    def count() -> int:
        if moment == "told":
            return sum(Receiver.told.values())
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
            query = "SELECT count(*) FROM jobs WHERE state = 'completed'"
            return int(reader.execute(query).fetchone()[0])

    if moment == "at once":
        return
    before, end = count(), time.monotonic() + _PATIENCE / 4
    while count() == before and time.monotonic() < end:
        pause.wait(0.001)


def look(database: Path, jobs: list[str]) -> dict[str, Any]:
    """What became of every acknowledged job."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as reader:
        ends = dict(
            reader.execute(
                "SELECT jobs.id, count(*) FROM jobs JOIN job_events ON job_events.job = jobs.seq "
                "WHERE job_events.state = 'completed' GROUP BY jobs.id"
            )
        )
        rows = reader.execute("SELECT count(*) FROM jobs").fetchone()[0]
    return {
        "rows": rows,
        "untold": sum(not Receiver.told[job] for job in jobs),
        "unfinished": sum(not ends.get(job) for job in jobs),
        "completed_twice": sum(ends.get(job, 0) > 1 for job in jobs),
        "two_ids": sum(len(Receiver.ids[job]) > 1 for job in jobs),
        "told_more_than_once": sum(Receiver.told[job] > 1 for job in jobs),
    }


if __name__ == "__main__":
    raise SystemExit(main())
