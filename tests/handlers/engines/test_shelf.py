import gc
import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest

from handlers.engines.declare import Engine, WeightsFile
from handlers.engines.files import Models
from handlers.engines.registry import engines
from handlers.engines.shelf import Lent, Shelf, resident, unready
from handlers.errors import (
    BadParameter,
    EngineFailed,
    UnknownEngine,
    WeightsCorrupt,
    WeightsMissing,
)

DATA = b"weights of a very small model"


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Model:
    """What a test engine loads."""

    loads = 0

    def __init__(self, files, device):
        Model.loads += 1
        self.data = {name: path.read_bytes() for name, path in files.items()}
        self.device = device


@pytest.fixture(autouse=True)
def _fresh():
    Model.loads = 0


def engine(slug="echo", **about):
    known = {
        "weights": (
            WeightsFile(
                "echo.bin",
                "https://example.org/echo.bin",
                size=len(DATA),
                sha256=hashlib.sha256(DATA).hexdigest(),
            ),
        ),
        "load": Model,
        "libraries": ("numpy",),
    }
    return Engine(slug, "test", "A test engine.", **(known | about))


@pytest.fixture
def models(tmp_path):
    (tmp_path / "models" / "echo").mkdir(parents=True)
    (tmp_path / "models" / "echo" / "echo.bin").write_bytes(DATA)
    return Models([tmp_path / "models"])


@pytest.fixture
def clock():
    return Clock()


def shelf_with(models, clock, *more, **about):
    known = {e.slug: e for e in (engine(), *more)}
    return Shelf(models, known, clock=clock, **about)


def slugs(shelf):
    return [one.slug for one in shelf.loaded()]


# -- lending -------------------------------------------------------------------------------------
def test_a_model_is_loaded_once_and_lent_again(models, clock):
    shelf = shelf_with(models, clock)
    with shelf.borrow("echo") as one, shelf.borrow("echo") as other:
        assert one is other
        assert one.data == {"echo.bin": DATA}
        assert [loaded.lent for loaded in shelf.loaded()] == [2]
    with shelf.borrow("echo") as again:
        assert again is one
    assert Model.loads == 1


def test_many_who_ask_at_once_wait_for_one_load(models, clock):
    started = threading.Barrier(8)
    shelf, seen = shelf_with(models, clock), []

    def ask():
        started.wait()
        with shelf.borrow("echo") as model:
            seen.append(model)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert Model.loads == 1


def test_what_an_operation_gets_borrows_its_own_engine(models, clock):
    shelf = shelf_with(models, clock)
    lent = Lent("echo", shelf.borrow)
    assert slugs(shelf) == []
    with lent() as model:
        assert model.data["echo.bin"] == DATA


# -- letting go ----------------------------------------------------------------------------------
def test_idle_time_counts_from_the_last_return(models, clock):
    shelf = shelf_with(models, clock, ttl=600)
    with shelf.borrow("echo"):
        clock.now += 10_000
        assert shelf.sweep() == []
    clock.now += 599
    assert shelf.sweep() == []
    clock.now += 1
    assert shelf.sweep() == ["echo"]
    assert slugs(shelf) == []


@pytest.mark.parametrize("ttl", [0, -1])
def test_without_a_time_to_live_nothing_goes(models, clock, ttl):
    shelf = shelf_with(models, clock, ttl=ttl)
    with shelf.borrow("echo"):
        pass
    clock.now += 10**9
    assert shelf.sweep() == []


def test_what_is_lent_goes_with_its_return(models, clock):
    shelf = shelf_with(models, clock)
    with shelf.borrow("echo") as model:
        assert shelf.evict("echo")
        assert slugs(shelf) == ["echo"]
        assert model.data
    assert slugs(shelf) == []
    assert not shelf.evict("echo")


def test_the_least_recently_used_makes_room(models, clock, tmp_path):
    more = [engine(slug, folder="echo", memory=600) for slug in ("a", "b", "c")]
    shelf = shelf_with(models, clock, *more, budget=1300)
    for slug in ("a", "b", "a"):
        clock.now += 1
        with shelf.borrow(slug):
            pass
    with shelf.borrow("c"):
        assert slugs(shelf) == ["a", "c"]


def test_what_is_lent_does_not_make_room(models, clock):
    more = [engine(slug, folder="echo", memory=600) for slug in ("a", "b")]
    shelf = shelf_with(models, clock, *more, budget=700)
    with shelf.borrow("a"), shelf.borrow("b"):
        assert slugs(shelf) == ["a", "b"]


def test_what_loading_took_goes_back_to_the_system(models, clock):
    def load(files, device):
        return np.random.default_rng(0).random(16 * 2**20)  # 128 MiB, every page written

    shelf = shelf_with(models, clock, engine("large", folder="echo", load=load))
    gc.collect()
    before = resident()
    with shelf.borrow("large"):
        taken = resident() - before
    assert taken > 120 * 2**20
    shelf.evict("large")
    assert resident() - before < 0.1 * taken
    assert shelf.kept_back == 0


def test_memory_that_a_library_keeps_is_noticed(models, clock):
    hoard = []

    def load(files, device):
        hoard.append(np.random.default_rng(0).random(16 * 2**20))
        return object()

    shelf = shelf_with(models, clock, engine("hoarder", folder="echo", load=load))
    with shelf.borrow("hoarder"):
        pass
    shelf.evict("hoarder")
    assert shelf.kept_back > 100 * 2**20


