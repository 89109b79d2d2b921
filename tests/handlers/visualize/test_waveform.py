import io
import subprocess

import numpy as np
import pytest
from PIL import Image

from handlers.errors import BadParameter
from handlers.registry import find
from handlers.visualize.waveform import Waveform, waveform
from tests.sounds import as_blocks, clicks, noise, one_after_another, silence, sound, tone

BACKGROUND = (15, 18, 22)


def drawn(audio, block=1000, **params):
    """The picture as FFmpeg's PNG decoder sees it: `(height, width, 3)`."""
    picture = waveform(as_blocks(audio, block), Waveform(**params)).picture
    asked = Waveform(**params)
    raw = subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-f", "png_pipe", "-i", "-"),
            *("-pix_fmt", "rgb24", "-f", "rawvideo", "-"),
        ],
        input=picture.data,
        capture_output=True,
        check=True,
    ).stdout
    return np.frombuffer(raw, np.uint8).reshape(asked.height, asked.width, 3).astype(int)


def bright(pixels):
    """Where something other than the background and the line at zero is drawn, `(h, w)`."""
    return np.abs(pixels - BACKGROUND).max(axis=2) > 100


@pytest.mark.parametrize(("width", "height"), [(64, 64), (333, 65), (1280, 720), (65, 1001)])
def test_it_has_exactly_the_size_asked_for(width, height):
    assert drawn(noise(seconds=0.2), width=width, height=height).shape == (height, width, 3)


def test_the_loud_half_is_tall_and_the_soft_half_is_low():
    audio = one_after_another(tone(peak_db=-40), tone(peak_db=0))
    tall = bright(drawn(audio, width=200, height=100)).sum(axis=0)

    assert tall[5:95].max() <= 3
    # Full scale takes 94 of 100 pixels.
    assert tall[105:195] == pytest.approx(94, abs=1.5)


def test_a_click_is_where_it_happens_and_up_is_positive():
    picture = bright(drawn(clicks([0.6], peak_db=0), width=100, height=100))
    rows, columns = np.nonzero(picture & (np.arange(100)[:, None] < 45))
    assert set(columns) <= {60, 61}
    assert rows.min() <= 4
    assert not picture[55:].any()


def test_channels_are_drawn_one_above_the_other():
    audio = tone(channels=3, peak_db=0)
    audio.samples[1] = 0
    picture = bright(drawn(audio, width=64, height=300))
    assert picture[10:90].any(axis=1).all()
    assert not picture[110:148].any()
    assert not picture[153:190].any()
    assert picture[210:290].any(axis=1).all()


def test_eight_channels_in_a_low_picture_are_drawn_as_one():
    audio = silence(channels=8)
    audio.samples[5] = tone(peak_db=0).samples
    tall = bright(drawn(audio, width=64, height=64)).sum(axis=0)
    assert tall == pytest.approx(60, abs=2)


@pytest.mark.parametrize(
    ("color", "expected"),
    [
        pytest.param("lime", (0, 255, 0), id="the default's name"),
        pytest.param("Tomato", (255, 99, 71), id="a name in any case"),
        pytest.param("#4aA3fF", (74, 163, 255), id="a number"),
    ],
)
def test_the_body_of_the_wave_has_the_colour_asked_for(color, expected):
    picture = drawn(noise(peak_db=0), width=64, height=64, color=color)
    assert tuple(picture[32 - 4, 30]) == expected


@pytest.mark.parametrize(
    "color",
    [
        *("limegreenish", "#12345", "#1234567", "#12345g", "", "0x00ff00", "lime\n"),
        *("lime,movie=/etc/passwd", "lime:s=1x1", "#00ff00@0.5", "random"),
    ],
)
def test_anything_else_is_not_a_colour(color):
    with pytest.raises(BadParameter, match="color"):
        find("waveform").read_params({"color": color})


@pytest.mark.parametrize(
    "raw", [{"width": "63"}, {"height": "8193"}, {"width": "0"}, {"height": "-5"}]
)
def test_sizes_out_of_range_are_refused(raw):
    with pytest.raises(BadParameter):
        find("waveform").read_params(raw)


@pytest.mark.parametrize("frames", [1, 2, 7, 63, 64, 65, 100])
def test_a_sound_of_few_samples_is_a_line_without_gaps(frames):
    samples = np.linspace(-0.9, 0.9, frames)
    picture = bright(drawn(sound(samples), width=64, height=64))
    assert picture.any(axis=0).all()


@pytest.mark.parametrize("seconds", [0, 1])
def test_silence_and_nothing_at_all_are_a_flat_line(seconds):
    picture = drawn(silence(seconds=seconds), width=64, height=64)
    different = np.abs(picture - BACKGROUND).max(axis=2) > 10
    assert different[31:33].all()
    assert not different[:30].any()
    assert not different[34:].any()


@pytest.mark.parametrize("block", [1, 333, 4096])
def test_the_block_size_is_not_seen(block):
    audio = noise(seconds=0.3, rate=8000)
    params = Waveform(width=200, height=80)
    one = waveform(as_blocks(audio, block), params).picture.data
    assert one == waveform(as_blocks(audio, 10**6), params).picture.data


def test_peaks_beyond_full_scale_stay_in_their_lane():
    audio = tone(channels=2, peak_db=30)
    audio.samples[1] = 0
    picture = bright(drawn(audio, width=64, height=128))
    assert picture[:64].all()
    assert not picture[66:94].any()


def test_the_background_may_be_light():
    picture = drawn(silence(), width=64, height=64, background="white", color="navy")
    assert (picture[:30] == 255).all()
    assert picture[31:33].max() < 255


def test_a_transparent_background_is_clear_and_the_wave_is_not():
    data = waveform(
        as_blocks(tone(peak_db=0), 1000),
        Waveform(width=64, height=64, color="navy", background="transparent"),
    ).picture.data
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    assert not pixels[0, :, 3].any()
    assert (pixels[28:36, :, 3] == 255).all()
    assert (pixels[..., :3] == (0, 0, 128)).all()


def test_a_transparent_wave_is_refused():
    with pytest.raises(BadParameter, match="color"):
        find("waveform").read_params({"color": "transparent"})
