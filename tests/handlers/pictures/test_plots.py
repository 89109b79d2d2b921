import io
import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from handlers.artifacts import Png, Svg
from handlers.hearing import Heard
from handlers.listening.outline import OUTLINE
from handlers.pictures.labels import key_role
from handlers.pictures.outline import outline
from handlers.pictures.plots import (
    Curve,
    Drawn,
    Heat,
    Marks,
    Plot,
    Span,
    Spans,
    Target,
    Wave,
    draw,
)
from handlers.pictures.theme import ROLES
from tests.sounds import as_blocks, noise, one_after_another, silence, tone

#: Where the time axis lies in a PNG, which has 1.6 pixels for each of 1200.
LEFT, RIGHT = 132 * 1.6, 1172 * 1.6
LIGHT = {role: tuple(bytes.fromhex(colors[0][1:])) for role, colors in ROLES.items()}


def pixels(*lanes, duration=10.0, **about):
    """The plot as PNG, opened by Pillow: `(height, width, 3)`."""
    picture = draw(Plot("A title", duration, lanes, **about), "png")
    return np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB")).astype(int)


def like(picture, role, within=40):
    """Where a picture has the colour of a role, `(height, width)`."""
    return np.abs(picture - LIGHT[role]).max(axis=2) <= within


def seconds(columns, duration=10.0):
    """What columns of a PNG stand for."""
    return (np.asarray(columns) + 0.5 - LEFT) / (RIGHT - LEFT) * duration


def svg(*lanes, title="A title", duration=10.0, **about):
    return draw(Plot(title, duration, lanes, **about)).data.decode()


def everything():
    sound = as_blocks(noise(seconds=2.0, rate=8000), 4096)
    return [
        Wave(outline(sound), over=[Marks([1, 2, 3], strong=[1]), Spans([Span(0, 4, "a")])]),
        Marks(np.arange(10.0), strong=[0, 4, 8], flags=[(2.5, "cue")], name="Beats"),
        Spans([Span(0, 5, "Am"), Span(5, 10, "F")], keys=True, name="Chords"),
        Heat(np.eye(12), colors="keys", name="Chroma"),
        Heat(np.eye(40), name="Spectrogram", over=[Marks(flags=[(3, "here")])]),
        Curve([0, 5, 10], [-20, None, -14], targets=[Target(-23, "R 128")], name="Loudness"),
        Curve([0, 5, 10], [220, 440, 330], notes=True, name="Melody"),
    ]


@pytest.mark.parametrize("format", ["svg", "png"])
def test_the_same_plot_gives_the_same_bytes(format):
    first, second = (draw(Plot("x", 10, everything(), {"a": 1}), format) for _ in range(2))
    assert first == second
    assert isinstance(first, Svg if format == "svg" else Png)


def test_declaring_a_plot_brings_no_matplotlib_and_drawing_one_no_pyplot():
    code = """if True:
        import sys
        from handlers.pictures.plots import Drawn, Marks, Plot, draw
        assert Drawn().drawing(lambda: 1 / 0) is None
        assert not any(name.startswith("matplotlib") for name in sys.modules)
        sys.stdout.buffer.write(draw(Plot("x", 10, [Marks([1])])).data)
        assert "matplotlib.pyplot" not in sys.modules
    """
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert said == draw(Plot("x", 10, [Marks([1])])).data


def test_a_report_is_drawn_only_when_it_is_asked_for():
    plot = Plot("x", 1, [])
    assert Drawn().drawing(lambda: plot) is None
    assert isinstance(Drawn(plot=True).drawing(lambda: plot), Svg)
    assert isinstance(Drawn(plot=True, plot_format="png").drawing(lambda: plot), Png)


def test_users_text_is_text_and_never_markup_or_a_formula():
    nasty = "<script>alert('$x^2$')</script> & \x00\x1b_{a}$"
    text = svg(Spans([Span(0, 10, nasty)], name=nasty), title=nasty, facts={nasty: nasty})
    root = ET.fromstring(text)
    shown = [element.text for element in root.iter() if element.text and "alert" in element.text]

    assert "<script" not in text
    assert len(shown) >= 5
    assert all(text == "<script>alert('$x^2$')</script> & _{a}$" for text in shown)


def test_a_script_that_the_font_lacks_is_no_reason_to_fail():
    assert "日本語" in svg(Spans([Span(0, 10, "日本語")]))


