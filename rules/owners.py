"""Who owns what is written: `user`, `user:group` or `:group`."""

from __future__ import annotations

import grp
import pwd

from handlers.errors import BadParameter


def ids_of(owner: str) -> tuple[int, int]:
    """User and group id; -1 leaves it as it is.

    Raises:
        BadParameter: there is no such user or group on this machine.
    """
    user, _, group = owner.partition(":")
    try:
        uid = -1 if not user else int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise BadParameter(f"there is no user {user!r} here", field="owner") from None
    try:
        gid = -1 if not group else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise BadParameter(f"there is no group {group!r} here", field="owner") from None
    if not user and not group:
        raise BadParameter(f"{owner!r} names neither a user nor a group", field="owner")
    return uid, gid
