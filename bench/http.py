"""Requests per second and added latency of our door, beside FastAPI on the same work.

    python -m bench.http [--rounds N] [--seconds S] [--clients 1 16] [--data-dir DIR]

`info` and `trim` on a 10-second stereo WAV: a multipart upload in, the report or
the sound in the reply. Ours is the daemon as anybody runs it, with its durable
queue and its workers, keeping no results of analyses. The peer
(`bench.http_peer`) calls the libraries in the threads of one uvicorn process
per core, with uvloop and httptools. The clients, raw sockets that stay
connected, are the same; rounds are interleaved, so that the neighbours on the
machine disturb both alike. No two requests bring the same bytes.

Processor time per request, of each server with all of its processes, says
what a busy machine does not hide. Added latency is the median of a request
minus the median of the bare library
call in this process, at one client.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import soundfile

from bench.http_peer import info_of, trimmed
from tests.whole.living import Living, living

SECONDS, RATE = 10, 44_100
_EDGE = b"bench-boundary"
FIELDS = {"info": {}, "trim": {"start_sec": "2", "end_sec": "7"}}
_UNIQUE = itertools.count(1)


def sound() -> bytes:
    """Ten seconds of stereo noise as a 16-bit WAV."""
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, (SECONDS * RATE, 2)).astype(np.float32)
    path = Path(tempfile.mkdtemp()) / "ten.wav"
    soundfile.write(path, noise, RATE, subtype="PCM_16")
    data = path.read_bytes()
    path.unlink()
    path.parent.rmdir()
    return data


@dataclass
class Request:
    """One request, whose sound is another one each time."""

    path: str
    head: bytes
    wav: bytes
    tail: bytes

    def written(self) -> bytes:
        """Its bytes."""
        mark = next(_UNIQUE).to_bytes(8, "little")
        return b"".join((self.head, self.wav[:5000], mark, self.wav[5008:], self.tail))


def request(name: str, wav: bytes) -> Request:
    """What a client sends for one operation."""
    parts = b"".join(
        b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
        % (_EDGE, field.encode(), text.encode())
        for field, text in FIELDS[name].items()
    )
    before = (
        parts + b'--%s\r\nContent-Disposition: form-data; name="file"; filename="ten.wav"\r\n'
        b"Content-Type: audio/wav\r\n\r\n" % _EDGE
    )
    after = b"\r\n--%s--\r\n" % _EDGE
    head = (
        f"POST /v1/audio/{name} HTTP/1.1\r\nHost: bench\r\n"
        f"Content-Type: multipart/form-data; boundary={_EDGE.decode()}\r\n"
        f"Content-Length: {len(before) + len(wav) + len(after)}\r\n\r\n"
    ).encode()
    return Request(f"/v1/audio/{name}", head + before, wav, after)


class Client:
    """One connection that stays open."""

    def __init__(self, address: str) -> None:
        where = urlsplit(address)
        assert where.hostname
        assert where.port
        self._socket = socket.create_connection((where.hostname, where.port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, data: bytes) -> tuple[int, int]:
        """Send a request; its status and the bytes of its answer."""
        self._socket.sendall(data)
        reply = http.client.HTTPResponse(self._socket, method="POST")
        reply.begin()
        size = len(reply.read())
        status = reply.status
        reply.close()
        return status, size

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def load(address: str, made: Request, clients: int, seconds: float) -> tuple[float, list[float]]:
    """Requests per second, and the seconds that each took."""
    taken: list[list[float]] = [[] for _ in range(clients)]
    ready = threading.Barrier(clients + 1)
    failed: list[str] = []
    end = 0.0

    def work(mine: list[float]) -> None:
        client = Client(address)
        ready.wait()
        ready.wait()
        while time.perf_counter() < end:
            data = made.written()
            began = time.perf_counter()
            status, size = client.ask(data)
            mine.append(time.perf_counter() - began)
            if status != 200 or not size:
                failed.append(f"{made.path}: {status}")
                break
        client.close()

    threads = [threading.Thread(target=work, args=[mine]) for mine in taken]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    end = began + seconds
    ready.wait()
    for thread in threads:
        thread.join()
    passed = time.perf_counter() - began
    if failed:
        raise SystemExit(f"{address} refused a request: {failed[0]}")
    return sum(map(len, taken)) / passed, [one for mine in taken for one in mine]


def bare(name: str, wav: bytes, folder: Path, times: int = 60) -> float:
    """Median seconds of the library call alone, on a file."""
    path = folder / "bare.wav"
    path.write_bytes(wav)
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        with path.open("rb") as file:
            info_of(file) if name == "info" else trimmed(file, 2.0, 7.0)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


@contextmanager
def peer() -> Iterator[tuple[str, int]]:
    """The address of the peer and its process, while it runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "bench.http_peer:app", "--port", str(port)]
    command += ["--workers", str(os.cpu_count() or 1), "--log-level", "warning"]
    # On a busy machine it would kill its own workers for being slow.
    command += ["--no-access-log", "--timeout-worker-healthcheck", "120"]
    process = subprocess.Popen(command)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.1)
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(30)


