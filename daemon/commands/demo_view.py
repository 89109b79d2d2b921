"""What `audiolla demo` shows: bars and a table for people, lines of JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Protocol

from daemon.commands.console import show_json
from daemon.jobs import Job
from daemon.taking.homes import split
from rules.orders import path_from_text

if TYPE_CHECKING:
    from rich.progress import TaskID


class View(Protocol):
    """What the demo has to tell."""

    def say(self, sentence: str) -> None:
        """Something by the way."""

    def started(self, address: str, data: Path, folders: Path) -> None:
        """The daemon answers."""

    def dropped(self, sounds: Sequence[Path]) -> None:
        """The example sounds lie in their folders."""

    def progress(self, job: Job) -> None:
        """A job has moved; it may have ended."""

    def summary(self, jobs: Sequence[Job], address: str, *, once: bool) -> None:
        """All example sounds are through."""


@contextmanager
def view(*, as_json: bool) -> Iterator[View]:
    """The view that was asked for."""
    if as_json:
        yield _Lines()
        return
    screen = _Screen()
    try:
        yield screen
    finally:
        screen.close()


# ---- what a job says ---------------------------------------------------------------------------


def dropped_as(job: Job) -> str:
    """Hot folder and path of the file that a job is about, e.g. `podcast/day 1/talk.wav`."""
    return all_dropped_as(job)[0]


def all_dropped_as(job: Job) -> list[str]:
    """The same for each file that a job is about: several where they are a set."""
    order = json.loads(job.order)
    sounds = order.get("members") or [order.get("sound") or {}]
    return [_as_dropped(job, sound.get("path", job.input_name)) for sound in sounds]


def _as_dropped(job: Job, lies_at: str) -> str:
    path = path_from_text(lies_at)
    # <hot folder>/processing/<home>/<path as it was dropped>
    place = split(path.parts, job.id)
    if place is None:
        return job.input_name
    return str(PurePath(path.parts[place[0] - 2], place[1]))


def delivered(job: Job) -> list[Path]:
    """The files that came out."""
    outputs = (job.result or {}).get("outputs", [])
    return [path_from_text(output["path"]) for output in outputs]


def change(job: Job, fact: str, digits: int) -> str:
    """A figure of the sound that went in and of the one that came out, e.g. `-26.8 → -16.0`."""
    result = job.result or {}
    texts = [
        "-" if figures.get(fact) is None else f"{figures[fact]:.{digits}f}"
        for figures in (result.get("before") or {}, result.get("after") or {})
    ]
    return " → ".join(texts) if result.get("after") else texts[0]


# ---- JSON --------------------------------------------------------------------------------------


class _Lines:
    """One object per line."""

    def say(self, sentence: str) -> None:
        show_json({"event": "note", "text": sentence})

    def started(self, address: str, data: Path, folders: Path) -> None:
        show_json({"event": "started", "api": address, "data_dir": data, "folders": folders})

    def dropped(self, sounds: Sequence[Path]) -> None:
        show_json({"event": "dropped", "files": list(sounds)})

    def progress(self, job: Job) -> None:
        said: dict[str, Any] = {"event": job.state, "job": job.id, "file": dropped_as(job)}
        if job.state == "running":
            said |= {"progress": job.progress, "step": job.step}
        elif job.state == "completed":
            result = job.result or {}
            said["files"] = all_dropped_as(job)
            said["outputs"] = result.get("outputs", [])
            said |= {key: result[key] for key in ("before", "after") if key in result}
        elif job.ended:
            said |= {"error": job.error, "op": job.error_op}
        show_json(said)

    def summary(self, jobs: Sequence[Job], address: str, *, once: bool) -> None:
        failed = sum(job.state != "completed" for job in jobs)
        show_json({"event": "summary", "jobs": len(jobs), "failed": failed, "api": address})
        if not once:
            self.say("still watching; SIGINT ends")


# ---- people ------------------------------------------------------------------------------------


class _Screen:
    """Bars that move on a terminal; elsewhere only the lines that stay."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self._console = Console(highlight=False, soft_wrap=False)
        if not self._console.is_terminal:
            self._console.width = 132
        self._bars = Progress(
            TextColumn("  {task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[step]}", markup=False),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._bars.start()

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bars.stop()

    def say(self, sentence: str) -> None:
        self._console.print(sentence, markup=False, style="dim")

    def started(self, address: str, data: Path, folders: Path) -> None:
        self._line("API", address)
        self._line("folders", str(folders))
        self._line("data", str(data))

    def _line(self, name: str, value: str) -> None:
        self._console.print(f"[bold]{name:8}[/]", end="")
        self._console.print(value, markup=False, soft_wrap=True)

    def dropped(self, sounds: Sequence[Path]) -> None:
        self.say(f"dropped {len(sounds)} sounds into the folders")

    def progress(self, job: Job) -> None:
        name = dropped_as(job)
        if job.id not in self._tasks:
            self._tasks[job.id] = self._bars.add_task(name, total=1.0, step="")
        step = job.step or job.state
        self._bars.update(self._tasks[job.id], completed=job.progress, step=step)
        if not job.ended:
            return
        self._bars.update(self._tasks[job.id], visible=False, refresh=True)
        took = (job.completed or 0) - (job.started or job.created)
        if job.state == "completed":
            self._console.print(f"[green]✓[/] {_safe(name)} [dim]{took:.2f} s[/]")
        else:
            at = f" at {job.error_op}" if job.error_op else ""
            self._console.print(
                f"[red]✗[/] {_safe(name)} {job.state}{at}: {_safe(job.error or '')}"
            )

    def summary(self, jobs: Sequence[Job], address: str, *, once: bool) -> None:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("\ndelivered", overflow="fold")
        table.add_column("\nfrom", overflow="fold", style="dim")
        for title in ("length\ns", "loudness\nLUFS", "true peak\ndBTP"):
            table.add_column(title, justify="right", no_wrap=True)
        done = sorted((job for job in jobs if job.state == "completed"), key=dropped_as)
        for job in done:
            name = dropped_as(job)
            top = PurePath(name).parts[0]
            for number, path in enumerate(delivered(job)):
                shown = str(path).partition(f"/{top}/")[2]
                row = [_safe(f"{top}/{shown}" if shown else str(path))]
                if number == 0:
                    row += [_safe(", ".join(PurePath(one).name for one in all_dropped_as(job)))]
                    row += [change(job, "duration", 2), change(job, "lufs", 1)]
                    row += [change(job, "true_peak_dbtp", 1)]
                table.add_row(*row)
        if done:
            self._console.print()
            self._console.print(table)
        self._console.print()
        whole = sum(len(all_dropped_as(job)) for job in jobs)
        failed = whole - sum(len(all_dropped_as(job)) for job in done)
        self._console.print(
            f"{whole - failed} of {whole} sounds delivered"
            + (f", {failed} failed" if failed else "")
        )
        if not once:
            self._line("try", f"curl -F file=@YOUR.wav {address}/v1/audio/info")
            self.say("or copy a sound of yours into one of the folders; Ctrl-C ends")


def _safe(text: str) -> str:
    from rich.markup import escape

    return escape(text)
