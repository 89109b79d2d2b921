"""Job tickets: a small YAML file in a hot folder that points at a sound elsewhere.

    # inbox/monday.job.yaml
    sound: /srv/archive/take 7.wav
    params: {normalize: {target_lufs: -18}}   # as in a sidecar
    tags: {title: Monday}
    sounds: {voice: /srv/archive/host.wav}    # what `{input:voice}` in the rule's steps means

The sounds stay where they are; the ticket goes to `done` or `failed` in their place. They must lie
in one of the folder's `tickets: {roots: [...]}`, by a way without links.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from rules.match import Text
from rules.sidecars import BadSidecar, Sidecar, read_sidecar

ENDS: Final = (".job.yaml", ".job.yml", ".job.json")


class TicketsText(BaseModel):
    """Which sounds job tickets may point at."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    roots: tuple[Text, ...] = Field(
        strict=False, min_length=1, description="Folders, absolute, in which the sounds must lie."
    )


class Ticket(Sidecar):
    """What is wanted of a sound elsewhere."""

    sound: Text = Field(description="Absolute, or below the first of the roots.")

    @property
    def all_sounds(self) -> dict[str, str]:
        """Each by the key under which it is written."""
        return {"sound": self.sound, **{f"sounds.{k}": v for k, v in self.sounds.items()}}


class BadTicket(BadSidecar):
    """A ticket cannot be used; says which key, and what would be right."""


def read_ticket(text: bytes, name: str) -> Ticket:
    """Read a ticket.

    Raises:
        BadSidecar: it cannot be used.
    """
    read = read_sidecar(text, name, Ticket)
    assert isinstance(read, Ticket)
    return read


def found_sound(written: str, roots: Sequence[str], name: str, field: str = "sound") -> Path:
    """The file that a ticket points at.

    Args:
        written: its `sound`.
        roots: folders in which it may lie.
        name: the ticket's file name, for messages.
        field: the key under which it is written, for messages.

    Raises:
        BadTicket: it lies elsewhere, behind a link, or is no plain file.
    """
    allowed = ", ".join(roots)
    for root in roots:
        real = os.path.realpath(root)
        below = os.path.relpath(written, root) if os.path.isabs(written) else written
        path = os.path.normpath(os.path.join(real, below))
        if "\0" in written or not path.startswith(real + os.sep):
            continue
        if os.path.realpath(path) != path:
            raise BadTicket(
                f"{name}: {field}: {written} is reached by a link, which is not followed"
            )
        try:
            told = os.lstat(path)
        except OSError as wrong:
            if os.path.isabs(written) or root == roots[-1]:
                raise BadTicket(f"{name}: {field}: {written}: {wrong.strerror}") from None
            continue
        if not stat.S_ISREG(told.st_mode):
            raise BadTicket(f"{name}: {field}: {written} is no plain file")
        return Path(path)
    raise BadTicket(f"{name}: {field}: {written} lies in none of the allowed folders ({allowed})")
