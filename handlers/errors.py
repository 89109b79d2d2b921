"""Every way an operation may refuse.

The class says what kind of refusal it is; the message says what was wrong,
which value, and what would be right. No class here knows a status code: the
one table that does is `control_api.errors`. The class name travels between
processes, so it is part of the job record.
"""

from __future__ import annotations

import errno

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""System errors that pass when somebody makes room."""
STORAGE_AWAY = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EAGAIN}
    # The file is as good as before when this machine has no descriptor left for it.
    | {errno.EMFILE, errno.ENFILE}
)
"""System errors of a disk, a mount or the machine that may pass by themselves."""


class AudiollaError(Exception):
    """Something went wrong that a user can read about."""

    #: The same call may succeed later without anybody changing anything.
    transient = False
    #: Which step of a chain refused, counted from 0, and its operation; set by the chain.
    step: int | None = None
    op: str | None = None

    def __init__(self, detail: str, *, field: str | None = None, hint: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.hint = hint

    @property
    def kind(self) -> str:
        """The class name, as stored with a failed job."""
        return type(self).__name__


class MissingInput(AudiollaError):
    """No sound was given where one is needed, or two where one is taken."""


class NoSuchFile(AudiollaError):
    """A path names no file."""


class BadPath(AudiollaError):
    """A path breaks a rule: escapes its root, or has `.`, `..`, a backslash or a NUL."""


class UnreadableInput(AudiollaError):
    """The bytes are empty, damaged, or hold no audio that can be decoded."""


class TooLarge(AudiollaError):
    """An input, or what it decodes to, is larger than the limit."""


class UnknownFormat(AudiollaError):
    """An output format that does not exist."""


class BadParameter(AudiollaError):
    """A parameter is out of its range, or contradicts another."""


class MistypedParameter(AudiollaError):
    """A required parameter is missing, or its value cannot be read as its type."""


class UnknownOperation(AudiollaError):
    """A step names an operation that is not registered."""


class CannotProcess(AudiollaError):
    """The sound is readable, but this operation has no meaningful result for it."""


class UnknownEngine(AudiollaError):
    """An engine that is not configured or not enabled."""


class WeightsMissing(AudiollaError):
    """Model weights are not on disk; the detail names them and the command that brings them."""


class WeightsCorrupt(AudiollaError):
    """Model weights are on disk and are not what their publisher gave out."""


class EngineFailed(AudiollaError):
    """An engine cannot run here: its library is not installed, or it gave up."""


class DeviceFull(EngineFailed):
    """A GPU has no memory left for one piece of sound. Passes when others are done with it."""

    transient = True


class Cancelled(AudiollaError):
    """The job was cancelled while it ran."""


class StorageFull(AudiollaError):
    """A disk is full. Passes when somebody makes room."""

    transient = True


class StorageFailed(AudiollaError):
    """A disk or network mount did not answer. May pass."""

    transient = True


class UrlRefused(AudiollaError):
    """A URL that this server does not talk to; the detail says which rule refused it."""


class TransferFailed(AudiollaError):
    """A URL did not give, or did not take, what it was asked to."""

    #: Asking again later may help; whether that is done is for whoever asked to say.
    may_pass = False


class WorkerKilled(AudiollaError):
    """The job ended its worker process more often than is allowed."""


class BudgetExceeded(AudiollaError):
    """A job used up more time, processor, memory or disk than it may."""


class BrokenPlugin(AudiollaError):
    """An operation outside this package cannot be registered; the detail names its file."""


def all_kinds() -> dict[str, type[AudiollaError]]:
    """Class name to class, for turning a stored error back into one."""
    found: dict[str, type[AudiollaError]] = {}
    waiting = [AudiollaError]
    while waiting:
        cls = waiting.pop()
        found[cls.__name__] = cls
        waiting.extend(cls.__subclasses__())
    return found
