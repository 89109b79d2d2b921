"""The command `audiolla`.

Exit codes: 0 ok, 1 a job failed, 2 usage, 3 environment. Only the subcommand
that was called for is imported, so that help and errors come at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType

from daemon.commands.outcome import (
    ENVIRONMENT,
    FAILED,
    INTERRUPTED,
    OK,
    USAGE,
    Misused,
    Unreachable,
    complain,
)

COMMANDS: Mapping[str, str] = {
    "demo": "Run the example folders and show what comes out.",
    "serve": "Run the daemon: hot folders, queue, workers and the API.",
    "mcp": "Offer the tools to an agent on this machine, over standard input and output.",
    "op": "Apply one operation to files.",
    "run": "Apply a rules file to files.",
    "jobs": "List, show, cancel or retry jobs.",
    "folders": "List hot folders, or look through them now.",
    "rules": "Check rules files, or explain what they would do to a file.",
    "undo": "Put everything back as it was before a job of a hot folder.",
    "history": "Say what became of a file: when it came, what was done, where it went.",
    "replay": "Make again what a manifest describes, and compare the bytes.",
    "schedules": "List schedules, show when they are due and what they did, or run one now.",
    "presets": "List presets, or show the steps of one.",
    "models": "List, fetch or verify the weights of the neural engines.",
    "token": "Create, list or revoke the named tokens of the API.",
    "backup": "Copy database, rules, presets, schedules, tokens and journal into one file.",
    "restore": "Put a backup in the place of what is there, which is set aside.",
    "settings": "Show every setting, its value and where it comes from.",
    "support-bundle": "Collect what a bug report needs, without sounds and secrets.",
    "doctor": "Say what is installed, missing or wrong, and how to mend it.",
}

EPILOG = """\
examples:
  audiolla demo
  audiolla op normalize talk.wav --target-lufs -16 -o talk.mp3
  audiolla op info *.flac --json
  audiolla serve --port 8000
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; the exit code. A refusal is a sentence, never a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough; Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as wrong:  # noqa: BLE001 - the last stop: what is unforeseen is told, too
        return _explain(wrong)


def _run(arguments: list[str]) -> int:
    chosen = next((a for a in arguments if not a.startswith("-")), "")
    name = chosen.replace("-", "_")
    module = import_module(f"daemon.commands.{name}") if chosen in COMMANDS else None
    parser = build_parser(chosen, module, arguments)
    args = parser.parse_args(arguments)
    if module is None:
        parser.print_help()
        return USAGE
    code: int = module.run(args)
    return code


def build_parser(
    chosen: str = "", module: ModuleType | None = None, arguments: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """The parser, with the flags of one subcommand.

    `arguments` is the command line: flags that depend on it (those of an
    operation) are computed from what it names.
    """
    parser = argparse.ArgumentParser(
        prog="audiolla",
        description="A self-hosted audio studio: hot folders, REST and a command on one queue.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and end")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name, sentence in COMMANDS.items():
        command = commands.add_parser(name, help=sentence, description=sentence)
        if name == chosen:
            _add_common(command)
            configure = getattr(module, "configure", None)
            if configure is not None:
                configure(command, list(arguments))
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, one object per line")
    parser.add_argument(
        "--data-dir", metavar="DIR", help="data directory of the daemon (AUDIOLLA_DATA_DIR)"
    )


def _explain(wrong: Exception) -> int:
    from daemon.client import QueueUnavailable
    from daemon.faults import UnusableDatabase
    from daemon.settings import BadSettings
    from handlers.errors import AudiollaError, BadParameter, BrokenPlugin, MistypedParameter

    if isinstance(wrong, BadSettings):
        for problem in wrong.problems:
            complain(problem)
        return ENVIRONMENT
    if isinstance(wrong, Misused | BadParameter | MistypedParameter):
        complain(str(wrong))
        return USAGE
    if isinstance(wrong, Unreachable | BrokenPlugin | QueueUnavailable | UnusableDatabase):
        complain(str(wrong))
        return ENVIRONMENT
    if isinstance(wrong, AudiollaError):
        complain(wrong.detail + (f" ({wrong.hint})" if wrong.hint else ""))
        return FAILED
    if isinstance(wrong, OSError):
        where = f"{wrong.filename}: " if wrong.filename else ""
        complain(f"{where}{wrong.strerror or wrong}")
        return ENVIRONMENT
    complain(f"unexpected {type(wrong).__name__}: {wrong} (LOG_LEVEL=DEBUG shows where)")
    if os.environ.get("LOG_LEVEL") == "DEBUG":
        raise wrong
    return FAILED


class _Version(argparse.Action):
    """Reads the version only when it is asked for: looking it up takes longer than the help."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        parser.exit(message=f"audiolla {version('audiolla')}\n")


if __name__ == "__main__":
    sys.exit(main())
