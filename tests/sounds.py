"""Sounds to test with, and meters to judge the result by.

Makers give `Audio` with known facts (a tone of this frequency and this peak);
they are seeded, so a test hears the same sound every time. Meters are plain
arithmetic or an independent tool, never our own kernels.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from handlers.artifacts import Audio, Blocks, Samples

RATE = 48000


def sound(samples: NDArray[np.floating], rate: int = RATE, channels: int = 1) -> Audio:
    """An `Audio` from samples: `(frames,)` goes to every channel, `(channels, frames)` is kept."""
    shaped = np.tile(samples, (channels, 1)) if samples.ndim == 1 else samples
    return Audio(np.ascontiguousarray(shaped, np.float32), rate)


def tone(
    freq: float = 1000,
    *,
    seconds: float = 1.0,
    rate: int = RATE,
    channels: int = 1,
    peak_db: float = -6.0,
    phase: float = 0.0,
) -> Audio:
    """A sine that starts at `phase` radians."""
    t = np.arange(round(seconds * rate)) / rate
    return sound(_amplitude(peak_db) * np.sin(2 * np.pi * freq * t + phase), rate, channels)


def sweep(
    low: float = 20,
    high: float = 20000,
    *,
    seconds: float = 2.0,
    rate: int = RATE,
    channels: int = 1,
    peak_db: float = -6.0,
) -> Audio:
    """A sine that climbs exponentially from `low` to `high` Hz."""
    octaves = np.log(high / low)
    t = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * low * seconds / octaves * np.expm1(t / seconds * octaves)
    return sound(_amplitude(peak_db) * np.sin(phase), rate, channels)


def clicks(
    at: Iterable[float] = (0.25, 0.5, 0.75),
    *,
    seconds: float = 1.0,
    rate: int = RATE,
    channels: int = 1,
    peak_db: float = -6.0,
) -> Audio:
    """Single samples at the given seconds, silence between."""
    samples = np.zeros(round(seconds * rate))
    samples[[round(second * rate) for second in at]] = _amplitude(peak_db)
    return sound(samples, rate, channels)


def noise(
    seed: int = 1,
    *,
    seconds: float = 1.0,
    rate: int = RATE,
    channels: int = 1,
    peak_db: float = -6.0,
) -> Audio:
    """White noise, different in every channel, whose largest sample is `peak_db`."""
    samples = np.random.default_rng(seed).standard_normal((channels, round(seconds * rate)))
    return sound(samples / np.abs(samples).max(initial=1e-9) * _amplitude(peak_db), rate)


def silence(*, seconds: float = 1.0, rate: int = RATE, channels: int = 1) -> Audio:
    """Zeros."""
    return sound(np.zeros(round(seconds * rate)), rate, channels)


def speech(
    seed: int = 1,
    *,
    seconds: float = 5.0,
    rate: int = RATE,
    channels: int = 1,
    peak_db: float = -6.0,
) -> Audio:
    """Like somebody talking: voiced syllables of gliding pitch, hisses, pauses between phrases."""
    rng = np.random.default_rng(seed)
    frames = round(seconds * rate)
    samples = np.zeros(frames)
    at = 0
    while at < frames:
        for _ in range(int(rng.integers(3, 9))):  # syllables of a phrase
            n = int(rate * rng.uniform(0.1, 0.28))
            t = np.arange(n) / rate
            pitch = rng.uniform(90, 160) * (1 + rng.uniform(-0.5, 0.2) * t)
            turns = 2 * np.pi * np.cumsum(pitch) / rate
            voice = sum(
                np.sin(k * turns + rng.uniform(0, 6)) / k**1.3
                for k in range(1, 24)
                if k * 165 < rate / 2
            )
            hiss = np.diff(rng.standard_normal(n + 1)) * np.exp(-t / 0.03)
            syllable = (voice + 0.5 * hiss) * np.hanning(n) * rng.uniform(0.4, 1)
            fits = max(0, min(n, frames - at))
            samples[at : at + fits] += syllable[:fits]
            at += n
        at += int(rate * rng.uniform(0.15, 0.6))
    return sound(samples / np.abs(samples).max(initial=1e-9) * _amplitude(peak_db), rate, channels)


def groove(
    bpm: float = 120,
    *,
    seconds: float = 12.0,
    rate: int = RATE,
    channels: int = 1,
    hats: Sequence[float] = (0, 0.5),
    start: float = 0.1,
    bar: int = 4,
    chords: bool = False,
    drift: float = 0.0,
    seed: int = 1,
) -> tuple[Audio, NDArray[np.float64]]:
    """Kick and snare in turn, hats at parts of each beat; and the beats in seconds.

    Beats lie on samples. With `chords`, every bar has another one of four triads, so
    that bars can be told apart. `drift` is how much faster the end is than the beginning.
    """
    rng = np.random.default_rng(seed)
    beats = [start]
    while beats[-1] < seconds:
        progress = beats[-1] / seconds
        beats.append(beats[-1] + 60 / bpm / (1 + drift * (progress - 0.5)))
    times = np.rint(np.array(beats[:-1]) * rate) / rate
    frames = round(seconds * rate)
    samples = np.zeros(frames)
    t = np.arange(round(0.2 * rate)) / rate
    kick = np.cos(2 * np.pi * (50 * t - 4 * np.exp(-t / 0.02))) * np.exp(-t / 0.06)
    snare = rng.standard_normal(t.size) * np.exp(-t / 0.04) * 0.7
    hat = np.diff(rng.standard_normal(t.size + 1)) * np.exp(-t / 0.015) * 0.25

    def hit(second: float, wave: NDArray[np.float64]) -> None:
        at = round(second * rate)
        fits = max(0, min(wave.size, frames - at))
        samples[at : at + fits] += wave[:fits]

    for number, (beat, following) in enumerate(pairwise([*times, beats[-1]])):
        place = number % bar
        hit(beat, kick if place % 2 == 0 else snare)
        for part in hats:
            hit(beat + part * (following - beat), hat)
        if chords and place == 0:
            root = (48, 53, 57, 55)[number // bar % 4]
            held = np.arange(round(min(bar * (following - beat), 4) * rate)) / rate
            for semitones in (0, 4, 7):
                pitch = 440 * 2 ** ((root + semitones - 69) / 12)
                hit(beat, 0.2 * np.sin(2 * np.pi * pitch * held) * np.minimum(held / 0.01, 1))
    return sound(0.5 * samples / np.abs(samples).max(), rate, channels), times


def played(
    notes: Iterable[tuple[float, float, float]],
    *,
    seconds: float | None = None,
    rate: int = RATE,
    channels: int = 1,
    peak_db: float = -6.0,
    partials: int = 12,
) -> Audio:
    """Notes `(start, end, MIDI pitch)` on an instrument of many partials; pitches may be broken."""
    score = list(notes)
    if seconds is None:
        seconds = max((end for _, end, _ in score), default=0)
    frames = round(seconds * rate)
    samples = np.zeros(frames)
    for start, end, pitch in score:
        first, last = round(start * rate), min(round(end * rate), frames)
        t = np.arange(last - first) / rate
        freq = 440 * 2 ** ((pitch - 69) / 12)
        wave = sum(
            np.sin(2 * np.pi * k * freq * t + k) / k
            for k in range(1, partials + 1)
            if k * freq < 0.45 * rate
        )
        # Struck within 10 ms, dying away, let go within 30 ms.
        shape = np.minimum(t / 0.01, 1) * np.exp(-0.7 * t) * np.clip((end - start - t) / 0.03, 0, 1)
        samples[first:last] += wave * shape
    largest = np.abs(samples).max(initial=1e-9)
    return sound(samples / largest * _amplitude(peak_db), rate, channels)


def cents_off(audio: Audio, at: tuple[float, float], pitch: float) -> float:
    """How far above a MIDI pitch the strongest partial within a semitone of it lies, in cents."""
    piece = _part(audio, at)[0].astype(np.float64)
    size = 2**20
    sizes = np.abs(np.fft.rfft(piece * np.hanning(piece.size), size))
    hertz = np.fft.rfftfreq(size, 1 / audio.rate)
    wanted = 440 * 2 ** ((pitch - 69) / 12)
    near = np.flatnonzero(np.abs(hertz / wanted - 1) < 0.06)
    return float(1200 * np.log2(hertz[near[sizes[near].argmax()]] / wanted))


def one_after_another(*parts: Audio) -> Audio:
    """Sounds of one rate and channel count, joined."""
    return parts[0].like(np.concatenate([part.samples for part in parts], axis=1))


def as_blocks(audio: Audio, size: int) -> Blocks:
    """The sound in blocks of `size` frames that nobody can write into."""

    def pieces() -> Iterator[Samples]:
        for at in range(0, audio.frames, size):
            block = np.ascontiguousarray(audio.samples[:, at : at + size]).copy()
            block.flags.writeable = False
            yield block

    return Blocks(
        pieces, rate=audio.rate, channels=audio.channels, frames=audio.frames, facts=audio.facts
    )


def level_db(audio: Audio, at: tuple[float, float] | None = None) -> float:
    """RMS over all channels, in dB; `at` is from and to in seconds. Silence is -inf."""
    return _decibels(float(np.sqrt(np.mean(np.square(_part(audio, at), dtype=np.float64)))))


def peak_db(audio: Audio, at: tuple[float, float] | None = None) -> float:
    """The largest sample, in dBFS. Silence is -inf."""
    return _decibels(float(np.abs(_part(audio, at)).max(initial=0)))


def change_db(before: Audio, after: Audio, at: tuple[float, float] | None = None) -> float:
    """How much louder (RMS) the second sound is."""
    return level_db(after, at) - level_db(before, at)


def difference_db(one: Audio, other: Audio) -> float:
    """The largest difference between two sounds of one shape, in dBFS; equal sounds give -inf."""
    assert one.samples.shape == other.samples.shape
    apart = one.samples.astype(np.float64) - other.samples
    return _decibels(float(np.abs(apart).max(initial=0)))


@dataclass(frozen=True)
class FfmpegLoudness:
    """What FFmpeg's `ebur128` filter says: LUFS, LU, dBFS. Silence is -inf (peaks) or -70."""

    integrated: float
    range: float
    true_peak: float
    sample_peak: float


