import numpy as np
import pytest

from handlers.editing.trim import Trim, trim
from handlers.errors import BadParameter, MistypedParameter
from handlers.registry import find
from tests.sounds import as_blocks, noise


def trimmed(audio, block=1000, **params):
    return trim(as_blocks(audio, block), Trim(**params))


@pytest.mark.parametrize("block", [1, 333, 4096])
@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        pytest.param(0, 0.25, 0, 2000, id="the beginning"),
        pytest.param(0.1, 0.2, 800, 1600, id="the middle"),
        pytest.param(0.4, None, 3200, 4000, id="to the end"),
        pytest.param(0.4, 99, 3200, 4000, id="an end beyond the end"),
        pytest.param(0.1, 0.1 + 1 / 8000, 800, 801, id="one sample"),
        pytest.param(0.00007, 0.1, 1, 800, id="to the nearest sample"),
    ],
)
def test_it_keeps_exactly_the_samples_between(start, end, first, last, block):
    audio = noise(seconds=0.5, rate=8000, channels=2)
    result = trimmed(audio, block, start_sec=start, end_sec=end)

    assert result.sound.frames == last - first
    assert np.array_equal(result.sound.whole().samples, audio.samples[:, first:last])


def test_it_says_where_it_really_ended():
    audio = noise(seconds=0.5, rate=8000)
    assert trimmed(audio, end_sec=99).end_sec == 0.5
    assert trimmed(audio, start_sec=0.1).descriptor() == {"start_sec": 0.1, "end_sec": 0.5}
    assert trimmed(audio, end_sec=0.3).end_sec == 0.3


def test_what_lies_behind_the_end_is_not_read():
    audio = noise(seconds=1, rate=8000)
    sound = as_blocks(audio, 100)
    read = []

    def counted():
        for block in sound:
            read.append(block.shape[1])
            yield block

    trim(sound.like(counted), Trim(end_sec=0.05)).sound.whole()
    assert sum(read) == 400


@pytest.mark.parametrize(
    ("params", "names"),
    [
        pytest.param({"start_sec": 0.5}, "start_sec = 0.5 is past the end", id="at the end"),
        pytest.param({"start_sec": 7, "end_sec": 9}, "past the end of the sound", id="after it"),
        pytest.param({"start_sec": 0.1, "end_sec": 0.10001}, "nothing is left", id="no sample"),
    ],
)
def test_it_refuses_what_would_be_empty(params, names):
    with pytest.raises(BadParameter, match=names):
        trimmed(noise(seconds=0.5, rate=8000), **params)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        pytest.param({"start_sec": "-1", "end_sec": "2"}, BadParameter, id="before the start"),
        pytest.param({"start_sec": "2", "end_sec": "2"}, BadParameter, id="no length"),
        pytest.param({"start_sec": "soon"}, MistypedParameter, id="not a number"),
        pytest.param({"end": "2"}, MistypedParameter, id="an unknown name"),
    ],
)
def test_bad_times_are_refused_before_any_sound_is_opened(raw, error):
    with pytest.raises(error):
        find("trim").read_params(raw)
