"""Six kinds of writer that a hot folder meets, on a real disk in virtual time.

A model of the writers that users of watch folders complain about. Each writes real bytes at
times that chance chooses; what is under test (`Arrivals` over an `Inbox`) looks at the real
files, asks for real leases and reads real headers. Only the clock is moved by hand.
"""

import heapq
import io
import itertools
import os
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from daemon.arrivals import Arrivals
from daemon.clock import ManualClock
from daemon.watch import Inbox
from rules.model import SettleText

EPOCH = 2_000_000_000.0
"""Where the clock of a model begins: later than any time that the kernel puts on a directory."""

Writing = Iterator[float]
"""A writer: says how many seconds pass, then does the next thing. Its end is its last write."""


# -- sounds ----------------------------------------------------------------------------------------
def _bytes(chance: random.Random, count: int) -> bytes:
    """Sound; now and then it ends in silence."""
    silent = chance.randrange(count // 4, count // 2) if chance.random() < 0.1 else 0
    loud = bytes(chance.choices(range(1, 256), k=64)) * (count // 64 + 1)
    return loud[: count - silent] + bytes(silent)


def _wav(sound: bytes, *, stated: int | None = None, magic: bytes = b"RIFF") -> bytes:
    size = len(sound) if stated is None else stated
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 48000, 96000, 2, 16)
    wide = b""
    riff = min(size + 36, 0xFFFFFFFF)
    if magic != b"RIFF":
        wide = struct.pack("<4sIQQQI", b"ds64", 28, size + 80, size, size // 2, 0)
        riff, size = 0xFFFFFFFF, 0xFFFFFFFF
    data = struct.pack("<4sI", b"data", size)
    return magic + struct.pack("<I", riff) + b"WAVE" + wide + form + data + sound


def _aiff(sound: bytes) -> bytes:
    common = struct.pack(">4sIHIH10s", b"COMM", 18, 1, len(sound) // 2, 16, bytes(10))
    data = struct.pack(">4sIII", b"SSND", len(sound) + 8, 0, 0) + sound
    return b"FORM" + struct.pack(">I", 4 + len(common) + len(data)) + b"AIFF" + common + data


def _mp4(sound: bytes) -> bytes:
    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(body), kind) + body

    return box(b"ftyp", b"M4A " * 3) + box(b"mdat", sound) + box(b"moov", b"index" * 50)


def _ogg(sound: bytes) -> bytes:
    pages = b""
    pieces = [sound[at : at + 51_000] for at in range(0, len(sound), 51_000)]
    for number, piece in enumerate(pieces):
        flags = (2 if number == 0 else 0) | (4 if number == len(pieces) - 1 else 0)
        whole, rest = divmod(len(piece), 255)
        lacing = b"\xff" * whole + bytes([rest])
        pages += struct.pack("<4sBBqIIIB", b"OggS", 0, flags, 0, 7, number, 0, len(lacing))
        pages += lacing + piece
    return pages


def _flac(sound: bytes) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(sound, "<i2"), 48000, format="FLAC")
    return file.getvalue()


def _mp3(sound: bytes) -> bytes:
    """Frames without a tag that would tell how many."""
    return b"\xff\xfb\x90\x64" + sound


STATING: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("wav", _wav),
    ("wav", lambda sound: _wav(sound, magic=b"RF64")),
    ("wav", lambda sound: _wav(sound, magic=b"BW64")),
    ("aiff", _aiff),
    ("m4a", _mp4),
    ("ogg", _ogg),
    ("flac", _flac),
]
UNSTATING: list[tuple[str, Callable[[bytes], bytes]]] = [("mp3", _mp3)]


