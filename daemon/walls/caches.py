"""Caches of libraries: a worker reads what was made before it and adds nothing.

numba's cache holds code that whoever loads it will run. A worker that has opened strangers'
files must not write there; so what is missing is compiled before, by a process that opens none.
"""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from daemon.walls.landlock import READ, WRITE

log = logging.getLogger(__name__)


def _kernels() -> Path:
    found = PathFinder.find_spec("handlers")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "kernels"


def _of_user() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def numba_folders() -> list[Path]:
    """Where numba may have kept compiled kernels."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    folders = [Path(named)] if named else [_kernels() / "__pycache__", _of_user() / "numba"]
    return [folder for folder in folders if folder.is_dir()]


def cold_kernels() -> list[str]:
    """Modules of kernels that are not in the cache as they are now."""
    made: dict[str, float] = {}
    for folder in numba_folders():
        for index in folder.rglob("*.nbi"):
            module = index.name.partition(".")[0]
            made[module] = max(made.get(module, 0.0), index.stat().st_mtime)
    return [
        source.stem
        for source in _kernels().glob("*.py")
        if made.get(source.stem, 0.0) < source.stat().st_mtime
        and "@kernel(" in source.read_text(encoding="utf-8")
    ]


def compile_missing() -> None:
    """Compile what is not in the cache, in a process that sees no files of anybody's.

    Of several that want this at once, one does it and the others wait.
    """
    if not cold_kernels():
        return
    handle = os.open(_kernels(), os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if cold_kernels():
            command = [sys.executable, "-m", "handlers.kernels"]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
            if done.returncode:
                # Each worker then compiles for itself, which takes long but works.
                log.warning("the kernels could not be compiled ahead: exit %d", done.returncode)
    finally:
        os.close(handle)


def readable(home: Path) -> Iterator[tuple[Path, int]]:
    """Places of caches; `home` is a folder for those that a worker may write itself.

    Sets `MPLCONFIGDIR` where matplotlib has not kept its list of fonts yet, and the folder for
    temporary files.
    """
    for folder in numba_folders():
        yield folder, READ
    home.mkdir(parents=True, exist_ok=True)
    yield home, WRITE
    # It would look for semaphores, which workers have no use for and no access to.
    os.environ["JOBLIB_MULTIPROCESSING"] = "0"
    os.environ["TMPDIR"] = tempfile.tempdir = str(home)
    fonts = Path(os.environ.get("MPLCONFIGDIR") or _of_user() / "matplotlib")
    if any(fonts.glob("fontlist-*.json")):
        yield fonts, READ
        yield (
            Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "matplotlib",
            READ,
        )
    else:
        os.environ["MPLCONFIGDIR"] = str(home / "matplotlib")


def numba_only_reads() -> None:
    """Have numba take its caches as they are: it tries to write to a folder before it reads there.

    To be called before anything is imported that is compiled with `cache=True`.
    """
    from numba.core import caching

    def ensure_cache_path(self: Any) -> None:
        path = Path(self.get_cache_path())
        there = next(p for p in (path, *path.parents) if p.exists())
        # As it would be without walls, so that the folder is the one that it was written to.
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(f"{there} cannot be written to")

    def save_nothing(_file: Any, key: Any, _data: Any) -> None:
        log.debug("not kept in numba's cache: %s", key)

    replaced: Any = caching
    replaced._CacheLocator.ensure_cache_path = ensure_cache_path
    replaced.IndexDataCacheFile.save = save_nothing