def busy(pid: int) -> float:
    """Seconds of processor time that a process and all that it started have taken."""
    times: dict[int, tuple[int, float]] = {}
    tick = os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(") ")[2].split()
            times[int(stat.parent.name)] = int(fields[1]), sum(map(int, fields[11:13])) / tick
    family = [pid]
    for one in family:
        family += [child for child, (parent, _) in times.items() if parent == one]
    return sum(times[one][1] for one in family if one in times)


def warm(daemon: Living) -> None:
    """Wait until every worker of the daemon is ready."""
    for _ in range(600):
        text = http.client.HTTPConnection(urlsplit(daemon.address).netloc, timeout=30)
        text.request("GET", "/readyz")
        reply = text.getresponse()
        reply.read()
        text.close()
        if reply.status == 200:
            return
        time.sleep(0.1)
    raise SystemExit("the workers did not get warm")


def main() -> int:
    """Print the comparison; the exit code is 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--data-dir", help="folder for the daemon's data")
    parser.add_argument("--json", help="write the figures to this file")
    given = parser.parse_args()
    wav = sound()
    made = {name: request(name, wav) for name in FIELDS}
    rates: dict[tuple[str, str, int], list[float]] = {}
    times: dict[tuple[str, str, int], list[float]] = {}
    costs: dict[tuple[str, str, int], list[float]] = {}
    with tempfile.TemporaryDirectory(dir=given.data_dir) as folder:
        alone = {name: bare(name, wav, Path(folder)) for name in FIELDS}
        with living(Path(folder) / "data", AUDIOLLA_RECALL_BYTES="0") as daemon, peer() as other:
            warm(daemon)
            addresses = {"ours": daemon.address, "fastapi": other[0]}
            processes = {"ours": daemon.process.pid, "fastapi": other[1]}
            for who, name in itertools.product(addresses, FIELDS):
                load(addresses[who], made[name], 4, 1.0)  # every worker has done it once
            for number in range(given.rounds):
                for clients, name in itertools.product(given.clients, FIELDS):
                    for who in sorted(addresses, reverse=number % 2 == 0):
                        before = busy(processes[who])
                        rate, took = load(addresses[who], made[name], clients, given.seconds)
                        spent = busy(processes[who]) - before
                        costs.setdefault((who, name, clients), []).append(spent / len(took))
                        rates.setdefault((who, name, clients), []).append(rate)
                        times.setdefault((who, name, clients), []).extend(took)
    return _tell(rates, times, costs, alone, given)


def _tell(
    rates: dict[tuple[str, str, int], list[float]],
    times: dict[tuple[str, str, int], list[float]],
    costs: dict[tuple[str, str, int], list[float]],
    alone: dict[str, float],
    given: argparse.Namespace,
) -> int:
    most = max(given.clients)
    fine = True
    told = []
    print(f"{given.rounds} rounds of {given.seconds:g} s, load {os.getloadavg()[0]:.1f}; medians")
    print(
        f"{'':6}{'clients':>8}{'ours/s':>9}{'peer/s':>9}{'ratio':>7}{'ours ms':>9}"
        f"{'p95':>8}{'peer ms':>9}{'p95':>8}{'added ms':>10}{'peer adds':>10}"
        f"{'cpu ms':>8}{'peer':>7}"
    )
    for name, clients in itertools.product(FIELDS, given.clients):
        ours, theirs = ("ours", name, clients), ("fastapi", name, clients)
        per_second = [statistics.median(rates[who]) for who in (ours, theirs)]
        middle = [1e3 * statistics.median(times[who]) for who in (ours, theirs)]
        slow = [1e3 * sorted(times[who])[int(len(times[who]) * 0.95)] for who in (ours, theirs)]
        added = [each - 1e3 * alone[name] for each in middle]
        cost = [1e3 * statistics.median(costs[who]) for who in (ours, theirs)]
        ratio = per_second[0] / per_second[1]
        print(
            f"{name:6}{clients:8}{per_second[0]:9.1f}{per_second[1]:9.1f}{ratio:7.2f}"
            f"{middle[0]:9.2f}{slow[0]:8.2f}{middle[1]:9.2f}{slow[1]:8.2f}"
            f"{added[0]:10.2f}{added[1]:10.2f}{cost[0]:8.2f}{cost[1]:7.2f}"
        )
        told.append(
            {
                "op": name,
                "clients": clients,
                "per_second": per_second,
                "ms": middle,
                "p95_ms": slow,
                "ratio": ratio,
                "added_ms": added,
                "cpu_ms": cost,
            }
        )
        fine &= clients != most or ratio >= 1.0
        fine &= clients != 1 or added[0] < 15.0
    print(f"goals (1.0 at {most} clients, under 15 ms added at one): {'met' if fine else 'missed'}")
    if given.json:
        Path(given.json).write_text(json.dumps(told, indent=2) + "\n")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