def test_every_colour_follows_the_scheme_of_the_page():
    text = svg(*everything(), facts={"Tempo": "120 BPM"})
    colored = re.findall(r"(?<![-\w])(?:fill|stroke): *([^;\"]+)", text)
    plain = {color for color in colored if not color.startswith(("var(", "none"))}
    light, dark = re.findall(r"\.audiolla-plot\{([^}]*)\}", text)[:2]

    assert plain <= {colors[0] for colors in ROLES.values()}
    for role in set(re.findall(r"var\(--(\w+)\)", text)):
        assert f"--{role}:{ROLES[role][0]};" in light
        assert f"--{role}:{ROLES[role][1]};" in dark


def test_the_style_stays_inside_the_picture():
    style = re.search(r"<style>(.*?)</style>", svg(*everything()))[1]
    rules = re.findall(r"([^{}]+)\{", style.replace("@media (prefers-color-scheme:dark){", ""))
    assert all(rule.startswith(".audiolla-plot") for rule in rules)


def luminance(color):
    parts = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *((text, ground) for text in ("ink", "muted") for ground in ("card", "lane")),
        *((text, "lane") for text in ("strong", "target")),
        *(("ink", role) for role in ROLES if role.startswith(("hue", "pale", "neutral"))),
    ],
)
def test_text_is_legible_in_both_schemes(text, ground, scheme):
    # WCAG 2.2, 1.4.3: a contrast of 4.5 to 1, for small text too.
    dark, bright = sorted(luminance(ROLES[role][scheme]) for role in (text, ground))
    assert (bright + 0.05) / (dark + 0.05) >= 4.5


def test_marks_stand_where_they_happen_and_strong_ones_stand_out():
    picture = pixels(Marks([2.5, 7.5], strong=[5.0]))
    weak = seconds(np.flatnonzero(like(picture, "weak").sum(axis=0) > 12))
    strong = seconds(np.flatnonzero(like(picture, "strong").sum(axis=0) > 30))

    # A line is two or three pixels wide.
    assert weak == pytest.approx([2.5, 2.5, 7.5, 7.5], abs=0.012)
    assert strong == pytest.approx([5.0] * 3, abs=0.012)


def test_spans_reach_from_their_start_to_their_end():
    picture = pixels(Spans([Span(1, 4, "verse"), Span(4, 6, "chorus"), Span(8, 9, "verse")]))
    row = np.flatnonzero(like(picture, "hue2", 4).any(axis=1))[5]
    verse = seconds(np.flatnonzero(like(picture, "hue2", 4)[row]))
    assert verse.min() == pytest.approx(1, abs=0.02)
    assert verse.max() == pytest.approx(9, abs=0.02)
    assert not ((verse > 4) & (verse < 8)).any()
    chorus = seconds(np.flatnonzero(like(picture, "hue10", 4)[row]))
    assert (chorus.min(), chorus.max()) == pytest.approx((4, 6), abs=0.02)


@pytest.mark.parametrize(
    ("label", "role"),
    [
        *(("C", "hue0"), ("G", "hue1"), ("D:7", "hue2"), ("F", "hue11"), ("Cmaj7", "hue0")),
        *(("Am", "pale0"), ("A minor", "pale0"), ("E:min7", "pale1"), ("Bdim", "pale2")),
        *(("F#m", "pale3"), ("Gbm", "pale3"), ("Bb", "hue10"), ("N", None), ("verse", None)),
    ],
)
def test_keys_have_the_colour_of_their_place_among_the_fifths(label, role):
    assert key_role(label) == role


def test_labels_without_room_are_told_in_a_legend():
    labels = ["Am", "F", "C", "G"] * 100
    spans = [Span(n / 40, (n + 1) / 40, label) for n, label in enumerate(labels)]
    assert set(re.findall(r">(Am|F|C|G)</text>", svg(Spans(spans, keys=True)))) == {*labels}


def test_a_wave_is_as_tall_as_it_is_loud():
    audio = one_after_another(tone(peak_db=-20), tone(peak_db=0))
    picture = pixels(Wave(outline(as_blocks(audio, 1000))), duration=2.0)
    drawn = like(picture, "peaks", 8) | like(picture, "body", 8)
    heights = drawn.sum(axis=0)
    soft, loud = (heights[round(LEFT + (RIGHT - LEFT) * at)] for at in (0.25, 0.75))
    assert loud == pytest.approx(104 * 1.6 / 1.06, abs=3)
    assert soft == pytest.approx(loud / 10, abs=3)


