"""Every format in: the samples, the length and the facts, against FFmpeg, SoX and libsndfile."""

import os
import struct

import numpy as np
import pytest
import soundfile

from handlers.artifacts import BLOCK_FRAMES
from handlers.codecs.files import InputFile
from handlers.codecs.layout import read_header
from handlers.codecs.reader import open_sound
from tests.handlers.codecs.tools import (
    all_of,
    by_ffmpeg,
    clicks_in_silence,
    heard_by_ffmpeg,
    many_by_ffmpeg,
    music,
    probe,
    run,
    shift_of,
)
from tests.sounds import sound, tone, write_wav

LOSSLESS = [
    pytest.param("x.wav", ["-c:a", "pcm_u8"], 8, id="8-bit wav is unsigned"),
    pytest.param("x.wav", ["-c:a", "pcm_s16le"], 16, id="16-bit wav"),
    pytest.param("x.wav", ["-c:a", "pcm_s24le"], 24, id="24-bit wav is 24 and not 32"),
    pytest.param("x.wav", ["-c:a", "pcm_s32le"], 32, id="32-bit wav"),
    pytest.param("x.wav", ["-c:a", "pcm_f32le"], 32, id="float wav"),
    pytest.param("x.wav", ["-c:a", "pcm_f64le"], 64, id="double wav"),
    pytest.param("x.wav", ["-c:a", "pcm_alaw"], 8, id="a-law wav"),
    pytest.param("x.wav", ["-c:a", "pcm_mulaw"], 8, id="mu-law wav"),
    pytest.param("x.wav", ["-c:a", "pcm_s24le", "-rf64", "always"], 24, id="rf64"),
    pytest.param("x.aiff", ["-c:a", "pcm_s16be"], 16, id="aiff"),
    pytest.param("x.aiff", ["-c:a", "pcm_s24be"], 24, id="24-bit aiff"),
    pytest.param("x.aiff", ["-c:a", "pcm_s16le"], 16, id="little endian aifc (sowt)"),
    pytest.param("x.aiff", ["-c:a", "pcm_f32be"], 32, id="float aifc"),
    pytest.param("x.aiff", ["-c:a", "pcm_f64be"], 64, id="double aifc"),
    pytest.param("x.aiff", ["-c:a", "pcm_mulaw"], 8, id="mu-law aifc"),
    pytest.param("x.caf", ["-c:a", "pcm_s24be"], 24, id="caf"),
    pytest.param("x.caf", ["-c:a", "pcm_f32le"], 32, id="little endian float caf"),
    pytest.param("x.au", ["-c:a", "pcm_s24be"], 24, id="au"),
    pytest.param("x.au", ["-c:a", "pcm_alaw"], 8, id="a-law au"),
    pytest.param("x.flac", ["-sample_fmt", "s16"], 16, id="flac"),
    pytest.param("x.flac", ["-sample_fmt", "s32"], 24, id="24-bit flac is 24 and not 32"),
    pytest.param("x.m4a", ["-c:a", "alac", "-sample_fmt", "s16p"], 16, id="alac"),
    pytest.param("x.m4a", ["-c:a", "alac", "-sample_fmt", "s32p"], 24, id="24-bit alac"),
    pytest.param("x.wv", [], 32, id="float wavpack"),
    pytest.param("x.wv", ["-sample_fmt", "s16p"], 16, id="wavpack"),
    pytest.param("x.mka", ["-c:a", "pcm_s24le"], 24, id="pcm in matroska"),
    pytest.param("x.mka", ["-c:a", "flac", "-sample_fmt", "s16"], 16, id="flac in matroska"),
    pytest.param("x.mov", ["-c:a", "pcm_s24be"], 24, id="pcm in quicktime"),
    pytest.param("x.oga", ["-c:a", "flac", "-sample_fmt", "s16"], 16, id="flac in ogg"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Every file of the two tables: its path, and what FFmpeg hears in it."""
    folder = tmp_path_factory.mktemp("made")
    source = write_wav(music(), folder / "source.wav")
    targets = []
    for index, case in enumerate(LOSSLESS + LOSSY):
        name, options = case.values[:2]
        (folder / str(index)).mkdir()
        targets.append((folder / str(index) / name, options))
    heard = many_by_ffmpeg(source, targets)
    return {(path.name, *options): (path, heard[path]) for path, options in targets}


@pytest.mark.parametrize(("name", "options", "depth"), LOSSLESS)
def test_a_lossless_file_is_read_sample_by_sample(made, name, options, depth):
    path, expected = made[(name, *options)]

    opened = open_sound(path)
    heard = all_of(opened)

    np.testing.assert_array_equal(heard, expected)
    said = probe(path)
    assert opened.frames == heard.shape[1] == music().frames
    assert (opened.rate, opened.channels) == (44100, 2)
    assert opened.facts.bit_depth == depth
    assert opened.facts.codec == said["codec_name"]
    assert opened.facts.sample_fmt == said["sample_fmt"]
    assert opened.facts.size_bytes == path.stat().st_size


def test_a_w64_of_libsndfile_is_as_long_as_it_says(tmp_path):
    # FFmpeg counts the padding behind a W64's samples as samples, so it cannot be the judge.
    path = tmp_path / "x.w64"
    soundfile.write(path, music().samples.T, 44100, format="W64", subtype="PCM_24")

    opened = open_sound(path)

    np.testing.assert_array_equal(all_of(opened), soundfile.read(path, dtype="float32")[0].T)
    assert (opened.frames, opened.facts.bit_depth) == (music().frames, 24)


LOSSY = [
    pytest.param("x.mp3", [], "mp3", id="mp3"),
    pytest.param("x.mp3", ["-q:a", "2"], "mp3", id="mp3 of variable bitrate"),
    pytest.param("x.mp3", ["-write_xing", "0", "-q:a", "2"], "mp3", id="mp3 without a length tag"),
    pytest.param("x.ogg", [], "vorbis", id="ogg vorbis"),
    pytest.param("x.opus", [], "opus", id="opus"),
    pytest.param("x.aac", [], "aac", id="adts"),
    pytest.param("x.webm", [], "opus", id="webm"),
    pytest.param("x.mka", ["-c:a", "libvorbis"], "vorbis", id="vorbis in matroska"),
    pytest.param("x.mp2", [], "mp2", id="mpeg layer 2"),
    pytest.param("x.wav", ["-c:a", "adpcm_ima_wav"], "adpcm_ima_wav", id="ima adpcm wav"),
    pytest.param("x.wav", ["-c:a", "adpcm_ms"], "adpcm_ms", id="ms adpcm wav"),
]


@pytest.mark.parametrize(("name", "options", "codec"), LOSSY)
def test_a_lossy_file_is_as_long_as_ffmpeg_hears_it_and_sounds_the_same(made, name, options, codec):
    path, expected = made[(name, *options)]

    opened = open_sound(path)
    heard = all_of(opened)

    assert heard.shape == expected.shape
    assert opened.frames == heard.shape[1]
    # Vorbis and MP3 decoders differ in the last bits only; FFmpeg changed its ADPCM's rounding.
    assert np.abs(heard - expected).max() < (2e-3 if codec.startswith("adpcm") else 1e-4)
    assert opened.facts.codec == codec
    if codec not in ("adpcm_ima_wav", "adpcm_ms"):
        assert opened.facts.bit_depth is None


@pytest.mark.parametrize("rate", [44100, 48000])
def test_an_m4a_is_exactly_as_long_as_what_went_in(tmp_path, rate):
    source = write_wav(music(rate), tmp_path / "source.wav")
    path = by_ffmpeg(source, tmp_path / "x.m4a", "-b:a", "192k")

    opened = open_sound(path)

    # FFmpeg itself plays the padding of the last packet, up to 1023 frames.
    assert opened.frames == music(rate).frames
    assert all_of(opened).shape[1] == opened.frames
    assert len(heard_by_ffmpeg(path)[0]) >= opened.frames


@pytest.mark.parametrize("name", ["x.mp3", "x.m4a", "x.opus", "x.ogg"])
def test_a_click_stays_where_it_was(tmp_path, name):
    clicks = clicks_in_silence()
    path = by_ffmpeg(write_wav(clicks, tmp_path / "source.wav"), tmp_path / name, "-b:a", "128k")

    heard = all_of(open_sound(path))

    assert heard.shape[1] == clicks.frames
    assert shift_of(clicks.samples, heard) == 0


def test_the_sound_of_a_video_is_read_and_its_picture_is_not(tmp_path):
    source = write_wav(music(48000), tmp_path / "source.wav")
    path = tmp_path / "film.mp4"
    run(
        *("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=s=64x64:r=25:d=1.3"),
        *("-i", source, "-c:v", "mpeg4", "-c:a", "aac", path),
    )

    opened = open_sound(path)

    assert opened.facts.container == "mov"
    assert opened.facts.codec == "aac"
    assert opened.frames == all_of(opened).shape[1] == music(48000).frames


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8, 32])
def test_channels_come_apart_in_their_order(tmp_path, channels):
    levels = sound(np.linspace(-0.9, 0.9, channels)[:, None] * np.ones(5000))
    path = write_wav(levels, tmp_path / "many.wav", "PCM_24")

    heard = all_of(open_sound(path))

    np.testing.assert_allclose(heard, levels.samples, atol=2**-23)


@pytest.mark.parametrize("frames", [1, BLOCK_FRAMES - 1, BLOCK_FRAMES, BLOCK_FRAMES + 1])
@pytest.mark.parametrize("name", ["x.wav", "x.flac"])
def test_blocks_have_the_agreed_size_whatever_the_length(tmp_path, frames, name):
    whole = sound(np.linspace(-0.5, 0.5, frames))
    soundfile.write(tmp_path / name, whole.samples.T, whole.rate, subtype="PCM_24")

    sizes = [block.shape[1] for block in open_sound(tmp_path / name)]

    assert sizes == [min(BLOCK_FRAMES, frames - at) for at in range(0, frames, BLOCK_FRAMES)]


@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.mp3", "x.opus", "x.m4a"])
def test_a_second_pass_gives_the_same_even_when_the_name_is_gone(tmp_path, name):
    path = by_ffmpeg(write_wav(music(), tmp_path / "source.wav"), tmp_path / name)
    opened = open_sound(path)
    first = all_of(opened)
    path.unlink()

    np.testing.assert_array_equal(all_of(opened), first)


def test_two_passes_at_once_do_not_disturb_each_other(tmp_path):
    path = by_ffmpeg(write_wav(music(seconds=3), tmp_path / "source.wav"), tmp_path / "x.flac")
    opened = open_sound(path)
    for one, other in zip(opened, opened, strict=True):
        np.testing.assert_array_equal(one, other)


def test_samples_that_are_no_numbers_become_silence_and_are_counted(tmp_path):
    samples = np.full((2, 1000), 0.25, np.float32)
    samples[0, 10], samples[1, 20], samples[1, 30] = np.nan, np.inf, -np.inf
    path = tmp_path / "nan.wav"
    soundfile.write(path, samples.T, 48000, subtype="FLOAT")

    opened = open_sound(path)
    heard = all_of(opened)

    assert opened.nonfinite_samples == 3
    assert heard[0, 10] == heard[1, 20] == heard[1, 30] == 0
    assert np.count_nonzero(heard == 0.25) == 1997


def test_a_double_beyond_float_is_not_finite_either(tmp_path):
    path = tmp_path / "huge.wav"
    soundfile.write(path, np.array([0.5, 1e300, -1e300, 0.5]), 48000, subtype="DOUBLE")

    np.testing.assert_array_equal(all_of(open_sound(path)), [[0.5, 0, 0, 0.5]])


def test_levels_beyond_full_scale_are_kept(tmp_path):
    path = tmp_path / "hot.wav"
    soundfile.write(path, np.array([3.5, -2.0]), 48000, subtype="FLOAT")

    np.testing.assert_array_equal(all_of(open_sound(path)), [[3.5, -2.0]])


@pytest.mark.parametrize(
    ("maker", "option"),
    [
        pytest.param("ffmpeg", "wav", id="ffmpeg's all ones"),
        pytest.param("sox", "wav", id="sox's almost 2 GiB"),
        pytest.param("ffmpeg", "w64", id="ffmpeg's w64"),
        pytest.param("sox", "au", id="sox's au"),
        pytest.param("ffmpeg", "flac", id="a flac that does not know its length"),
    ],
)
def test_a_file_written_into_a_pipe_counts_what_is_there(tmp_path, maker, option):
    source = write_wav(tone(seconds=0.5), tmp_path / "source.wav", "PCM_16")
    if maker == "ffmpeg":
        raw = run("ffmpeg", "-v", "error", "-i", source, "-f", option, "-")
    else:
        raw = run("sox", source, "-t", option, "-")
    path = tmp_path / "piped"
    path.write_bytes(raw)

    opened = open_sound(path)

    assert all_of(opened).shape == (1, 24000)
    assert opened.frames == 24000


@pytest.mark.parametrize("claim", [0, 0xFFFFFFFF, 0x7FFFF000])
def test_a_placeholder_length_means_all_that_is_there(tmp_path, claim):
    path = write_wav(tone(seconds=0.5), tmp_path / "recorder.wav", "PCM_16")
    raw = bytearray(path.read_bytes())
    raw[40:44] = struct.pack("<I", claim)
    path.write_bytes(raw)

    assert open_sound(path).frames == 24000


def test_a_sparse_rf64_beyond_4_gib_opens_at_once_and_is_read_at_its_end(tmp_path):
    path = tmp_path / "long.wav"
    frames = 2**31 + 1000  # 2 bytes each
    head = b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack(
        "<IQQQI", 28, 2 * frames + 72, 2 * frames, frames, 0
    )
    head += b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 48000, 96000, 2, 16)
    head += b"data\xff\xff\xff\xff"
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(len(head) + 2 * frames)
        file.seek(-4, os.SEEK_END)
        file.write(struct.pack("<hh", 16384, -16384))

    opened = open_sound(path)

    assert opened.frames == frames
    layout = read_header(InputFile(path), "wav").layout
    assert layout is not None
    assert layout.offset + layout.frames * layout.frame_bytes == path.stat().st_size


def test_20_bits_in_three_bytes_are_reported_as_20(tmp_path):
    path = write_wav(tone(seconds=0.1), tmp_path / "x.wav", "PCM_24")
    raw = bytearray(path.read_bytes())
    assert raw[34:36] == b"\x18\0"
    raw[34:36] = struct.pack("<H", 20)
    path.write_bytes(raw)

    opened = open_sound(path)

    assert opened.facts.bit_depth == 20
    assert np.abs(all_of(opened)).max() == pytest.approx(10 ** (-6 / 20), abs=1e-4)


@pytest.mark.parametrize("rate", [8000, 22050, 96000, 192000, 384000])
def test_rates_from_8_to_384_khz_are_kept(tmp_path, rate):
    path = write_wav(tone(100, seconds=0.1, rate=rate), tmp_path / "x.wav")
    assert open_sound(path).rate == rate


def test_mp3s_joined_end_to_end_are_heard_to_the_end(tmp_path):
    one = by_ffmpeg(write_wav(music(), tmp_path / "source.wav"), tmp_path / "one.mp3")
    path = tmp_path / "both.mp3"
    path.write_bytes(one.read_bytes() * 2)

    assert open_sound(path).duration > 1.9 * music().duration


def test_an_mp3_with_a_large_picture_in_front_is_recognised(tmp_path):
    one = by_ffmpeg(
        write_wav(music(), tmp_path / "source.wav"), tmp_path / "one.mp3", "-id3v2_version", "0"
    )
    size = 300_000
    length = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    path = tmp_path / "tagged.mp3"
    path.write_bytes(b"ID3\x04\0\0" + length + bytes(size) + one.read_bytes())

    np.testing.assert_array_equal(all_of(open_sound(path)), all_of(open_sound(one)))


@pytest.mark.parametrize("name", ["x.flac", "x.aac"])
def test_an_id3_tag_in_front_of_other_formats_is_skipped(tmp_path, name):
    one = by_ffmpeg(write_wav(music(), tmp_path / "source.wav"), tmp_path / name)
    path = tmp_path / f"tagged-{name}"
    path.write_bytes(b"ID3\x04\0\0\0\0\x10\0" + bytes(2048) + one.read_bytes())

    np.testing.assert_array_equal(all_of(open_sound(path)), all_of(open_sound(one)))
