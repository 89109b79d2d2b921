"""Takes job tickets: the ticket is moved as a file is, the sound that it points at stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
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
from rules.sets import NoSuchMember, names_members, with_members
from rules.sidecars import BadSidecar, overridden
from rules.tickets import ENDS, BadTicket, Ticket, found_sound, read_ticket

_LOOK_AGAIN: Final = 2.0


class WithTickets:
    """Tickets, and whatever else the folder takes."""

    def __init__(self, hand: Hand, roots: tuple[str, ...], others: Together | None) -> None:
        """Tickets may point into `roots`; every other file is for `others`, or alone."""
        self._hand, self._roots, self._others = hand, roots, others
        #: Tickets whose sound is not complete, and since when (monotonic).
        self._since: dict[str, float] = {}

    def wants_again(self, rel: str) -> bool:
        """What the others say."""
        return self._others is not None and self._others.wants_again(rel)

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
            found: dict[str, Path] = {}
            sizes: dict[str, int] = {}
            for key, written in ticket.all_sounds.items():
                sound = found[key] = found_sound(written, self._roots, named, key)
                reading = read_file(os.fspath(sound), local=mount_of(sound).local)
                if reading is None or reading.leased is False or _is_short(reading.container):
                    why = f"{printable(sound.name)} is not complete"
                    if hand.now() - self._since.setdefault(rel, hand.now()) >= GIVE_UP:
                        raise BadTicket(f"{named}: {key}: {why} after {GIVE_UP:g} s")
                    hand.arrivals.again(path, _LOOK_AGAIN)
                    hand.arrivals.hold(path, f"{why} yet")
                    return True
                sizes[key] = reading.size
            self._since.pop(rel, None)
            sound = found["sound"]
            planned = plan(hand.rules, FileFacts(sound.name, sizes["sound"], hand.wall()), sound)
            order = overridden(planned.order, ticket, named)
            if ticket.sounds or names_members(order):
                order = with_members(order, _members(ticket, found), fit=False)
        except (BadSidecar, NoRuleMatches, NoSuchMember) as wrong:
            self._since.pop(rel, None)
            if isinstance(wrong, NoRuleMatches) and hand.rules.no_match == "leave":
                hand.arrivals.leave(path, stamp_at(path))
            else:
                hand.refuse(path, wrong.kind, wrong.detail)
            return True
        job = hand.new_id()
        at = hand.rules.stages.processing / job / rel
        order = order.model_copy(update={"members": [SoundRef(path=at, name=named)]})
        new = hand.new_job(job, rel, sum(sizes.values()), replace(planned, order=order))
        hand.take_together(new, (rel,), lambda _: None)
        return True


def _members(ticket: Ticket, found: dict[str, Path]) -> dict[str, SoundRef]:
    """The ticket's sounds by the names that steps have for them."""
    return {
        name: SoundRef(path=path, name=printable(path.name))
        for name, path in (
            ("sound", found["sound"]),
            *((n, found[f"sounds.{n}"]) for n in ticket.sounds),
        )
    }


def _is_short(container: Completeness | None) -> bool:
    return container is not None and container.verdict == "short"
