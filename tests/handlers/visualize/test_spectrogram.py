import io
import json
import subprocess

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from handlers.artifacts import Blocks
from handlers.errors import BadParameter
from handlers.pictures.maps import channel_colors, color_map
from handlers.registry import find
from handlers.visualize.spectrogram import Spectrogram, spectrogram
from tests.sounds import as_blocks, clicks, noise, one_after_another, silence, sound, sweep, tone

COLORS = find("spectrogram").params.model_json_schema()["properties"]["color"]["enum"]
BARE = {"legend": False, "width": 200, "height": 200}


def picture(audio, block=4096, **params):
    """The PNG file."""
    return spectrogram(as_blocks(audio, block), Spectrogram(**params)).picture.data


def pixels(audio, block=4096, **params):
    """As Pillow reads it: `(height, width, 3)`."""
    data = picture(audio, block, **params)
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def shades(audio, **params):
    """Which step of a map of grey-free colours each pixel has, 0 to 1: `(height, width)`."""
    given = {**BARE, "color": "viridis", **params}
    steps = color_map("viridis", 224).astype(int)
    drawn = pixels(audio, **given).reshape(-1, 3)
    colors, which = np.unique(drawn, axis=0, return_inverse=True)
    nearest = np.abs(colors[:, None] - steps).sum(axis=2).argmin(axis=1)
    return (nearest[which] / 223).reshape(given["height"], given["width"])


def heights(shade):
    """Where each column is brightest, from 0 (bottom) to 1 (top)."""
    return 1 - (shade.argmax(axis=0) + 0.5) / shade.shape[0]


@pytest.mark.parametrize(("width", "height"), [(64, 64), (333, 65), (1280, 720), (65, 1001)])
def test_without_a_legend_it_has_exactly_the_size_asked_for(width, height):
    data = picture(noise(seconds=0.2), width=width, height=height, legend=False)
    said = subprocess.run(
        ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-"],
        input=data,
        capture_output=True,
        check=True,
    ).stdout
    stream = json.loads(said)["streams"][0]
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("png", width, height)


@pytest.mark.parametrize("color", ["magma", "channel"])
def test_a_legend_stands_beside_the_plot_and_not_on_it(color):
    audio = noise(seconds=0.5, channels=2)
    plain = pixels(audio, width=300, height=200, color=color, legend=False)
    framed = pixels(audio, width=300, height=200, color=color)
    assert framed.shape == (200 + 58, 300 + 132, 3)
    assert np.array_equal(framed[26:226, 58:358], plain)
    for margin in (framed[26:226, :56], framed[228:, 58:], framed[26:226, 360:]):
        assert margin.max() > 180
        assert (margin == (15, 18, 22)).all(axis=2).mean() > 0.5


@pytest.mark.parametrize("scale", ["lin", "log", "mel"])
@pytest.mark.parametrize("freq", [250, 1000, 9000])
def test_a_tone_is_brightest_at_its_own_frequency(freq, scale):
    found = heights(shades(tone(freq, seconds=2, rate=48000), frequency_scale=scale))
    places = {
        "lin": freq / 24000,
        "log": np.log(freq / 20) / np.log(24000 / 20),
        "mel": np.log(1 + freq / 700) / np.log(1 + 24000 / 700),
    }
    # A bin of 1024 in a window of 4096 samples is the finest that can be told.
    assert found[5:-5] == pytest.approx(places[scale], abs=0.006 if scale != "log" else 0.012)


def test_a_sweep_climbs_as_it_should():
    shade = shades(sweep(100, 10000, seconds=4), frequency_scale="log")
    t = (np.arange(200) + 0.5) / 200
    expected = (np.log(100 / 20) + t * np.log(100)) / np.log(24000 / 20)
    assert heights(shade)[10:-10] == pytest.approx(expected[10:-10], abs=0.012)


@pytest.mark.parametrize("level", [0, -6, -20, -60])
@pytest.mark.parametrize(
    ("scale", "root"),
    [("lin", 1), ("sqrt", 2), ("cbrt", 3), ("4thrt", 4), ("5thrt", 5), ("log", 0)],
)
def test_a_level_has_the_shade_that_its_scale_says(scale, root, level):
    # In the middle of a bin of the window of 2048 samples; elsewhere a Hann window loses 1.4 dB.
    audio = tone(100 * 48000 / 2048, peak_db=level, seconds=1)
    brightest = shades(audio, scale=scale)[:, 100].max()
    expected = 10 ** (level / 20 / root) if root else 1 + level / 120
    assert brightest == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(("range_db", "expected"), [(40, 0.5), (20, 0.0), (80, 0.75)])
def test_the_dynamic_range_says_what_is_dark(range_db, expected):
    audio = tone(100 * 48000 / 2048, peak_db=-20, seconds=1)
    assert shades(audio, dynamic_range=range_db)[:, 100].max() == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("seconds", [0, 1])
@pytest.mark.parametrize("color", COLORS)
def test_silence_and_nothing_at_all_are_dark(color, seconds):
    drawn = pixels(silence(seconds=seconds, channels=2), **BARE, color=color)
    darkest = (0, 0, 0) if color == "channel" else color_map(color, 224)[0]
    assert (drawn == darkest).all()
    assert np.dot(darkest, [0.2126, 0.7152, 0.0722]) < 50


@pytest.mark.parametrize("color", [c for c in COLORS if c != "channel"])
def test_louder_is_another_colour_from_the_first_step_to_the_last(color):
    audio = one_after_another(*(tone(6000, peak_db=level) for level in (-100, -60, -30, 0)))
    drawn = pixels(audio, **BARE, color=color)[150]
    steps = drawn[[25, 75, 125, 175]]
    assert len({tuple(step) for step in steps}) == 4
    assert steps[3] == pytest.approx(color_map(color, 224)[-1].astype(int), abs=8)