# -- writers ---------------------------------------------------------------------------------------
@dataclass
class Drop:
    """One file on its way into the folder."""

    path: Path
    content: bytes
    chance: random.Random
    clock: ManualClock
    hint: Callable[[Path], None]
    #: Its container says how long it must be, from its first byte or by its last.
    states: bool = True
    end: float = float("inf")
    taken: float | None = None
    truncated: str = ""
    _held: list[int] = field(default_factory=list)

    def put(self, at: int, piece: bytes, *, truncate: bool = False) -> None:
        """Write a piece, as a program that closes the file again."""
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if truncate else 0)
        handle = os.open(self.path, flags, 0o644)
        os.pwrite(handle, piece, at)
        os.close(handle)
        self.touch()
        self.hint(self.path)

    def touch(self) -> None:
        """The time of the last write, by the clock of the model."""
        if self.path.exists():
            os.utime(self.path, (self.clock.now(), self.clock.now()))

    def hold(self) -> int:
        """Open the file for writing, and keep it."""
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
        self._held.append(handle)
        self.hint(self.path)
        return handle

    def close(self) -> None:
        """Close it again."""
        while self._held:
            os.close(self._held.pop())
            self.hint(self.path)


def _pieces(drop: Drop, count: int, aligned: int = 1) -> Iterator[tuple[int, bytes]]:
    size = len(drop.content)
    chosen = (drop.chance.randrange(100, size) // aligned * aligned for _ in range(count - 1))
    cuts = sorted({0, size, *chosen})
    for low, high in itertools.pairwise(cuts):
        yield low, drop.content[low:high]


def _stall(drop: Drop, often: float, low: float, high: float) -> float:
    return drop.chance.uniform(low, high) if drop.chance.random() < often else 0.0


def local_copy(drop: Drop) -> Writing:
    """cp: holds the file and writes without a pause worth mentioning."""
    handle = drop.hold()
    for at, piece in _pieces(drop, 8):
        yield drop.chance.uniform(0.001, 0.2) + _stall(drop, 0.02, 1, 20)
        os.pwrite(handle, piece, at)
        drop.touch()
    drop.close()


def share_copy_with_stalls(drop: Drop) -> Writing:
    """A copy over the network: grows piece by piece, and stands still now and then."""
    for at, piece in _pieces(drop, 12):
        if at:
            yield drop.chance.uniform(0.05, 1.0) + _stall(drop, 0.15, 3, 45)
        drop.put(at, piece)


def preallocated_copy(drop: Drop) -> Writing:
    """SMB: the size is there at once, the time never moves, only the content tells."""
    handle = os.open(drop.path, os.O_WRONLY | os.O_CREAT, 0o644)
    os.truncate(drop.path, len(drop.content))
    real = drop.chance.random() < 0.5
    if real:  # a server that allocates for real
        os.pwrite(handle, bytes(len(drop.content)), 0)
    before = drop.clock.now()
    drop.hint(drop.path)
    os.close(handle)
    for at, piece in _pieces(drop, 12, aligned=4096):  # clients write whole pages
        yield drop.chance.uniform(0.05, 1.0) + _stall(drop, 0.15, 3, 45)
        drop.put(at, piece)
        os.utime(drop.path, (before, before))


def bounce(drop: Drop) -> Writing:
    """A DAW: a placeholder for the length, pauses of a minute, the length at the very end.

    One in three closes the file between two pieces.
    """
    placeholder = drop.chance.choice((0, 0xFFFFFFFF, 0x7FFFF000))
    head = _wav(b"", stated=placeholder)
    sound = drop.content[44:]
    keeps = drop.chance.random() < 0.67
    if keeps:
        drop.hold()
    drop.put(0, head)
    for at in range(0, len(sound), max(1, len(sound) // 12)):
        yield drop.chance.uniform(0.5, 5) + _stall(drop, 0.3, 30, 90)
        drop.put(44 + at, sound[at : at + len(sound) // 12])
    yield drop.chance.uniform(0.5, 3)
    drop.put(0, _wav(sound)[:44])
    drop.close()


def reopening_device(drop: Drop) -> Writing:
    """A recorder or scanner: opens, writes a piece, closes, again and again."""
    for at, piece in _pieces(drop, 8):
        if at:
            yield drop.chance.uniform(0.05, 0.6)
        drop.put(at, piece)


def rename(drop: Drop) -> Writing:
    """rsync, Syncthing, browsers: another name until it is whole."""
    part = drop.path.with_name(f".{drop.path.name}.Xy12Zz")
    part.write_bytes(drop.content[: len(drop.content) // 2])
    drop.hint(part)
    yield drop.chance.uniform(0.1, 30)
    part.write_bytes(drop.content)
    yield drop.chance.uniform(0.1, 30)
    part.rename(drop.path)
    drop.hint(drop.path)


@dataclass(frozen=True)
class Kind:
    """One kind of writer, and where it writes."""

    write: Callable[[Drop], Writing]
    #: A disk of this machine: leases and events tell the truth.
    local: bool
    #: Share of files whose container does not tell its length.
    unstating: float


KINDS: dict[str, Kind] = {
    "local copy": Kind(local_copy, True, 0.25),
    "NAS copy with stalls": Kind(share_copy_with_stalls, False, 0.25),
    "preallocated copy": Kind(preallocated_copy, False, 0.25),
    "DAW bounce": Kind(bounce, True, 0.0),
    "DAW bounce to a NAS": Kind(bounce, False, 0.0),
    "reopening device": Kind(reopening_device, True, 0.25),
    "rename": Kind(rename, True, 0.25),
}


@dataclass
class Outcome:
    """What became of the drops of one kind."""

    drops: list[Drop]

    @property
    def early(self) -> list[Drop]:
        """Those that were taken, or given up, before their last byte."""
        return [d for d in self.drops if d.taken is None or d.taken < d.end or d.truncated]

    @property
    def delay(self) -> float:
        """Median seconds from the last byte to the taking."""
        delays = sorted(d.taken - d.end for d in self.drops if d.taken and d.end <= d.taken)
        return delays[len(delays) // 2]


def play(kind: Kind, drops: int, folder: Path, seed: int) -> Outcome:
    """Let so many files be written into a folder at the same time, and take them as they come."""
    clock = ManualClock()
    clock.advance(EPOCH - clock.now())
    inbox = Inbox(folder)
    arrivals = Arrivals(inbox, clock, SettleText(), local=kind.local, rescan_interval=2.0)

    def hint(path: Path) -> None:
        if kind.local:  # nobody tells what happens on a share
            arrivals.hint(str(path.parent), path.name)

    made: list[Drop] = []
    waiting: list[tuple[float, int, Writing]] = []
    for number in range(drops):
        chance = random.Random(f"{seed}/{number}")
        states = chance.random() >= kind.unstating
        ext, container = chance.choice(STATING if states else UNSTATING)
        if kind.write is bounce:
            ext, container = STATING[0]
        content = container(_bytes(chance, chance.randrange(20_000, 60_000, 2)))
        path = folder / f"{number}.{ext}"
        made.append(Drop(path, content, chance, clock, hint, states))
        start = clock.monotonic() + chance.uniform(0, 60)
        heapq.heappush(waiting, (start, number, kind.write(made[-1])))
    by_path = {str(drop.path): drop for drop in made}
    end = clock.monotonic() + 7200
    while any(drop.taken is None for drop in made) and clock.monotonic() < end:
        due = arrivals.next_due
        if waiting and waiting[0][0] <= due:
            at, number, writing = heapq.heappop(waiting)
            clock.advance(max(0.0, at - clock.monotonic()))
            if made[number].taken is not None:
                continue  # it had more to write
            pause = next(writing, None)
            if pause is None:
                made[number].end = clock.monotonic()
            else:
                heapq.heappush(waiting, (clock.monotonic() + pause, number, writing))
        else:
            clock.advance(max(0.0, due - clock.monotonic()))
        for arrived in arrivals.complete(1000):
            drop = by_path[arrived.path]
            if drop.taken is None:
                drop.taken, drop.truncated = clock.monotonic(), arrived.truncated
            os.rename(arrived.path, folder.parent / f"taken {drop.path.name}")
            arrivals.gone(arrived.path)
    for drop in made:
        drop.close()
    return Outcome(made)
