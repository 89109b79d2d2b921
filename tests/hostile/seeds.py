"""One small good file for each container and codec, made here: what mutations begin with."""

from __future__ import annotations

import io
from fractions import Fraction
from functools import cache

import av
import numpy as np
import soundfile

_RATE = 16000

#: Container and subtype as libsndfile calls them.
_SNDFILE = {
    "pcm16.wav": ("WAV", "PCM_16"),
    "pcm24.wav": ("WAV", "PCM_24"),
    "float.wav": ("WAV", "FLOAT"),
    "double.wav": ("WAV", "DOUBLE"),
    "pcm8.wav": ("WAV", "PCM_U8"),
    "alaw.wav": ("WAV", "ALAW"),
    "ima.wav": ("WAV", "IMA_ADPCM"),
    "ms.wav": ("WAV", "MS_ADPCM"),
    "rf64.wav": ("RF64", "PCM_16"),
    "sony.w64": ("W64", "PCM_16"),
    "pcm16.aiff": ("AIFF", "PCM_16"),
    "float.aifc": ("AIFF", "FLOAT"),
    "pcm24.caf": ("CAF", "PCM_24"),
    "pcm16.au": ("AU", "PCM_16"),
    "fixed.flac": ("FLAC", "PCM_16"),
    "deep.flac": ("FLAC", "PCM_24"),
    "vorbis.ogg": ("OGG", "VORBIS"),
    "layer3.mp3": ("MP3", "MPEG_LAYER_III"),
}
#: Container, codec and rate as FFmpeg calls them.
_FFMPEG = {
    "lc.m4a": ("ipod", "aac", 44100),
    "lossless.m4a": ("ipod", "alac", 44100),
    "frames.aac": ("adts", "aac", 44100),
    "opus.opus": ("ogg", "libopus", 48000),
    "opus.webm": ("webm", "libopus", 48000),
    "flac.mka": ("matroska", "flac", 44100),
    "pack.wv": ("wv", "wavpack", 44100),
}


def _noise(rate: int, seconds: float) -> np.ndarray:
    t = np.arange(int(rate * seconds)) / rate
    rng = np.random.default_rng(5)
    left = 0.3 * np.sin(2 * np.pi * 440 * t) + 0.05 * rng.standard_normal(len(t))
    return np.stack([left, np.roll(left, 7)]).astype(np.float32)


def _by_sndfile(seconds: float, kind: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, _noise(_RATE, seconds).T, _RATE, format=kind, subtype=subtype)
    return file.getvalue()


def _by_ffmpeg(seconds: float, container: str, codec: str, rate: int) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout="stereo")
        wanted = stream.codec_context.format.name
        frame = av.AudioFrame.from_ndarray(_noise(rate, seconds), format="fltp", layout="stereo")
        frame.sample_rate = rate
        frame.pts, frame.time_base = 0, Fraction(1, rate)
        for piece in av.AudioResampler(format=wanted, layout="stereo", rate=rate).resample(frame):
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return file.getvalue()


@cache
def seeds() -> dict[str, bytes]:
    """Good files by name."""
    return sounds(0.15) | {"notes.mid": notes()}


def sounds(seconds: float) -> dict[str, bytes]:
    """Those that hold sound, as long as this."""
    made = {name: _by_sndfile(seconds, *how) for name, how in _SNDFILE.items()}
    return made | {name: _by_ffmpeg(seconds, *how) for name, how in _FFMPEG.items()}


def notes(
    events: bytes = b"\x00\x90\x3c\x40\x60\x80\x3c\x00", division: int = 96, tracks: int = 1
) -> bytes:
    """A MIDI file around these events."""
    body = events + b"\x00\xff\x2f\x00"
    head = b"MThd\x00\x00\x00\x06\x00\x01" + tracks.to_bytes(2, "big") + division.to_bytes(2, "big")
    return head + b"MTrk" + len(body).to_bytes(4, "big") + body
