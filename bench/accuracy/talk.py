"""Speech with known borders: sentences by espeak-ng in silence, noise, hum or under music."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from bench.accuracy.render import RATE, Rendered, building, cache, key_of, write
from bench.accuracy.truth import Truth

_VERSION = 1
_PIECES = 24
_VOICES = ("en-us", "en-gb", "de", "fr", "es", "it", "en-gb-scotland", "pt")
_VARIANTS = ("", "+f2", "+m3", "+f4", "+m7", "+f5")
_SENTENCES = {
    "en": (
        "The meeting begins at nine o'clock and nobody knows how long it lasts",
        "Please turn the microphone a little to the left",
        "Water boils sooner on a mountain than at the sea",
        "Yes",
        "I had never heard that record before last night",
        "Seven people wrote down what they thought they had seen",
        "Could you say that once more",
    ),
    "de": ("Der Zug kommt heute eine halbe Stunde später an", "Das weiß ich leider nicht genau"),
    "fr": ("Nous avons parlé de musique pendant toute la soirée", "Je ne sais pas encore"),
    "es": ("Mañana vamos a grabar la segunda parte del programa", "No me acuerdo de su nombre"),
    "it": ("La registrazione comincia quando si accende la luce rossa", "Non lo so ancora"),
    "pt": ("A gravação começa quando a luz vermelha se acende", "Ainda não sei o nome dele"),
}
#: What is around the speech: kind, and dB below its level; the last two hold no speech at all.
_AROUND = (
    ("silence", 0), ("silence", 0), ("white", 25), ("pink", 20), ("pink", 10), ("hum", 15),
    ("silence", 0), ("telephone", 30), ("pink", 15), ("clicks", 10), ("none pink", 0),
    ("none silence", 0),
)  # fmt: skip


def talks() -> list[Rendered]:
    """All pieces of speech."""
    return [_talk(number) for number in range(_PIECES)]


def _talk(number: int) -> Rendered:
    rng = random.Random(f"audiolla talk {number}")
    around, below_db = _AROUND[number % len(_AROUND)]
    voice = rng.choice(_VOICES)
    # A third of each round of backgrounds is held out, another one each round.
    split = "final" if (number + number // len(_AROUND)) % 3 == 2 else "tuning"
    said = []
    for _ in range(0 if around.startswith("none") else rng.randint(5, 8)):
        language = voice[:2]
        text = rng.choice(_SENTENCES[language])
        speed, pitch = rng.randint(130, 200), rng.randint(25, 75)
        said.append((voice + rng.choice(_VARIANTS), speed, pitch, text, rng.uniform(0.45, 3.5)))
    name = f"talk{number:02d}-{around.replace(' ', '-')}"
    folder = cache() / f"{name}-{key_of(_VERSION, number, repr(said), around, below_db)}"
    if not folder.exists():
        with building(folder) as room:
            samples, speech = _spoken(rng, said, room)
            mixed = _among(rng, samples, around, below_db)
            write(room / "mix.flac", mixed, RATE)
            Truth(
                name=name,
                split=split,
                duration=len(mixed) / RATE,
                style=around,
                speech=speech,
            ).save(room / "truth.json")
    from bench.accuracy.truth import load

    return Rendered(folder, load(folder / "truth.json"))


def _spoken(
    rng: random.Random, said: list[tuple[str, int, int, str, float]], room: Path
) -> tuple[NDArray[np.float32], list[tuple[float, float]]]:
    """Sentences with pauses; borders lie where each rises above its own floor."""
    import soxr

    parts = [np.zeros(round(rng.uniform(0.4, 2.5) * RATE), np.float32)]
    borders = []
    at = len(parts[0])
    for voice, speed, pitch, text, pause in said:
        path = room / "said.wav"
        command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", str(path)]
        subprocess.run([*command, text], check=True, capture_output=True)
        raw, rate = soundfile.read(path, dtype="float32")
        path.unlink()
        samples = soxr.resample(raw, rate, RATE).astype(np.float32)
        samples *= 0.25 / max(float(np.abs(samples).max()), 1e-9) * rng.uniform(0.6, 1.4)
        loud = np.flatnonzero(np.abs(samples) > np.abs(samples).max() * 10 ** (-45 / 20))
        kept = samples[loud[0] : loud[-1] + 1]
        borders.append((at / RATE, (at + len(kept)) / RATE))
        silence = np.zeros(round(pause * RATE), np.float32)
        parts += [kept, silence]
        at += len(kept) + len(silence)
    if not said:
        parts.append(np.zeros(round(20 * RATE), np.float32))
    return np.concatenate(parts), borders


def _among(
    rng: random.Random, samples: NDArray[np.float32], around: str, below_db: float
) -> NDArray[np.float32]:
    noise = np.random.default_rng(rng.randrange(2**31))
    count = len(samples)
    level = 0.05 * 10 ** (-below_db / 20)
    if "silence" in around:
        return samples
    if "pink" in around:
        shape = np.fft.rfft(noise.standard_normal(count))
        shape /= np.sqrt(np.maximum(np.arange(len(shape)), 1))
        bed = np.fft.irfft(shape, count)
    elif around == "hum":
        t = np.arange(count) / RATE
        bed = np.sum([np.sin(2 * np.pi * 50 * k * t) / k for k in (1, 2, 3, 5)], axis=0)
    elif around == "clicks":
        bed = np.zeros(count)
        bed[noise.integers(0, count, count // RATE * 2)] = 30
    else:
        bed = noise.standard_normal(count)
    mixed = samples + level * bed / np.sqrt(np.mean(np.square(bed)))
    if around == "telephone":
        shape = np.fft.rfft(mixed)
        freq = np.fft.rfftfreq(count, 1 / RATE)
        mixed = np.fft.irfft(shape * ((freq > 300) & (freq < 3400)), count)
    return np.asarray(np.clip(mixed, -1, 1), np.float32)
