"""Uploads in pieces: each a file of bytes and a small one about it, until it is whole.

How far an upload is, its file says: bytes that reached the kernel survive the
end of any process. After a power failure a file may be longer than what it
holds, so what counts then is what was known to be on the disk. A second, small
file tells the two apart; it may be lost, and then the worse is assumed. A
finished upload's bytes go into the staging area by a rename, and only by it:
where the bytes are gone and the note about them is not, it is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from control_api.errors import ChecksumMismatch, UnknownUpload, UploadBusy, WrongOffset
from control_api.ports import Appending, Checksum, PartialUpload
from daemon.moves import fsync_folder, write_whole
from daemon.staging import Staging, normalized, too_large
from handlers.errors import AudiollaError, StorageFull

log = logging.getLogger(__name__)

_MAX_OPEN = 10_000
_LEAST_FREE = 1 << 28  # bytes that announced uploads leave on the disk
_SWEEP = 600.0  # seconds
_NOTE, _DATA, _RUN = ".json", ".data", ".run"


@dataclass(frozen=True)
class _Note:
    """What is written down about one upload."""

    id: str
    path: str
    length: int
    metadata: str
    #: Bytes that are known to be on the disk.
    synced: int


class Resumable:
    """All uploads of one daemon."""

    def __init__(
        self,
        folder: Path,
        staging: Staging,
        *,
        max_bytes: int,
        ttl: float,
        now: Callable[[], float],
        boot: str | None = None,
    ) -> None:
        """Keep uploads in a folder of their own.

        Args:
            folder: on the staging area's file system, or their end is a copy.
            staging: where complete ones appear.
            max_bytes: cap on one.
            ttl: seconds since the last byte after which an unfinished one is forgotten.
            now: Unix seconds.
            boot: names this run of the machine.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._staging = staging
        self.max_bytes = max_bytes
        self._ttl = ttl
        self._now = now
        self._boot = _boot_id() if boot is None else boot
        #: Guards `_live` alone; nothing that takes time happens under it.
        self._lock = threading.Lock()
        self._live: dict[str, _Appending] = {}
        self._stopped = threading.Event()

    # -- what the API asks -------------------------------------------------------------------
    def create(self, path: str, length: int, metadata: str) -> PartialUpload:
        """Begin one."""
        path = normalized(path)
        if length > self.max_bytes:
            raise too_large(path, self.max_bytes)
        self._check_room(length)
        note = _Note(uuid.uuid4().hex, path, length, metadata, 0)
        self._data(note.id).touch(exist_ok=False)
        self._write(note)
        if length == 0:
            self.publish(note)
        return self._told(note, 0)

    def look(self, upload_id: str) -> PartialUpload:
        """How far it is."""
        note = self._note(upload_id)
        return self._told(note, self._offset(note))

    def begin(
        self, upload_id: str, offset: int, length: int | None, checksum: Checksum | None
    ) -> Appending:
        """Go on with it, in place of whoever did so before."""
        self._note(upload_id)
        with self._lock:
            before = self._live.get(upload_id)
            if before is not None and not before.send_away():
                raise UploadBusy(f"upload {upload_id} is just being finished; try again")
            note = self._read(upload_id)
            known = self._offset(note)
            if offset != known:
                raise WrongOffset(
                    f"upload {upload_id} has {known} bytes, so the next ones go to {known}, "
                    f"not to {offset}",
                    field="Upload-Offset",
                )
            if length is not None and offset + length > note.length:
                raise too_many(note)
            appending = _Appending(self, note, offset, checksum)
            run = {"boot": self._boot, "unchecked_from": offset if checksum else None}
            self._run(upload_id).write_bytes(orjson.dumps(run))
            self._live[upload_id] = appending
        return appending

    def drop(self, upload_id: str) -> None:
        """Forget it."""
        self._note(upload_id)
        with self._lock:
            before = self._live.get(upload_id)
            if before is not None and not before.send_away():
                raise UploadBusy(f"upload {upload_id} is just being finished; try again")
            self._live.pop(upload_id, None)
        self._forget(upload_id)

    # -- what time asks ----------------------------------------------------------------------
    def start(self) -> None:
        """Finish what a crash left whole, and forget what nobody goes on with, now and then."""
        threading.Thread(target=self._keep_tidy, name="uploads", daemon=True).start()

    def stop(self) -> None:
        """End what `start` began."""
        self._stopped.set()

    def _keep_tidy(self) -> None:
        while True:
            try:
                self.sweep()
            except OSError as wrong:
                log.warning("unfinished uploads could not be looked through: %s", wrong)
            if self._stopped.wait(_SWEEP):
                return

    def sweep(self) -> None:
        """Publish what is whole, forget what has expired."""
        for note in self._notes():
            with self._lock:
                if note.id in self._live:
                    continue
                expired = self._expired(note.id)
                if expired:
                    log.info("upload %s (%s) has expired", note.id, note.path)
                    self._forget(note.id)
            if expired:
                continue
            if self._data(note.id).exists() and self._offset(note) == note.length:
                try:
                    self.publish(note)
                except (AudiollaError, OSError) as wrong:
                    log.warning("upload %s cannot become %s: %s", note.id, note.path, wrong)
        for path in self._folder.iterdir():
            # A note is made right after the bytes' file, and goes right before it.
            if not self._note_of(path.stem).exists() and self._old(path):
                path.unlink(missing_ok=True)

    # -- files -------------------------------------------------------------------------------
    def publish(self, note: _Note) -> None:
        """Let a whole file appear in the staging area."""
        self._staging.adopt(note.path, self._data(note.id))

    def done(self, appending: _Appending) -> None:
        """Nobody is at this upload any more."""
        with self._lock:
            if self._live.get(appending.note.id) is appending:
                del self._live[appending.note.id]

    def settled(self, note: _Note, offset: int) -> PartialUpload:
        """Write down that so many bytes are on the disk; the last ones complete the file."""
        note = replace(note, synced=offset)
        self._write(note)
        if offset == note.length and self._data(note.id).exists():
            self.publish(note)
        return self._told(note, offset)

    def cut(self, note: _Note, offset: int) -> int:
        """The bytes' file, open for writing behind its first `offset` bytes; -1 once published."""
        try:
            descriptor = os.open(self._data(note.id), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return -1
        os.ftruncate(descriptor, offset)
        os.lseek(descriptor, offset, os.SEEK_SET)
        return descriptor

    def _offset(self, note: _Note) -> int:
        """Bytes that are there beyond doubt."""
        try:
            size = self._data(note.id).stat().st_size
        except FileNotFoundError:
            return note.length
        try:
            run = orjson.loads(self._run(note.id).read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            run = {}
        if run.get("boot") != self._boot:
            # A power failure may leave a file longer than its content.
            return min(size, note.synced)
        unchecked_from = run["unchecked_from"]
        return size if unchecked_from is None else min(size, max(unchecked_from, note.synced))

    def _told(self, note: _Note, offset: int) -> PartialUpload:
        expires = None if offset == note.length else self._touched(note.id) + self._ttl
        return PartialUpload(note.id, note.path, note.length, offset, note.metadata, expires)

    def _note(self, upload_id: str) -> _Note:
        unknown = UnknownUpload(f"there is no upload {upload_id!r}; it may have expired")
        if len(upload_id) != 32 or not set(upload_id) <= set("0123456789abcdef"):
            raise unknown
        try:
            note = self._read(upload_id)
        except FileNotFoundError:
            raise unknown from None
        with self._lock:
            live = upload_id in self._live
        if not live and self._expired(upload_id):
            raise unknown
        return note

    def _read(self, upload_id: str) -> _Note:
        return _Note(**orjson.loads(self._note_of(upload_id).read_bytes()))

    def _expired(self, upload_id: str) -> bool:
        return self._touched(upload_id) + self._ttl <= self._now()

    def _notes(self) -> Iterator[_Note]:
        for path in self._folder.glob(f"*{_NOTE}"):
            with contextlib.suppress(FileNotFoundError):
                yield self._read(path.stem)

    def _write(self, note: _Note) -> None:
        write_whole(self._note_of(note.id), orjson.dumps(asdict(note)))

    def _forget(self, upload_id: str) -> None:
        self._note_of(upload_id).unlink(missing_ok=True)
        fsync_folder(self._folder)
        self._data(upload_id).unlink(missing_ok=True)
        self._run(upload_id).unlink(missing_ok=True)

    def _touched(self, upload_id: str) -> float:
        """When its last byte, or the last word about it, was written; Unix seconds."""
        times = [0.0]
        for path in (self._note_of(upload_id), self._data(upload_id)):
            with contextlib.suppress(FileNotFoundError):
                times.append(path.stat().st_mtime)
        return max(times)

    def _old(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime + self._ttl <= self._now()
        except FileNotFoundError:
            return False

    def _check_room(self, length: int) -> None:
        notes = list(self._notes())
        if len(notes) >= _MAX_OPEN:
            raise StorageFull(f"there are {_MAX_OPEN} uploads already; finish or delete some")
        missing = sum(note.length - self._offset(note) for note in notes)
        free = shutil.disk_usage(self._folder).free - _LEAST_FREE
        if length + missing > free:
            raise StorageFull(
                f"{length} bytes are too many for the disk: {max(free, 0)} are free, "
                f"{missing} of them for uploads that have begun"
            )

    def _note_of(self, upload_id: str) -> Path:
        return self._folder / f"{upload_id}{_NOTE}"

    def _run(self, upload_id: str) -> Path:
        return self._folder / f"{upload_id}{_RUN}"

    def _data(self, upload_id: str) -> Path:
        return self._folder / f"{upload_id}{_DATA}"


class _Appending:
    """Bytes of one request on their way into an upload's file."""

    def __init__(
        self, owner: Resumable, note: _Note, offset: int, checksum: Checksum | None
    ) -> None:
        self.note = note
        self._owner = owner
        self._start = self._at = offset
        self._checksum = checksum
        self._hash: Any = hashlib.new(checksum.algorithm) if checksum else None
        self._descriptor = owner.cut(note, offset)
        self._lock = threading.Lock()
        #: `open`; `finishing` and not to be disturbed; `ended`.
        self._state = "open"
        self._error: Exception | None = None

    def append(self, data: bytes | memoryview, /) -> None:
        """Write the next bytes."""
        with self._lock:
            if self._state != "open" or self._error is not None:
                return
            if self._at + len(data) > self.note.length:
                self._error = too_many(self.note)
                return
            try:
                left = memoryview(data)
                while left:
                    count = os.write(self._descriptor, left)
                    if self._hash is not None:
                        self._hash.update(left[:count])
                    self._at += count
                    left = left[count:]
            except OSError as wrong:
                self._error = wrong

    def finish(self) -> PartialUpload:
        """Make them durable."""
        with self._lock:
            if self._state != "open":
                raise WrongOffset(
                    f"another request goes on with upload {self.note.id}", field="Upload-Offset"
                )
            self._state = "finishing"
        try:
            self._check()
            if self._descriptor >= 0:
                os.fsync(self._descriptor)
            return self._owner.settled(self.note, self._at)
        finally:
            with self._lock:
                self._end()
            self._owner.done(self)

    def _check(self) -> None:
        """Raise what went wrong, and drop what must not be kept."""
        wrong = self._error
        if self._checksum is not None and wrong is None:
            if self._hash.digest() == self._checksum.digest:
                return
            wrong = ChecksumMismatch(
                f"the {self._at - self._start} bytes have another {self._checksum.algorithm} "
                "than Upload-Checksum says; none of them was kept, send them again",
                field="Upload-Checksum",
            )
        if wrong is None:
            return
        keeps = self._checksum is None and not isinstance(wrong, AudiollaError)
        if not keeps and self._descriptor >= 0:
            os.ftruncate(self._descriptor, self._start)
        raise wrong

    def abandon(self) -> None:
        """The client has gone."""
        if self.send_away():
            self._owner.done(self)

    def send_away(self) -> bool:
        """End it without its finish; False when it is finishing."""
        with self._lock:
            if self._state == "finishing":
                return False
            if self._state == "open":
                if self._checksum is not None and self._descriptor >= 0:
                    os.ftruncate(self._descriptor, self._start)
                self._end()
            return True

    def _end(self) -> None:
        self._state = "ended"
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def too_many(note: _Note) -> AudiollaError:
    """The refusal of more bytes than a client said that there would be."""
    wrong = too_large(note.path, note.length)
    wrong.hint = "that is its Upload-Length"
    return wrong


def _boot_id() -> str:
    """Another text after each start of the machine; empty where nothing tells."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