def test_a_process_that_keeps_what_engines_took_is_spent_once_all_are_gone(models, clock):
    hoard = []

    def load(files, device):
        hoard.append(np.random.default_rng(0).random(16 * 2**20))
        return object()

    said = []
    more = [engine(slug, folder="echo", load=load, memory=600) for slug in ("a", "b")]
    shelf = shelf_with(models, clock, *more, budget=700, changed=lambda _: said.append(shelf.spent))
    for slug in ("a", "b"):
        with shelf.borrow(slug):
            pass
    # `a` made room for `b`; the process was needed all the while.
    assert slugs(shelf) == ["b"]
    assert said == [""] * len(said)
    shelf.evict("b")
    assert "MiB of evicted engines" in said[-1]


def test_every_change_is_told(models, clock):
    told = []
    shelf = shelf_with(
        models, clock, changed=lambda loaded: told.append([(one.slug, one.lent) for one in loaded])
    )
    with shelf.borrow("echo"):
        pass
    shelf.evict("echo")
    assert told == [[("echo", 1)], [("echo", 0)], []]


# -- what cannot run -----------------------------------------------------------------------------
def test_missing_weights_are_named_with_the_command_that_brings_them(tmp_path, clock):
    shelf = shelf_with(Models([tmp_path]), clock)
    with pytest.raises(WeightsMissing) as refusal, shelf.borrow("echo"):
        pass
    assert "echo.bin" in refusal.value.detail
    assert "audiolla models pull echo" in refusal.value.detail
    assert shelf.unready("echo").kind == "weights"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(DATA[:-1], "bytes, not", id="cut"),
        pytest.param(DATA[::-1], "SHA-256", id="others"),
    ],
)
def test_weights_that_are_not_the_published_ones_are_refused(models, clock, data, message):
    (models.home / "echo" / "echo.bin").write_bytes(data)
    with pytest.raises(WeightsCorrupt, match=message), shelf_with(models, clock).borrow("echo"):
        pass
    assert Model.loads == 0


def test_weights_are_hashed_once_and_again_when_they_change(models, clock, monkeypatch):
    hashed = []
    real = Models.verify
    monkeypatch.setattr(
        Models, "verify", lambda self, e, f, p: hashed.append(p) or real(self, e, f, p)
    )
    for _ in range(2):
        with shelf_with(models, clock).borrow("echo"):
            pass
    assert len(hashed) == 1
    (models.home / "echo" / "echo.bin").write_bytes(DATA[::-1])
    with pytest.raises(WeightsCorrupt), shelf_with(models, clock).borrow("echo"):
        pass
    assert len(hashed) == 2


def test_weights_are_found_where_other_programs_keep_them(tmp_path, clock):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "echo.bin").write_bytes(DATA)
    shelf = shelf_with(Models([tmp_path / "models", tmp_path / "other"]), clock)
    with shelf.borrow("echo") as model:
        assert model.data["echo.bin"] == DATA


@pytest.mark.parametrize("wrong", [RuntimeError("bad magic"), SystemExit(1)], ids=["error", "exit"])
def test_a_loader_that_gives_up_is_a_refusal(models, clock, wrong):
    def load(files, device):
        raise wrong

    shelf = shelf_with(models, clock, engine("broken", folder="echo", load=load))
    with pytest.raises(WeightsCorrupt, match="broken could not be loaded"), shelf.borrow("broken"):
        pass
    assert slugs(shelf) == []


def test_an_engine_for_cuda_only_is_refused_elsewhere(models, clock):
    gpu = engine("gpu", folder="echo", cuda_only=True)
    with pytest.raises(BadParameter, match="gpu needs CUDA; this server runs on cpu"):
        shelf_with(models, clock, gpu).borrow("gpu").__enter__()
    shelf = shelf_with(models, clock, gpu, device="cuda:1")
    with shelf.borrow("gpu") as model:
        assert model.device == "cuda:1"


def test_an_engine_that_is_not_enabled_does_not_exist(models, clock):
    shelf = shelf_with(models, clock, enabled=["other"])
    with pytest.raises(UnknownEngine, match="not enabled"), shelf.borrow("echo"):
        pass


def test_a_library_that_is_not_installed_is_named(models, clock):
    missing = engine("lib", folder="echo", libraries=("no_such_library_anywhere",))
    with pytest.raises(EngineFailed, match="no_such_library_anywhere"):
        shelf_with(models, clock, missing).borrow("lib").__enter__()


# -- what is declared ----------------------------------------------------------------------------
CONTRACT = """
htdemucs htdemucs_ft htdemucs_6s mdx_extra matchering pedalboard-chain librosa-analyze
sox-transform fx-chain midi-compose midi-render silence-detect ffmpeg-render audio-fingerprint
uvr-dereverb uvr-deecho uvr-denoise uvr-karaoke uvr-vocal-bsr basic-pitch deepfilter chord-detect
silero-vad pyannote stretch ast-tag clap-embed hpss noise-reduce metadata"""


def test_all_engines_of_the_contract_are_declared():
    assert set(CONTRACT.split()) <= set(engines())


@pytest.mark.parametrize("slug", engines())
def test_an_engine_says_what_it_is_and_under_which_terms_its_weights_are(slug):
    declared = engines()[slug]
    assert declared.description.endswith(".")
    assert bool(declared.weights) == bool(declared.licence)
    for file in declared.weights:
        assert file.source.partition(":")[0] in ("https", "hf", "package")
        assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32
        assert not Path(file.path).is_absolute()


def test_packaged_weights_are_there(tmp_path):
    for slug in ("basic-pitch", "silero-vad"):
        declared = engines()[slug]
        assert unready(declared, Models([tmp_path]), device="cpu") is None
        (file,) = declared.weights
        path = Models([tmp_path]).found(declared, file)
        assert path.stat().st_size == file.size
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
