"""Who asks, and under which id: known to everything that is done for a request in its thread."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from control_api.scopes import Holder


@dataclass(frozen=True)
class Asking:
    """One request."""

    #: As `X-Request-Id` has it; empty outside of requests.
    request: str = ""
    #: None where nobody asks, or before anybody has looked.
    holder: Holder | None = None


NOBODY: Final = Asking()
ASKING: Final[ContextVar[Asking]] = ContextVar("asking", default=NOBODY)
