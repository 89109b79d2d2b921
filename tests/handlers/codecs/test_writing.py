"""Every format out, judged by FFmpeg, ffprobe and libsndfile."""

import errno
import os
import struct

import numpy as np
import pytest
import soundfile

from handlers.artifacts import Metadata
from handlers.codecs import pcm_writer
from handlers.codecs.formats import encoding
from handlers.codecs.reader import open_sound
from handlers.codecs.writer import CHANNELS, write_sound
from handlers.errors import BadParameter, CannotProcess, StorageFull
from tests.handlers.codecs.tools import (
    all_of,
    by_ffmpeg,
    clicks_in_silence,
    heard_by_ffmpeg,
    music,
    on_grid,
    probe,
    shift_of,
    snr_db,
)
from tests.sounds import (
    as_blocks,
    level_db,
    noise,
    one_after_another,
    read_sound,
    silence,
    sound,
    tone,
    write_wav,
)

EVERY = ["wav", "mp3", "flac", "opus", "aac", "pcm", "m4a", "ogg", "aiff"]

LOSSLESS = [
    pytest.param("wav", "16", "pcm_s16le", id="wav 16"),
    pytest.param("wav", "24", "pcm_s24le", id="wav 24"),
    pytest.param("wav", "32f", "pcm_f32le", id="wav float"),
    pytest.param("flac", "16", "flac", id="flac 16"),
    pytest.param("flac", "24", "flac", id="flac 24"),
    pytest.param("aiff", "16", "pcm_s16be", id="aiff 16"),
    pytest.param("aiff", "24", "pcm_s24be", id="aiff 24"),
    pytest.param("aiff", "32f", "pcm_f32be", id="aiff float"),
]


@pytest.mark.parametrize(("name", "depth", "codec"), LOSSLESS)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_what_fits_the_depth_comes_out_bit_for_bit(tmp_path, name, depth, codec, channels):
    given = music(channels=channels)
    if depth != "32f":
        given = on_grid(given, int(depth))
    path = tmp_path / f"x.{name}"

    written = write_sound(given.blocks(), path, encoding(name, bit_depth=depth))

    np.testing.assert_array_equal(heard_by_ffmpeg(path, channels=channels), given.samples)
    np.testing.assert_array_equal(all_of(open_sound(path)), given.samples)
    np.testing.assert_array_equal(
        soundfile.read(path, dtype="float32", always_2d=True)[0].T, given.samples
    )
    assert open_sound(path).facts.codec == codec
    assert open_sound(path).facts.bit_depth == int(depth.removesuffix("f"))
    assert (written.frames, written.rate, written.channels) == (given.frames, 44100, channels)
    assert written.size == path.stat().st_size
    assert written.clipped == written.over_db == 0


def test_headerless_pcm_is_16_bits_little_endian_and_nothing_else(tmp_path):
    given = on_grid(music(), 16)
    write_sound(given.blocks(), tmp_path / "x.pcm", encoding("pcm"))

    values = np.frombuffer((tmp_path / "x.pcm").read_bytes(), "<i2").reshape(-1, 2).T
    np.testing.assert_array_equal(values, given.samples * 32768)


LOSSY = [
    pytest.param("mp3", {}, "mp3", 28, id="mp3"),
    pytest.param("mp3", {"quality": 9}, "mp3", 25, id="mp3 by quality"),
    pytest.param("mp3", {"bitrate": 320}, "mp3", 28, id="mp3 320"),
    pytest.param("ogg", {}, "vorbis", 20, id="ogg"),
    pytest.param("ogg", {"quality": 9}, "vorbis", 25, id="ogg by quality"),
    pytest.param("opus", {}, "opus", 15, id="opus"),
    pytest.param("m4a", {}, "aac", 25, id="m4a"),
]


