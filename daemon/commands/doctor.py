"""`audiolla doctor`: what is installed, missing or wrong, and how to mend it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from daemon.commands.outcome import ENVIRONMENT, OK

if TYPE_CHECKING:
    from daemon.doctor import Finding

SIGNS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "problem": "[bold red]problem[/]"}


def run(args: argparse.Namespace) -> int:
    """Examine and print; 3 if there is a problem that stops the daemon from doing its work."""
    from daemon.doctor import examine
    from daemon.settings import load

    findings = examine(load(data_dir=args.data_dir))
    if args.json:
        verdicts = []
        for finding in findings:
            print(json.dumps(finding.as_json()), flush=True)
            verdicts.append(finding.verdict)
        return ENVIRONMENT if "problem" in verdicts else OK
    return _table(list(findings))


def _table(findings: Sequence[Finding]) -> int:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    area = ""
    problems = 0
    for finding in findings:
        if finding.area != area:
            area = finding.area
            table.add_row(f"[bold]{escape(area)}[/]")
        problems += finding.verdict == "problem"
        detail = escape(finding.detail)
        if finding.mend:
            detail += f"\n[cyan]to mend:[/] {escape(finding.mend)}"
        table.add_row(f"  {escape(finding.subject)}", SIGNS[finding.verdict], detail)
    console = Console()
    console.print(table)
    console.print(
        f"{problems} problem{'' if problems == 1 else 's'}" if problems else "all in order"
    )
    return ENVIRONMENT if problems else OK
