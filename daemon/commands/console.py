"""What the command shows: lines, tables, a progress bar, or JSON."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from daemon.commands.running import Tell


def show_json(value: Any) -> None:
    """One line of JSON."""
    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)


def show_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns under a head, as wide as their widest cell."""
    table = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


_LONGEST_FACT = 200


def show_facts(facts: dict[str, Any]) -> None:
    """One fact per line; what is long is shown by its beginning (`--json` shows all of it)."""
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        print(f"  {name.ljust(width)}  {_shown(value)}")


def _shown(value: Any) -> str:
    if not isinstance(value, list | dict):
        return "-" if value is None else str(value)
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= _LONGEST_FACT:
        return text
    return f"{text[: _LONGEST_FACT - 20]} ... ({len(value)} entries)"


def local_time(seconds: float | None) -> str:
    """Unix seconds as the user's clock shows them."""
    if seconds is None:
        return "-"
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def size(count: int) -> str:
    """Bytes, readable."""
    if count < 1000:
        return f"{count} B"
    power = 1 if count < 999_950 else 2 if count < 999_950_000 else 3
    return f"{count / 1000**power:.1f} {'kMG'[power - 1]}B"


@contextlib.contextmanager
def progress(names: dict[str, str], *, wanted: bool) -> Iterator[Tell]:
    """A progress bar per running task, on stderr; nothing when that is no terminal.

    `names` maps task ids to what to call them.
    """
    if not wanted or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[step]}", markup=False),
    )
    bars: dict[str, Any] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:

        def tell(task: str, fraction: float, step: str) -> None:
            if task not in bars:
                bars[task] = display.add_task(names.get(task, task), total=1.0, step=step)
            display.update(bars[task], completed=fraction, step=step)
            if fraction >= 1.0:
                display.update(bars[task], visible=False)

        yield tell
