"""DeepFilterNet, with a small random checkpoint in the published format, against its package."""

import io
import os
import zipfile

import numpy as np
import pytest

from handlers.engines.deepfilter import _load
from handlers.errors import Cancelled, WeightsCorrupt, WeightsMissing
from tests.handlers.engines import tiny
from tests.handlers.engines.tiny_deepfilter import (
    SMALL,
    network_of,
    random_weights,
    settings_of,
    write_archive,
)
from tests.sounds import as_blocks, noise, one_after_another, silence, sound

SETTINGS = settings_of(SMALL)


def quiet(_):
    """Nobody listens to the progress."""


@pytest.fixture(scope="module")
def weights():
    with tiny.seeded():
        return random_weights(SETTINGS)


@pytest.fixture(scope="module")
def archive(tmp_path_factory, weights):
    path = tmp_path_factory.mktemp("deepfilter") / "DeepFilterNet3.zip"
    write_archive(path, SETTINGS, weights)
    return path


@pytest.fixture(scope="module")
def model(archive):
    return _load({"zip": archive}, "cpu")


@pytest.fixture(scope="module")
def library(weights):
    import torch
    from df.enhance import enhance

    network, state = network_of(SETTINGS)
    network.load_state_dict(torch.load(io.BytesIO(weights)))
    return lambda samples: enhance(network, state, torch.from_numpy(samples)).numpy()


def enhanced(model, audio, progress=quiet, block=4096):
    pieces = list(model.enhance(as_blocks(audio, block), progress))
    return np.concatenate([np.zeros((audio.channels, 0), np.float32), *pieces], axis=1)


# -- the same as the package ---------------------------------------------------------------------
@pytest.mark.parametrize(
    "frames", [1, 479, 480, 481, 960, 1441, 47_999, 48_000, 48_001, 96_000, 145_321]
)
def test_it_is_the_packages_own_result_for_the_whole_sound(model, library, frames):
    audio = noise(3, seconds=frames / 48000, channels=2)
    expected = library(audio.samples)

    found = enhanced(model, audio)

    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_no_sound_is_none(model):
    assert enhanced(model, silence(seconds=0, channels=2)).shape == (2, 0)


def test_the_blocks_that_a_sound_comes_in_are_not_heard(model):
    audio = noise(3, seconds=2.3)
    whole = enhanced(model, audio, block=audio.frames)
    np.testing.assert_array_equal(enhanced(model, audio, block=777), whole)


def test_as_many_spectra_at_once_as_a_gpu_takes_give_the_same(model, monkeypatch):
    audio = noise(3, seconds=2.3)
    expected = enhanced(model, audio)
    monkeypatch.setattr(model, "_frames", 1000)
    np.testing.assert_allclose(enhanced(model, audio), expected, atol=1e-6)
    monkeypatch.setattr(model, "_frames", 1)
    np.testing.assert_allclose(enhanced(model, audio), expected, atol=1e-6)


def test_each_channel_is_heard_for_itself(model):
    audio = noise(3, seconds=1.2, channels=3)
    audio.samples[1] = 0
    found = enhanced(model, audio)
    alone = enhanced(model, sound(audio.samples[2:], 48000))
    np.testing.assert_allclose(found[2:], alone, atol=1e-6)
    assert not found[1].any()


def test_two_sounds_at_a_time_do_not_hear_each_other(model):
    first, second = noise(1, seconds=2.5), noise(2, seconds=2.5, channels=2)
    expected = enhanced(model, first), enhanced(model, second)
    passes = [model.enhance(as_blocks(one, 4096), quiet) for one in (first, second)]
    found = [[], []]
    for pieces in zip(*passes, strict=True):
        for kept, piece in zip(found, pieces, strict=True):
            kept.append(piece)
    for kept, whole in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.concatenate(kept, axis=1), whole)


def test_what_comes_after_silence_was_never_remembered_wrongly(model, library):
    audio = one_after_another(noise(1, seconds=1.1), silence(seconds=2), noise(2, seconds=1.1))
    np.testing.assert_allclose(enhanced(model, audio), library(audio.samples), atol=1e-6)


