"""A hot folder on a real network file system: slow writers, a server that hangs, a lost mount.

SFTP over a TCP connection of this machine: `sftp-server` behind a socket, `sshfs` mounted on it
(its `directport`, so that no SSH daemon and no keys are needed), a whole daemon with its folder
on that mount. "Other machines" write into the served folder beside the mount, as a NAS sees it:

- slow: chunk by chunk with pauses, header first
- ahead: room is made for all of it first, then it is filled (SMB, NFS)
- bounce: the header gets its length at the end (a DAW)
- rename: under another name, then renamed
- replace: whole, and another file takes its name a moment later
- here: through the mount, by a program of this machine

Meanwhile the server stops answering, and later the mount goes and comes back. In the end each
file must have been delivered once, whole, and lie in `done` as it was written. A folder on the
local disk takes files all the time: how long it makes them wait is printed.

    python -m bench.shares [--files 60] [--seed 1] [--server /usr/lib/openssh/sftp-server]

Wants root (or fusermount3), /dev/fuse, and the Debian packages sshfs and openssh-sftp-server.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.folders import _daemon
from daemon.mounts import mount_of

RATE = 8000
SPREAD, HANG, GONE = 40.0, 25.0, 15.0  # seconds
PATIENCE = 300.0
_PAUSE = threading.Event()
RULES = """\
folder: {root}
retries: 20
rules: [{{name: all, steps: [{{normalize: {{target_lufs: -23}}}}], output: {{format: flac}}}}]
"""


def main() -> int:
    """Run it; 1 if a file was lost, doubled or halved."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server", default="/usr/lib/openssh/sftp-server")
    parser.add_argument("--keep", action="store_true", help="leave everything for a look")
    args = parser.parse_args()
    if shutil.which("sshfs") is None or not Path(args.server).exists():
        parser.error("sshfs or sftp-server is not installed")
    folder = Path(tempfile.mkdtemp(prefix="audiolla-bench-"))
    share = Share(folder, args.server)
    try:
        return _run(folder, share, args.files, random.Random(args.seed))
    finally:
        share.close()
        if not args.keep:
            shutil.rmtree(folder)


class Share:
    """A folder that is served, and its mount."""

    def __init__(self, folder: Path, server: str) -> None:
        self.served, self.mount = folder / "served", folder / "mnt"
        self.served.mkdir()
        self.mount.mkdir()
        self._server = server
        self._serving: subprocess.Popen[bytes] | None = None
        self._sshfs: subprocess.Popen[bytes] | None = None
        self.attach()

    def attach(self) -> None:
        """Serve and mount."""
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        self._sshfs = subprocess.Popen(
            ["sshfs", "-f", "-o", f"directport={port}", f"localhost:{self.served}", self.mount]
        )
        listener.settimeout(30)
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._serving = subprocess.Popen([self._server], stdin=connection, stdout=connection)
        connection.close()
        listener.close()
        end = time.monotonic() + 30
        while mount_of(self.mount).point != str(self.mount):
            if time.monotonic() > end:
                raise SystemExit("sshfs does not mount")
            _PAUSE.wait(0.05)

    def hang(self) -> None:
        """The server stops answering; whoever asks waits in the kernel."""
        assert self._serving is not None
        self._serving.send_signal(signal.SIGSTOP)

    def answer(self) -> None:
        """It goes on."""
        assert self._serving is not None
        self._serving.send_signal(signal.SIGCONT)

    def detach(self) -> None:
        """The mount goes; its empty mount point stays."""
        subprocess.run(["umount", "-l", self.mount], check=True)
        for process in (self._sshfs, self._serving):
            if process is not None:
                process.kill()
                process.wait()

    def close(self) -> None:
        """For good."""
        if mount_of(self.mount).point == str(self.mount):
            self.detach()