def ffmpeg_loudness(path: str | Path) -> FfmpegLoudness:
    """Measure a file with a process of FFmpeg's own."""
    said = subprocess.run(
        [
            *("ffmpeg", "-hide_banner", "-nostats", "-i", str(path)),
            *("-af", "ebur128=peak=true+sample", "-f", "null", "-"),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    summary = said[said.rindex("Summary:") :]

    def value(pattern: str) -> float:
        found = re.search(pattern + r"\s+(\S+)", summary)
        assert found, summary
        return float(found[1])

    return FfmpegLoudness(
        integrated=value("I:"),
        range=value("LRA:"),
        true_peak=value(r"True peak:\s+Peak:"),
        sample_peak=value(r"Sample peak:\s+Peak:"),
    )


def write_wav(audio: Audio, path: str | Path, subtype: str = "FLOAT") -> Path:
    """Write a WAV by libsndfile (`FLOAT`, `PCM_16`, `PCM_24`, ...), not by our own writer."""
    soundfile.write(path, audio.samples.T, audio.rate, subtype=subtype, format="WAV")
    return Path(path)


def read_sound(path: str | Path) -> Audio:
    """Read a file by libsndfile, not by our own reader."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return sound(samples.T, rate)


def _amplitude(db: float) -> float:
    return float(10 ** (db / 20))


def _decibels(amplitude: float) -> float:
    return 20 * float(np.log10(amplitude)) if amplitude > 0 else -np.inf


def _part(audio: Audio, at: tuple[float, float] | None) -> Samples:
    start, end = at or (0, audio.duration)
    return audio.samples[:, round(start * audio.rate) : round(end * audio.rate)]
