"""System calls that no decoder needs, refused by the kernel (seccomp).

Landlock leaves UDP, DNS and Unix sockets alone, the dispatcher's own among them; a worker has its
one socket already. Programs are not started, other processes not looked into, and nothing that
has been the kernel's weak side (namespaces, keys, BPF, io_uring) is reached. A refused call
fails with EACCES: libraries that only try, go on.

Sources: seccomp(2), `include/uapi/linux/seccomp.h`, `linux/filter.h`; numbers from
`arch/x86/entry/syscalls/syscall_64.tbl` and `include/uapi/asm-generic/unistd.h`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import Final

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF: ld word, jeq, jge, ret
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCH_AT = 0, 4
_ENOSYS_FROM_X32 = 0x40000000

#: For each machine: its audit name, and numbers in the order of `_NAMES`.
_NAMES: Final = (
    *("socket", "connect", "bind", "listen", "accept", "accept4"),
    *("execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd"),
    *("mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "open_by_handle_at"),
    *("bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key"),
    *("io_uring_setup", "kexec_load", "init_module", "finit_module", "delete_module"),
    *("swapon", "swapoff", "reboot", "acct", "quotactl", "personality"),
)
_MACHINES: Final = {
    "x86_64": (
        0xC000003E,
        (
            *(41, 42, 49, 50, 43, 288),
            *(59, 322, 101, 310, 311, 438),
            *(165, 166, 155, 161, 272, 308, 304),
            *(321, 298, 323, 250, 248, 249),
            *(425, 246, 175, 313, 176),
            *(167, 168, 169, 163, 179, 135),
        ),
    ),
    "aarch64": (
        0xC00000B7,
        (
            *(198, 203, 200, 201, 202, 242),
            *(221, 281, 117, 270, 271, 438),
            *(40, 39, 41, 51, 97, 268, 265),
            *(280, 241, 282, 219, 217, 218),
            *(425, 104, 105, 273, 106),
            *(224, 225, 142, 89, 60, 92),
        ),
    ),
}
_LIBC = ctypes.CDLL(None, use_errno=True)


def refused() -> dict[str, int]:
    """The refused calls and their numbers on this machine; empty where they are not known."""
    known = _MACHINES.get(platform.machine())
    return {} if known is None else dict(zip(_NAMES, known[1], strict=True))


def refuse() -> bool:
    """Refuse them, for this thread and all it starts; `no_new_privileges` comes first.

    Returns:
        False where this kernel or machine has no filter.
    """
    known = _MACHINES.get(platform.machine())
    if known is None:
        return False
    audit, numbers = known
    count = len(numbers)
    # Jumps are counted from the next instruction; the refusal is the last one.
    program = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 0, count + 3, audit),  # a call of another machine's numbering is refused
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, count + 1, 0, _ENOSYS_FROM_X32),
        *((_EQUAL, count - index, 0, number) for index, number in enumerate(numbers)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.EACCES),
    ]
    raw = b"".join(struct.pack("HBBI", *one) for one in program)
    buffer = ctypes.create_string_buffer(raw, len(raw))
    described = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
    zero = ctypes.c_ulong(0)
    result = _LIBC.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), described, zero, zero)
    if result and ctypes.get_errno() != errno.EINVAL:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_SECCOMP): {os.strerror(number)}")
    return bool(result == 0)
