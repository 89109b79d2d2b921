"""How a process of the daemon gets its settings: as JSON in a file without a name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from daemon.settings import Settings


@contextmanager
def handed(settings: Settings) -> Iterator[int]:
    """A descriptor to pass to a child; neither its arguments nor its environment tell a secret."""
    fd = os.memfd_create("settings")
    try:
        os.write(fd, settings.model_dump_json().encode())
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def read_settings(fd: int) -> Settings:
    """What the parent has handed."""
    with os.fdopen(fd, "rb") as source:
        return Settings.model_validate_json(source.read())
