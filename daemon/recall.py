"""What listening steps found, kept on disk: the same question about the same sound is a look-up."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
from collections import OrderedDict
from io import BufferedReader
from pathlib import Path
from typing import Any

import orjson
from blake3 import blake3

from handlers.errors import NoSuchFile

_FOLDERS = 256
_HASHES = 256


class Recalled:
    """Facts by key, one small file each; any number of workers may share the folder.

    Files lie in 256 folders by the first byte of the key, each with its share
    of the room. One that overflows loses what was not asked for the longest.
    """

    def __init__(self, folder: Path, limit_bytes: int | None) -> None:
        """Keep at most about `limit_bytes` in `folder`, which need not exist yet.

        Without a limit, who keeps them makes room too.
        """
        self._folder = folder
        self._room = None if limit_bytes is None else limit_bytes // _FOLDERS

    def get(self, key: str) -> dict[str, Any] | None:
        """The facts kept under this key (hexadecimal)."""
        path = self.path(key)
        try:
            facts: dict[str, Any] = orjson.loads(path.read_bytes())
            os.utime(path)
        except FileNotFoundError:
            return None
        except ValueError:
            # A power cut may leave a file without its content. Nothing is lost: it is found anew.
            path.unlink(missing_ok=True)
            return None
        return facts

    def put(self, key: str, facts: dict[str, Any]) -> None:
        """Keep facts, if they are small enough for their folder's share."""
        data = orjson.dumps(facts)
        if self._room is not None and len(data) > self._room:
            return
        path = self.path(key)
        draft = path.with_name(f".{secrets.token_hex(8)}")
        try:
            draft.write_bytes(data)
        except FileNotFoundError:  # the first one of its folder
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(data)
        draft.rename(path)
        if self._room is not None:
            self._make_room(path.parent, self._room)

    def forget_older(self, seconds: float, now: float) -> int:
        """Forget what was not asked for as long as this; how many facts.

        Args:
            now: Unix seconds.
        """
        forgotten = 0
        for file in self._folder.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):  # another worker made room
                if file.stat().st_mtime < now - seconds:
                    file.unlink()
                    forgotten += 1
        return forgotten

    def path(self, key: str) -> Path:
        """Where facts lie."""
        return self._folder / key[:2] / key[2:]

    @staticmethod
    def _make_room(folder: Path, room: int) -> None:
        with os.scandir(folder) as entries:
            found = [(e.stat().st_mtime_ns, e.stat().st_size, e.path) for e in entries]
        size = sum(entry[1] for entry in found)
        for _, length, path in sorted(found):
            if size <= room:
                return
            Path(path).unlink(missing_ok=True)
            size -= length


_hashes: OrderedDict[tuple[int, int, int, int], str] = OrderedDict()
_hashing = threading.Lock()


def content_of(path: Path) -> str:
    """Names a file's content: its BLAKE3, remembered as long as the file stays as it is.

    BLAKE3 (O'Connor et al., 2020) is as hard to fool as SHA-256, of which a manifest speaks, and
    takes a third of its time: every answer that is kept costs the hashes of its sounds.

    Raises:
        NoSuchFile: it is not there any more.
    """
    try:
        with path.open("rb") as file:
            return content_of_open(file)
    except FileNotFoundError:
        raise NoSuchFile(f"{path.name} is not there any more") from None


def content_of_open(file: BufferedReader) -> str:
    """Names the content of an open file, as `content_of` does."""
    seen = identity_of(os.fstat(file.fileno()))
    with _hashing:
        known = _hashes.get(seen)
    if known is None:
        file.seek(0)
        known = hashlib.file_digest(file, _blake3).hexdigest()
    with _hashing:
        _hashes[seen] = known
        _hashes.move_to_end(seen)
        if len(_hashes) > _HASHES:
            _hashes.popitem(last=False)
    return known


def _blake3() -> Any:
    return blake3()


def identity_of(stat: os.stat_result) -> tuple[int, int, int, int]:
    """Another one as soon as a file may hold something else."""
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
