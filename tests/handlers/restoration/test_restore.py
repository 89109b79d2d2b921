import numpy as np
import pytest

from handlers.engines.shelf import Lent
from handlers.errors import BadParameter, MistypedParameter, UnknownEngine
from handlers.registry import find
from handlers.restoration.noise_reduce import NoiseReduce, noise_reduce
from handlers.restoration.restore import Restore, restore
from tests.handlers.engines import tiny
from tests.sounds import as_blocks, noise, silence

OUTPUTS = {
    "uvr-dereverb": "No Reverb",
    "uvr-deecho": "No Echo",
    "uvr-deecho-aggressive": "No Echo",
    "uvr-denoise": "No Noise",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny.Shelves(tmp_path_factory.mktemp("models"))


def restored(models, audio, **params):
    p = Restore(**params)
    out = restore(as_blocks(audio, 4096), Lent(p.model, models.borrow), p, lambda _: None)
    return out.sound.whole(), out.descriptor()


@pytest.mark.parametrize(
    ("engine", "aggressive", "model"),
    [
        ("uvr-dereverb", False, "uvr-dereverb"),
        ("uvr-deecho", False, "uvr-deecho"),
        ("uvr-deecho", True, "uvr-deecho-aggressive"),
        ("uvr-denoise", False, "uvr-denoise"),
    ],
)
def test_it_is_what_the_model_leaves(models, engine, aggressive, model):
    audio = noise(seconds=0.4, rate=44100, channels=2)
    with models.borrow(model) as network:
        assert network.outputs == (OUTPUTS[model],)
        pieces = list(network.separate(audio.blocks(), network.outputs, lambda _: None))

    out, facts = restored(models, audio, engine=engine, aggressive=aggressive)

    np.testing.assert_allclose(out.samples, np.concatenate(pieces, axis=1), atol=1e-7)
    assert facts == {"engine": engine, "aggressive": aggressive}


@pytest.mark.parametrize("engine", ["uvr-dereverb", "uvr-denoise"])
def test_rate_channels_and_length_stay(models, engine):
    for rate, channels in ((16000, 1), (96000, 3)):
        audio = noise(seconds=0.2, rate=rate, channels=channels)
        out, _ = restored(models, audio, engine=engine)
        assert (out.rate, out.samples.shape) == (rate, audio.samples.shape)
        assert out.samples.any()
        quiet, _ = restored(models, silence(seconds=0.2, rate=rate), engine=engine)
        assert not quiet.samples.any()


def test_the_aggressive_model_is_needed_only_where_it_is_asked_for():
    op = find("restore")
    assert op.needs(Restore(engine="uvr-deecho")) == ("uvr-deecho",)
    assert op.needs(Restore(engine="uvr-deecho", aggressive=True)) == ("uvr-deecho-aggressive",)
    assert op.lane_for(Restore(engine="uvr-deecho", aggressive=True)) == "gpu"


@pytest.mark.parametrize(
    ("params", "error", "field"),
    [
        pytest.param(
            {"engine": "uvr-denoise", "aggressive": True}, BadParameter, "aggressive", id="noise"
        ),
        pytest.param(
            {"engine": "uvr-dereverb", "aggressive": "yes"}, BadParameter, "aggressive", id="room"
        ),
        pytest.param({"engine": "uvr-karaoke"}, BadParameter, "engine", id="a separator"),
        pytest.param(
            {"engine": "uvr-deecho-aggressive"}, BadParameter, "engine", id="the harder model"
        ),
        pytest.param({"engine": "magic", "aggressive": True}, UnknownEngine, "engine", id="magic"),
        pytest.param({}, MistypedParameter, "engine", id="nothing"),
    ],
)
def test_what_cannot_be_asked_for_is_named(params, error, field):
    with pytest.raises(error) as refusal:
        find("restore").read_params(params)
    assert refusal.value.field == field


def test_noise_reduce_with_the_model_is_the_same(models):
    audio = noise(seconds=0.3, rate=22050)
    lent = Lent("uvr-denoise", models.borrow)
    p = NoiseReduce(engine="uvr-denoise")

    out = noise_reduce(as_blocks(audio, 4096), p, lent, lambda _: None)

    assert out.descriptor()["engine"] == "uvr-denoise"
    expected, _ = restored(models, audio, engine="uvr-denoise")
    np.testing.assert_array_equal(out.sound.whole().samples, expected.samples)


def test_only_the_model_of_noise_reduce_is_for_the_gpu():
    op = find("noise_reduce")
    assert op.lane_for({"engine": "noise-reduce"}) == op.lane_for({}) == "cpu"
    assert op.lane_for({"engine": "uvr-denoise"}) == "gpu"
    assert op.needs(NoiseReduce(engine="uvr-denoise")) == ("uvr-denoise",)
