import subprocess
from typing import get_args

import numpy as np
import pytest

from handlers.editing.fade import Curve, Fade, fade
from handlers.errors import BadParameter
from handlers.registry import find
from tests.sounds import as_blocks, noise, read_sound, sound, write_wav

CURVES = get_args(Curve)


def faded(audio, block=1000, **params):
    return fade(as_blocks(audio, block), Fade(**params))


def by_ffmpeg(audio, tmp_path, graph):
    source, target = write_wav(audio, tmp_path / "in.wav"), tmp_path / "out.wav"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", source, "-af", graph, "-c:a", "pcm_f32le", target],
        check=True,
    )
    return read_sound(target).samples


@pytest.mark.parametrize("curve", CURVES)
def test_each_curve_is_ffmpegs(curve, tmp_path):
    audio = sound(np.ones(8000), 8000)
    # FFmpeg has no `lin`: it calls the straight line `tri`.
    name = "tri" if curve == "lin" else curve
    graph = f"afade=t=in:d=0.4:curve={name},afade=t=out:st=0.5:d=0.5:curve={name}"
    ffmpeg = by_ffmpeg(audio, tmp_path, graph)[0]

    ours = faded(audio, fade_in=0.4, fade_out=0.5, curve=curve).sound.whole().samples[0]

    assert ours[:4000] == pytest.approx(ffmpeg[:4000], abs=1e-4)
    # FFmpeg stops one step before the end of the curve; ours ends in it.
    assert ours[4001:] == pytest.approx(np.append(ffmpeg[4002:], ours[-1]), abs=2e-4)


@pytest.mark.parametrize("curve", CURVES)
def test_fading_out_is_fading_in_backwards_and_both_end_in_silence(curve):
    audio = sound(np.ones(1000), 8000)
    rising = faded(audio, fade_in=0.05, curve=curve).sound.whole().samples[0]
    falling = faded(audio, fade_out=0.05, curve=curve).sound.whole().samples[0]

    assert np.array_equal(rising, falling[::-1])
    assert rising[0] == pytest.approx(0, abs=1.01e-5)
    assert (np.diff(rising[:400]) >= 0).all()


@pytest.mark.parametrize("block", [1, 333, 4096])
def test_only_the_edges_are_touched(block):
    audio = noise(seconds=1, rate=8000, channels=2)
    result = faded(audio, block, fade_in=0.1, fade_out=0.2).sound.whole()

    assert np.array_equal(result.samples[:, 800:6400], audio.samples[:, 800:6400])
    ramp = np.arange(800) / 800
    assert result.samples[:, :800] == pytest.approx(audio.samples[:, :800] * ramp, abs=1e-6)
    ramp = np.arange(1600)[::-1] / 1600
    assert result.samples[:, 6400:] == pytest.approx(audio.samples[:, 6400:] * ramp, abs=1e-6)


@pytest.mark.parametrize(
    ("fade_in", "fade_out", "expected"),
    [
        pytest.param(5, 0, (1, 0), id="a fade in longer than the sound"),
        pytest.param(0, 9, (0, 1), id="a fade out longer than the sound"),
        pytest.param(0.75, 0.75, (0.5, 0.5), id="two that overlap meet in the middle"),
        pytest.param(1, 3, (0.25, 0.75), id="two of unequal length keep their proportion"),
        pytest.param(0.5, 0.5, (0.5, 0.5), id="two that just fit"),
    ],
)
def test_fades_that_do_not_fit_shrink_until_they_meet(fade_in, fade_out, expected):
    result = faded(sound(np.ones(8000), 8000), fade_in=fade_in, fade_out=fade_out)
    samples = result.sound.whole().samples[0]
    turn = round(expected[0] * 8000)

    assert (result.fade_in, result.fade_out) == pytest.approx(expected)
    assert (np.diff(samples[:turn]) > 0).all()
    assert (np.diff(samples[turn:]) < 0).all()
    assert samples.max() > 0.99


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param({}, id="no fade at all"),
        pytest.param({"fade_in": "-1"}, id="a negative length"),
        pytest.param({"fade_in": "1", "curve": "round"}, id="an unknown curve"),
    ],
)
def test_it_refuses(raw):
    with pytest.raises(BadParameter):
        find("fade").read_params(raw)


def test_the_longer_names_mean_the_same():
    read = find("fade").read_params({"fade_in_sec": "1.5", "fade_out_sec": "2"})
    assert (read.fade_in, read.fade_out) == (1.5, 2)
