"""Asks a real daemon everything that its OpenAPI document allows, and a good deal that it does not.

    python -m bench.openapi [--seconds 300] [--only REGEX] [--seed N]

schemathesis makes up the requests: the document's examples, then the edges of
every field, then whatever comes to it. A 500, a status, header or body that
the document does not tell of is a failure, and the exit code is 1. Streams of
events, which do not end, are left to the tests.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.scores import music
from tests.sounds import groove, write_wav
from tests.whole.living import living

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
_INTERRUPTED = 130
_ENDLESS = r"/events$"
#: 503 is an answer: weights that nobody has fetched, or too many who wait.
_CONFIG = """\
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 503]
"""


def main() -> int:
    """Print what was found; the exit code is 1 if anything was."""
    parser = argparse.ArgumentParser(prog="bench.openapi")
    parser.add_argument("--seconds", type=int, default=300, help="for all phases together")
    parser.add_argument("--only", default="", help="paths that are asked, a regular expression")
    parser.add_argument("--examples", type=int, default=20, help="made up for each operation")
    parser.add_argument("--phases", default="examples,coverage,fuzzing")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        (data / "files").mkdir(parents=True)
        write_wav(groove(seconds=1, channels=2)[0], data / "files/a.wav", "PCM_16")
        (data / "files/a.mid").write_bytes(music().data)
        # Nobody waits for the requests that are given up.
        with living(data, AUDIOLLA_CPU_WORKERS="2", AUDIOLLA_JOB_TTL="60") as daemon:
            daemon.get("/v1/openapi.json")  # it is computed when it is first asked for
            config = Path(folder) / "schemathesis.toml"
            config.write_text(_CONFIG)
            return ask(daemon.address, config, given)


def ask(address: str, config: Path, given: argparse.Namespace) -> int:
    """Run schemathesis within the time; 1 if it found anything, be it before the time ran out."""
    command = [
        *(Path(sys.executable).with_name("schemathesis"), "--config-file", config, "run"),
        f"{address}/v1/openapi.json",
        *("--checks", ",".join(CHECKS), "--phases", given.phases, "--workers", "2"),
        *("--max-examples", str(given.examples), "--seed", str(given.seed)),
        *("--exclude-path-regex", _ENDLESS, "--request-timeout", "60"),
        *("--suppress-health-check", "all", "--warnings", "off", "--no-color"),
        *(("--include-path-regex", given.only) if given.only else ()),
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "bench.openapi_hooks"}
    began = time.monotonic()
    process = subprocess.Popen(command, env=os.environ | hooks, stdout=subprocess.PIPE, text=True)
    # Interrupted, it sums up what it has found so far.
    timer = threading.Timer(given.seconds, process.send_signal, [signal.SIGINT])
    timer.start()
    assert process.stdout is not None
    found = False
    for line in process.stdout:
        print(line, end="", flush=True)
        # Errors of its own making of requests are shown, and are no word about the server.
        found = found or line.strip("=\n ") == "FAILURES"
    timer.cancel()
    print(f"{time.monotonic() - began:.0f} s, exit code {process.wait()}")
    return int(found or process.returncode not in (0, 1, _INTERRUPTED))


if __name__ == "__main__":
    raise SystemExit(main())
