import numpy as np
import pytest
from scipy import ndimage, signal

from handlers.errors import BadParameter
from handlers.registry import find
from handlers.separation.hpss import Hpss, hpss
from tests.sounds import as_blocks, clicks, level_db, noise, silence, sound, tone

RATE = 22050


def layers(audio, block=4096, **params):
    out = hpss(as_blocks(audio, block), Hpss(**params))
    return out.harmonic.whole(), out.percussive.whole()


def by_the_book(samples, margin, width):
    """Fitzgerald's and Driedger's formulas in double precision with SciPy's 2-D medians."""
    window = signal.windows.hann(2048, sym=False)
    padded = np.pad(samples.astype(float), (1024, 1024))
    starts = range(0, len(samples) + 1, 512)
    spectrum = np.array([np.fft.rfft(window * padded[at : at + 2048]) for at in starts])
    size = np.abs(spectrum)
    harmonic = ndimage.median_filter(size, size=(width, 1), mode="reflect")
    percussive = ndimage.median_filter(size, size=(1, width), mode="reflect")

    def layer(one, other):
        share = one**2 / (one**2 + (margin * other) ** 2)
        total, weight = np.zeros((2, len(padded)))
        for at, piece in zip(starts, np.fft.irfft(spectrum * share), strict=True):
            total[at : at + 2048] += window * piece
            weight[at : at + 2048] += window**2
        return (total / np.maximum(weight, 1e-9))[1024:-1024]

    return layer(harmonic, percussive), layer(percussive, harmonic)


def band():
    mixed = (
        tone(440, seconds=3, rate=RATE).samples
        + noise(seconds=3, rate=RATE, peak_db=-30).samples
        + clicks([0.5, 1.0, 1.7], seconds=3, rate=RATE, peak_db=0).samples
    )
    return sound(mixed, RATE)


@pytest.mark.parametrize(("margin", "width"), [(1.0, 31), (3.0, 17), (1.0, 101)])
def test_the_layers_are_what_the_formulas_give(margin, width):
    audio = band()

    ours = layers(audio, margin=margin, kernel_size=width)

    for layer, expected in zip(ours, by_the_book(audio.samples[0], margin, width), strict=True):
        np.testing.assert_allclose(layer.samples[0], expected, atol=2e-6)


def test_tones_go_one_way_and_clicks_the_other():
    steady, struck = tone(440, seconds=3, rate=RATE), clicks([1.5], seconds=3, rate=RATE, peak_db=0)

    of_tone, of_click = layers(steady), layers(struck)

    inside = (0.5, 2.5)
    assert level_db(of_tone[0], inside) - level_db(of_tone[1], inside) > 30
    assert level_db(of_click[1], inside) - level_db(of_click[0], inside) > 20


def test_with_a_margin_of_one_the_layers_add_up_to_the_sound():
    audio = noise(seconds=2, rate=RATE, channels=2)

    harmonic, percussive = layers(audio)

    np.testing.assert_allclose(harmonic.samples + percussive.samples, audio.samples, atol=1e-6)


def test_with_a_larger_margin_what_is_neither_is_left_out():
    audio = noise(seconds=2, rate=RATE)

    harmonic, percussive = layers(audio, margin=4)

    rest = sound(audio.samples - harmonic.samples - percussive.samples, RATE)
    assert level_db(rest) > level_db(audio) - 3


@pytest.mark.parametrize("block", [333, 100_000])
def test_the_block_size_is_never_heard(block):
    audio = noise(seconds=3, rate=RATE, channels=2)

    for one, other in zip(layers(audio, block), layers(audio), strict=True):
        assert np.array_equal(one.samples, other.samples)


def test_a_second_layer_too_large_to_keep_is_computed_again(monkeypatch):
    audio = band()
    kept = layers(audio)
    monkeypatch.setattr("handlers.forked.forked.__defaults__", (1000,))

    again = layers(audio)

    for one, other in zip(kept, again, strict=True):
        assert np.array_equal(one.samples, other.samples)


@pytest.mark.parametrize("frames", [0, 1, 511, 2000])
def test_the_shortest_sounds_have_their_length(frames):
    audio = sound(np.full(frames, 0.5), RATE)

    for layer in layers(audio):
        assert layer.frames == frames
        assert np.isfinite(layer.samples).all()


def test_silence_gives_silence():
    for layer in layers(silence(rate=RATE), margin=2):
        assert not layer.samples.any()


@pytest.mark.parametrize(
    ("params", "says"),
    [
        pytest.param({"margin": 0.9}, "margin = 0.9", id="margin"),
        pytest.param({"kernel_size": 30}, "odd, such as 29 or 31", id="even"),
        pytest.param({"kernel_size": 1}, "kernel_size = 1", id="too small"),
    ],
)
def test_what_cannot_be_is_refused(params, says):
    with pytest.raises(BadParameter, match=says):
        find("hpss").read_params(params)
