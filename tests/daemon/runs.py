"""Run functions for worker processes in tests: jobs without sound, told what to do by their order.

An order is JSON: `{"do": name, ...}`. The functions stand where `daemon.runner.run` stands.
"""

import ctypes
import hashlib
import os
import signal
import sys
import threading
from pathlib import Path

import orjson

from daemon.delivery import publish
from daemon.execution import Finished, HandOver, Intent, Placement
from handlers.errors import BadParameter, StorageFull

_moment = threading.Event()  # never set: its wait is a pause


def nothing(claim, context):
    return Finished(result={})


def does_not_load(claim, context):
    raise AssertionError("never reached")


def scripted(claim, context):
    order = orjson.loads(claim.order)
    return _SCRIPTS[order.pop("do")](claim, context, **order)


def _nothing(claim, context):
    return Finished(result={"attempt": claim.attempt, "pid": os.getpid()})


def _listen(claim, context, until="/nonexistent"):
    """Work that says how far it is, until a file appears."""
    while not Path(until).exists():
        context.progress(0.5, "listen")
        _moment.wait(0.005)
    return Finished(result={"attempt": claim.attempt})


def _deaf(claim, context, until="/nonexistent", **_):
    """Work that never looks up."""
    while not Path(until).exists():
        _moment.wait(0.005)
    return Finished(result={"attempt": claim.attempt})


def _frozen(claim, context):
    """Work that keeps the interpreter to itself, so that no thread of the worker runs."""
    ctypes.PyDLL(None).sleep(60)
    return Finished(result={})


def _spin(claim, context, **_):
    while True:
        pass


def _eat(claim, context, **_):
    """Takes 400 MB in one go, and keeps them."""
    kept = bytearray(os.urandom(4096)) * 100_000
    _moment.wait(60)
    return Finished(result={"size": len(kept)})


def _litter(claim, context, **_):
    """Fills its scratch folder: 24 MB, of which nobody has an open file any more."""
    for number in range(24):
        (context.scratch / str(number)).write_bytes(os.urandom(2**20))
    _moment.wait(60)
    return Finished(result={})


def _draft(claim, context, folder, **_):
    """Writes a result that grows and grows."""
    with (Path(folder) / f".audiolla-{claim.id}-0.part").open("wb") as file:
        for _ in range(24):
            file.write(os.urandom(2**20))
        file.flush()
        _moment.wait(60)
    return Finished(result={})


def _die(claim, context, by="SIGKILL", words="", attempts=99):
    if claim.attempt > attempts:
        return Finished(result={"attempt": claim.attempt})
    print(words, file=sys.stderr, flush=True)
    os.kill(os.getpid(), getattr(signal, by))
    raise AssertionError("a dead process goes on")


def _fail_for_a_while(claim, context, times):
    if claim.attempt <= times:
        raise StorageFull("no space left for out.wav")
    return Finished(result={"attempt": claim.attempt})


def _refuse(claim, context):
    refusal = BadParameter("freq = 99999: too high", field="freq", hint="use less than 24000")
    refusal.step, refusal.op = 2, "eq"
    raise refusal


def _break(claim, context):
    raise RuntimeError("a bug")


def _unspeakable(claim, context):
    return Finished(result={"what": object()})


def _report(claim, context, words=1000):
    for number in range(words):
        context.progress(number / words, "report")
        _moment.wait(0.001)
    return Finished(result={})


def _travel(claim, context):
    """Three segments: cpu, gpu, cpu. Each writes where it ran."""
    place = context.scratch / "places"
    with place.open("a") as file:
        file.write(f"{os.getpid()} ")
    if claim.next_step < 2:
        lane = "gpu" if claim.next_step == 0 else "cpu"
        finished = [*claim.finished, {"step": claim.next_step}]
        return HandOver(next_step=claim.next_step + 1, lane=lane, carried=place, finished=finished)
    pids = [int(pid) for pid in Path(claim.carried).read_text().split()]
    return Finished(result={"pids": pids, "finished": claim.finished, "attempt": claim.attempt})


def content(job):
    """The bytes that a delivering job must write, 48 KiB that only fit this job."""
    return hashlib.sha256(job.encode()).digest() * 1536


def _deliver(claim, context, folder, name, pause=0.0):
    """Write a file in pieces, promise its name, give it the name: the runner's way."""
    if claim.intent is not None:
        assert publish(claim.intent) == []
        return Finished(result=claim.intent.result)
    part = Path(folder) / f".audiolla-{claim.id}-0.part"
    data = content(claim.id)
    with part.open("wb") as file:
        for start in range(0, len(data), 8192):
            file.write(data[start : start + 8192])
            file.flush()
            context.progress(start / len(data), "write")
            _moment.wait(pause / 6)
        os.fsync(file.fileno())
    stat = part.stat()
    final = Path(folder) / name
    number = 1
    while True:
        while final.exists():
            number += 1
            final = Path(folder) / f"{Path(name).stem} ({number}).bin"
        intent = Intent(
            placements=[Placement(part=part, final=final, inode=stat.st_ino, size=stat.st_size)],
            result={"path": str(final), "attempt": claim.attempt},
        )
        if not context.intend(intent) and not publish(intent):
            return Finished(result=intent.result)
        number += 1
        final = Path(folder) / f"{Path(name).stem} ({number}).bin"


_SCRIPTS = {
    "nothing": _nothing,
    "listen": _listen,
    "deaf": _deaf,
    "frozen": _frozen,
    "spin": _spin,
    "eat": _eat,
    "litter": _litter,
    "draft": _draft,
    "die": _die,
    "fail for a while": _fail_for_a_while,
    "refuse": _refuse,
    "break": _break,
    "unspeakable": _unspeakable,
    "report": _report,
    "travel": _travel,
    "deliver": _deliver,
}

_hoard = []


def hungry(claim, context):
    """Takes 300 MB and keeps them; the limit of such a worker is lowered by the test's settings."""
    _hoard.append(b"x" * 300 * 2**20)
    return Finished(result={"pid": os.getpid()})
