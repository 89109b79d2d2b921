import numpy as np
import pytest

from handlers.declare import registered
from handlers.eq_spatial.mid_side import MidSide, mid_side
from handlers.errors import BadParameter, CannotProcess, MistypedParameter
from tests.sounds import as_blocks, difference_db, noise


def turned(audio, mode, size=32768):
    return mid_side(as_blocks(audio, size), MidSide(mode=mode)).whole()


def test_encode_is_half_the_sum_and_half_the_difference():
    audio = noise(channels=2)
    left, right = audio.samples.astype(np.float64)
    mid, side = turned(audio, "encode").samples
    np.testing.assert_allclose(mid, (left + right) / 2, atol=1e-7)
    np.testing.assert_allclose(side, (left - right) / 2, atol=1e-7)


def test_decode_is_the_sum_and_the_difference():
    audio = noise(channels=2)
    mid, side = audio.samples.astype(np.float64)
    left, right = turned(audio, "decode").samples
    np.testing.assert_allclose(left, mid + side, atol=1e-7)
    np.testing.assert_allclose(right, mid - side, atol=1e-7)


@pytest.mark.parametrize("size", [1, 333, 4096])
def test_there_and_back_is_the_sound(size):
    audio = noise(channels=2, seconds=0.1)
    assert difference_db(turned(turned(audio, "encode", size), "decode", size), audio) < -130


def test_mono_has_no_side():
    audio = noise()
    mid, side = turned(audio, "encode").samples
    np.testing.assert_array_equal(mid, audio.samples[0])
    assert not side.any()


def test_what_has_no_meaning_is_refused():
    with pytest.raises(CannotProcess, match="this sound is mono"):
        turned(noise(), "decode")
    with pytest.raises(CannotProcess, match="8 channels"):
        turned(noise(channels=8, seconds=0.1), "encode")
    with pytest.raises(BadParameter, match='mode = "swap"'):
        registered()["mid_side"].read_params({"mode": "swap"})
    with pytest.raises(MistypedParameter, match="mode is required"):
        registered()["mid_side"].read_params({})