@pytest.mark.parametrize("name", ["magma", "viridis", "plasma", "cividis"])
def test_published_maps_are_those_that_were_published(name):
    published = mpl.colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255
    assert np.abs(color_map(name, 256) - published).max() <= 3


@pytest.mark.parametrize(
    "name",
    [c for c in COLORS if c not in ("channel", "magma", "viridis", "plasma", "cividis")],
)
def test_other_maps_look_as_ffmpegs_of_that_name(name, tmp_path):
    out = tmp_path / "bar.png"
    graph = f"showspectrumpic=s=64x512:color={name}:legend=1"
    subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "anullsrc=d=0.1"),
            *("-lavfi", graph, "-frames:v", "1", str(out)),
        ],
        check=True,
    )
    drawn = np.asarray(Image.open(out).convert("RGB")).astype(int)
    # The scale stands on the right of the plot, 512 rows high, loud above.
    column = np.flatnonzero(np.ptp(drawn[64:576], axis=0).max(axis=1) > 100)
    bar = drawn[64:576, column[column > 64 + 140][4]][::-1]
    assert np.abs(color_map(name, 512) - bar).max(axis=1).mean() < 5
    assert np.abs(color_map(name, 512) - bar).max() < 16


def test_each_channel_has_its_own_colour_and_both_together_are_white():
    left, right = (np.array(color) for color in channel_colors(2))
    both = tone(3000, peak_db=0, channels=2)
    alone = both.like(both.samples * np.float32([[1], [0]]))
    other = both.like(both.samples * np.float32([[0], [1]]))
    drawn = pixels(one_after_another(both, alone, other), **BARE, color="channel")
    row = drawn[(200 - 25) : (200 - 24)].max(axis=0)
    assert row[33] == pytest.approx([255] * 3, abs=6)
    assert row[100] == pytest.approx(left, abs=6)
    assert row[166] == pytest.approx(right, abs=6)


def test_channels_may_be_drawn_one_above_the_other():
    audio = tone(6000, channels=2, peak_db=0)
    audio.samples[0] = 0
    shade = shades(audio, channels="separate")
    assert shade[:100].max() == 0
    assert heights(shade[100:])[100] == pytest.approx(6000 / 24000, abs=0.02)
    assert shades(audio.like(np.tile(audio.samples, (4, 1))), height=64, channels="separate").any()


def test_channels_in_one_are_the_mean_of_their_power():
    audio = tone(100 * 48000 / 2048, channels=2, peak_db=0)
    audio.samples[0] = 0
    assert shades(audio)[:, 100].max() == pytest.approx(1 - 3.01 / 120, abs=0.005)
    audio.samples[0] = -audio.samples[1]
    assert shades(audio)[:, 100].max() == pytest.approx(1, abs=0.005)


@pytest.mark.parametrize("at", np.linspace(0.5, 19.6, 7).tolist())
def test_a_click_is_seen_wherever_it_falls_in_a_long_sound(at):
    # 20 s at 48 kHz over 64 columns: each stands for 15,000 samples.
    shade = shades(clicks([at], seconds=20, peak_db=0), width=64, height=64)
    column = shade.max(axis=0).argmax()
    assert column == int(at / 20 * 64)
    # Full scale over 1024 of them would be -54 dB; a fifteenth of the windows hold it.
    assert shade.max() * 120 - 120 > -54 - 10 * np.log10(15) - 6


@pytest.mark.parametrize("seconds", [0.3, 20])
@pytest.mark.parametrize("block", [1, 333, 4096])
def test_the_block_size_is_not_seen(block, seconds):
    audio = noise(seconds=min(seconds, 3.0) if block == 1 else seconds, rate=8000, channels=2)
    params = {"width": 100, "height": 80, "frequency_scale": "mel"}
    assert picture(audio, block, **params) == picture(audio, 10**7, **params)


@pytest.mark.parametrize("frames", [1, 2, 63, 64, 65, 1000, 65 * 1024])
@pytest.mark.parametrize("scale", ["lin", "log", "mel"])
def test_a_sound_of_few_samples_fills_the_whole_width(frames, scale):
    drawn = shades(
        sound(np.random.default_rng(1).standard_normal(frames)),
        width=65,
        height=64,
        frequency_scale=scale,
    )
    assert drawn.max(axis=0).min() > 0


@pytest.mark.parametrize("rate", [8000, 192000])
@pytest.mark.parametrize("scale", ["lin", "log", "mel"])
def test_the_top_is_half_the_rate_at_every_rate(rate, scale):
    shade = shades(tone(rate * 0.49, rate=rate), frequency_scale=scale)
    assert heights(shade)[100] > 0.97


def test_a_long_sound_is_read_once_and_never_held_whole():
    made = []

    def passing():
        made.append(0)
        piece = noise(seconds=1, rate=8000).samples
        for _ in range(600):
            yield piece

    long = Blocks(passing, rate=8000, channels=1, frames=600 * 8000)
    assert spectrogram(long, Spectrogram(width=64, height=64)).picture.data
    assert made == [0]


@pytest.mark.parametrize(
    "raw",
    [
        *({"width": "63"}, {"height": "8193"}, {"color": "lime"}, {"scale": "db"}),
        *({"color": "magma,movie=/etc/passwd"}, {"frequency_scale": "bark"}),
        {"dynamic_range": "5"},
    ],
)
def test_sizes_colours_and_scales_out_of_range_are_refused(raw):
    with pytest.raises(BadParameter, match=next(iter(raw))):
        find("spectrogram").read_params(raw)