# -- writers ---------------------------------------------------------------------------------------
def _sound(frames: int) -> bytes:
    """A WAV file whose every sample is set: 0 is what is not written yet."""
    noise = random.Random(frames)
    data = struct.pack(f"<{frames}h", *(noise.randrange(1, 9000) for _ in range(frames)))
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    body = b"WAVE" + form + struct.pack("<4sI", b"data", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _pieces(data: bytes, chance: random.Random) -> Iterator[bytes]:
    """Some pieces of a file, with pauses between them."""
    count = chance.randrange(3, 9)
    size = len(data) // count + 1
    for at in range(0, len(data), size):
        yield data[at : at + size]
        _PAUSE.wait(chance.choice((0.05, 0.5, 3.0)))


def _slow(path: Path, data: bytes, chance: random.Random) -> None:
    with path.open("wb", buffering=0) as file:
        for piece in _pieces(data, chance):
            file.write(piece)


def _ahead(path: Path, data: bytes, chance: random.Random) -> None:
    with path.open("wb", buffering=0) as file:
        file.truncate(len(data))
        for piece in _pieces(data, chance):
            file.write(piece)


def _bounce(path: Path, data: bytes, chance: random.Random) -> None:
    with path.open("wb", buffering=0) as file:
        file.write(data[:4] + b"\0\0\0\0" + data[8:40] + b"\0\0\0\0")
        for piece in _pieces(data[44:], chance):
            file.write(piece)
        file.seek(4)
        file.write(data[4:8])
        file.seek(40)
        file.write(data[40:44])


def _rename(path: Path, data: bytes, chance: random.Random) -> None:
    part = path.with_name(path.name + ".part")
    _slow(part, data, chance)
    part.rename(path)


WRITERS: dict[str, Callable[[Path, bytes, random.Random], None]] = {
    "slow": _slow,
    "ahead": _ahead,
    "bounce": _bounce,
    "rename": _rename,
    "replace": _rename,
    "here": _slow,
}


# -- the run ---------------------------------------------------------------------------------------
def _run(folder: Path, share: Share, files: int, chance: random.Random) -> int:
    data = folder / "data"
    local = data / "folders" / "local"
    local.mkdir(parents=True)
    (local / "rules.yaml").write_text("rules: [{steps: [info]}]")
    (data / "rules").mkdir()
    (data / "rules" / "nas.yaml").write_text(RULES.format(root=share.mount / "in"))
    (share.served / "in").mkdir()
    inbox = share.served / "in"
    daemon = _daemon(data)
    lengths = chance.sample(range(2 * RATE, 6 * RATE), 2 * files)
    wanted: dict[int, str] = {}
    perhaps: set[int] = set()
    threads = []
    for number in range(files):
        kind = list(WRITERS)[number % len(WRITERS)]
        frames, before = lengths[2 * number], lengths[2 * number + 1]
        wanted[frames] = f"{kind} {number}.wav"
        if kind == "replace":
            perhaps.add(before)
        where = share.mount / "in" if kind == "here" else inbox
        threads.append(
            threading.Thread(
                target=_write,
                args=(where / wanted[frames], kind, frames, before, random.Random(number)),
                daemon=True,
            )
        )
    delays: dict[str, float] = {}
    try:
        with _dropping(local, delays):
            for thread in threads:
                thread.start()
            _PAUSE.wait(SPREAD / 2)
            share.hang()
            _PAUSE.wait(HANG)
            share.answer()
            _PAUSE.wait(SPREAD / 2)
            share.detach()
            _PAUSE.wait(GONE)
            share.attach()
            for thread in threads:
                thread.join(PATIENCE)
            took = _wait_until_quiet(share.served / "in", len(wanted))
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(120)
    return _verdict(inbox, wanted, perhaps, delays, took)


def _write(path: Path, kind: str, frames: int, before: int, chance: random.Random) -> None:
    _PAUSE.wait(chance.uniform(0, SPREAD))
    if kind == "replace":
        _rename(path, _sound(before), chance)
        _PAUSE.wait(chance.uniform(0, 3))
    while True:
        try:
            WRITERS[kind](path, _sound(frames), chance)
        except OSError:  # "here", while the share is away: whoever saves there tries again
            _PAUSE.wait(1.0)
        else:
            return


@contextmanager
def _dropping(local: Path, delays: dict[str, float]) -> Iterator[None]:
    """Drop a file every two seconds on the local disk; how long each waited to be done."""
    stop = threading.Event()
    whole = _sound(RATE)

    def drop() -> None:
        number = 0
        while not stop.wait(2.0):
            number += 1
            name = f"{number}.wav"
            (local.parent / name).write_bytes(whole)
            start = time.monotonic()
            (local.parent / name).rename(local / name)
            while not (local / "done" / name).exists():
                if stop.wait(0.02) and time.monotonic() - start > 60:
                    break
            delays[name] = time.monotonic() - start

    thread = threading.Thread(target=drop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _wait_until_quiet(inbox: Path, at_least: int) -> float:
    """Seconds until nothing is left in the inbox and in processing."""
    start = time.monotonic()
    while time.monotonic() - start < PATIENCE:
        done = len(list((inbox / "done").rglob("*.wav"))) if (inbox / "done").exists() else 0
        failed = len(list((inbox / "failed").rglob("*.wav")))
        left = [*inbox.glob("*.wav"), *(inbox / "processing").rglob("*.wav")]
        if not left and done + failed >= at_least:
            break
        _PAUSE.wait(1.0)
    return time.monotonic() - start


def _verdict(
    inbox: Path, wanted: dict[int, str], perhaps: set[int], delays: dict[str, float], took: float
) -> int:
    import soundfile

    out: Counter[int] = Counter()
    for path in (inbox / "out").rglob("*.flac"):
        out[soundfile.info(path).frames] += 1
    kept: Counter[int] = Counter()
    changed = 0
    for path in (inbox / "done").rglob("*.wav"):
        content = path.read_bytes()
        frames = (len(content) - 44) // 2
        kept[frames] += 1
        changed += content != _sound(frames)
    failed = sorted(path.name for path in (inbox / "failed").rglob("*.wav"))
    left = [str(p) for p in [*inbox.glob("*.wav"), *(inbox / "processing").rglob("*.wav")]]
    lost = [name for frames, name in wanted.items() if not out[frames]]
    twice = [wanted.get(frames, str(frames)) for frames, count in out.items() if count > 1]
    half = [frames for frames in [*out, *kept] if frames not in wanted and frames not in perhaps]
    print(f"{len(wanted)} files over sshfs, {len(perhaps)} of them replaced on their way in")
    print(
        f"server silent for {HANG:.0f} s, mount gone for {GONE:.0f} s; then {took:.0f} s to the end"
    )
    print(f"delivered {sum(out.values())}, originals in done {sum(kept.values())}")
    print(f"lost {lost}, twice {twice}, half {half}, originals changed {changed}")
    print(f"failed {failed}, left {left}")
    waits = sorted(delays.values())
    print(
        f"the local folder meanwhile: {len(waits)} files, median {waits[len(waits) // 2]:.2f} s, "
        f"slowest {waits[-1]:.2f} s"
    )
    return int(bool(lost or twice or half or changed or failed or left))


if __name__ == "__main__":
    sys.exit(main())
