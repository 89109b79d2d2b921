import numpy as np
import pytest

from handlers.engines.shelf import Lent
from handlers.errors import BadParameter, MistypedParameter, UnknownEngine
from handlers.registry import find
from handlers.separation.separate import Separate, separate
from tests.handlers.engines import tiny
from tests.sounds import as_blocks, noise

FOUR = ["drums", "bass", "other", "vocals"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny.Shelves(tmp_path_factory.mktemp("models"))


def separated(models, audio, engine, stems=()):
    p = Separate(engine=engine, stems=list(stems))
    return separate(as_blocks(audio, 4096), Lent(engine, models.borrow), p, lambda _: None)


@pytest.mark.parametrize(
    ("engine", "stems"),
    [
        ("htdemucs", FOUR),
        ("htdemucs_ft", FOUR),
        ("htdemucs_6s", [*FOUR, "guitar", "piano"]),
        ("mdx_extra", FOUR),
        ("uvr-vocal-bsr", ["Vocals", "Instrumental"]),
        ("uvr-karaoke", ["Vocals", "Instrumental"]),
    ],
)
def test_every_engine_gives_all_its_stems_in_the_form_of_the_mix(models, engine, stems):
    audio = noise(seconds=0.6, rate=48000, channels=2)

    out = separated(models, audio, engine)

    assert out.descriptor() == {"engine": engine, "stems": stems}
    assert list(out.sounds) == stems
    whole = {name: one.whole() for name, one in out.sounds.items()}
    for stem in whole.values():
        assert (stem.rate, stem.samples.shape) == (48000, audio.samples.shape)
        assert stem.samples.any()
    if engine.startswith("uvr"):
        total = sum(stem.samples for stem in whole.values())
        np.testing.assert_allclose(total, audio.samples, atol=1e-7)


def test_one_stem_is_the_same_alone(models):
    audio = noise(seconds=0.6, rate=44100, channels=2)
    every = separated(models, audio, "htdemucs_ft").sounds

    one = separated(models, audio, "htdemucs_ft", ["other"])

    assert one.descriptor() == {"engine": "htdemucs_ft", "stem": "other"}
    np.testing.assert_allclose(
        one.sounds["other"].whole().samples, every["other"].whole().samples, atol=1e-7
    )


def test_vocals_are_what_the_model_gives_and_instrumental_is_the_rest(models):
    audio = noise(seconds=0.6, rate=44100, channels=2)
    with models.borrow("uvr-karaoke") as model:
        given = np.concatenate(list(model.separate(audio.blocks(), ["Vocals"], lambda _: None)), 1)

    for stem, expected in {"Vocals": given, "Instrumental": audio.samples - given}.items():
        out = separated(models, audio, "uvr-karaoke", [stem]).sounds[stem]
        np.testing.assert_allclose(out.whole().samples, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("stems", "kind", "wanted"),
    [
        pytest.param([], "zip", ["Vocals", "Instrumental"], id="none named means all"),
        pytest.param(["Instrumental"], "audio", ["Instrumental"], id="one"),
        pytest.param(["vocals", "Vocals"], "audio", ["Vocals"], id="one in two spellings"),
        pytest.param(
            ["instrumental", "vocals"], "zip", ["Vocals", "Instrumental"], id="two in any case"
        ),
    ],
)
def test_one_stem_is_a_sound_and_several_are_more(stems, kind, wanted):
    op = find("separate")
    raw = {"engine": "uvr-karaoke", "stems": stems}

    params = op.read_params(raw)

    assert list(params.wanted) == wanted
    assert op.kind_for(params) == op.kind_for(raw) == kind


@pytest.mark.parametrize(
    ("params", "error", "field", "message"),
    [
        pytest.param(
            {"engine": "htdemucs", "stems": ["guitar"]},
            BadParameter,
            "stems",
            "htdemucs has no stem 'guitar'; it has: drums, bass, other, vocals",
            id="a stem of another engine",
        ),
        pytest.param({}, MistypedParameter, "engine", "engine is required", id="no engine"),
        pytest.param(
            {"engine": "uvr-denoise"}, BadParameter, "engine", "not for separate", id="a restorer"
        ),
        pytest.param({"engine": "magic"}, UnknownEngine, "engine", "no engine", id="unknown"),
        pytest.param(
            {"engine": "magic", "stems": ["x"]}, UnknownEngine, "engine", "no engine", id="both"
        ),
    ],
)
def test_what_cannot_be_asked_for_is_named(params, error, field, message):
    with pytest.raises(error, match=message) as refusal:
        find("separate").read_params(params)
    assert refusal.value.field == field


def test_it_needs_the_engine_that_it_is_given():
    op = find("separate")
    params = op.read_params({"engine": "mdx_extra", "stems": ["bass"]})
    assert op.needs(params) == ("mdx_extra",)
    assert op.lane_for(params) == "gpu"
