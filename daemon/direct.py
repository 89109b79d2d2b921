"""Runs orders without the daemon: `python -m daemon.direct`, a child of the command.

User bytes are decoded here and not in the command's own process, so that a
file that crashes a decoder is a message and not the end of everything.

Lines of JSON both ways. In: the settings first, then `{"id", "order"}` or
`{"probe": path}`. Out: any number of `{"progress", "step"}`, then one of
`{"finished"}`, `{"error"}`. SIGTERM stops at the next block and tidies up.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from daemon.execution import Claim, HandOver, Intent
from daemon.jobs import QueueLane
from daemon.settings import Settings
from daemon.shelves import go_offline, resolved_device, shelf_of
from handlers.chain import Recall
from handlers.engines.shelf import Shelf
from handlers.errors import AudiollaError, Cancelled


class DirectContext:
    """What a job may ask for when no queue stands behind it."""

    def __init__(self, scratch: Path, settings: Settings, shelf: Shelf, tell: Any) -> None:
        self.scratch = scratch
        self.settings = settings
        self.lane: QueueLane = "cpu"
        # Only the daemon keeps things: a command leaves nothing behind but what it was asked for.
        self.recall: Recall | None = None
        self.shelf = shelf
        self._tell = tell
        self._told = -1.0
        self.stopped = False

    def progress(self, fraction: float, step: str) -> None:
        """Pass it on, at most once per percent.

        Raises:
            Cancelled: SIGTERM came.
        """
        if self.stopped:
            raise Cancelled("stopped")
        if abs(fraction - self._told) >= 0.01:
            self._told = fraction
            self._tell({"progress": fraction, "step": step})

    def intend(self, _: Intent) -> Sequence[Path]:
        """Nobody else hands out names here, and nobody resumes: nothing to record."""
        return ()

    def first(self, _: str, *, take: bool = False) -> str | None:  # noqa: ARG002  # a name of the protocol
        """A command does what it is told, however often."""
        return None

    def result_of(self, _: str) -> dict[str, Any] | None:
        """No job was before it."""
        return None


def main() -> int:
    """Serve the parent until it closes our input."""
    # Libraries may print; the parent's lines must stay lines of JSON.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def tell(message: dict[str, Any]) -> None:
        out.write(orjson.dumps(message) + b"\n")
        out.flush()

    settings = Settings.model_validate_json(sys.stdin.buffer.readline())
    go_offline()
    shelf = shelf_of(settings, resolved_device(settings.device))
    for line in sys.stdin.buffer:
        request = orjson.loads(line)
        if "probe" in request:
            tell(_probe(request, settings, shelf))
        else:
            tell(_run(request["id"], request["order"], settings, shelf, tell))
    return 0


def _run(job: str, order: str, settings: Settings, shelf: Shelf, tell: Any) -> dict[str, Any]:
    from daemon.runner import prepare, run

    prepare(settings)
    with tempfile.TemporaryDirectory(prefix="audiolla-") as scratch:
        context = DirectContext(Path(scratch), settings, shelf, tell)

        def stop(*_: object) -> None:
            context.stopped = True

        signal.signal(signal.SIGTERM, stop)
        claim = Claim(id=job, attempt=1, order=order)
        try:
            while True:
                done = run(claim, context)
                if not isinstance(done, HandOver):
                    return {"finished": done.result}
                # There is nobody to hand over to: go on at once, as the other lane.
                context.lane = done.lane
                claim = claim.model_copy(
                    update={
                        "next_step": done.next_step,
                        "carried": done.carried,
                        "finished": done.finished,
                    }
                )
        except Exception as wrong:  # noqa: BLE001 - whatever it is, the parent must hear of it
            return {"error": _told(wrong)}


def _probe(request: dict[str, Any], settings: Settings, shelf: Shelf) -> dict[str, Any]:
    """What a header says, and what is measured if `measure` names something. Writes nothing."""
    from handlers.codecs.midi import is_midi, read_midi
    from handlers.codecs.reader import open_sound
    from handlers.smf.clock import duration
    from rules.orders import path_from_text

    try:
        file = path_from_text(request["probe"])
        if is_midi(file, name=file.name):
            length = duration(read_midi(file, name=file.name))
            return {
                "finished": {
                    "duration": length,
                    "channels": None,
                    "sample_rate": None,
                    "format": None,
                    "tags": {},
                    "measured": {},
                }
            }
        sound = open_sound(file)
        facts = sound.facts
        tags = facts.metadata.tags
        found: dict[str, Any] = {}
        if request.get("measure"):
            from daemon.work.measuring import measure

            # Nothing that measures asks for a scratch folder; one that did would be told.
            context = DirectContext(Path(os.devnull), settings, shelf, lambda _: None)
            found = measure(context, sound, request["measure"])
        return {
            "finished": {
                "duration": sound.duration,
                "channels": sound.channels,
                "sample_rate": sound.rate,
                "format": facts.container,
                "measured": found,
                "tags": {name: list(values) for name, values in tags.items()},
            }
        }
    except (AudiollaError, OSError) as wrong:
        return {"error": _told(wrong)}


def _told(wrong: Exception) -> dict[str, Any]:
    if isinstance(wrong, AudiollaError):
        return {
            "kind": wrong.kind,
            "detail": wrong.detail,
            "hint": wrong.hint,
            "step": wrong.step,
            "op": wrong.op,
        }
    return {"kind": "AudiollaError", "detail": f"unexpected {type(wrong).__name__}: {wrong}"}


if __name__ == "__main__":
    sys.exit(main())
