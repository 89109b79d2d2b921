"""Roformers, with small random checkpoints in the published format, against their own library."""

import logging
import os

import numpy as np
import pytest
import yaml

from handlers.engines.registry import find_engine
from handlers.engines.roformer import load_roformer
from handlers.engines.running import unwarned
from handlers.errors import Cancelled, WeightsCorrupt, WeightsMissing
from tests.handlers.engines import tiny
from tests.handlers.engines.tiny_roformer import BS, MEL_BAND, settings_of, write_roformer
from tests.sounds import as_blocks, noise, one_after_another, silence, sound

KINDS = {"bs": BS, "mel": MEL_BAND}


def quiet(_):
    """Nobody listens to the progress."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roformer")
    for name, model in KINDS.items():
        settings = settings_of(model, "Vocals", "Instrumental")
        write_roformer(folder / f"{name}.ckpt", folder / f"{name}.yaml", settings)
    return folder


def files(folder, name):
    return {end: folder / f"{name}.{end}" for end in ("ckpt", "yaml")}


@pytest.fixture(scope="module")
def models(folder):
    return {name: load_roformer(files(folder, name), "cpu", gives="Vocals") for name in KINDS}


def separated(model, audio, progress=quiet, block=4096):
    return np.concatenate(
        list(model.separate(as_blocks(audio, block), ("Vocals",), progress)), axis=1
    )


def by_the_library(folder, name, samples, overlap):
    """What audio-separator itself makes of a whole stereo file."""
    import torch

    with unwarned():
        from audio_separator.separator.architectures.mdxc_separator import MDXCSeparator

        settings = settings_of(KINDS[name], "Vocals", "Instrumental") | {"is_roformer": True}
        separator = MDXCSeparator(
            {
                "logger": logging.getLogger("library"),
                "log_level": logging.ERROR,
                "torch_device": torch.device("cpu"),
                "torch_device_cpu": torch.device("cpu"),
                "torch_device_mps": None,
                "onnx_execution_provider": None,
                "model_name": name,
                "model_path": str(folder / f"{name}.ckpt"),
                "model_data": settings,
                "output_format": "WAV",
                "output_dir": None,
                "normalization_threshold": 0.9,
                "amplification_threshold": 0,
                "output_single_stem": None,
                "invert_using_spec": False,
                "sample_rate": 44100,
                "use_soundfile": False,
            },
            {"overlap": overlap, "segment_size": 101},
        )
    return separator.demix(samples.copy())["Vocals"]


# -- the same as the library ---------------------------------------------------------------------
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("windows", [1, 1.0001, 1.5, 2, 3.3])
def test_it_is_the_librarys_own_result(models, folder, name, windows):
    model = models[name]
    frames = round(model._size * windows)
    audio = noise(5, seconds=frames / 44100, rate=44100, channels=2)

    theirs = by_the_library(folder, name, audio.samples, overlap=2)

    np.testing.assert_allclose(separated(model, audio), theirs, atol=1e-7)


@pytest.mark.parametrize("frames", [1, 100, 5000])
def test_a_sound_shorter_than_a_window_is_filled_up_with_silence(models, folder, frames):
    audio = noise(5, seconds=frames / 44100, rate=44100, channels=2)
    filled = np.pad(audio.samples, ((0, 0), (0, models["bs"]._size - frames)))

    theirs = by_the_library(folder, "bs", filled, overlap=2)

    np.testing.assert_allclose(separated(models["bs"], audio), theirs[:, :frames], atol=1e-7)


def test_the_overlap_beside_the_model_counts_up_to_two_on_a_processor(folder, tmp_path):
    settings = settings_of(BS, "Vocals", "Instrumental", num_overlap=1)
    write_roformer(tmp_path / "bs.ckpt", tmp_path / "bs.yaml", settings)

    model = load_roformer(files(tmp_path, "bs"), "cpu", gives="Vocals")

    assert model._step == model._size == 12800
    assert load_roformer(files(folder, "bs"), "cpu", gives="Vocals")._step == 6400


def test_the_blocks_that_a_sound_comes_in_are_not_heard(models):
    audio = noise(3, seconds=1, rate=44100, channels=2)
    whole = separated(models["bs"], audio, block=audio.frames)
    np.testing.assert_array_equal(separated(models["bs"], audio, block=777), whole)


def test_many_windows_and_pairs_at_once_give_the_same(models, monkeypatch):
    audio = noise(3, seconds=1.5, rate=44100, channels=4)
    alone = separated(models["mel"], audio)
    one_pair = separated(models["mel"], sound(audio.samples[2:], 44100))
    np.testing.assert_array_equal(alone[2:], one_pair)

    monkeypatch.setattr(models["mel"], "_batches", tiny.as_on_a_gpu(3))
    np.testing.assert_allclose(separated(models["mel"], audio), alone, atol=1e-6)


# -- no more work than is needed -----------------------------------------------------------------
def test_silence_costs_nothing_and_stays_silence(models, monkeypatch):
    model = models["bs"]
    calls = []
    forward = model._forward
    monkeypatch.setattr(model, "_forward", lambda items: calls.append(1) or forward(items))

    assert not separated(model, silence(seconds=2, rate=44100, channels=2)).any()
    assert calls == []

    burst = noise(2, seconds=0.3, rate=44100, channels=2)
    gap = silence(seconds=2, rate=44100, channels=2)
    out = separated(model, one_after_another(burst, gap, burst))
    assert len(calls) <= 6 + 3
    assert not out[:, 44100:88200].any()
    assert out[:, :13000].any()


# -- progress, cancelling ------------------------------------------------------------------------
def test_every_layer_of_every_window_is_told_of(models):
    told = []
    separated(models["bs"], noise(5, seconds=1, rate=44100, channels=2), progress=told.append)

    starts = models["bs"]._starts(44100)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) == len(starts) * (len(models["bs"]._layers) + 1)


def test_cancelled_within_a_window_the_model_stays_as_it_was(models):
    audio = noise(5, seconds=1, rate=44100, channels=2)
    before = separated(models["bs"], audio)
    half_a_window = 0.5 / len(models["bs"]._starts(44100))

    def cancel(share):
        if share >= half_a_window:
            raise Cancelled("somebody changed their mind")

    with pytest.raises(Cancelled):
        separated(models["bs"], audio, progress=cancel)
    np.testing.assert_array_equal(separated(models["bs"], audio), before)


# -- files that are not what they should be ------------------------------------------------------
class Bomb:
    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_neither_checkpoint_nor_settings_run_code(folder, tmp_path):
    import torch

    bomb = Bomb()
    bomb.path = os.fspath(tmp_path / "it went off")
    torch.save({"weight": bomb}, tmp_path / "bs.ckpt")
    (tmp_path / "bs.yaml").write_bytes((folder / "bs.yaml").read_bytes())
    with pytest.raises(WeightsCorrupt, match="no checkpoint"):
        load_roformer(files(tmp_path, "bs"), "cpu", gives="Vocals")

    (tmp_path / "bs.yaml").write_text(f"!!python/object/apply:os.mkdir ['{bomb.path}']")
    with pytest.raises(WeightsCorrupt, match="holds no settings"):
        load_roformer(files(tmp_path, "bs"), "cpu", gives="Vocals")
    assert not (tmp_path / "it went off").exists()


def test_a_checkpoint_that_does_not_fit_its_settings_is_refused(folder, tmp_path):
    for name, data in {
        "cut": (folder / "bs.ckpt").read_bytes()[:9000],
        "text": b"not found",
        "other": (folder / "mel.ckpt").read_bytes(),
    }.items():
        (tmp_path / f"{name}.ckpt").write_bytes(data)
        (tmp_path / f"{name}.yaml").write_bytes((folder / "bs.yaml").read_bytes())
        with pytest.raises(WeightsCorrupt, match=f"{name}.ckpt is no checkpoint"):
            load_roformer(files(tmp_path, name), "cpu", gives="Vocals")


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("training", {"target_instrument": None}, "a model of None, not of Vocals"),
        ("training", {"target_instrument": "Instrumental"}, "a model of 'Instrumental'"),
        ("audio", {"sample_rate": 48000}, "at 48000 Hz"),
    ],
)
def test_settings_for_something_else_are_refused(folder, tmp_path, part, change, message):
    settings = settings_of(BS, "Vocals", "Instrumental")
    settings[part] |= change
    (tmp_path / "bs.ckpt").write_bytes((folder / "bs.ckpt").read_bytes())
    (tmp_path / "bs.yaml").write_text(yaml.dump(settings))
    with pytest.raises(WeightsCorrupt, match=message):
        load_roformer(files(tmp_path, "bs"), "cpu", gives="Vocals", not_=["instrumental"])


# -- the engines ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("slug", "gives"),
    [
        ("uvr-vocal-bsr", "Vocals"),
        ("uvr-karaoke", "Vocals"),
        ("uvr-denoise", "No Noise"),
        ("uvr-dereverb", "No Reverb"),
    ],
)
def test_each_engine_gives_its_stem_through_the_shelf(slug, gives, tmp_path):
    shelf = tiny.shelf(tmp_path, slug)
    tiny.MAKERS[slug](tmp_path)
    # The library would take random weights for a checkpoint that is not there.
    checkpoint = next((tmp_path / "uvr").glob("*.ckpt"))
    kept = checkpoint.rename(tmp_path / "kept")
    with pytest.raises(WeightsMissing, match="ckpt"), shelf.borrow(slug):
        pass
    kept.rename(checkpoint)

    with shelf.borrow(slug) as model:
        assert model.outputs == (gives,)
        assert separated(model, noise(seconds=0.2, rate=44100, channels=2)).shape == (2, 8820)
    named = find_engine(slug).stems
    assert named in ((), ("Vocals", "Instrumental"))
