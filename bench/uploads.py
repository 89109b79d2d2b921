"""Many clients that upload at once: memory of the server, and whether it still answers.

    python -m bench.uploads [--clients 48] [--megabytes 100] [--folder DIR]

Each client PUTs a file of its own into the staging area of a real daemon while
`/healthz` is asked over and over. Printed are the server process's memory (the
most that was resident, pages that only map files left out), the bytes that it
read from and wrote to files for each byte that came in, how long `/healthz`
took, and whether every file arrived whole. `--form` sends them as
the sounds of forms to an operation that refuses them (they are no sounds).
The exit code is 1 where a goal is missed: 300 MB, and 50 ms at the median.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.whole.living import Living, living

MAX_MEMORY = 300_000_000
MAX_MEDIAN = 0.05
_BLOCK = bytes(range(256)) * 1024
_PAUSE = 0.02  # seconds between two looks


@dataclass
class Seen:
    """What came of one run. Times in seconds, memory in bytes."""

    memory: int = 0
    health: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    seconds: float = 0.0
    read: int = 0
    written: int = 0

    @property
    def median(self) -> float:
        """How long `/healthz` took."""
        return statistics.median(self.health)


def resident(pid: int) -> int:
    """Bytes of a process's own memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} tells no RssAnon")


def moved(pid: int) -> tuple[int, int]:
    """Bytes that a process has read and written, those of its sockets left out."""
    told = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(told["rchar"]), int(told["wchar"])


def upload(address: str, path: str, size: int, *, form: bool) -> int:
    """Send so many bytes; the status of the answer."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=600)
    head, tail = b"", b""
    if form:
        head = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        tail = (
            b'\r\n--edge\r\nContent-Disposition: form-data; name="nonsense"\r\n\r\n1'
            b"\r\n--edge--\r\n"
        )
        connection.putrequest("POST", "/v1/audio/info")
        connection.putheader("Content-Type", "multipart/form-data; boundary=edge")
    else:
        connection.putrequest("PUT", f"/v1/files/{path}")
    connection.putheader("Content-Length", str(len(head) + size + len(tail)))
    connection.endheaders(head)
    left = size
    while left:
        count = min(left, len(_BLOCK))
        connection.send(_BLOCK[:count])
        left -= count
    connection.send(tail)
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply.status


def measure(daemon: Living, clients: int, size: int, *, form: bool = False) -> Seen:
    """Upload from all clients at once, and look at the server meanwhile."""
    seen = Seen()
    busy = threading.Event()
    busy.set()

    def send(number: int) -> None:
        seen.statuses.append(upload(daemon.address, f"{number}.bin", size, form=form))

    def look() -> None:
        while busy.is_set():
            connection = http.client.HTTPConnection(urlsplit(daemon.address).netloc, timeout=60)
            began = time.perf_counter()
            connection.request("GET", "/healthz")
            assert connection.getresponse().read()
            seen.health.append(time.perf_counter() - began)
            connection.close()
            seen.memory = max(seen.memory, resident(daemon.process.pid))
            threading.Event().wait(_PAUSE)

    threads = [threading.Thread(target=send, args=[number]) for number in range(clients)]
    watching = threading.Thread(target=look)
    read, written = moved(daemon.process.pid)
    began = time.perf_counter()
    for thread in [watching, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    seen.seconds = time.perf_counter() - began
    busy.clear()
    watching.join()
    now_read, now_written = moved(daemon.process.pid)
    seen.read, seen.written = now_read - read, now_written - written
    return seen


def main() -> int:
    """Print what was seen; the exit code is 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=48)
    parser.add_argument("--megabytes", type=int, default=100, help="size of each file")
    parser.add_argument("--folder", help="where the data go; default the temporary folder")
    parser.add_argument("--form", action="store_true", help="as forms instead of PUT")
    given = parser.parse_args()
    size = given.megabytes * 1_000_000
    with (
        tempfile.TemporaryDirectory(dir=given.folder) as folder,
        living(Path(folder) / "data", AUDIOLLA_MAX_UPLOAD_BYTES=str(size)) as daemon,
    ):
        before = resident(daemon.process.pid)
        seen = measure(daemon, given.clients, size, form=given.form)
        whole = [f["size"] for f in daemon.get("/v1/files")["files"]]
    expected = [422] * given.clients if given.form else [201] * given.clients
    arrived = [] if given.form else [size] * given.clients
    slow = statistics.quantiles(seen.health, n=20)[-1] if len(seen.health) > 1 else seen.median
    fine = (
        seen.statuses == expected
        and whole == arrived
        and seen.memory < MAX_MEMORY
        and seen.median < MAX_MEDIAN
    )
    told = {
        "clients": given.clients,
        "megabytes_each": given.megabytes,
        "seconds": round(seen.seconds, 2),
        "megabytes_per_second": round(given.clients * given.megabytes / seen.seconds, 1),
        "memory_before_mb": round(before / 1e6, 1),
        "memory_most_mb": round(seen.memory / 1e6, 1),
        "read_per_byte": round(seen.read / (given.clients * size), 3),
        "written_per_byte": round(seen.written / (given.clients * size), 3),
        "healthz_median_ms": round(seen.median * 1e3, 2),
        "healthz_p95_ms": round(slow * 1e3, 2),
        "healthz_most_ms": round(max(seen.health) * 1e3, 2),
        "healthz_asked": len(seen.health),
        "statuses": {str(s): seen.statuses.count(s) for s in sorted(set(seen.statuses))},
        "goals_met": fine,
    }
    print(json.dumps(told, indent=2))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
