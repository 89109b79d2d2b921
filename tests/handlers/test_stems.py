"""Any sound taken apart by a model that only knows stereo at 44.1 kHz."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from handlers.artifacts import Blocks, Samples
from handlers.engines.shelf import Lent
from handlers.errors import CannotProcess
from handlers.stems import restored, stems_of
from tests.sounds import as_blocks, noise, sound, tone


class Halves:
    """Gives the left of each pair as one stem and half of the right as another."""

    outputs = ("left", "right")

    def __init__(self):
        self.passes = 0
        self.heard = None

    def separate(
        self, sound: Blocks, stems: Sequence[str], progress: Callable[[float], None]
    ) -> Iterator[Samples]:
        self.passes += 1
        self.heard = (sound.rate, sound.channels, sound.frames)
        given = 0
        for block in sound:
            made = {"left": block.copy(), "right": block / 2}
            made["left"][1::2] = 0
            made["right"][0::2] = 0
            given += block.shape[1]
            yield np.concatenate([made[stem] for stem in stems])
        assert given == sound.frames
        progress(1.0)


@pytest.fixture
def model():
    return Halves()


def lent(model):
    @contextmanager
    def borrow(slug):
        assert slug == "halves"
        yield model

    return Lent("halves", borrow)


def apart(model, audio, stems, block=4096):
    found = stems_of(as_blocks(audio, block), lent(model), stems, lambda _: None)
    return {name: one.whole() for name, one in found.items()}


def test_stereo_at_the_models_rate_goes_through_as_it_is(model):
    audio = noise(seconds=0.5, rate=44100, channels=2)

    out = apart(model, audio, ["right", "left"])

    assert list(out) == ["right", "left"]
    np.testing.assert_array_equal(out["left"].samples[0], audio.samples[0])
    np.testing.assert_array_equal(out["right"].samples[1], audio.samples[1] / 2)
    assert not out["left"].samples[1].any()


def test_mono_is_both_channels_and_comes_back_as_their_mean(model):
    audio = noise(seconds=0.5, rate=44100)

    out = apart(model, audio, ["left", "right"])

    assert model.heard == (44100, 2, audio.frames)
    np.testing.assert_allclose(out["left"].samples, audio.samples / 2, atol=1e-7)
    np.testing.assert_allclose(out["right"].samples, audio.samples / 4, atol=1e-7)


@pytest.mark.parametrize("channels", [3, 4, 5, 8])
def test_neighbours_are_pairs_and_an_odd_one_is_mono(model, channels):
    audio = noise(seconds=0.2, rate=44100, channels=channels)

    left = apart(model, audio, ["left"])["left"].samples

    assert left.shape == audio.samples.shape
    for channel in range(channels):
        alone = channel == channels - 1 and channels % 2
        share = 0.5 if alone else 1 - channel % 2
        np.testing.assert_allclose(left[channel], share * audio.samples[channel], atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 22050, 44101, 48000, 192000])
@pytest.mark.parametrize("frames", [0, 1, 2, 1000, 30_001])
def test_any_rate_and_length_come_back(model, rate, frames):
    audio = sound(np.sin(np.arange(frames) / 20), rate, 2)
    left = apart(model, audio, ["left"])["left"]
    assert (left.rate, left.samples.shape) == (rate, (2, frames))


def test_resampled_to_the_model_and_back_a_tone_is_where_it_was(model):
    audio = tone(1000, seconds=1, rate=48000, channels=2)
    left = apart(model, audio, ["left"])["left"]
    middle = slice(2000, -2000)
    np.testing.assert_allclose(left.samples[0, middle], audio.samples[0, middle], atol=1e-4)


@pytest.mark.parametrize("rate", [44100, 96000])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_what_is_left_and_what_was_taken_are_the_sound(model, rate, channels):
    audio = noise(seconds=0.4, rate=rate, channels=channels)
    model.outputs = ("left",)

    out = apart(model, audio, ["left", "rest"])

    together = out["left"].samples + out["rest"].samples
    np.testing.assert_allclose(together, audio.samples, atol=1e-7)
    only = apart(model, audio, ["rest"])["rest"].samples
    np.testing.assert_array_equal(only, out["rest"].samples)


def test_all_stems_together_cost_one_pass(model):
    found = stems_of(
        noise(seconds=1, channels=2, rate=44100).blocks(),
        lent(model),
        ["left", "right"],
        lambda _: None,
    )
    for _ in zip(*found.values(), strict=True):
        pass
    assert model.passes == 1


def test_what_a_restorer_gives_is_the_sound(model):
    audio = noise(seconds=0.3, rate=44100, channels=2)
    model.outputs = ("left",)
    out = restored(as_blocks(audio, 500), lent(model), lambda _: None)
    assert out.frames == audio.frames
    np.testing.assert_array_equal(out.whole().samples[0], audio.samples[0])


def test_the_model_is_lent_only_while_it_works(model):
    held = []

    @contextmanager
    def borrow(_):
        held.append(True)
        yield model
        held.pop()

    found = stems_of(
        noise(seconds=0.3, channels=2).blocks(), Lent("halves", borrow), ["left"], lambda _: None
    )
    assert held == []
    running = iter(found["left"])
    next(running)
    assert held == [True]
    list(running)
    assert held == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(model, value):
    broken = noise(seconds=0.3, channels=2)
    broken.samples[1, 77] = value
    with pytest.raises(CannotProcess, match="no numbers"):
        apart(model, broken, ["left"])
