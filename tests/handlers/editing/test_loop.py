import numpy as np
import pytest

from handlers.artifacts import Blocks
from handlers.declare import registered
from handlers.editing.loop import Loop, loop
from handlers.errors import BadParameter, CannotProcess
from tests.sounds import as_blocks, noise


@pytest.mark.parametrize("size", [1, 333, 4096])
@pytest.mark.parametrize("count", [2, 5])
def test_every_turn_has_the_same_samples(size, count):
    audio = noise(channels=2, seconds=0.05)
    out = loop(as_blocks(audio, size), Loop(count=count))
    assert out.stated_frames == count * audio.frames
    np.testing.assert_array_equal(out.whole().samples, np.tile(audio.samples, count))


def test_a_small_sound_is_decoded_once():
    audio, passes = noise(seconds=0.5), []

    def passing():
        passes.append(1)
        yield from audio.blocks()

    out = loop(audio.blocks().like(passing), Loop(count=7))
    assert sum(block.shape[1] for block in out) == 7 * audio.frames
    assert len(passes) == 1


def test_a_crossfade_blends_the_end_with_the_beginning():
    audio = noise(seconds=0.5)
    out = loop(audio.blocks(), Loop(count=3, crossfade_sec=0.1)).whole()
    assert out.frames == 3 * 24000 - 2 * 4800
    np.testing.assert_array_equal(out.samples[:, :19200], audio.samples[:, :19200])
    # Constant power: at the middle of the seam both are at -3 dB.
    middle = audio.samples[0, 19200 + 2400] + audio.samples[0, 2400]
    assert out.samples[0, 19200 + 2400] == pytest.approx(middle * np.sqrt(0.5), rel=1e-3)


def test_what_cannot_be_is_refused():
    with pytest.raises(BadParameter, match="count = 1"):
        registered()["loop"].read_params({"count": 1})
    with pytest.raises(CannotProcess, match="too short for a crossfade"):
        loop(noise(seconds=0.1).blocks(), Loop(crossfade_sec=1))


def test_a_sound_of_unknown_length_loops_too():
    audio = noise(seconds=0.1)
    unknown = Blocks(lambda: iter(audio.blocks()), rate=audio.rate, channels=1, frames=None)
    assert loop(unknown, Loop(count=4)).frames == 4 * audio.frames
