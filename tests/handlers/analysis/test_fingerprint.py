"""Fingerprints against fpcalc's, file by file."""

import json
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from handlers import chromaprint
from handlers.analysis.fingerprint import Fingerprint, fingerprint
from handlers.artifacts import Blocks
from handlers.codecs.reader import open_sound
from handlers.errors import CannotProcess, UnknownEngine
from tests.handlers.codecs.tools import by_ffmpeg
from tests.sounds import as_blocks, noise, one_after_another, sound, tone, write_wav

EVERYTHING = Fingerprint(return_raw=True, analyze_seconds=0)


def fpcalc(path: Path, *options: str) -> dict:
    """What fpcalc says of a file."""
    # With FFmpeg 5 it takes the end of a file for an error, and answers 3 beside the result.
    said = subprocess.run(["fpcalc", "-json", *options, path], capture_output=True)
    assert said.returncode in (0, 3), said.stderr
    return json.loads(said.stdout)


@cache
def notes(seed: int = 1, *, seconds: float = 9.0, rate: int = 44100, channels: int = 2):
    """Plucked notes over hiss, other ones on every channel: what a fingerprint is made for."""
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal((channels, round(seconds * rate))) * 0.002
    for start in np.arange(0, seconds - 0.7, 0.21):
        for channel in samples:
            at, freq = round(start * rate), 110 * 2 ** (rng.integers(0, 30) / 12)
            t = np.arange(round(0.6 * rate)) / rate
            for k in (1, 2, 3):
                channel[at : at + t.size] += (
                    0.1 / k * np.sin(6.2832 * k * freq * t) * np.exp(-5 * t)
                )
    return sound(samples, rate)


def distance(one: list[int], other: list[int]) -> float:
    """Share of bits that differ."""
    size = min(len(one), len(other))
    a, b = (np.array(values[:size], np.uint32) for values in (one, other))
    return float(np.bitwise_count(a ^ b).mean() / 32)


def check(path: Path, *options: str, seconds: float = 120.0) -> None:
    wanted = fpcalc(path, *options)
    found = fingerprint(open_sound(path), Fingerprint(analyze_seconds=seconds))
    assert found.fingerprint == wanted["fingerprint"]
    # fpcalc rounds down to milliseconds, and estimates where a container only says roughly.
    assert found.duration == pytest.approx(wanted["duration"], abs=0.06)


@pytest.mark.parametrize(("channels", "subtype"), [(1, "PCM_16"), (2, "PCM_24"), (2, "FLOAT")])
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
def test_it_equals_fpcalc_for_every_rate_and_depth(tmp_path, rate, channels, subtype):
    check(write_wav(notes(rate=rate, channels=channels), tmp_path / "x.wav", subtype))


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "ULAW", "DOUBLE"])
def test_it_equals_fpcalc_where_thresholds_are_grazed(tmp_path, subtype):
    # In noise that is hardly there, any other rounding on the way flips bits.
    faint = noise(seconds=12, rate=44100, channels=2, peak_db=-50)
    check(write_wav(faint, tmp_path / "x.wav", subtype))


@pytest.mark.parametrize("channels", [3, 4, 5, 6, 7, 8])
def test_speakers_are_mixed_as_fpcalc_mixes_them(tmp_path, channels):
    subtype = "PCM_16" if channels % 2 else "FLOAT"
    check(write_wav(notes(rate=8000, channels=channels), tmp_path / "x.wav", subtype))


@pytest.mark.parametrize(
    "name", ["x.flac", "x.mp3", "x.ogg", "x.opus", "x.m4a", "x.aiff", "x.wv", "x.caf"]
)
def test_it_equals_fpcalc_in_every_container(tmp_path, name):
    source = write_wav(notes(), tmp_path / "source.wav", "PCM_16")
    check(by_ffmpeg(source, tmp_path / name))


@pytest.mark.parametrize(("seconds", "frames"), [(120.0, 948), (0.0, 1033), (7.3, 0), (30.0, 0)])
def test_it_listens_for_as_long_as_it_is_told(tmp_path, seconds, frames):
    path = write_wav(notes(seconds=131, rate=8000, channels=1), tmp_path / "x.wav", "PCM_16")
    check(path, "-length", str(seconds), seconds=seconds)
    if frames:
        found = fingerprint(open_sound(path), Fingerprint(return_raw=True, analyze_seconds=seconds))
        # One number every (4096 - 2731) / 11025 s, when 16 + 5 frames have gone by.
        heard = (seconds or 131) * 11025
        assert len(found.fingerprint_raw) == pytest.approx((heard - 4096) / 1365 - 19, abs=1)


def test_nothing_is_read_beyond_what_counts():
    given = notes(seconds=60, rate=8000)
    read = 0

    def passing():
        nonlocal read
        for block in as_blocks(given, 4000):
            read += block.shape[1]
            yield block

    counted = Blocks(passing, rate=8000, channels=2, frames=given.frames)
    found = fingerprint(counted, Fingerprint(analyze_seconds=5))

    assert read < 5.6 * 8000
    assert found.duration == 60


def test_an_mp3_at_128_kbit_s_is_still_the_same_recording(tmp_path):
    source = write_wav(notes(seconds=30), tmp_path / "x.wav", "PCM_16")
    coded = by_ffmpeg(source, tmp_path / "x.mp3", "-b:a", "128k")
    original, lossy = (fingerprint(open_sound(p), EVERYTHING) for p in (source, coded))
    other = fingerprint(notes(seed=2, seconds=30).blocks(), EVERYTHING)

    assert distance(original.fingerprint_raw, lossy.fingerprint_raw) < 0.02
    assert 0.35 < distance(original.fingerprint_raw, other.fingerprint_raw) < 0.65


def test_the_integers_are_only_there_when_asked_for():
    assert fingerprint(notes().blocks(), Fingerprint()).fingerprint_raw is None


def test_a_sound_of_sixteen_channels_is_mixed_as_equals():
    one = notes(channels=1)
    many = sound(np.tile(one.samples, (16, 1)), one.rate)
    found = [fingerprint(a.blocks(), EVERYTHING).fingerprint_raw for a in (one, many)]
    assert distance(*found) < 0.001


@pytest.mark.parametrize("seconds", [0.0, 0.1, 1.0])
def test_too_short_a_sound_is_refused(seconds):
    with pytest.raises(CannotProcess, match="about 3 s"):
        fingerprint(tone(seconds=seconds).blocks(), Fingerprint())


def test_a_little_more_than_3_s_are_enough():
    assert fingerprint(notes(seconds=3.2).blocks(), EVERYTHING).fingerprint_raw


def test_the_integers_are_those_that_fpcalc_prints(tmp_path):
    path = write_wav(notes(), tmp_path / "x.wav", "PCM_16")
    found = fingerprint(open_sound(path), Fingerprint(return_raw=True))
    assert found.fingerprint_raw == fpcalc(path, "-raw")["fingerprint"]


def test_silence_in_front_counts(tmp_path):
    quiet = sound(np.zeros((2, 44100)), 44100)
    check(write_wav(one_after_another(quiet, notes()), tmp_path / "x.wav", "PCM_16"))


def test_without_the_library_the_refusal_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(chromaprint, "_LIBRARIES", ("libnosuchthing.so.1",))
    chromaprint._library.cache_clear()
    try:
        with pytest.raises(UnknownEngine, match="apt-get install libchromaprint1") as refused:
            fingerprint(notes().blocks(), Fingerprint())
        assert refused.value.hint == "apt-get install libchromaprint1"
    finally:
        chromaprint._library.cache_clear()
