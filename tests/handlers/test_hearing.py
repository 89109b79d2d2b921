import numpy as np
import pytest

from handlers.artifacts import Blocks
from handlers.hearing import MONO, MONO_RATE, SOUND, Derived, Form, Heard, Listened, Stage
from tests.sounds import as_blocks, noise, sweep, tone


class Kept:
    """Keeps all pieces of its stage."""

    def __init__(self, form):
        self.form, self.pieces, self.begun = form, [], 0

    def add(self, piece):
        self.pieces.append(piece)

    def done(self):
        return np.concatenate(self.pieces, axis=-1)


PIECES = Listened("pieces", version=1, stage=SOUND, begin=Kept)
LOW = Listened("low", version=1, stage=MONO, begin=Kept)
PEAK = Derived("peak", version=1, needs=(PIECES,), compute=lambda h: float(h[PIECES].max()))


def counted(audio):
    """The sound, and how often it was read."""
    passes = []

    def make():
        passes.append(1)
        return iter(as_blocks(audio, 1000))

    return Blocks(make, rate=audio.rate, channels=audio.channels, frames=audio.frames), passes


def test_the_sound_stage_gives_the_blocks_as_they_are():
    audio = noise(seconds=0.3, channels=2)
    assert np.array_equal(Heard(audio.blocks())[PIECES], audio.samples)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 96000])
def test_the_mono_stage_is_the_mean_at_22050_without_delay(rate):
    audio = sweep(20, 3000, seconds=1, rate=rate, channels=2)
    audio.samples[1] *= 0.5
    heard = Heard(as_blocks(audio, 777))[LOW]
    assert heard.dtype == np.float32
    assert heard.size == pytest.approx(MONO_RATE, abs=2)
    expected = 0.75 * sweep(20, 3000, seconds=1, rate=MONO_RATE).samples[0]
    n = min(heard.size, expected.size)
    # The ends of a sweep that starts and stops at once ring; between them nothing differs.
    assert np.abs(heard[200 : n - 200] - expected[200 : n - 200]).max() < 0.01


def test_all_that_is_expected_is_heard_in_one_pass():
    sound, passes = counted(noise(seconds=0.2))
    heard = Heard(sound, expected=(PEAK, LOW))
    assert heard[PEAK] == pytest.approx(float(heard[PIECES].max()))
    assert heard[LOW].size
    assert len(passes) == 1


def test_nothing_is_computed_twice_whoever_asks():
    computed = []
    mark = Derived("mark", version=1, needs=(PIECES,), compute=lambda h: computed.append(1))
    twice = Derived("twice", version=1, needs=(mark,), compute=lambda h: h[mark])
    sound, passes = counted(tone(seconds=0.1))
    heard = Heard(sound)
    for asker in (
        heard,
        heard.asked_by("one", (mark, twice)),
        heard.asked_by("two", (twice, mark)),
    ):
        assert asker[mark] is None
        assert asker[twice] is None
    assert heard[PIECES].size
    assert (len(computed), len(passes)) == (1, 1)


def test_who_asks_for_more_than_was_declared_is_told():
    heard = Heard(tone(seconds=0.1).blocks()).asked_by("beats", (PEAK,))
    assert heard[PEAK] == pytest.approx(1, abs=0.6)
    with pytest.raises(TypeError, match="beats asks for low and declares peak"):
        heard[LOW]


def test_a_derived_feature_must_declare_what_it_needs():
    sly = Derived("sly", version=1, needs=(), compute=lambda h: h[PEAK])
    with pytest.raises(TypeError, match="sly asks for peak and declares nothing"):
        Heard(tone(seconds=0.1).blocks())[sly]


def test_features_of_one_stage_share_its_work():
    begun = []

    class Halved:
        def __init__(self, form):
            begun.append(form)
            self.form = Form(form.rate / 2, 1)

        def add(self, piece):
            return (piece[0, ::2],)

        def end(self):
            return (np.zeros(3, np.float32),)

    half = Stage("half", SOUND, Halved)
    first = Listened("first", version=1, stage=half, begin=Kept)
    second = Listened("second", version=1, stage=half, begin=Kept)
    audio = tone(seconds=0.01, rate=8000)
    heard = Heard(as_blocks(audio, 10), expected=(first, second))
    expected = np.concatenate([audio.samples[0, ::2], np.zeros(3)])
    assert np.array_equal(heard[first], expected)
    assert np.array_equal(heard[second], expected)
    assert begun == [Form(8000, 1)]