@pytest.mark.parametrize(("name", "options", "codec", "least_db"), LOSSY)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_lossy_file_has_the_exact_length_and_no_shift(
    tmp_path, name, options, codec, least_db, channels
):
    given = music(48000, channels)
    path = tmp_path / f"x.{name}"

    write_sound(given.blocks(), path, encoding(name, **options))

    heard = heard_by_ffmpeg(path, channels=channels)
    ours = all_of(open_sound(path))
    assert ours.shape == given.samples.shape
    # FFmpeg plays the last AAC packet whole, whatever the edit list says.
    assert heard.shape[1] == given.frames or (
        name == "m4a" and heard.shape[1] - given.frames < 1024
    )
    assert shift_of(given.samples, heard) == shift_of(given.samples, ours) == 0
    assert snr_db(given.samples, ours) > least_db
    assert probe(path)["codec_name"] == codec


@pytest.mark.parametrize("frames", [1, 575, 576, 1105, 1152, 1153, 44100])
@pytest.mark.parametrize("name", ["mp3", "opus", "ogg", "m4a", "flac", "wav"])
def test_any_length_comes_back_exactly(tmp_path, name, frames):
    given = sound(0.3 * np.sin(np.arange(frames) / 20), 48000)
    path = tmp_path / f"x.{name}"
    written = write_sound(given.blocks(), path, encoding(name))
    assert written.frames == frames
    assert all_of(open_sound(path)).shape == (1, frames)


@pytest.mark.parametrize("name", ["mp3", "opus", "ogg", "m4a"])
def test_a_click_is_where_it_was_for_us_and_for_ffmpeg(tmp_path, name):
    clicks = clicks_in_silence()
    write_sound(clicks.blocks(), tmp_path / f"x.{name}", encoding(name))
    for heard in (
        all_of(open_sound(tmp_path / f"x.{name}")),
        heard_by_ffmpeg(tmp_path / f"x.{name}", channels=1),
    ):
        assert shift_of(clicks.samples, heard) == 0


