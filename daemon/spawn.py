"""How a process of the daemon gets its settings: as JSON in a file without a name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from daemon.settings import Settings

#: Whatever the program that starts us is called upon to know (a cloud's keys, a proxy's password).
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|_KEY$|_KEY_ID$", re.IGNORECASE)


@contextmanager
def handed(settings: Settings) -> Iterator[int]:
    """A descriptor to pass to a child; neither its arguments nor its environment tell a secret."""
    with handed_text(settings.model_dump_json()) as fd:
        yield fd


@contextmanager
def handed_text(text: str) -> Iterator[int]:
    """The same with any text."""
    fd = os.memfd_create("handed")
    try:
        os.write(fd, text.encode())
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for a process that opens strangers' files: our settings come by descriptor."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("AUDIOLLA_") and not _SECRET.search(name)
    }


def read_settings(fd: int) -> Settings:
    """What the parent has handed."""
    with os.fdopen(fd, "rb") as source:
        return Settings.model_validate_json(source.read())
