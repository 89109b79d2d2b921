import noisereduce
import numpy as np
import pytest
from scipy import signal

from handlers.engines.shelf import Lent
from handlers.errors import BadParameter, MistypedParameter, UnknownEngine
from handlers.registry import find
from handlers.restoration.noise_reduce import NoiseReduce, noise_reduce
from tests.sounds import as_blocks, change_db, level_db, noise, silence, sound, speech

RATE = 44100


def reduced(audio, block=4096, **params):
    p = NoiseReduce(**params)
    # The gate asks for no model.
    return noise_reduce(as_blocks(audio, block), p, Lent(p.engine, None), None).sound.whole()


def noisy_speech(seconds=6, channels=1):
    voice = speech(seconds=seconds, rate=RATE, channels=1)
    hiss = noise(seconds=seconds, rate=RATE, channels=channels, peak_db=-30)
    return sound(voice.samples + hiss.samples, RATE)


@pytest.mark.parametrize("stationary", [False, True])
@pytest.mark.parametrize("prop_decrease", [1.0, 0.6])
def test_the_sound_is_that_of_the_noisereduce_package(stationary, prop_decrease):
    audio = noisy_speech()
    theirs = noisereduce.reduce_noise(
        audio.samples,
        RATE,
        stationary=stationary,
        prop_decrease=prop_decrease,
        chunk_size=None,
        padding=0,
        clip_noise_stationary=False,
    )

    ours = reduced(audio, stationary=stationary, prop_decrease=prop_decrease).samples

    # Its mask fades at 0 Hz, Nyquist and the sound's ends, which ours does not.
    band = signal.butter(8, [1000, 18000], "bandpass", fs=RATE, output="sos")
    theirs, ours = (signal.sosfilt(band, x)[0, 10_000:-10_000] for x in (theirs, ours))
    assert 10 * np.log10(np.mean((ours - theirs) ** 2) / np.mean(theirs**2)) < -80


@pytest.mark.parametrize("stationary", [False, True])
def test_hiss_between_words_goes_and_the_words_stay(stationary):
    samples = noise(seconds=6, rate=RATE).samples.copy()
    word = slice(3 * RATE, 3 * RATE + RATE // 2)
    samples[:, : word.start] *= 0.03
    samples[:, word.stop :] *= 0.03
    audio = sound(samples, RATE)

    out = reduced(audio, stationary=stationary)

    assert change_db(audio, out, (1, 2.5)) < -10
    assert change_db(audio, out, (3.1, 3.4)) > -1.5


def test_half_of_the_reduction_is_half_of_the_amplitude():
    audio = noise(seconds=5, rate=RATE)

    full, half = reduced(audio).samples, reduced(audio, prop_decrease=0.5).samples

    np.testing.assert_allclose(half, (audio.samples + full) / 2, atol=1e-6)


@pytest.mark.parametrize("stationary", [False, True])
def test_nothing_removed_is_nothing_changed_at_any_frequency_or_end(stationary):
    audio = noisy_speech(2)

    out = reduced(audio, stationary=stationary, prop_decrease=0)

    np.testing.assert_allclose(out.samples, audio.samples, atol=1e-6)


@pytest.mark.parametrize("stationary", [False, True])
def test_the_block_size_is_never_heard_beyond_a_window(stationary):
    # Longer than what is looked ahead and worked on at a time.
    audio = noise(seconds=40, rate=8000)

    whole = reduced(audio, audio.frames, stationary=stationary)

    assert np.array_equal(reduced(audio, 3333, stationary=stationary).samples, whole.samples)


def test_windows_of_a_long_sound_are_not_heard():
    audio = noise(seconds=40, rate=8000)
    from handlers.restoration import noise_reduce as module

    windows = reduced(audio).samples
    original = module._CHUNK_S, module._LOOK_AHEAD_S
    try:
        module._CHUNK_S = module._LOOK_AHEAD_S = 100.0
        at_once = reduced(audio).samples
    finally:
        module._CHUNK_S, module._LOOK_AHEAD_S = original

    apart = sound(windows - at_once, 8000)
    assert level_db(apart) < level_db(audio) - 45


def test_channels_do_not_leak_into_each_other():
    audio = noisy_speech(3, channels=2)

    both = reduced(audio).samples

    for channel in range(2):
        alone = reduced(sound(audio.samples[channel : channel + 1], RATE)).samples
        np.testing.assert_array_equal(both[channel : channel + 1], alone)


def test_digital_silence_stays_silence_and_spoils_nothing():
    quiet = sound(np.concatenate([np.zeros(RATE), noise(seconds=1, rate=RATE).samples[0]]), RATE)

    for params in ({}, {"stationary": True}):
        assert not reduced(silence(), **params).samples.any()
        assert np.isfinite(reduced(quiet, **params).samples).all()


@pytest.mark.parametrize("rate", [8000, 192000])
@pytest.mark.parametrize("frames", [0, 1, 600, 9000])
def test_any_rate_and_length(rate, frames):
    audio = sound(np.random.default_rng(1).standard_normal(frames) * 0.1, rate, 2)

    for stationary in (False, True):
        out = reduced(audio, stationary=stationary)
        assert out.samples.shape == (2, frames)
        assert np.isfinite(out.samples).all()


@pytest.mark.parametrize(
    ("params", "error"),
    [
        pytest.param({"prop_decrease": 1.1}, BadParameter, id="more than all"),
        pytest.param({"engine": "magic"}, UnknownEngine, id="unknown engine"),
        pytest.param({"amount": 1}, MistypedParameter, id="unknown parameter"),
    ],
)
def test_what_cannot_be_is_refused(params, error):
    with pytest.raises(error):
        find("noise_reduce").read_params(params)