@pytest.mark.parametrize("rate", [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_mp3_is_exact_at_every_rate_it_has(tmp_path, rate, channels):
    given = music(rate, channels, seconds=0.5)
    path = tmp_path / "x.mp3"
    written = write_sound(given.blocks(), path, encoding("mp3"))
    assert written.resampled_to is None
    assert heard_by_ffmpeg(path, channels=channels).shape == given.samples.shape
    assert all_of(open_sound(path)).shape == given.samples.shape


@pytest.mark.parametrize(
    ("name", "rate", "becomes"),
    [
        pytest.param("mp3", 96000, 48000, id="mp3 from 96 kHz"),
        pytest.param("mp3", 88200, 44100, id="mp3 from 88.2 kHz"),
        pytest.param("mp3", 37800, 44100, id="mp3 from an odd rate"),
        pytest.param("opus", 44100, 48000, id="opus from 44.1 kHz"),
        pytest.param("m4a", 192000, 96000, id="m4a from 192 kHz"),
        pytest.param("aac", 10000, 11025, id="aac from an odd rate"),
    ],
)
def test_a_rate_that_a_format_lacks_is_resampled_and_reported(tmp_path, name, rate, becomes):
    given = tone(1000, seconds=0.7, rate=rate)
    path = tmp_path / f"x.{name}"

    written = write_sound(given.blocks(), path, encoding(name))

    assert written.resampled_to == written.rate == becomes
    assert written.frames == round(given.frames * becomes / rate)
    assert int(probe(path)["sample_rate"]) == becomes


@pytest.mark.parametrize("name", ["wav", "flac", "aiff"])
@pytest.mark.parametrize("rate", [8000, 44100, 96000, 192000, 384000])
def test_lossless_formats_keep_every_rate(tmp_path, name, rate):
    given = on_grid(tone(500, seconds=0.05, rate=rate), 16)
    written = write_sound(given.blocks(), tmp_path / f"x.{name}", encoding(name))
    opened = open_sound(tmp_path / f"x.{name}")
    assert written.resampled_to is None
    assert opened.rate == rate
    np.testing.assert_array_equal(all_of(opened), given.samples)


@pytest.mark.parametrize("name", EVERY)
def test_the_same_sound_gives_the_same_bytes_however_it_is_cut(tmp_path, name):
    given = music(seconds=1.6)
    paths = [tmp_path / f"{size}.{name}" for size in (333, 4096, 50000)]
    for path, size in zip(paths, (333, 4096, 50000), strict=True):
        write_sound(as_blocks(given, size), path, encoding(name))
    assert paths[0].read_bytes() == paths[1].read_bytes() == paths[2].read_bytes()


@pytest.mark.parametrize(
    ("name", "channels"),
    [("mp3", 3), ("flac", 9), ("opus", 9), ("opus", 5), ("m4a", 9), ("ogg", 9)],
)
def test_channels_that_a_format_cannot_hold_are_refused_in_a_sentence(tmp_path, name, channels):
    with pytest.raises(
        CannotProcess, match=rf"{name} holds .* channels and the sound has {channels}"
    ):
        write_sound(silence(channels=channels).blocks(), tmp_path / "x", encoding(name))


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        (name, channels)
        for name in ("opus", "m4a", "ogg", "flac", "wav")
        for channels in CHANNELS[name]
        if channels <= 8
    ],
)
def test_surround_channels_keep_their_places(tmp_path, name, channels):
    """Each channel has a tone of its own. The LFE is left out: lossy codecs low-pass it."""
    freqs = [300 + 150 * index for index in range(channels)]
    given = sound(np.concatenate([tone(f, seconds=0.5, peak_db=-12).samples for f in freqs]))
    path = tmp_path / f"x.{name}"
    write_sound(given.blocks(), path, encoding(name))

    for heard in (all_of(open_sound(path)), heard_by_ffmpeg(path, channels=channels)):
        for index, freq in enumerate(freqs):
            if channels in (6, 7, 8) and index == 3:
                continue
            spectrum = np.abs(np.fft.rfft(heard[index][4800:19200] * np.hanning(14400)))
            assert np.argmax(spectrum) * 48000 / 14400 == pytest.approx(freq, abs=4)


# -- depth, clipping, dither -----------------------------------------------------------------------
def test_clipping_is_counted_and_never_wraps(tmp_path):
    given = sound(np.array([0.0, 2.0, -2.0, 1.0, -1.0, 0.5]))
    path = tmp_path / "x.wav"

    written = write_sound(given.blocks(), path, encoding("wav"))

    values, _ = soundfile.read(path, dtype="int16")
    assert values[[1, 3]].tolist() == pytest.approx([32767, 32767], abs=1)
    assert values[[2, 4]].tolist() == pytest.approx([-32768, -32768], abs=1)
    assert written.peak == 2.0
    assert written.clipped == 2
    assert written.over_db == pytest.approx(20 * np.log10(2))


@pytest.mark.parametrize("name", ["mp3", "opus", "ogg", "m4a", "aac", "flac"])
def test_every_format_that_clips_says_so(tmp_path, name):
    given = tone(1000, peak_db=6.0206)
    written = write_sound(given.blocks(), tmp_path / "x", encoding(name))
    assert written.clipped == np.count_nonzero(np.abs(given.samples) > 1)
    assert written.over_db == pytest.approx(6.0206, abs=0.01)


def test_float_keeps_what_is_beyond_full_scale(tmp_path):
    given = tone(1000, peak_db=6)
    written = write_sound(given.blocks(), tmp_path / "x.wav", encoding("wav", bit_depth="32f"))
    assert written.clipped == written.over_db == 0
    assert written.peak == pytest.approx(10 ** (6 / 20), rel=1e-3)
    np.testing.assert_array_equal(all_of(open_sound(tmp_path / "x.wav")), given.samples)


