"""How a command ends: its exit code, or what stops it."""

from __future__ import annotations

import sys
from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
ENVIRONMENT: Final = 3
INTERRUPTED: Final = 130


class Misused(Exception):
    """The command line contradicts itself; the text says how."""


class Unreachable(Exception):
    """The daemon, or something else outside, is not there."""


def about(name: str, sentence: str) -> str:
    """A sentence that says which file it is about, once."""
    return sentence if sentence.startswith(f"{name}:") else f"{name}: {sentence}"


def complain(sentence: str) -> None:
    """Say what is wrong, on stderr."""
    print(f"audiolla: {sentence}", file=sys.stderr)
