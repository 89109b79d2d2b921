"""Wires the daemon together, and takes it apart again in the right order."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from daemon import log as logs
from daemon.address import announce, withdraw
from daemon.process import DispatcherProcess
from daemon.settings import Settings
from daemon.walls.level import check as check_sandbox

if TYPE_CHECKING:
    from rules.model import FolderRules

log = logging.getLogger(__name__)

_HEAD_START = 3.0  # seconds until workers are started though the API does not answer yet


def serve(settings: Settings) -> int:
    """Run the daemon until SIGTERM or Ctrl-C; its exit code.

    Says on standard output where it listens, once it answers there.

    Raises:
        BadSettings: a sandbox is required, and this kernel has none.
        OSError: the address is taken, or the data directory cannot be written.
        UnusableDatabase: another daemon runs on this data, or the database is damaged.
        BrokenPlugin: an installed operation cannot be loaded.
    """
    check_sandbox(settings)
    logs.configure(settings, "main")
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    # The workers' imports would take both cores away from those of the API.
    dispatcher = DispatcherProcess(settings, head_start=_HEAD_START)
    with ThreadPoolExecutor(1) as starting:
        # Its imports and ours take about as long: side by side they cost half.
        started = starting.submit(dispatcher.start)
        try:
            from control_api.app import create_app
            from control_api.app import serve as listen
            from control_api.mcp.door import Door
            from control_api.scopes import Keys
            from daemon.client import Client, QueueUnavailable
            from daemon.clock import SystemClock
            from daemon.delivering.notices import Notices
            from daemon.delivering.notifier import Notifier
            from daemon.folders import FolderManager
            from daemon.jobs import ENDED
            from daemon.reader import JobReader
            from daemon.service import QueueService
            from daemon.tokens import TokenFile
            from daemon.walls.places import announcement, of_folder
            from handlers.registry import operations

            operations()
        finally:
            started.result()
    try:
        client = Client(settings.socket)
        reader = JobReader(settings.database)
        notices = Notices(settings.notices, SystemClock())

        def announce_places(rules: FolderRules) -> None:
            """Have workers walled in with a gate to a folder, before its first job comes."""
            try:
                client.upkeep("allow", **announcement(of_folder(rules)))
            except QueueUnavailable as wrong:  # its first job then waits for other workers
                log.info("%s is not announced: %s", rules.name, wrong)

        manager = FolderManager(settings, client, reader, notices=notices, adopted=announce_places)
        service = QueueService(settings, client, reader, manager)
        notifier = Notifier(settings, notices, client, announced=service.deliverer.wake)
        spool = settings.uploads / "incoming"
        named = TokenFile(settings.tokens).tokens
        keys = Keys(settings.auth_token, named, now=SystemClock().now)
        door = Door(service, settings)
        app = create_app(service, settings, keys, door=door)
        server = listen(
            app,
            settings,
            settings.host,
            settings.port,
            spool=spool,
            keys=keys,
            partial=service.uploads,
        )
    except BaseException:
        dispatcher.stop(at_once=True)
        raise
    service.answers.start()
    service.tidy_up()
    # A thread is only woken for what it is about.
    service.deliverer.start(client.subscribe(lambda one: one.webhook or one.state == "missed"))
    manager.start(client.subscribe(lambda one: one.state in ENDED or one.state == "missed"))
    notifier.start()
    service.schedules.ticker.start()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    listening = threading.Thread(target=server.run, name="api", daemon=True)
    listening.start()
    dispatcher.hire()
    print(f"audiolla listens at {announce(settings, server.port)}", flush=True)
    print(f"hot folders: {settings.folders}", file=sys.stderr, flush=True)
    door.start()  # seconds of imports, which whoever was told that we listen need not wait for
    stopping.wait()
    log.info("draining: running jobs have %g s", settings.drain_timeout)
    # The folders and the API live until the last job has ended: originals are moved to where
    # they belong, and whoever waits for a reply gets it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: dispatcher.stop(at_once=True))
    service.schedules.ticker.stop()  # what it fires now would only wait for the next start
    dispatcher.stop()
    manager.stop()
    notifier.stop()
    server.close()
    service.deliverer.stop()
    service.uploads.stop()
    service.answers.stop()
    listening.join(10)
    door.close()
    withdraw(settings)
    client.close()
    reader.close()
    service.schedules.close()
    return 0
