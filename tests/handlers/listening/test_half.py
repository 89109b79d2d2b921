import numpy as np
import pytest

from handlers.hearing import MONO_RATE, Form
from handlers.listening.half import HALF_RATE, _Halver


def halved(samples, sizes):
    converter = _Halver(Form(MONO_RATE, 1))
    made = []
    at = 0
    for size in sizes:
        made += converter.add(samples[at : at + size].astype(np.float32))
        at += size
    made += converter.add(samples[at:].astype(np.float32))
    made += converter.end()
    return np.concatenate(made) if made else np.zeros(0)


def sine(freq, rate, frames=8000):
    return np.sin(2 * np.pi * freq * np.arange(frames) / rate)


@pytest.mark.parametrize("freq", [30, 440, 3000, 4000])
def test_what_matters_passes_without_delay(freq):
    found = halved(sine(freq, MONO_RATE), [])
    assert found.size == 4000
    apart = found - sine(freq, HALF_RATE, 4000)
    assert np.abs(apart[50:-50]).max() < 0.01


@pytest.mark.parametrize("freq", [7200, 9000, 11000])
def test_what_would_come_back_below_4_khz_is_taken_away(freq):
    assert np.abs(halved(sine(freq, MONO_RATE), [])[50:-50]).max() < 0.003


@pytest.mark.parametrize("sizes", [[1, 2, 3, 500], [19, 20, 21, 1], [7999]])
def test_pieces_are_not_heard(sizes):
    samples = np.random.default_rng(1).standard_normal(8000)
    assert np.array_equal(halved(samples, sizes), halved(samples, []))


@pytest.mark.parametrize(("frames", "kept"), [(0, 0), (1, 1), (2, 1), (3, 2), (101, 51)])
def test_every_second_sample_is_kept(frames, kept):
    assert halved(np.ones(frames), []).size == kept
