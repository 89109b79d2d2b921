"""Questions to a disk that may never answer.

A server that is gone leaves whoever asks its NFS, SMB or FUSE mount in the kernel, for minutes
or for ever, and no signal ends that. So each question is asked in a thread of its own and waited
for only for a while; a thread that is stuck is left to itself until its disk answers.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from typing import Any, Final, Protocol, TypeVar

PATIENCE: Final = 2.0
"""Seconds in which a disk that works answers."""

T = TypeVar("T")


class NoAnswer(TimeoutError):
    """A disk does not answer. An `OSError`, with `ETIMEDOUT`."""

    def __init__(self, about: str) -> None:
        super().__init__(errno.ETIMEDOUT, "its disk does not answer", about)


class Asks(Protocol):
    """A way of asking a disk."""

    def ask(self, about: Hashable, question: Callable[[], T], /) -> T:
        """The answer; `about` says what the question is."""


class Patient:
    """Asks; of one thing there is at most one question at a time.

    For one thread, which does the asking.
    """

    def __init__(self, patience: float | None = None) -> None:
        """`patience`: seconds to wait for an answer; `PATIENCE` if it is not given."""
        self._patience = PATIENCE if patience is None else patience
        self._unanswered: dict[Hashable, Future[Any]] = {}

    def ask(self, about: Hashable, question: Callable[[], T], /) -> T:
        """The answer; one that came late is given to whoever asks the same next.

        Args:
            about: what the question is, and about which path (the last of a tuple).
            question: looks at a disk. It may run on for long after nobody waits any more, so it
                must change nothing but the disk.

        Raises:
            NoAnswer: not in time, or an earlier question about the same is not answered yet.
        """
        asked = self._unanswered.get(about)
        patience = 0.0
        if asked is None:
            patience = self._patience
            asked = self._unanswered[about] = Future()
            threading.Thread(
                target=_answer, args=(asked, question), name=f"question {about}", daemon=True
            ).start()
        if not wait([asked], patience).done:
            raise NoAnswer(str(about[-1] if isinstance(about, tuple) else about))
        del self._unanswered[about]
        answer: T = asked.result()
        return answer

    @property
    def unanswered(self) -> tuple[Future[Any], ...]:
        """The questions that nobody waits for any more."""
        return tuple(self._unanswered.values())


class AtOnce:
    """Asks in the thread that wants to know, however long it takes."""

    def ask(self, _about: Hashable, question: Callable[[], T], /) -> T:
        """The answer."""
        return question()


def _answer(asked: Future[Any], question: Callable[[], Any]) -> None:
    try:
        answer = question()
    except BaseException as wrong:  # noqa: BLE001  # raised again by whoever waits for it
        asked.set_exception(wrong)
    else:
        asked.set_result(answer)
