"""Independent tools to make files with and to judge them by."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np

from handlers.artifacts import Audio, Blocks
from tests.sounds import noise, one_after_another, sound, tone, write_wav


def run(*command: object) -> bytes:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, check=True, stdin=subprocess.DEVNULL
    ).stdout


def by_ffmpeg(source: Path, target: Path, *options: object) -> Path:
    """Let FFmpeg convert a file."""
    run("ffmpeg", "-v", "error", "-nostdin", "-y", "-i", source, *options, target)
    return target


def many_by_ffmpeg(source: Path, targets: list[tuple[Path, list[str]]]) -> dict[Path, np.ndarray]:
    """Let two processes of FFmpeg convert a file to many, and decode those: stereo samples each."""
    options = [part for path, chosen in targets for part in (*chosen, path)]
    run("ffmpeg", "-v", "error", "-nostdin", "-y", "-i", source, *options)
    inputs = [part for path, _ in targets for part in ("-i", path)]
    raws = [path.with_name(path.name + ".raw") for path, _ in targets]
    outputs = [
        part
        for index, raw in enumerate(raws)
        for part in ("-map", f"{index}:a:0", "-f", "f32le", raw)
    ]
    run("ffmpeg", "-v", "error", "-nostdin", "-y", *inputs, *outputs)
    return {
        path: np.fromfile(raw, "<f4").reshape(-1, 2).T
        for (path, _), raw in zip(targets, raws, strict=True)
    }


def heard_by_ffmpeg(path: Path, *before: object, channels: int = 2) -> np.ndarray:
    """What FFmpeg decodes, float32 `(channels, frames)`."""
    raw = run(
        *("ffmpeg", "-v", "error", "-nostdin", *before, "-i", path),
        *("-map", "0:a:0", "-f", "f32le", "-"),
    )
    return np.frombuffer(raw, "<f4").reshape(-1, channels).T


def probe(path: Path, *before: object) -> dict:
    """What ffprobe says of the first audio stream, and of the container as `format`."""
    said = run(
        *("ffprobe", "-v", "error", *before, "-select_streams", "a:0", "-show_streams"),
        *("-show_format", "-of", "json", path),
    )
    facts = json.loads(said)
    return {**facts["streams"][0], "format": facts["format"]}


def all_of(blocks: Blocks) -> np.ndarray:
    """Every block of one pass, joined, without trusting `frames`."""
    parts = list(blocks)
    for part in parts:
        assert part.dtype == np.float32
        assert part.flags.c_contiguous
        assert part.shape[0] == blocks.channels
        assert part.shape[1] >= 1
    return np.concatenate(parts, axis=1)


def music(rate: int = 44100, channels: int = 2, seconds: float = 1.3) -> Audio:
    """Tones with a little noise, whose length is no multiple of any codec's frame."""
    frames = round(seconds * rate) + 37
    mixed = np.zeros((channels, frames), np.float32)
    for channel in range(channels):
        for freq in (220.0 * (channel + 1), 1000.0 + 100 * channel):
            part = tone(freq, seconds=frames / rate, rate=rate, peak_db=-14).samples[0]
            mixed[channel] += part[:frames]
    hiss = noise(seconds=frames / rate, rate=rate, channels=channels, peak_db=-40).samples
    return sound(mixed + hiss[:, :frames], rate)


def clicks_in_silence(rate: int = 48000, seconds: float = 1.0) -> Audio:
    """One loud, short burst exactly in the middle."""
    frames = round(seconds * rate)
    samples = np.zeros((1, frames))
    samples[0, frames // 2 - 2 : frames // 2 + 3] = (0.2, 0.5, 0.9, 0.5, 0.2)
    return sound(samples, rate)


def on_grid(audio: Audio, bits: int) -> Audio:
    """The sound in whole steps of so many bits."""
    scale = 2.0 ** (bits - 1)
    return audio.like((np.round(audio.samples * scale) / scale).astype(np.float32))


def shift_of(one: np.ndarray, other: np.ndarray) -> int:
    """By how many frames `other` lags behind `one`, by cross-correlation of the first channel."""
    size = 2 * max(one.shape[1], other.shape[1])
    product = np.fft.rfft(other[0], size) * np.conj(np.fft.rfft(one[0], size))
    lag = int(np.argmax(np.fft.irfft(product, size)))
    return lag if lag < size // 2 else lag - size


def snr_db(clean: np.ndarray, heard: np.ndarray) -> float:
    """How far the difference is below the sound, where both are."""
    frames = min(clean.shape[1], heard.shape[1])
    clean, heard = clean[:, :frames].astype(float), heard[:, :frames].astype(float)
    return float(10 * np.log10(np.mean(clean**2) / max(1e-30, np.mean((clean - heard) ** 2))))


__all__ = [
    "all_of",
    "by_ffmpeg",
    "clicks_in_silence",
    "heard_by_ffmpeg",
    "many_by_ffmpeg",
    "music",
    "on_grid",
    "one_after_another",
    "probe",
    "run",
    "shift_of",
    "snr_db",
    "write_wav",
]
