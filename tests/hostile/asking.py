"""Hostile inputs over HTTP to a whole daemon, and what it says to them."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.hostile.inputs import Hostile

#: What an answer must never be: the server broke, a gateway broke, or gave up.
NEVER = frozenset({500, 502, 504})


def routes() -> list[str]:
    """Operations that take one sound, need no parameter and no model, on any machine."""
    from handlers.engines.declare import Lane
    from handlers.errors import AudiollaError
    from handlers.registry import operations

    cpu: Lane = "cpu"
    found: list[str] = []
    for op in operations().values():
        if op.sound is None or "{" in op.route or any(i.item is not None for i in op.inputs):
            continue
        try:
            op.read_params({}, strict=True)
        except AudiollaError:
            continue
        if op.lane_for({}) == cpu and not op.engines:
            found.append(op.route)
    return found


@dataclass
class Answers:
    """What a daemon said to many."""

    statuses: Counter[int] = field(default_factory=Counter)
    #: Input, route and body of answers that must not be.
    broken: list[tuple[Hostile, str, int, str]] = field(default_factory=list)
    #: Bodies that say they are JSON and are not, to the letter.
    loose: list[tuple[Hostile, str]] = field(default_factory=list)


def _strict(text: bytes) -> Any:
    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def ask_all(address: str, inputs: Iterable[Hostile], to: list[str]) -> Answers:
    """Upload each to one of these routes, in turn."""
    answers = Answers()
    host = urllib.parse.urlsplit(address).netloc
    connection = http.client.HTTPConnection(host, timeout=300)
    for hostile in inputs:
        route = to[hostile.number % len(to)]
        body = (
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="'
            + os.fsencode(hostile.name)
            + b'"\r\n\r\n'
            + hostile.data
            + b"\r\n--x--\r\n"
        )
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        connection.request("POST", route, body, headers)
        reply = connection.getresponse()
        said = reply.read()
        answers.statuses[reply.status] += 1
        if reply.status in NEVER:
            answers.broken.append(
                (hostile, route, reply.status, said[:300].decode(errors="replace"))
            )
        if reply.headers.get_content_type() == "application/json":
            try:
                _strict(said)
            except ValueError:
                answers.loose.append((hostile, route))
    connection.close()
    return answers


def _children(pid: int) -> dict[int, list[bytes]]:
    """Arguments of the processes that one has started, by id."""
    found: dict[int, list[bytes]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == pid:
                found[int(entry.name)] = (entry / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since
    return found


def processes(daemon_pid: int) -> dict[int, str]:
    """The daemon's processes that open nothing of strangers: the API and the dispatcher."""
    children = _children(daemon_pid).items()
    return {daemon_pid: "api"} | {
        pid: "dispatcher" for pid, words in children if b"daemon.dispatcher" in words
    }


def workers(daemon_pid: int) -> list[int]:
    """Process ids of the daemon's workers, once there are any."""
    found: list[int] = []
    end = time.monotonic() + 60
    while not found and time.monotonic() < end:
        for pid in processes(daemon_pid):
            for child, words in _children(pid).items():
                if b"daemon.walls.entry" in words:
                    found.append(child)
    return found