def test_each_cell_of_a_heat_map_is_in_its_row_and_column():
    values = np.zeros((12, 10))
    values[3, 7] = 1
    picture = pixels(Heat(values, colors="keys"))
    # D sharp is nine fifths above C.
    rows, columns = np.nonzero(np.ptp(picture, axis=2) > 80)
    assert seconds([columns.min(), columns.max()]) == pytest.approx([7, 8], abs=0.02)
    height = 122 * 1.6
    top = 64 * 1.6
    assert rows.min() == pytest.approx(top + height * 8 / 12, abs=2)
    assert rows.max() == pytest.approx(top + height * 9 / 12, abs=2)


def test_a_curve_meets_its_target_where_they_are_equal_and_breaks_where_nothing_is_known():
    times = np.linspace(0, 10, 500)
    values = np.where(times < 5, -30.0, -10.0)
    values[(times > 2) & (times < 3)] = np.nan
    picture = pixels(Curve(times, values, targets=[Target(-10, "")]))
    curve, target = like(picture, "curve", 12), like(picture, "target", 60)
    row = np.flatnonzero(target.sum(axis=1) > 200).mean()
    where = seconds(np.arange(picture.shape[1]))
    later = curve[:, (where > 6) & (where < 9)]
    before = curve[:, (where > 3.1) & (where < 4.9)]

    assert np.flatnonzero(before.sum(axis=1) > 20).mean() > row + 100
    assert np.flatnonzero(later.any(axis=1)).mean() == pytest.approx(row, abs=1.5)
    assert not curve[:, (where > 2.1) & (where < 2.9)].any()


def test_a_melody_is_read_in_note_names():
    text = svg(Curve([0, 1, 2], [261.63, 440, 523.25], notes=True))
    named = re.findall(r">([A-G]♯?\d)</text>", text)
    assert {"C4", "C5"} <= set(named)


@pytest.mark.parametrize("format", ["svg", "png"])
@pytest.mark.parametrize("duration", [0.0, 1e-6, 1 / 3, 59.9, 86400.0])
def test_nothing_to_show_is_no_reason_to_fail(duration, format):
    nan = np.full(3, np.nan)
    lanes = [
        Wave(outline(as_blocks(silence(seconds=0), 100))),
        Wave(outline(as_blocks(silence(seconds=0.001), 100)), over=[Marks(), Spans([])]),
        Marks(),
        Spans([], keys=True),
        Heat(np.zeros((12, 0)), colors="keys"),
        Heat(np.zeros((0, 5))),
        Heat(np.full((4, 4), np.nan)),
        Curve([], []),
        Curve([0, 1, 2], nan, notes=True),
        Curve([0.0], [-14.0]),
    ]
    assert draw(Plot("", duration, lanes, {"none": None}), format).data
    assert draw(Plot("", duration, []), format).data


def test_three_hours_of_everything_stay_a_small_file():
    hours = 3 * 3600.0
    rng = np.random.default_rng(1)
    beats = np.arange(0, hours, 0.4)
    chords = [Span(t, t + 0.8, "CDEFGAB"[i % 7]) for i, t in enumerate(beats[::2])]
    times = np.arange(0, hours, 0.1)
    picture = draw(
        Plot(
            "A whole day in the studio",
            hours,
            [
                Marks(beats, strong=beats[::4]),
                Spans(chords, keys=True),
                Curve(times, rng.standard_normal(times.size)),
                Heat(rng.random((12, times.size)), colors="keys"),
            ],
        )
    )
    assert len(picture.data) < 600_000


@pytest.mark.parametrize("block", [1, 333, 10**6])
def test_an_outline_has_the_extremes_and_the_power_of_its_stretches(block):
    audio = noise(seconds=40, rate=8000, channels=2)
    if block == 1:
        audio = audio.like(audio.samples[:, :20000])
    found = outline(as_blocks(audio, block))
    frames = round(found.step * audio.rate)
    edges = np.arange(0, audio.frames, frames)
    joined = audio.samples.astype(np.float64)

    assert found.low.size == edges.size <= 4096
    low = np.minimum.reduceat(joined.min(axis=0), edges)
    high = np.maximum.reduceat(joined.max(axis=0), edges)
    sizes = np.diff(np.append(edges, audio.frames))
    power = np.add.reduceat(np.square(joined).mean(axis=0), edges) / sizes
    assert np.allclose(found.low, low, atol=1e-7)
    assert np.allclose(found.high, high, atol=1e-7)
    assert np.allclose(found.rms, np.sqrt(power), rtol=1e-4)


def test_listening_gives_the_outline_along_with_all_else():
    sound = as_blocks(noise(seconds=3, rate=8000, channels=2), 777)
    heard, alone = Heard(sound)[OUTLINE], outline(sound)
    assert heard.step == alone.step
    assert np.array_equal([heard.low, heard.high, heard.rms], [alone.low, alone.high, alone.rms])
