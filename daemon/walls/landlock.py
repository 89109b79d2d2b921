"""Landlock: a process gives up, for good, all files but those it names, and TCP.

Sources: Linux `Documentation/userspace-api/landlock.rst`, `include/uapi/linux/landlock.h`,
landlock(7). The system calls have the same numbers on every architecture.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION, _PATH_BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS: Final = 38

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 16, 32, 128, 256
_REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15

READ: Final = READ_FILE | READ_DIR
#: All that a folder of results needs. No links, sockets, pipes or devices are made, nothing is run.
WRITE: Final = (
    READ | WRITE_FILE | TRUNCATE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER
)
#: A device that a driver's library talks to.
DEVICE: Final = READ_FILE | WRITE_FILE | IOCTL_DEV
#: What a rule may grant of something that is no folder.
_OF_FILES: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

_TCP = 3  # bind and connect
_SCOPES = 3  # abstract Unix sockets and signals, of processes outside

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def abi() -> int:
    """What this kernel knows of Landlock: 0 is nothing; TCP needs 4, signals 6."""
    version = _libc.syscall(
        ctypes.c_long(_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION)
    )
    return max(int(version), 0)


def _file_rights(version: int) -> int:
    known = 13 if version < 2 else 14 if version < 3 else 15 if version < 5 else 16
    return (1 << known) - 1


def restrict(rules: Mapping[Path, int], *, tcp: bool = False) -> tuple[int, list[Path]]:
    """Give up every file but those beneath these places; for this thread and all it starts.

    Args:
        rules: rights by place. One that is not there, or cannot be looked at, is left out.
        tcp: leave TCP as it is.

    Returns:
        The kernel's ABI (0: nothing was given up, the kernel cannot), and the places in force.

    Raises:
        OSError: the kernel knows Landlock and refuses.
    """
    version = abi()
    if version == 0:
        return 0, []
    rights = _file_rights(version)
    network = _TCP if version >= 4 and not tcp else 0
    packed = struct.pack("QQQ", rights, network, _SCOPES if version >= 6 else 0)
    attributes = packed[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _checked(
        _libc.syscall(
            ctypes.c_long(_CREATE_RULESET),
            attributes,
            ctypes.c_size_t(len(attributes)),
            ctypes.c_uint32(0),
        ),
        "landlock_create_ruleset",
    )
    try:
        there = [place for place, granted in rules.items() if _add(ruleset, place, granted, rights)]
        no_new_privileges()
        _checked(
            _libc.syscall(ctypes.c_long(_RESTRICT_SELF), ctypes.c_int(ruleset), ctypes.c_uint32(0)),
            "landlock_restrict_self",
        )
    finally:
        os.close(ruleset)
    return version, there


def no_new_privileges() -> None:
    """No program that this process starts gains what it has not: set-user-id is ignored."""
    zero = ctypes.c_ulong(0)
    _checked(
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero),
        "prctl(PR_SET_NO_NEW_PRIVS)",
    )


def _add(ruleset: int, place: Path, granted: int, known: int) -> bool:
    try:
        handle = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return False  # not there, or not for this user: there is nothing to grant
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            granted &= _OF_FILES
        rule = struct.pack("=Qi", granted & known, handle)
        _checked(
            _libc.syscall(
                ctypes.c_long(_ADD_RULE),
                ctypes.c_int(ruleset),
                ctypes.c_int(_PATH_BENEATH),
                rule,
                ctypes.c_uint32(0),
            ),
            f"landlock_add_rule({place})",
        )
    finally:
        os.close(handle)
    return True


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return int(result)


def merged(rules: Iterable[tuple[Path, int]]) -> dict[Path, int]:
    """Rights by place, where several may name the same place."""
    found: dict[Path, int] = {}
    for place, granted in rules:
        found[place] = found.get(place, 0) | granted
    return found
