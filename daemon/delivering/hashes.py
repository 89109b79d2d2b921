"""Names the content of files: SHA-256, as `sha256sum` prints it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def hash_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_from_disk(path: Path) -> str:
    """SHA-256 of what the disk has of a file that was fsynced, not of what memory has."""
    with path.open("rb") as file:
        # Clean pages are dropped, so what follows is read again. Where a file system lives in
        # memory, or refuses, the hash is that of the pages.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(file, "sha256").hexdigest()
