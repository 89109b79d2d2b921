"""The room that a chain has in a worker."""

from __future__ import annotations

from daemon.execution import Context
from handlers import chain


def desk_of(context: Context) -> chain.Desk:
    """Scratch, memory, what was heard before, and models of a worker."""
    return chain.Desk(
        lambda: context.scratch,
        context.settings.memory_per_sound,
        context.recall,
        context.shelf.borrow,
    )
