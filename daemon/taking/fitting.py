"""Do the members of a set fit each other?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from handlers.artifacts import Blocks
from handlers.errors import CannotProcess


class DoesNotFit(CannotProcess):
    """A member of a set differs from the others in rate or length."""


def check_fit(members: Sequence[Blocks]) -> None:
    """Refuse sounds that do not have one rate and, within a frame, one length.

    The one that differs is named: what most of them have is right.

    Raises:
        DoesNotFit: says which member has what, and what the others have.
    """
    sounds = [member for member in members if member.facts is not None]
    rates = Counter(member.rate for member in sounds)
    rate = rates.most_common(1)[0][0]
    lengths = Counter(member.frames for member in sounds)
    frames = lengths.most_common(1)[0][0]
    wrong = [
        f"{member.facts.name if member.facts else 'a sound'} has {member.frames} frames at "
        f"{member.rate} Hz"
        for member in sounds
        if member.rate != rate or abs(member.frames - frames) > 1
    ]
    if wrong:
        raise DoesNotFit(
            f"the set does not fit: {'; '.join(wrong)}; the others have {frames} at {rate} Hz"
        )