@pytest.mark.parametrize("name", ["wav", "flac", "aiff", "pcm"])
def test_full_scale_of_both_signs_survives_16_bits(tmp_path, name):
    square = np.tile([32767 / 32768, -1.0], 5000)
    written = write_sound(sound(square).blocks(), tmp_path / "x", encoding(name))
    assert written.clipped == 0
    if name != "pcm":
        np.testing.assert_array_equal(all_of(open_sound(tmp_path / "x"))[0], square.astype("f4"))


def test_reducing_leaves_the_noise_of_triangular_dither_and_no_distortion(tmp_path):
    """Rounding with dither two steps wide leaves a quarter of a step's square, whatever the sound.

    1/12 from rounding and 2/12 from the dither: Lipshitz, Wannamaker and Vanderkooy (1992).
    """
    quiet = tone(997, seconds=2, rate=48000, peak_db=-100)  # below half a 16-bit step
    write_sound(quiet.blocks(), tmp_path / "x.wav", encoding("wav", bit_depth="16"))

    steps = all_of(open_sound(tmp_path / "x.wav"))[0].astype(float) * 32768
    wanted = quiet.samples[0].astype(float) * 32768
    error = steps - wanted
    assert np.mean(error**2) == pytest.approx(3 / 12, rel=0.05)
    assert np.mean(error) == pytest.approx(0, abs=0.01)
    # The tone is still there, and its third harmonic is not.
    level = [
        abs(np.mean(steps * np.exp(-2j * np.pi * f * np.arange(len(steps)) / 48000)))
        for f in (997, 2991)
    ]
    assert level[0] == pytest.approx(np.abs(wanted).max() / 2, rel=0.1)
    assert level[1] < 0.02


def test_dither_differs_between_channels(tmp_path):
    given = tone(997, channels=2, peak_db=-60)
    write_sound(given.blocks(), tmp_path / "x.wav", encoding("wav"))
    left, right = all_of(open_sound(tmp_path / "x.wav")) - given.samples
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.05


def test_silence_stays_digital_silence_beside_sound(tmp_path):
    given = one_after_another(tone(440), silence(), tone(440))
    write_sound(given.blocks(), tmp_path / "x.wav", encoding("wav"))
    heard = all_of(open_sound(tmp_path / "x.wav"))[0]
    assert not heard[49152:95232].any()
    assert heard[:48000].any()


@pytest.mark.parametrize(
    ("subtype", "flac", "wav"),
    [
        pytest.param("PCM_U8", 16, 16, id="8 bits"),
        pytest.param("PCM_16", 16, 16, id="16 bits"),
        pytest.param("PCM_24", 24, 24, id="24 bits"),
        pytest.param("FLOAT", 24, 32, id="float"),
    ],
)
def test_the_depth_can_follow_the_source(tmp_path, subtype, flac, wav):
    source = open_sound(write_wav(tone(), tmp_path / "s.wav", subtype))
    write_sound(source, tmp_path / "x.flac", encoding("flac"))
    write_sound(source, tmp_path / "x.wav", encoding("wav", bit_depth="source"))
    write_sound(source, tmp_path / "y.wav", encoding("wav"))
    assert open_sound(tmp_path / "x.flac").facts.bit_depth == flac
    assert open_sound(tmp_path / "x.wav").facts.bit_depth == wav
    assert open_sound(tmp_path / "y.wav").facts.codec == "pcm_s16le"


@pytest.mark.parametrize("name", EVERY)
def test_samples_that_are_no_numbers_are_replaced_and_counted(tmp_path, name):
    given = tone(440, seconds=0.5)
    given.samples[0, [5, 6]] = np.nan, np.inf
    written = write_sound(given.blocks(), tmp_path / "x", encoding(name))
    assert written.nonfinite == 2
    assert written.peak == pytest.approx(0.5, rel=0.01)


