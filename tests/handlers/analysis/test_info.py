import hashlib
import json
import subprocess

import numpy as np
import pytest

from handlers.analysis.info import info
from handlers.artifacts import Blocks, Metadata, SourceFacts
from handlers.codecs.reader import open_sound
from tests.sounds import noise, write_wav

FACTS = SourceFacts(
    name="take.wav",
    size_bytes=1234,
    container="wav",
    codec="pcm_s24le",
    sample_fmt="s32",
    bit_depth=24,
    bit_rate=2116800,
    metadata=Metadata(
        tags={"title": ("Take 3",)},
        pictures=(("image/png", 3, "", b"x"),),
        chunks={"bext": b"", "cue ": b""},
    ),
)


def test_what_the_container_states_is_told_without_decoding():
    def never():
        pytest.fail("the sound was decoded")
        yield

    report = info(Blocks(never, rate=44100, channels=2, frames=66150, facts=FACTS))
    assert report.descriptor() == {
        "size_bytes": 1234,
        "duration_sec": 1.5,
        "sample_rate": 44100,
        "channels": 2,
        "codec": "pcm_s24le",
        "sample_fmt": "s32",
        "format": "wav",
        "bit_depth": 24,
        "bit_rate": 2116800,
        "frames": 66150,
        "length_stated": True,
        "md5": None,
        "tags": {"title": ["Take 3"]},
        "pictures": 1,
        "chunks": ["bext", "cue "],
    }


def test_a_length_that_is_not_stated_is_counted():
    audio = noise(seconds=0.5, rate=8000)
    blocks = audio.blocks()
    report = info(Blocks(lambda: iter(blocks), rate=8000, channels=1, frames=None))
    assert (report.frames, report.duration_sec) == (4000, 0.5)
    assert not report.length_stated
    assert report.codec is None


@pytest.mark.parametrize(
    ("ext", "options"),
    [
        ("wav", ["-c:a", "pcm_s16le"]),
        ("wav", ["-c:a", "pcm_s24le"]),
        ("flac", []),
        ("mp3", ["-b:a", "192k"]),
        ("m4a", ["-b:a", "96k"]),
        ("opus", []),
        ("aac", []),
    ],
)
def test_ffprobe_says_the_same(tmp_path, ext, options):
    source = write_wav(noise(seconds=1.2, rate=48000, channels=2, peak_db=-12), tmp_path / "a.wav")
    path = tmp_path / f"x.{ext}"
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, *options, path], check=True)
    said = json.loads(
        subprocess.run(
            ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_format", path],
            capture_output=True,
            check=True,
        ).stdout
    )
    stream = said["streams"][0]
    report = info(open_sound(path))

    assert report.size_bytes == int(said["format"]["size"])
    assert (report.codec, report.channels) == (stream["codec_name"], stream["channels"])
    assert report.sample_rate == int(stream["sample_rate"])
    assert report.sample_fmt == stream["sample_fmt"]
    assert report.duration_sec == pytest.approx(1.2, abs=0.06)  # ADTS keeps its padding
    stated = int(stream.get("bits_per_raw_sample") or stream["bits_per_sample"]) or None
    assert report.bit_depth == stated
    assert ext == "aac" or report.bit_rate == pytest.approx(
        int(stream.get("bit_rate") or said["format"]["bit_rate"]), rel=0.1
    )


def test_the_md5_of_a_flac_is_that_of_its_samples(tmp_path):
    audio = noise(seconds=0.3, rate=44100, channels=2)
    wav, flac = write_wav(audio, tmp_path / "x.wav", "PCM_16"), tmp_path / "x.flac"
    subprocess.run(["ffmpeg", "-v", "error", "-i", wav, flac], check=True)
    samples = np.rint(open_sound(wav).whole().samples.T * 32768).astype("<i2")
    assert info(open_sound(flac)).md5 == hashlib.md5(samples.tobytes()).hexdigest()
    assert info(open_sound(wav)).md5 is None
