import numpy as np
import pytest
from scipy.signal import fftconvolve

from handlers.declare import registered
from handlers.effects_creative.conv_reverb import ConvReverb, conv_reverb
from handlers.errors import BadParameter, CannotProcess
from tests.sounds import as_blocks, change_db, clicks, difference_db, noise, silence, sound, tone


def reverberant(audio, room, size=32768, **params):
    return conv_reverb(as_blocks(audio, size), room.blocks(), ConvReverb(**params)).whole()


def decaying(seconds=0.5, channels=1, rate=48000, seed=7):
    hall = noise(seed, seconds=seconds, channels=channels, rate=rate)
    t = np.arange(hall.frames) / rate
    return hall.like((hall.samples * np.exp(-t / 0.1)).astype(np.float32))


def convolution(audio, room):
    return np.stack(
        [
            fftconvolve(
                audio.samples[k % audio.channels].astype(float), room.samples[k % room.channels]
            )
            for k in range(max(audio.channels, room.channels))
        ]
    )


@pytest.mark.parametrize(
    ("channels", "room_channels"), [(1, 1), (2, 1), (2, 2), (1, 2), (6, 1), (6, 6)]
)
@pytest.mark.parametrize("wet", [0.3, 1.0])
def test_it_is_the_convolution_mixed_in(channels, room_channels, wet):
    audio, room = noise(seconds=1.5, channels=channels), decaying(channels=room_channels)
    out = reverberant(audio, room, wet_mix=wet, normalize_ir=False)
    expected = wet * convolution(audio, room)[:, : audio.frames] + (1 - wet) * audio.samples
    assert out.samples.shape == expected.shape
    np.testing.assert_allclose(out.samples, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("taps", [1, 2, 100, 20_000, 200_000])
@pytest.mark.parametrize("frames", [1, 1000, 50_000])
def test_any_length_of_sound_and_response(taps, frames):
    audio, room = noise(seconds=frames / 48000), decaying(taps / 48000)
    out = reverberant(audio, room, wet_mix=1, normalize_ir=False, tail=True)
    expected = convolution(audio, room)
    assert out.samples.shape == (1, frames + taps - 1)
    np.testing.assert_allclose(out.samples, expected, atol=2e-6 * max(np.abs(expected).max(), 1))


def test_dry_only_is_the_sound_and_a_click_for_a_room_is_too():
    audio = noise(channels=2)
    assert difference_db(audio, reverberant(audio, decaying(), wet_mix=0)) == -np.inf
    click = clicks([0], peak_db=-20, seconds=0.2)
    assert difference_db(audio, reverberant(audio, click, wet_mix=1)) < -110


def test_a_room_is_about_as_loud_as_the_sound_whatever_the_level_of_its_recording():
    audio = noise(seconds=3)
    for level in (1.0, 0.01):
        room = decaying()
        out = reverberant(audio, room.like(room.samples * np.float32(level)), wet_mix=1)
        assert change_db(audio, out, at=(1, 3)) == pytest.approx(0, abs=0.5)


def test_an_impulse_shows_the_response_where_it_lies():
    room = decaying()
    out = reverberant(clicks([0.25], peak_db=0), room, wet_mix=1, normalize_ir=False)
    assert not np.abs(out.samples[0, :12000]).max() > 1e-6
    np.testing.assert_allclose(out.samples[0, 12000:36000], room.samples[0, :24000], atol=1e-6)


def test_a_response_of_another_rate_is_the_same_room():
    audio = tone(300, seconds=2)
    t = np.arange(4800) / 48000
    bell = sound(np.exp(-t / 0.01) * np.cos(2 * np.pi * 300 * t) / 100)
    t = np.arange(4410) / 44100
    resampled = sound(np.exp(-t / 0.01) * np.cos(2 * np.pi * 300 * t) / 100 * 48000 / 44100, 44100)
    out, other = (
        reverberant(audio, room, wet_mix=1, normalize_ir=False) for room in (bell, resampled)
    )
    assert change_db(out, other, at=(0.5, 1.5)) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("size", [1, 333, 4096])
def test_the_block_size_is_never_heard(size):
    audio, room = noise(seconds=0.3, channels=2), decaying(0.05)
    whole = reverberant(audio, room)
    np.testing.assert_array_equal(reverberant(audio, room, size).samples, whole.samples)


@pytest.mark.parametrize(
    ("room", "says"),
    [
        pytest.param(silence(seconds=0.1), "silent", id="silent"),
        pytest.param(decaying(0.1, channels=3), "must have 1 or 2", id="three channels"),
        pytest.param(noise(seconds=61, rate=1000), "61.0 s; 60 s is the longest", id="too long"),
        pytest.param(sound(np.zeros((1, 0))), "silent", id="empty"),
    ],
)
def test_a_response_that_does_not_fit_is_refused(room, says):
    with pytest.raises(CannotProcess, match=says):
        reverberant(noise(channels=2), room)


def test_a_mix_outside_is_refused():
    with pytest.raises(BadParameter, match=r"wet_mix = 1\.1"):
        registered()["conv_reverb"].read_params({"wet_mix": 1.1})