# -- rules of the file -----------------------------------------------------------------------------
def test_a_wav_beyond_the_limit_becomes_rf64(tmp_path, monkeypatch):
    monkeypatch.setattr(pcm_writer, "RIFF_LIMIT", 100_000)
    given = on_grid(music(), 16)
    path = tmp_path / "x.wav"

    write_sound(given.blocks(), path, encoding("wav"))

    raw = path.read_bytes()
    assert raw[:4] == b"RF64"
    riff, data, frames = struct.unpack("<QQQ", raw[20:44])
    assert (riff, data, frames) == (len(raw) - 8, given.frames * 4, given.frames)
    np.testing.assert_array_equal(heard_by_ffmpeg(path), given.samples)
    np.testing.assert_array_equal(soundfile.read(path, dtype="float32")[0].T, given.samples)
    np.testing.assert_array_equal(all_of(open_sound(path)), given.samples)


def test_a_sound_of_unknown_length_can_become_rf64_but_need_not(tmp_path):
    path = by_ffmpeg(write_wav(music(), tmp_path / "s.wav"), tmp_path / "x.aac")
    opened = open_sound(path)
    assert opened.stated_frames is None
    write_sound(opened, tmp_path / "x.wav", encoding("wav"))
    raw = (tmp_path / "x.wav").read_bytes()
    assert raw[:4] == b"RIFF"
    assert raw[12:16] == b"JUNK"
    assert soundfile.info(tmp_path / "x.wav").frames == opened.frames


def test_an_aiff_beyond_4_gib_is_refused_with_what_would_do(tmp_path, monkeypatch):
    monkeypatch.setattr(pcm_writer, "RIFF_LIMIT", pcm_writer._BEHIND + 100_000)
    with pytest.raises(CannotProcess, match="wav"):
        write_sound(music(seconds=4).blocks(), tmp_path / "x.aiff", encoding("aiff"))


@pytest.mark.parametrize("name", EVERY)
def test_a_full_disk_is_noticed(name):
    with pytest.raises(StorageFull, match="full"):
        write_sound(noise(seconds=3, channels=2).blocks(), "/dev/full", encoding(name))


@pytest.mark.parametrize("name", EVERY)
def test_a_write_that_fails_at_any_point_is_noticed(tmp_path, monkeypatch, name):
    """The n-th write fails, for n = 1, 2, 4, 8, ... until none fails any more."""
    given = noise(seconds=1, channels=2)
    tagged = Metadata({"title": ("x",)}, (("image/png", 3, "", b"\x89PNG" + bytes(90_000)),))
    real, fail_at = os.pwrite, 1
    while True:
        calls = 0

        def failing(fd, data, at, limit=fail_at):
            nonlocal calls
            calls += 1
            if calls >= limit:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(fd, data, at)

        monkeypatch.setattr(os, "pwrite", failing)
        try:
            write_sound(given.blocks(), tmp_path / "x", encoding(name), metadata=tagged)
        except StorageFull:
            fail_at *= 2
            continue
        assert calls < fail_at
        break
    assert fail_at > 1


def test_nothing_but_the_one_file_is_written(tmp_path):
    for name in EVERY:
        path = tmp_path / f".audiolla-1-{name}.part"
        write_sound(music(seconds=0.2).blocks(), path, encoding(name))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        f".audiolla-1-{n}.part" for n in EVERY
    )


def test_every_block_is_told_and_a_refusal_stops_the_writing(tmp_path):
    given, told = music(96000), []
    write_sound(as_blocks(given, 10_000), tmp_path / "x.mp3", encoding("mp3"), on_block=told.append)
    assert told == [min(10_000, given.frames - at) for at in range(0, given.frames, 10_000)]

    def stop(_frames):
        raise KeyError("cancelled")

    with pytest.raises(KeyError, match="cancelled"):
        write_sound(given.blocks(), tmp_path / "x.mp3", encoding("mp3"), on_block=stop)


