"""Takes job tickets: the ticket is moved as a file is, the sound that it points at stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from daemon.arrivals import stamp_at
from daemon.mounts import mount_of
from daemon.readings import read_file
from daemon.taking.sidecars import GIVE_UP, read_text
from daemon.taking.together import Hand, Together
from handlers.codecs.complete import Completeness
from rules.match import FileFacts
from rules.orders import SoundRef
from rules.plan import NoRuleMatches, plan, printable
from rules.sidecars import BadSidecar, overridden
from rules.tickets import ENDS, BadTicket, found_sound, read_ticket

_LOOK_AGAIN: Final = 2.0


class WithTickets:
    """Tickets, and whatever else the folder takes."""

    def __init__(self, hand: Hand, roots: tuple[str, ...], others: Together | None) -> None:
        """Tickets may point into `roots`; every other file is for `others`, or alone."""
        self._hand, self._roots, self._others = hand, roots, others
        #: Tickets whose sound is not complete, and since when (monotonic).
        self._since: dict[str, float] = {}

    @property
    def next_due(self) -> float:
        """Time (monotonic) at which the others have something to do."""
        return float("inf") if self._others is None else self._others.next_due

    def waiting(self) -> Iterator[tuple[str, str]]:
        """Files that wait for others, and what for."""
        return iter(()) if self._others is None else self._others.waiting()

    def turn(self) -> None:
        """Tickets wait for nobody."""
        if self._others is not None:
            self._others.turn()

    def waits(self, path: str, rel: str) -> bool:
        """True when a complete file is not to be taken alone."""
        if not rel.lower().endswith(ENDS):
            return self._others is not None and self._others.waits(path, rel)
        hand, named = self._hand, printable(os.path.basename(rel))
        try:
            ticket = read_ticket(read_text(path), named)
            sound = found_sound(ticket.sound, self._roots, named)
            reading = read_file(os.fspath(sound), local=mount_of(sound).local)
            if reading is None or reading.leased is False or _is_short(reading.container):
                why = f"{printable(sound.name)} is not complete"
                if hand.now() - self._since.setdefault(rel, hand.now()) >= GIVE_UP:
                    raise BadTicket(f"{named}: sound: {why} after {GIVE_UP:g} s")
                hand.arrivals.again(path, _LOOK_AGAIN)
                hand.arrivals.hold(path, f"{why} yet")
                return True
            self._since.pop(rel, None)
            planned = plan(hand.rules, FileFacts(sound.name, reading.size), sound)
            order = overridden(planned.order, ticket, named)
        except (BadSidecar, NoRuleMatches) as wrong:
            self._since.pop(rel, None)
            if isinstance(wrong, NoRuleMatches) and hand.rules.no_match == "leave":
                hand.arrivals.leave(path, stamp_at(path))
            else:
                hand.refuse(path, wrong.kind, wrong.detail)
            return True
        job = hand.new_id()
        at = hand.rules.stages.processing / job / rel
        order = order.model_copy(update={"members": [SoundRef(path=at, name=named)]})
        new = hand.new_job(job, rel, reading.size, replace(planned, order=order))
        hand.take_together(new, (rel,), lambda _: None)
        return True


def _is_short(container: Completeness | None) -> bool:
    return container is not None and container.verdict == "short"
