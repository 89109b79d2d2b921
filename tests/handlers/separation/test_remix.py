import numpy as np
import pytest

from handlers.engines.shelf import Lent
from handlers.errors import BadParameter, UnknownEngine
from handlers.registry import find
from handlers.separation.remix import Remix, remix
from handlers.separation.separate import Separate, separate
from tests.handlers.engines import tiny
from tests.sounds import as_blocks, noise


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny.Shelves(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def audio():
    return noise(seconds=0.6, rate=44100, channels=2)


def remixed(models, audio, engine="htdemucs_ft", **stem_mix):
    p = find("remix").read_params({"engine": engine, "stem_mix": stem_mix}, strict=True)
    return remix(as_blocks(audio, 4096), Lent(engine, models.borrow), p, lambda _: None)


def stems(models, audio, engine="htdemucs_ft"):
    lent = Lent(engine, models.borrow)
    out = separate(as_blocks(audio, 4096), lent, Separate(engine=engine), lambda _: None)
    return {name: one.whole().samples for name, one in out.sounds.items()}


def test_it_is_the_sum_of_the_stems_at_their_gains(models, audio):
    out = remixed(
        models,
        audio,
        drums={"gain_db": 6},
        bass=0.25,
        vocals={"mute": True, "gain_db": 3},
    )

    apart = stems(models, audio)
    expected = 10 ** (6 / 20) * apart["drums"] + 0.25 * apart["bass"] + apart["other"]
    np.testing.assert_allclose(out.sound.whole().samples, expected, atol=1e-6)
    assert out.descriptor() == {
        "engine": "htdemucs_ft",
        "stems": ["drums", "bass", "other", "vocals"],
    }


def test_stems_that_add_up_to_the_mix_are_the_mix_again(models, audio):
    out = remixed(models, audio, engine="uvr-vocal-bsr").sound.whole()
    np.testing.assert_allclose(out.samples, audio.samples, atol=1e-6)


def test_models_of_muted_stems_do_not_run(models, audio, monkeypatch):
    called = []
    with models.borrow("htdemucs_ft") as bag:
        forward = bag._forward
        monkeypatch.setattr(
            bag, "_forward", lambda number, *rest: called.append(number) or forward(number, *rest)
        )
        remixed(models, audio, drums=0, bass={"mute": True}).sound.whole()
    assert set(called) == {2, 3}


@pytest.mark.parametrize(
    ("level", "gain"),
    [
        ({}, 1.0),
        ({"gain_db": -6}, 10 ** (-6 / 20)),
        ({"mute": True}, 0.0),
        (1, 1.0),
        (0.5, 0.5),
        (0, 0.0),
    ],
)
def test_a_level_is_in_decibels_or_a_bare_linear_gain(level, gain):
    for strict in (True, False):
        p = find("remix").read_params({"stem_mix": {"Bass": level}}, strict=strict)
        assert p.gains["bass"] == pytest.approx(gain)
        assert p.gains["vocals"] == 1.0


def test_as_form_fields_it_is_json_text():
    p = find("remix").read_params({"stem_mix": '{"drums": {"gain_db": "2"}, "vocals": 0}'})
    assert p.gains == pytest.approx(
        {"drums": 10 ** (2 / 20), "bass": 1.0, "other": 1.0, "vocals": 0.0}
    )
    assert Remix().engine == "htdemucs"


MUTE = {"mute": True}


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        pytest.param({"stem_mix": [1]}, BadParameter, "valid dictionary", id="a list"),
        pytest.param({"stem_mix": "loud"}, BadParameter, "not valid JSON", id="text"),
        pytest.param(
            {"stem_mix": dict.fromkeys(["drums", "bass", "other", "vocals"], MUTE)},
            BadParameter,
            "every stem is muted",
            id="all muted",
        ),
        pytest.param(
            {"engine": "uvr-karaoke", "stem_mix": {"vocals": 0, "Instrumental": 0.0}},
            BadParameter,
            "every stem is muted",
            id="all at a gain of zero",
        ),
        pytest.param({"stem_mix": {"piano": 1}}, BadParameter, "no stem 'piano'", id="a stem"),
        pytest.param({"stem_mix": {"bass": 2}}, BadParameter, "linear gain from 0", id="above 1"),
        pytest.param({"stem_mix": {"bass": True}}, BadParameter, "stem_mix.bass", id="true"),
        pytest.param(
            {"stem_mix": {"bass": {"gain": 1}}}, BadParameter, "stem_mix.bass.gain", id="a name"
        ),
        pytest.param({"engine": "magic", "stem_mix": {}}, UnknownEngine, "no engine", id="engine"),
        pytest.param({"engine": "hpss"}, BadParameter, "not for remix", id="engine for others"),
    ],
)
def test_what_cannot_be_mixed_is_named(params, error, message):
    with pytest.raises(error, match=message):
        find("remix").read_params(params)
