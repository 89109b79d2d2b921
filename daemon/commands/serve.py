"""`audiolla serve`: the daemon, until it is told to end."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from daemon.settings import load


def configure(parser: argparse.ArgumentParser, _: Sequence[str] = ()) -> None:
    """Add the arguments."""
    parser.add_argument("--host", help="address that the API listens on (AUDIOLLA_HOST)")
    parser.add_argument(
        "--port", type=int, help="port of the API; 0 takes a free one (AUDIOLLA_PORT)"
    )


def run(args: argparse.Namespace) -> int:
    """Serve; the exit code."""
    from daemon import app

    return app.serve(load(host=args.host, port=args.port, data_dir=args.data_dir))
