"""`audiolla mcp`: the tools for an agent on this machine, over standard input and output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from daemon.settings import Settings, load

if TYPE_CHECKING:
    from daemon.client import Client
    from daemon.service import QueueService


def configure(parser: argparse.ArgumentParser, _: Sequence[str] = ()) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--tools",
        choices=("full", "compact"),
        help="one tool per operation, or few that reach all of them (AUDIOLLA_MCP_TOOLS)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve one client until it closes standard input; the exit code."""
    import anyio

    from control_api.mcp.protocol import serve_stdio
    from daemon import log as logs

    settings = load(data_dir=args.data_dir, mcp_tools=args.tools)
    logs.configure(settings, "mcp", keep=False)
    with _service(settings) as service:
        anyio.run(serve_stdio, service, settings)
    return 0


@contextmanager
def _service(settings: Settings) -> Iterator[QueueService]:
    """The queue of the daemon that runs on this data; one of our own where there is none."""
    from daemon.client import Client
    from daemon.process import DispatcherProcess
    from daemon.reader import JobReader
    from daemon.service import QueueService

    with ExitStack() as stack:
        alone = not _answers(Client(settings.socket, timeout=1.0))
        if alone:
            print("audiolla: no daemon runs; working without one", file=sys.stderr)
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            dispatcher = DispatcherProcess(settings)
            dispatcher.start()
            stack.callback(dispatcher.stop, at_once=True)
        client = stack.enter_context(Client(settings.socket))
        reader = JobReader(settings.database)
        stack.callback(reader.close)
        service = QueueService(settings, client, reader)
        if alone:
            service.tidy_up()
        yield service


def _answers(client: Client) -> bool:
    """True when a dispatcher is there."""
    from daemon.client import QueueUnavailable

    try:
        with client:
            client.stats()
    except QueueUnavailable:
        return False
    return True
