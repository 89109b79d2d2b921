"""One way to write logs, in every process of the daemon: lines on stderr."""

from __future__ import annotations

import logging
import sys


def configure(level: str, process: str) -> None:
    """Send the root logger's lines to stderr, each naming its process.

    Third-party loggers that chatter at INFO are kept at WARNING.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter(f"%(asctime)s %(levelname)-7s {process} %(name)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("alembic", "numba", "waitress", "watchdog"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