def test_memory_does_not_grow_with_the_sound(model):
    import tracemalloc

    def largest(seconds):
        audio = noise(1, seconds=seconds)
        tracemalloc.start()
        for _ in model.enhance(audio.blocks(), quiet):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert largest(12) < 1.1 * largest(4)


def test_work_is_told_block_by_block_and_ends_when_cancelled(model):
    told = []

    def progress(share):
        told.append(share)
        if len(told) == 2:
            raise Cancelled("enough")

    audio = noise(1, seconds=4)
    before = enhanced(model, audio)
    with pytest.raises(Cancelled):
        enhanced(model, audio, progress)
    assert told == pytest.approx([0.25, 0.5])
    np.testing.assert_array_equal(enhanced(model, audio), before)


# -- files that are not what they should be ------------------------------------------------------
def test_variables_of_the_environment_are_not_its_settings(archive, model, monkeypatch):
    for name, value in {"SR": "16000", "MODEL": "none", "CONV_CH": "3", "DEVICE": "x"}.items():
        monkeypatch.setenv(name, value)
    audio = noise(1, seconds=0.5)
    again = _load({"zip": archive}, "cpu")
    np.testing.assert_array_equal(enhanced(again, audio), enhanced(model, audio))


class Bomb:
    def __init__(self, path):
        self.path = os.fspath(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_checkpoint_runs_no_code(tmp_path):
    import torch

    kept = io.BytesIO()
    torch.save({"weight": Bomb(tmp_path / "it went off")}, kept)
    write_archive(tmp_path / "a.zip", SETTINGS, kept.getvalue())
    with pytest.raises(WeightsCorrupt, match=r"a\.zip holds no plain weights.*mkdir"):
        _load({"zip": tmp_path / "a.zip"}, "cpu")
    assert not (tmp_path / "it went off").exists()


def changed(weights, change):
    import torch

    state = torch.load(io.BytesIO(weights))
    change(state)
    kept = io.BytesIO()
    torch.save(state, kept)
    return kept.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("enc.lsnr_fc.0.weight"), "Missing key"),
        (lambda state: state.update(more=state["erb_fb"]), "Unexpected key"),
        (lambda state: state.update(erb_fb=state["erb_fb"][:5]), "size mismatch"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_and_not_filled_up(
    weights, tmp_path, change, message
):
    write_archive(tmp_path / "a.zip", SETTINGS, changed(weights, change))
    with pytest.raises(WeightsCorrupt, match=message):
        _load({"zip": tmp_path / "a.zip"}, "cpu")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (settings_of(SMALL, model="deepfilternet2"), "a model 'deepfilternet2'"),
        (settings_of(SMALL, conv_kernel="2,3"), "does not fit|no plain weights|cannot work"),
        (settings_of(SMALL, mask_pf="true"), "not known here"),
        (settings_of({**SMALL, "conv_ch": "many"}), "describe no network"),
        ("nothing", "describe no network"),
    ],
)
def test_settings_for_something_else_are_refused(weights, tmp_path, settings, message):
    write_archive(tmp_path / "a.zip", settings, weights)
    with pytest.raises(WeightsCorrupt, match=message):
        _load({"zip": tmp_path / "a.zip"}, "cpu")


def test_what_is_no_archive_or_has_not_both_files_is_refused(archive, tmp_path):
    (tmp_path / "cut.zip").write_bytes(archive.read_bytes()[:-400])
    with pytest.raises(WeightsCorrupt, match=r"cut\.zip is no archive"):
        _load({"zip": tmp_path / "cut.zip"}, "cpu")
    with zipfile.ZipFile(tmp_path / "half.zip", "w") as half:
        half.writestr("DeepFilterNet3/config.ini", SETTINGS)
    with pytest.raises(WeightsCorrupt, match=r"half\.zip has 0 files"):
        _load({"zip": tmp_path / "half.zip"}, "cpu")


def test_the_shelf_names_what_is_missing_and_lends_what_is_there(tmp_path):
    shelf = tiny.shelf(tmp_path, "deepfilter")
    with pytest.raises(WeightsMissing, match=r"DeepFilterNet3\.zip"):
        shelf.borrow("deepfilter").__enter__()
    tiny.deepfilter(tmp_path)
    with shelf.borrow("deepfilter") as model:
        assert enhanced(model, noise(seconds=0.1)).shape == (1, 4800)
