"""The VR network, with a small random checkpoint, against its own library on whole files."""

import logging
import os

import numpy as np
import pytest

from handlers.engines.running import unwarned
from handlers.engines.vr import load_vr
from handlers.errors import Cancelled, WeightsCorrupt, WeightsMissing
from tests.handlers.engines import tiny
from tests.handlers.engines.tiny_vr import BANDS, WIDTH, write_vr
from tests.sounds import as_blocks, noise, one_after_another, silence, sound, write_wav

BLOCK = 184_320


def quiet(_):
    """Nobody listens to the progress."""


def load(path):
    return load_vr({"vr": path}, "cpu", gives="No Echo", bands=BANDS, **WIDTH)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("vr") / "vr.pth"
    write_vr(path)
    return load(path)


def cleaned(model, audio, progress=quiet, block=4096):
    return np.concatenate(
        list(model.separate(as_blocks(audio, block), ("No Echo",), progress)), axis=1
    )


def by_the_library(model, audio, folder):
    """What audio-separator itself makes of a whole stereo file, at its defaults."""
    import torch

    with unwarned():
        from audio_separator.separator.architectures.vr_separator import VRSeparator

    # Its own constructor wants a folder of models and tables of them.
    separator = VRSeparator.__new__(VRSeparator)
    known = {
        "logger": logging.getLogger("library"),
        "model_params": model._table,
        "model_run": model._network,
        "is_vr_51_model": True,
        "torch_device_mps": None,
        "high_end_process": False,
        "input_high_end": None,
        "input_high_end_h": None,
        "window_size": 512,
        "batch_size": 1,
        "enable_tta": False,
        "enable_post_process": False,
        "primary_stem_name": "No Echo",
        "wav_subtype": "FLOAT",
        "audio_file_path": os.fspath(write_wav(audio, folder / "whole.wav")),
    }
    vars(separator).update(known)
    with unwarned():
        mix = separator.loading_mix()
        split_bin = model._table.param["band"][1]["crop_stop"]
        aggressiveness = {"value": 0.05, "split_bin": split_bin, "aggr_correction": None}
        primary, _ = separator.inference_vr(mix, torch.device("cpu"), aggressiveness)
        return separator.spec_to_wav(primary)


@pytest.mark.parametrize("frames", [9000, BLOCK - 481, 2 * BLOCK + 777])
def test_it_is_the_librarys_own_result_of_the_whole_file(model, tmp_path, frames):
    audio = noise(5, seconds=frames / 44100, rate=44100, channels=2)

    ours = cleaned(model, audio)

    theirs = by_the_library(model, audio, tmp_path)
    assert ours.shape == audio.samples.shape
    assert frames - theirs.shape[1] <= 480
    np.testing.assert_allclose(ours[:, : theirs.shape[1]], theirs, atol=1e-6)
    assert not ours[:, theirs.shape[1] :].any()


def test_the_network_is_told_the_largest_magnitude_of_the_whole_file(model):
    soft = noise(5, seconds=BLOCK / 44100, rate=44100, channels=2, peak_db=-40)
    loud = noise(6, seconds=0.3, rate=44100, channels=2, peak_db=0)

    alone, before_loud = cleaned(model, soft), cleaned(model, one_after_another(soft, loud))

    apart = np.abs(alone[:, :100_000] - before_loud[:, :100_000]).max()
    assert apart > 1e-5


def test_pairs_of_channels_and_blocks_do_not_matter(model):
    audio = noise(5, seconds=0.5, rate=44100, channels=4)
    audio.samples[2:] *= 0.1

    whole = cleaned(model, audio)

    np.testing.assert_array_equal(cleaned(model, audio, block=777), whole)
    second = cleaned(model, sound(audio.samples[2:], 44100))
    np.testing.assert_allclose(whole[2:], second, atol=1e-7)


@pytest.mark.parametrize("frames", [1, 500])
def test_very_short_sounds_have_an_answer(model, frames):
    out = cleaned(model, noise(5, seconds=frames / 44100, rate=44100, channels=2))
    assert out.shape == (2, frames)
    assert np.isfinite(out).all()


def test_silence_stays_silence_and_does_not_divide_by_zero(model, monkeypatch):
    calls = []
    forward = model._forward
    monkeypatch.setattr(model, "_forward", lambda items: calls.append(1) or forward(items))
    assert not cleaned(model, silence(seconds=1, rate=44100, channels=2)).any()
    assert calls == []

    half = np.zeros((4, 44100), np.float32)
    half[:2] = noise(5, seconds=1, rate=44100, channels=2).samples
    out = cleaned(model, sound(half, 44100))
    assert len(calls) == 1
    assert not out[2:].any()
    assert out[:2].any()


def test_it_can_be_cancelled_between_blocks(model):
    audio = noise(5, seconds=2 * BLOCK / 44100, rate=44100, channels=2)
    told = []

    def cancel(share):
        told.append(share)
        if share >= 0.3:
            raise Cancelled("somebody changed their mind")

    with pytest.raises(Cancelled):
        cleaned(model, audio, cancel)
    assert told == sorted(told)


class Bomb:
    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_files_that_are_no_such_checkpoint_are_refused(tmp_path):
    import torch

    bomb = Bomb()
    bomb.path = os.fspath(tmp_path / "it went off")
    torch.save({"weight": bomb}, tmp_path / "bomb.pth")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    write_vr(tmp_path / "cut.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "cut.pth").read_bytes()[:9000])

    for name in ("bomb", "other", "cut"):
        with pytest.raises(WeightsCorrupt, match=f"{name}.pth is no checkpoint"):
            load(tmp_path / f"{name}.pth")
    assert not (tmp_path / "it went off").exists()


@pytest.mark.parametrize("slug", ["uvr-deecho", "uvr-deecho-aggressive"])
def test_both_models_are_engines_of_their_own(slug, tmp_path):
    shelf = tiny.shelf(tmp_path, slug)
    with pytest.raises(WeightsMissing, match="De-Echo"), shelf.borrow(slug):
        pass
    tiny.MAKERS[slug](tmp_path)
    with shelf.borrow(slug) as model:
        assert model.outputs == ("No Echo",)
