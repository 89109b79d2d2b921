"""Pieces as sound: played by FluidSynth, finished like a recording, kept by content."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from bench.accuracy.compose import Piece
from bench.accuracy.truth import Truth

RATE = 44100
_VERSION = 1
_SOUNDFONTS = ("/usr/share/sounds/sf2/FluidR3_GM.sf2", "/usr/share/soundfonts/FluidR3_GM.sf2")


@dataclass(frozen=True)
class Rendered:
    """A piece on disk."""

    folder: Path
    truth: Truth

    @property
    def mix(self) -> Path:
        """The whole, stereo."""
        return self.folder / "mix.flac"

    @property
    def lead(self) -> Path:
        """The melody alone, mono. Speech has none."""
        return self.folder / "lead.flac"


def cache() -> Path:
    """Where rendered pieces lie: nothing else is in this folder, and it may be deleted."""
    folder = Path(tempfile.gettempdir()) / "audiolla-accuracy"
    folder.mkdir(exist_ok=True)
    return folder


def key_of(*parts: bytes | str | float | None) -> str:
    """A name for content."""
    held = hashlib.blake2b(digest_size=10)
    for part in parts:
        held.update(part if isinstance(part, bytes) else repr(part).encode())
        held.update(b"\0")
    return held.hexdigest()


def rendered(piece: Piece) -> Rendered:
    """The piece as files, played now or earlier."""
    name = key_of(_VERSION, piece.midi, piece.lead, piece.peak_db, piece.reverb, piece.hiss_db)
    folder = cache() / f"{piece.truth.name}-{name}"
    if not folder.exists():
        with building(folder) as room:
            mix = _played(piece.midi, piece.reverb, room)
            alone = _played(piece.lead, piece.reverb, room).mean(axis=1)
            frames = round(piece.truth.duration * RATE)
            write(room / "mix.flac", _finished(_cut(mix, frames), piece), RATE)
            write(room / "lead.flac", _loud(_cut(alone, frames), piece.peak_db), RATE)
            (room / "mix.mid").write_bytes(piece.midi)
    # What is known may be said in other words without playing everything again.
    piece.truth.save(folder / f"truth-{os.getpid()}.json")
    (folder / f"truth-{os.getpid()}.json").replace(folder / "truth.json")
    return Rendered(folder, piece.truth)


class building:  # noqa: N801
    """A folder that appears only when it is complete."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._room = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))

    def __enter__(self) -> Path:
        return self._room

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and not self._folder.exists():
            self._room.rename(self._folder)
        else:
            shutil.rmtree(self._room, ignore_errors=True)


def write(path: Path, samples: NDArray[np.floating], rate: int) -> None:
    """16-bit FLAC, dithered, as recordings are."""
    noise = np.random.default_rng(1)
    steps = samples * 32767 + noise.uniform(-0.5, 0.5, samples.shape)
    steps += noise.uniform(-0.5, 0.5, samples.shape)
    soundfile.write(path, np.clip(np.rint(steps), -32768, 32767).astype(np.int16), rate)


def _played(midi: bytes, reverb: float, room: Path) -> NDArray[np.float32]:
    font = next((f for f in _SOUNDFONTS if Path(f).exists()), None)
    if font is None:
        raise SystemExit("FluidR3_GM.sf2 is missing: apt-get install fluidsynth fluid-soundfont-gm")
    (room / "play.mid").write_bytes(midi)
    subprocess.run(
        [
            *("fluidsynth", "-n", "-i", "-q", "-a", "file", "-g", "0.35", "-r", str(RATE)),
            *("-o", f"synth.reverb.active={int(reverb > 0)}"),
            *("-o", f"synth.reverb.level={max(reverb, 0.01)}"),
            *("-T", "wav", "-O", "float", "-F", str(room / "play.wav"), font),
            str(room / "play.mid"),
        ],
        check=True,
        capture_output=True,
    )
    samples, _ = soundfile.read(room / "play.wav", dtype="float32", always_2d=True)
    (room / "play.mid").unlink()
    (room / "play.wav").unlink()
    return np.asarray(samples, np.float32)


def _cut(samples: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """Exactly `frames` long."""
    kept = samples[:frames]
    if len(kept) < frames:
        kept = np.concatenate((kept, np.zeros((frames - len(kept), *kept.shape[1:]), np.float32)))
    return kept


def _loud(samples: NDArray[np.float32], peak_db: float) -> NDArray[np.float32]:
    scale = 10 ** (peak_db / 20) / max(float(np.abs(samples).max(initial=0)), 1e-9)
    return samples * np.float32(scale)


def _finished(samples: NDArray[np.float32], piece: Piece) -> NDArray[np.float32]:
    """Peaks rounded a little, as a master's are; hiss where the recording has it."""
    loud = np.tanh(1.5 * samples / max(float(np.abs(samples).max(initial=0)), 1e-9))
    made = _loud(loud.astype(np.float32), piece.peak_db)
    if piece.hiss_db is not None:
        hiss = np.random.default_rng(7).standard_normal(made.shape) * 10 ** (piece.hiss_db / 20)
        made = made + hiss.astype(np.float32)
    return np.clip(made, -1, 1)