@pytest.mark.parametrize("name", EVERY)
def test_writing_reads_the_sound_once(tmp_path, name):
    given, passes = music(seconds=0.3), []

    def counted():
        passes.append(1)
        return iter(given.blocks())

    write_sound(given.blocks().like(counted), tmp_path / "x", encoding(name))
    assert len(passes) == 1


@pytest.mark.parametrize("name", EVERY)
def test_a_sound_without_samples_gives_a_file_and_no_fault(tmp_path, name):
    written = write_sound(silence(seconds=0).blocks(), tmp_path / "x", encoding(name))
    assert written.frames == 0
    assert written.size == (tmp_path / "x").stat().st_size


@pytest.mark.parametrize(
    ("name", "rate", "channels", "bitrate", "says"),
    [
        pytest.param("mp3", 44100, 2, 200, "192, 224", id="no such mp3 bitrate"),
        pytest.param("mp3", 22050, 2, 320, "160", id="too much for a low rate"),
        pytest.param("opus", 48000, 1, 640, "256", id="too much for opus in mono"),
    ],
)
def test_a_bitrate_that_a_format_lacks_is_refused_before_any_work(
    tmp_path, name, rate, channels, bitrate, says
):
    given = silence(rate=rate, channels=channels).blocks().like(lambda: pytest.fail("was read"))
    with pytest.raises(BadParameter, match=says):
        write_sound(given, tmp_path / "x", encoding(name, bitrate=bitrate))


@pytest.mark.parametrize(
    ("name", "options", "kbps"),
    [
        ("mp3", {}, 192),
        ("mp3", {"bitrate": 96}, 96),
        ("opus", {}, 128),
        ("aac", {}, 192),
        ("m4a", {"bitrate": 96}, 96),
    ],
)
def test_the_bitrate_is_the_one_asked_for(tmp_path, name, options, kbps):
    given = noise(seconds=4, rate=48000, channels=2, peak_db=-12)
    written = write_sound(given.blocks(), tmp_path / "x", encoding(name, **options))
    assert written.size * 8 / given.duration / 1000 == pytest.approx(kbps, rel=0.12)


def test_the_mp3_tag_tells_delay_padding_and_true_checksums(tmp_path):
    given = music()
    path = tmp_path / "x.mp3"
    write_sound(given.blocks(), path, encoding("mp3"), metadata=Metadata())

    raw = path.read_bytes()
    at = raw.index(b"Info")
    frames, size = struct.unpack(">II", raw[at + 8 : at + 16])
    lame = raw.index(b"LAME", at)
    packed = int.from_bytes(raw[lame + 21 : lame + 24], "big")
    delay, padding = packed >> 12, packed & 0xFFF
    assert frames * 1152 == delay + given.frames + padding
    assert size == len(raw) == int.from_bytes(raw[lame + 28 : lame + 32], "big")
    length = raw.index(b"\xff\xfb", 4)
    assert int.from_bytes(raw[lame + 32 : lame + 34], "big") == _crc16(raw[length:])
    assert int.from_bytes(raw[lame + 34 : lame + 36], "big") == _crc16(raw[: lame + 34])


@pytest.mark.parametrize("bitrate", [64, 128, 160, 192, 224, 320])
def test_an_mp3_is_as_loud_as_its_sound(tmp_path, bitrate):
    # LAME's presets turn constant bitrates down by up to 0.45 dB when they are left alone.
    given = tone(997, seconds=3, rate=44100, channels=2, peak_db=-12)
    write_sound(given.blocks(), tmp_path / "x.mp3", encoding("mp3", bitrate=bitrate))

    decoded = read_sound(tmp_path / "x.mp3")
    assert level_db(decoded, at=(0.5, 2.5)) == pytest.approx(
        level_db(given, at=(0.5, 2.5)), abs=0.05
    )


def _crc16(data: bytes) -> int:
    """CRC-16/ARC, bit by bit."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xA001 if crc & 1 else 0)
    return crc
