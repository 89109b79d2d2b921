import numpy as np
import pytest

from handlers.codecs.resample import resampled
from handlers.errors import CannotProcess
from handlers.restoration.enhance import Enhance, enhance
from tests.handlers.engines import tiny
from tests.sounds import as_blocks, noise, silence, sound, tone


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny.deepfilter(folder)
    return tiny.lent(tiny.shelf(folder, "deepfilter"), "deepfilter")


def enhanced(audio, model, progress=lambda _: None):
    return enhance(as_blocks(audio, 5000), model, Enhance(), progress).sound.whole()


def test_at_the_models_rate_it_is_what_the_model_gives(model):
    audio = noise(seconds=1.3, channels=2)
    with model() as enhancer:
        expected = np.concatenate(list(enhancer.enhance(audio.blocks())), axis=1)
    np.testing.assert_array_equal(enhanced(audio, model).samples, expected)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 96000, 192000])
@pytest.mark.parametrize("frames", [3, 4001])
def test_rate_channels_and_length_stay(model, rate, frames):
    audio = noise(seconds=frames / rate, rate=rate, channels=2)
    found = enhanced(audio, model)
    assert (found.rate, found.samples.shape) == (rate, (2, frames))
    assert found.samples.any()


def test_at_another_rate_it_is_what_the_model_makes_of_the_sound_at_its_own(model):
    audio = tone(700, seconds=1, rate=44100)
    at_rate = resampled(audio.blocks(), 48000).whole()
    expected = resampled(enhanced(at_rate, model).blocks(), 44100).whole()
    np.testing.assert_allclose(enhanced(audio, model).samples, expected.samples, atol=1e-6)


def test_silence_stays_silence_and_nothing_nothing(model):
    assert not enhanced(silence(seconds=1.2, rate=44100, channels=8), model).samples.any()
    assert enhanced(silence(seconds=0), model).frames == 0


def test_a_sample_that_is_no_number_is_refused(model):
    samples = np.zeros(1000)
    samples[500] = np.nan
    with pytest.raises(CannotProcess, match="no numbers"):
        enhanced(sound(samples), model)


def test_the_facts_name_the_engine(model):
    result = enhance(noise(seconds=0.1).blocks(), model, Enhance(), lambda _: None)
    assert result.descriptor() == {"engine": "deepfilter"}
