"""Demucs, with small random checkpoints in the published format, against its own library."""

import os
from fractions import Fraction

import numpy as np
import pytest

from handlers.artifacts import Blocks
from handlers.engines.demucs_bag import load_bag
from handlers.engines.registry import find_engine
from handlers.engines.running import Batches
from handlers.errors import (
    BadParameter,
    Cancelled,
    DeviceFull,
    WeightsCorrupt,
    WeightsMissing,
)
from tests.handlers.engines import tiny
from tests.handlers.engines.tiny_demucs import write_hdemucs, write_htdemucs
from tests.sounds import as_blocks, noise, one_after_another, silence, sound, tone

STEMS = ("drums", "bass", "other", "vocals")
ONE_EACH = np.eye(4).tolist()


def quiet(_):
    """Nobody listens to the progress."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demucs")
    for seed in range(4):
        write_htdemucs(folder / f"ht{seed}.th", STEMS, seed, segment=Fraction(1, 2))
    for seed in range(2):
        write_hdemucs(folder / f"h{seed}.th", STEMS, seed, cac=seed == 0)
    return folder


def files(folder, *names):
    return {name: folder / f"{name}.th" for name in names}


@pytest.fixture(scope="module")
def single(folder):
    return load_bag(files(folder, "ht0"), "cpu", stems=STEMS)


@pytest.fixture(scope="module")
def refined(folder):
    """Like htdemucs_ft: a model for each stem."""
    names = [f"ht{seed}" for seed in range(4)]
    return load_bag(files(folder, *names), "cpu", stems=STEMS, weights=ONE_EACH)


@pytest.fixture(scope="module")
def averaged(folder):
    """Like mdx_extra: the mean of models with and without complex spectra."""
    return load_bag(files(folder, "h0", "h1"), "cpu", stems=STEMS, segment=1)


def separated(bag, audio, stems=STEMS, progress=quiet, block=4096):
    pieces = list(bag.separate(as_blocks(audio, block), stems, progress))
    return np.concatenate(pieces, axis=1).reshape(len(stems), audio.channels, -1)


def by_the_library(bag, samples, weights=None):
    """What `demucs` itself makes of a whole stereo file."""
    import torch
    from demucs.apply import BagOfModels, apply_model

    mix = torch.from_numpy(samples)
    mono = mix.mean(0)
    mean, deviation = mono.mean(), mono.std() + 1e-8
    models = BagOfModels(bag._models, weights)
    found = apply_model(models, ((mix - mean) / deviation)[None], shifts=0, overlap=0.25)[0]
    return (found * deviation + mean).numpy()


def calls_of(bag, monkeypatch):
    """The models as they are called from now on, by number."""
    called = []
    forward = bag._forward

    def counted(number, rows, items):
        called.append(number)
        return forward(number, rows, items)

    monkeypatch.setattr(bag, "_forward", counted)
    return called


# -- the same as the library ---------------------------------------------------------------------
@pytest.mark.parametrize("frames", [2, 1000, 22050, 22051, 40000, 55000])
@pytest.mark.parametrize(("kind", "weights"), [("single", None), ("refined", ONE_EACH)])
def test_it_is_the_librarys_own_result_at_any_length(kind, weights, frames, request):
    bag = request.getfixturevalue(kind)
    audio = noise(3, seconds=frames / 44100, rate=44100, channels=2)
    audio.samples[:] += 0.01  # an offset that every window must be rid of

    np.testing.assert_allclose(
        separated(bag, audio), by_the_library(bag, audio.samples, weights), atol=2e-6
    )


@pytest.mark.parametrize("frames", [2, 44100, 80000])
def test_the_mean_of_several_models_is_the_librarys_own(averaged, frames):
    audio = noise(3, seconds=frames / 44100, rate=44100, channels=2)

    np.testing.assert_allclose(
        separated(averaged, audio), by_the_library(averaged, audio.samples), atol=2e-6
    )


def test_the_blocks_that_a_sound_comes_in_are_not_heard(single):
    audio = noise(3, seconds=1, rate=44100, channels=2)

    whole = separated(single, audio, block=audio.frames)

    np.testing.assert_allclose(separated(single, audio, block=777), whole, atol=1e-7)


def test_each_pair_of_channels_is_taken_apart_on_its_own(single):
    loud, soft = (noise(n, seconds=1, rate=44100, channels=2, peak_db=-6 * n) for n in (1, 5))
    both = sound(np.concatenate((loud.samples, soft.samples)), 44100)

    together = separated(single, both)

    np.testing.assert_allclose(together[:, :2], separated(single, loud), atol=1e-6)
    np.testing.assert_allclose(together[:, 2:], separated(single, soft), atol=1e-6)


def test_one_sample_and_a_constant_have_no_deviation_and_still_an_answer(single):
    for samples in (np.full(1, 0.5), np.full(5000, 0.5)):
        out = separated(single, sound(samples, 44100, 2))
        assert out.shape == (4, 2, len(samples))
        assert np.isfinite(out).all()


# -- no more work than is needed -----------------------------------------------------------------
def test_only_the_models_of_the_wanted_stems_run(refined, monkeypatch):
    audio = noise(3, seconds=1, rate=44100, channels=2)
    every = separated(refined, audio)

    called = calls_of(refined, monkeypatch)
    vocals = separated(refined, audio, ("vocals",))
    assert set(called) == {3}
    np.testing.assert_allclose(vocals, every[3:], atol=1e-7)

    called.clear()
    swapped = separated(refined, audio, ("other", "drums"))
    assert set(called) == {0, 2}
    np.testing.assert_allclose(swapped, every[[2, 0]], atol=1e-7)


def test_silence_costs_nothing_and_stays_silence(single, monkeypatch):
    called = calls_of(single, monkeypatch)
    assert not separated(single, silence(seconds=2, rate=44100, channels=2)).any()
    assert called == []

    beep = tone(440, seconds=0.4, rate=44100, channels=2)
    gap = silence(seconds=3, rate=44100, channels=2)
    out = separated(single, one_after_another(beep, gap, beep))
    assert len(called) <= 6  # windows of 0.5 s every 0.375 s: eleven in all
    assert not out[..., 2 * 44100 : 129_000].any()


def test_a_long_sound_is_not_held(single):
    """Between a frame that goes in and its stems lie two windows at most."""
    read = given = 0
    apart = 0

    def passing():
        nonlocal read
        for _ in range(100):
            read += 4410
            yield np.zeros((2, 4410), np.float32)

    long = Blocks(passing, rate=44100, channels=2, frames=441_000)
    for piece in single.separate(long, STEMS, quiet):
        # The first pass, for the level, has read all of it once.
        given += piece.shape[1]
        apart = max(apart, read - 441_000 - given)
    assert given == 441_000
    assert apart <= 2 * 22050 + 4410


# -- progress, cancelling, memory of the GPU -----------------------------------------------------
def test_progress_rises_from_window_to_window_and_model_to_model(refined):
    told = []
    separated(refined, noise(3, seconds=1, rate=44100, channels=2), progress=told.append)

    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(set(told)) > 4 * 2


def test_a_cancelled_separation_leaves_the_model_as_it_was(refined):
    audio = noise(3, seconds=1, rate=44100, channels=2)
    before = separated(refined, audio)

    def cancel(share):
        if share > 0.3:
            raise Cancelled("somebody changed their mind")

    with pytest.raises(Cancelled):
        separated(refined, audio, progress=cancel)
    np.testing.assert_array_equal(separated(refined, audio), before)


def test_many_windows_at_once_give_the_same(single, averaged, monkeypatch):
    audio = noise(3, seconds=2, rate=44100, channels=4)
    for bag in (single, averaged):
        alone = separated(bag, audio)
        monkeypatch.setattr(bag, "_batches", tiny.as_on_a_gpu(4))
        assert bag._batches.size == 4
        np.testing.assert_allclose(separated(bag, audio), alone, atol=1e-5)


def test_a_batch_that_does_not_fit_is_halved_until_it_does():
    import torch

    seen = []

    def call(items):
        seen.append(len(items))
        if len(items) > 2:
            raise torch.OutOfMemoryError("none left")
        return [item * 10 for item in items]

    batches = Batches("cuda", 8)
    assert list(batches.run([1, 2, 3, 4, 5], call)) == [10, 20, 30, 40, 50]
    assert seen == [5, 4, 2, 2, 1]
    assert batches.size == 2  # and is not tried again


def test_a_device_without_room_for_one_item_is_said():
    import torch

    def call(_):
        raise torch.OutOfMemoryError("none left")

    with pytest.raises(DeviceFull, match="too little free memory"):
        list(Batches("cuda", 2).run([1], call))


def test_the_processor_takes_over_for_one_sound_if_it_may(monkeypatch):
    import torch

    class Module:
        at = "cuda"

        def to(self, device):
            self.at = device

    module = Module()
    batches = Batches("cuda", 2, module)
    monkeypatch.setattr(batches, "may_use_cpu", True)

    def call(items):
        if batches.device == "cuda" and 3 in items:
            raise torch.OutOfMemoryError("none left")
        return [(item, module.at) for item in items]

    found = list(batches.run([1, 2, 3, 4], call))
    assert found == [(1, "cuda"), (2, "cuda"), (3, "cpu"), (4, "cpu")]
    batches.begin()
    assert (module.at, batches.device) == ("cuda", "cuda")


# -- files that are not what they should be ------------------------------------------------------
class Bomb:
    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_checkpoint_never_runs_code(tmp_path):
    import torch

    bomb = Bomb()
    bomb.path = os.fspath(tmp_path / "it went off")
    torch.save({"klass": bomb}, tmp_path / "bomb.th")

    with pytest.raises(WeightsCorrupt, match="bomb.th is no checkpoint of plain weights"):
        load_bag(files(tmp_path, "bomb"), "cpu", stems=STEMS)
    assert not (tmp_path / "it went off").exists()


def test_what_is_no_checkpoint_of_these_stems_is_refused(folder, tmp_path):
    import torch

    whole = (folder / "ht0.th").read_bytes()
    (tmp_path / "cut.th").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.th").write_text("not found")
    torch.save({"klass": Fraction, "args": (), "kwargs": {}, "state": {}}, tmp_path / "class.th")
    package = torch.load(folder / "ht0.th", weights_only=False)
    package["state"].popitem()
    torch.save(package, tmp_path / "less.th")

    for name, message in {
        "cut": "no checkpoint of plain weights",
        "text": "no checkpoint of plain weights",
        "class": "no checkpoint of Hybrid Demucs",
    }.items():
        with pytest.raises(WeightsCorrupt, match=message):
            load_bag(files(tmp_path, name), "cpu", stems=STEMS)
    with pytest.raises(RuntimeError, match="Missing key"):
        load_bag(files(tmp_path, "less"), "cpu", stems=STEMS)
    with pytest.raises(WeightsCorrupt, match="gives drums, bass, other, vocals"):
        load_bag(files(folder, "ht0"), "cpu", stems=(*STEMS, "guitar"))


# -- the engines ---------------------------------------------------------------------------------
@pytest.mark.parametrize("slug", ["htdemucs", "htdemucs_6s", "htdemucs_ft", "mdx_extra"])
def test_each_engine_gives_its_stems_through_the_shelf(slug, tmp_path):
    shelf = tiny.shelf(tmp_path, slug)
    with pytest.raises(WeightsMissing, match=f"models pull {slug}"), shelf.borrow(slug):
        pass
    tiny.MAKERS[slug](tmp_path)

    audio = noise(3, seconds=0.3, rate=44100, channels=2)
    with shelf.borrow(slug) as bag:
        stems = find_engine(slug).stems
        assert bag.outputs == stems
        assert separated(bag, audio, stems).shape == (len(stems), 2, audio.frames)
    assert shelf.evict(slug)


def test_only_half_a_file_is_a_refusal_of_the_shelf(tmp_path):
    tiny.MAKERS["htdemucs"](tmp_path)
    (path,) = (tmp_path / "demucs").iterdir()
    path.write_bytes(path.read_bytes()[:5000])
    shelf = tiny.shelf(tmp_path, "htdemucs")
    with pytest.raises(WeightsCorrupt, match="no checkpoint"), shelf.borrow("htdemucs"):
        pass
    assert shelf.loaded() == []


def test_htdemucs_ft_is_for_cuda_alone():
    assert find_engine("htdemucs_ft").cuda_only
    weights = find_engine("htdemucs_ft").load.keywords["weights"]
    np.testing.assert_array_equal(weights, np.eye(4))
    from handlers.engines.files import Models
    from handlers.engines.shelf import Shelf

    shelf = Shelf(Models([]), {"htdemucs_ft": find_engine("htdemucs_ft")})
    with pytest.raises(BadParameter, match="needs CUDA"), shelf.borrow("htdemucs_ft"):
        pass


@pytest.mark.parametrize("slug", ["htdemucs", "htdemucs_6s", "htdemucs_ft", "mdx_extra"])
def test_files_and_weights_are_those_of_the_librarys_own_bags(slug):
    import importlib.resources

    import yaml

    text = importlib.resources.files("demucs").joinpath(f"remote/{slug}.yaml").read_text()
    bag = yaml.safe_load(text)
    engine = find_engine(slug)
    assert [file.path.partition("-")[0] for file in engine.weights] == bag["models"]
    assert engine.load.keywords.get("segment") == bag.get("segment")
    ours = engine.load.keywords.get("weights")
    assert (ours is None) == ("weights" not in bag)
    if ours:
        np.testing.assert_array_equal(ours, bag["weights"])
