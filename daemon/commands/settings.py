"""`audiolla settings`: every setting, its value and where it comes from."""

from __future__ import annotations

import argparse
import os
from typing import Any

from daemon.commands.console import show_json, show_table
from daemon.commands.outcome import OK
from daemon.settings import Settings, environment_name, load
from handlers.units import Unit


def run(args: argparse.Namespace) -> int:
    """Show them all; a secret only says whether it is set."""
    settings = load(data_dir=args.data_dir)
    rows = [_row(settings, name, args) for name in Settings.model_fields]
    if args.json:
        for row in rows:
            show_json(row)
        return OK
    show_table(
        ["VARIABLE", "VALUE", "FROM", ""],
        [[r["variable"], _shown(r), r["from"], r["description"]] for r in rows],
    )
    return OK


def _row(settings: Settings, name: str, args: argparse.Namespace) -> dict[str, Any]:
    info = Settings.model_fields[name]
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    value = getattr(settings, name)
    if extra.get("secret"):
        value = "(set)" if value else ""
    variable = environment_name(name)
    given = getattr(args, name, None) is not None
    origin = "command line" if given else "environment" if os.environ.get(variable) else "default"
    return {
        "variable": variable,
        "value": value,
        "from": origin,
        "unit": next((m.symbol for m in info.metadata if isinstance(m, Unit)), None),
        "description": info.description,
    }


def _shown(row: dict[str, Any]) -> str:
    value = row["value"]
    if value is None or value == "":
        return "-"
    if isinstance(value, float):
        value = f"{value:g}"
    return f"{value} {row['unit']}" if row["unit"] else str(value)
