"""Files that are taken together: the members of a set, or a sound and its sidecar.

Both wait in the inbox, complete, until the others are; then all are moved to one
home in `processing`, or none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol

from daemon.arrivals import Arrivals, stamp_at
from daemon.jobs import NewJob
from daemon.readings import stamp_of
from daemon.taking.sets import Gathered, Gathering
from daemon.taking.sidecars import GIVE_UP, Beside, is_note, read_text
from handlers.errors import CannotProcess
from rules.match import FileFacts
from rules.model import FolderRules
from rules.orders import SoundRef
from rules.plan import NoRuleMatches, Plan, plan, printable
from rules.sets import NoSuchMember, SetText, names_members, with_members
from rules.sidecars import BadSidecar, Sidecar, overridden, read_sidecar

_SOON: Final = 0.5
_LOOK_AGAIN: Final = 2.0


class NoSet(CannotProcess):
    """A file belongs to no set, or its set was not completed in time."""


class Hand(Protocol):
    """What is needed of a hot folder: `daemon.hotfolder.HotFolder`."""

    arrivals: Arrivals
    #: Chooses job ids.
    new_id: Callable[[], str]

    @property
    def rules(self) -> FolderRules:
        """The rules in force."""

    def now(self) -> float:
        """Seconds of a clock that only runs forward."""

    def wall(self) -> datetime:
        """The moment, on the wall clock of this machine."""

    def path(self, rel: str) -> str:
        """Where a file of the inbox lies, by its path below it."""

    def rel(self, path: str) -> str:
        """The path below the inbox of a file in it."""

    def refuse(self, path: str, kind: str, error: str) -> None:
        """To `failed` without a job."""

    def new_job(self, job: str, name: str, size: int, planned: Plan) -> NewJob:
        """The job for what was planned."""

    def take_together(
        self, new: NewJob, rels: tuple[str, ...], disturbed: Callable[[str], None]
    ) -> bool:
        """Move files to one home in `processing`, or none of them."""


class Together(Protocol):
    """One way of taking files together."""

    def wants_again(self, rel: str, /) -> bool:
        """True when a file that stays in the inbox is taken nevertheless: others need it."""

    def waits(self, path: str, rel: str) -> bool:
        """True when a complete file is not to be taken alone."""

    def turn(self) -> None:
        """Take what is complete, and give up what was waited for long enough."""

    @property
    def next_due(self) -> float:
        """Time (monotonic) at which `turn` has something to do if nothing more comes."""

    def waiting(self) -> Iterator[tuple[str, str]]:
        """Files that wait for others, and what for."""


def together(hand: Hand) -> Together | None:
    """The way that the rules of a folder ask for; None if each file is taken alone."""
    taking = hand.rules.taking
    if taking.set is not None:
        return InSets(hand, taking.set)
    return WithSidecars(hand) if taking.sidecars != "ignore" else None


class InSets:
    """Files that make a set by their names."""

    def __init__(self, hand: Hand, wanted: SetText) -> None:
        self._hand = hand
        self._wanted = wanted
        self._sets = Gathering(wanted)

    @property
    def next_due(self) -> float:
        """Time (monotonic) at which a set is complete or given up if nothing more comes."""
        return self._sets.next_due

    def waiting(self) -> Iterator[tuple[str, str]]:
        """Files that wait for others, and what for."""
        return self._sets.waiting()

    def wants_again(self, rel: str) -> bool:
        """True when another file of its set has come: the set is made anew, of all of them."""
        return self._sets.is_begun(rel)

    def waits(self, path: str, rel: str) -> bool:
        """It waits for the others of its set; True, always."""
        wrong = self._sets.add(rel, self._hand.now())
        if wrong is None:
            key = self._sets.key_of(rel)
            for left in self._hand.arrivals.left_paths:
                if self._sets.key_of(self._hand.rel(left)) == key:
                    self._hand.arrivals.look_again(left)
            return True
        if self._hand.rules.no_match == "leave":
            self._hand.arrivals.leave(path, stamp_at(path))
        else:
            self._hand.refuse(path, NoSet.__name__, wrong)
        return True

    def turn(self) -> None:
        """Take sets that are complete, and give up those that were waited for long enough."""
        now = self._hand.now()
        if now < self._sets.next_due:
            return
        for complete in self._sets.complete(now):
            try:
                self._take(complete)
            except NoRuleMatches as nothing:
                self._end(complete, nothing.kind, nothing.detail)
            except NoSuchMember as lacking:
                self._end(complete, lacking.kind, lacking.detail)
        for incomplete, why in self._sets.given_up(now):
            self._end(incomplete, NoSet.__name__, why)

    def _end(self, one: Gathered, kind: str, why: str) -> None:
        """To `failed` without a job, all of it (or left where it is, if the rules want that)."""
        leaves = self._hand.rules.no_match == "leave" and kind == NoRuleMatches.__name__
        for rel in one.files.values():
            path = self._hand.path(rel)
            if not os.path.lexists(path):
                self._hand.arrivals.gone(path)
            elif leaves:
                self._hand.arrivals.leave(path, stamp_at(path))
            else:
                self._hand.refuse(path, kind, why)
        for rel in self._sets.close(one):
            self._hand.arrivals.again(self._hand.path(rel))

    def _take(self, one: Gathered) -> None:
        """Take all files of a set, or none."""
        job = self._hand.new_id()
        sizes: dict[str, int] = {}
        for rel in one.files.values():
            path = self._hand.path(rel)
            try:
                told = os.lstat(path)
            except FileNotFoundError:
                self._sets.drop(rel)
                self._hand.arrivals.gone(path)
                return
            if not self._hand.arrivals.unchanged(path, stamp_of(told)):
                self._sets.drop(rel)
                self._hand.arrivals.again(path)
                return
            sizes[rel] = told.st_size
        new = self._job(job, one, sizes)
        if not self._hand.take_together(new, tuple(one.files.values()), self._sets.drop):
            return
        for rel in self._sets.close(one):
            self._hand.arrivals.again(self._hand.path(rel))

    def _job(self, job: str, one: Gathered, sizes: Mapping[str, int]) -> NewJob:
        wanted = self._wanted
        members = one.members
        names = wanted.complete_when.names
        ordered = {name: members[name] for name in names if name in members} | members
        main = next(iter(ordered))
        if wanted.main is not None:
            main = next((n for n in ordered if n.casefold() == wanted.main.casefold()), main)
        home = self._hand.rules.stages.processing / job
        refs = {
            name: SoundRef(path=home / rel, name=printable(os.path.basename(rel)))
            for name, rel in ordered.items()
        }
        size = sum(sizes.values())
        planned = plan(
            self._hand.rules,
            FileFacts(ordered[main], size, self._hand.wall()),
            home / ordered[main],
        )
        order = with_members(planned.order, refs, fit=wanted.fit)
        called = {"set": printable(one.name), "stem": printable(one.name)}
        order = order.model_copy(
            update={
                "names": {**order.names, **called},
                "choose": [
                    choice.model_copy(update={"names": {**choice.names, **called}})
                    for choice in order.choose
                ],
            }
        )
        return self._hand.new_job(job, one.name, size, replace(planned, order=order))


class WithSidecars:
    """A sound and what lies beside it."""

    def __init__(self, hand: Hand) -> None:
        self._hand = hand
        self._beside = Beside(hand.rules.root)

    def wants_again(self, _rel: str, /) -> bool:
        """Never: a sound is itself with or without what lies beside it."""
        return False

    @property
    def next_due(self) -> float:
        """Time (monotonic) at which something has waited for long enough."""
        return self._beside.next_due

    def waiting(self) -> Iterator[tuple[str, str]]:
        """Files that wait for others, and what for."""
        return self._beside.waiting()

    def waits(self, path: str, rel: str) -> bool:
        """True when a file is taken together with another, or waits for it."""
        now = self._hand.now()
        if is_note(rel):
            sound = self._beside.note(rel, now)
            self._release(rel)  # it may say something else than it did
            self._beside.name(rel, self._named_in(rel))
            if sound is not None:
                self._hand.arrivals.again(self._hand.path(sound))
            return True
        if self._beside.named_by(rel) is not None:
            return True
        note = self._beside.of(rel)
        if note is not None:
            self._take(rel, note)
            return True
        if self._beside.is_coming(rel):
            self._hand.arrivals.again(path, _SOON)
            self._hand.arrivals.hold(path, "for what lies beside it")
            return True
        if self._hand.rules.taking.sidecars == "require":
            self._beside.wait(rel, now)
            return True
        return False

    def _named_in(self, note: str) -> list[str]:
        """Further sounds that a complete sidecar names, by their paths below the inbox."""
        try:
            sidecar = read_sidecar(read_text(self._hand.path(note)), note)
            return list(_beside(note, sidecar, note).values())
        except (OSError, BadSidecar):
            return []  # said when its sound is there

    def _take(self, rel: str, note: str) -> None:
        """Take a sound, its sidecar and what that names, or nothing of it."""
        job = self._hand.new_id()
        home = self._hand.rules.stages.processing / job
        named = printable(os.path.basename(note))
        size = 0
        try:
            stamp = stamp_at(self._hand.path(note))
            if not self._hand.arrivals.unchanged(self._hand.path(note), stamp):
                raise FileNotFoundError  # it is another one, which is not known to be complete
            sidecar = read_sidecar(read_text(self._hand.path(note)), named)
            further = _beside(note, sidecar, named)
            if not self._is_whole(rel, note, further.values()):
                return
            for each in (rel, *further.values()):
                size += os.lstat(self._hand.path(each)).st_size
            planned = plan(self._hand.rules, FileFacts(rel, size, self._hand.wall()), home / rel)
            order = overridden(planned.order, sidecar, named)
            refs = {
                name: SoundRef(path=home / each, name=printable(os.path.basename(each)))
                for name, each in {"sound": rel, **further}.items()
            }
            if further or names_members(order):
                order = with_members(order, refs, fit=False)
        except FileNotFoundError:
            self._let_go(note)
            for each in (note, rel):
                self._hand.arrivals.again(self._hand.path(each))
            return
        except (NoRuleMatches, BadSidecar, NoSuchMember) as wrong:
            self._let_go(note)
            for each in (rel, note):
                self._refuse_or_leave(self._hand.path(each), wrong)
            return
        # They go where the sound goes, in the end.
        along = [SoundRef(path=home / note, name=named), *(refs[name] for name in further)]
        order = order.model_copy(update={"members": along})
        new = self._hand.new_job(job, rel, size, replace(planned, order=order))
        if self._hand.take_together(new, (rel, note, *further.values()), self._disturbed):
            self._beside.release(note)
            self._beside.drop(note)

    def _is_whole(self, rel: str, note: str, further: Iterable[str]) -> bool:
        """True when all further sounds are complete; else the sound is looked at again.

        Raises:
            BadSidecar: one of them has not come for long enough.
        """
        for each in further:
            path = self._hand.path(each)
            if not os.path.lexists(path) or not self._hand.arrivals.unchanged(path, stamp_at(path)):
                self._beside.lost(each)
        lacking = self._beside.lacking(note)
        if not lacking:
            return True
        why = f"{printable(lacking[0])}, which its sidecar names, is not there or not complete"
        if self._beside.waited(note, self._hand.now()) >= GIVE_UP:
            raise BadSidecar(f"{why} after {GIVE_UP:g} s", field="sounds")
        self._hand.arrivals.again(self._hand.path(rel), _LOOK_AGAIN)
        self._hand.arrivals.hold(self._hand.path(rel), f"{why} yet")
        return False

    def _disturbed(self, rel: str) -> None:
        """A file was not there any more when all were to be moved."""
        self._beside.lost(rel)
        self._let_go(rel)

    def _let_go(self, note: str) -> None:
        """The sidecar is not used; what it names is a sound like any other again."""
        self._release(note)
        self._beside.drop(note)

    def _release(self, note: str) -> None:
        for each in self._beside.release(note):
            self._hand.arrivals.again(self._hand.path(each))

    def _refuse_or_leave(self, path: str, wrong: NoRuleMatches | BadSidecar | NoSuchMember) -> None:
        if isinstance(wrong, NoRuleMatches) and self._hand.rules.no_match == "leave":
            self._hand.arrivals.leave(path, stamp_at(path))
        else:
            self._hand.refuse(path, wrong.kind, wrong.detail)

    def turn(self) -> None:
        """Give up what was waited for long enough."""
        now = self._hand.now()
        if now < self._beside.next_due:
            return
        for rel, why in list(self._beside.overdue(now)):
            self._let_go(rel)
            if os.path.lexists(self._hand.path(rel)):
                self._hand.refuse(self._hand.path(rel), BadSidecar.__name__, why)
            else:
                self._hand.arrivals.gone(self._hand.path(rel))


def _beside(note: str, sidecar: Sidecar, named: str) -> dict[str, str]:
    """Paths below the inbox of the sounds that a sidecar names; they lie where it lies.

    Raises:
        BadSidecar: one lies elsewhere, or is the sidecar or its own sound.
    """
    folder, slash, name = note.rpartition("/")
    stem = name.rpartition(".")[0]
    found: dict[str, str] = {}
    for key, written in sidecar.sounds.items():
        own = written.rpartition(".")[0] == stem
        if "/" in written or written in (".", "..") or "\0" in written or own:
            raise BadSidecar(
                f"{named}: sounds.{key}: {written!r} must be the name of another file beside it",
                field=f"sounds.{key}",
            )
        found[key] = folder + slash + written
    return found
