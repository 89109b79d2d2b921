"""Who speaks when, with small random networks in the published format, against pyannote.audio."""

import itertools
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import yaml

from handlers.engines.pyannote import ENGINE, _load
from handlers.engines.speakers import Space, Speakers
from handlers.errors import Cancelled, CannotProcess, WeightsCorrupt, WeightsMissing
from tests.handlers.engines import tiny, tiny_pyannote
from tests.sounds import as_blocks, silence, sound


def quiet(_):
    """Nobody listens to the progress."""


def files(folder):
    return {file.path: folder / file.path for file in ENGINE.weights}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.pyannote(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def model(folder):
    return _load(files(folder), "cpu")


@pytest.fixture(scope="module")
def library(folder):
    import torch
    from pyannote.audio import Pipeline

    pipeline = Pipeline.from_pretrained(str(folder))
    pipeline.to_diarization = by_votes
    with warnings.catch_warnings():
        # It finds the shortest sound by trying which lengths raise: here warnings would, too.
        warnings.simplefilter("ignore")
        assert pipeline._embedding.min_num_samples == 400

    def turns(samples, **asked):
        given = {"waveform": torch.from_numpy(samples), "sample_rate": 16000, "uri": "sound"}
        found = pipeline(given, **asked).speaker_diarization
        return [(turn.start, turn.end, who) for turn, _, who in found.itertracks(yield_label=True)]

    return turns


def by_votes(segmentations, count):
    """Its own step from votes to speakers, but for two things that it leaves open.

    Of equal votes those come first whom clustering happens to number first; and where there are
    fewer speakers than voices, it takes speakers without a vote.
    """
    from pyannote.audio import Inference
    from pyannote.core import SlidingWindowFeature

    votes = Inference.aggregate(
        segmentations, count.sliding_window, missing=0.0, skip_average=True
    ).data
    active = np.zeros_like(votes)
    total = votes.sum(axis=0)
    for frame, (mine, most) in enumerate(zip(votes, count.data[:, 0], strict=True)):
        for speaker in sorted(range(len(mine)), key=lambda who: (-mine[who], -total[who]))[:most]:
            active[frame, speaker] = mine[speaker] > 0
    return SlidingWindowFeature(active, count.sliding_window)


def lively(seconds, seed=3, rate=16000, channels=1):
    """Three voices in turn that change a few times a second: random networks have much to say."""
    rng = np.random.default_rng(seed)
    length = round(seconds * rate)
    time = np.arange(length) / rate
    voices = [
        sum(np.sin(2 * np.pi * hz * time) for hz in rng.uniform(100, 3000, 4)) for _ in range(3)
    ]
    who = rng.integers(0, 3, length // (2 * rate) + 1).repeat(2 * rate)[:length]
    level = rng.uniform(0.01, 0.5, length // (rate // 5) + 1).repeat(rate // 5)[:length]
    spoken = np.choose(who, voices) + rng.standard_normal((channels, length))
    return sound(spoken * level / 4, rate)


def compare(found, expected, duration):
    """The same turns, under names that stand for each other."""
    within = sorted(
        (start, min(end, duration), who) for start, end, who in expected if start < duration
    )
    assert len(found) == len(within)
    ours = sorted((turn.start, turn.end, turn.speaker) for turn in found)
    # Two speakers that begin and end at the same time may be either of the two.
    for mine, theirs in zip(ours, within, strict=True):
        assert mine[:2] == pytest.approx(theirs[:2], abs=1e-3)
    pairs = {
        (mine[2], theirs[2])
        for mine, theirs in zip(ours, within, strict=True)
        if sum(other[:2] == mine[:2] for other in ours) == 1
    }
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)


# -- the same as the package ---------------------------------------------------------------------
@pytest.mark.parametrize("seconds", [0.1, 9.99, 10, 10.5, 16.3])
def test_it_is_the_packages_own_result(model, library, seconds):
    audio = lively(seconds)
    found = model.turns(as_blocks(audio, 4096))
    assert found
    compare(found, library(audio.samples), audio.duration)


@pytest.mark.parametrize(
    ("fewest", "most", "asked"),
    [
        (1, 1, {"num_speakers": 1}),
        (3, 3, {"num_speakers": 3}),
        (4, np.inf, {"min_speakers": 4}),
        (1, 2, {"max_speakers": 2}),
    ],
)
def test_a_number_of_speakers_is_kept_as_the_package_keeps_it(model, library, fewest, most, asked):
    audio = lively(14, seed=8)
    found = model.turns(audio.blocks(), fewest, most)
    compare(found, library(audio.samples, **asked), audio.duration)
    assert fewest <= len({turn.speaker for turn in found}) <= most


class Together:
    """Voices of a known number of speakers, and the package's way to put them together."""

    def __init__(self, folder, speakers, windows=120, seed=1):
        from pyannote.audio.core.plda import PLDA
        from pyannote.audio.pipelines.clustering import VBxClustering
        from pyannote.core import SlidingWindow, SlidingWindowFeature

        rng = np.random.default_rng(seed)
        centres = rng.standard_normal((speakers, 256))
        self.voices = np.zeros((windows, 3, 256), np.float32)
        self.heard = np.zeros((windows, 50, 3), np.uint8)
        for window in range(windows):
            count = int(rng.integers(0, min(3, speakers) + 1))
            edges = np.linspace(0, 50, count + 1).astype(int) if count else []
            for slot, who in enumerate(rng.permutation(speakers)[:count]):
                self.heard[window, edges[slot] : edges[slot + 1] + 3, slot] = 1
                self.voices[window, slot] = centres[who] + 0.6 * rng.standard_normal(256)
        self._segments = SlidingWindowFeature(
            self.heard.astype(np.float32), SlidingWindow(start=0, duration=10, step=1)
        )
        plda = folder / "plda"
        self._theirs = VBxClustering(PLDA(plda / "xvec_transform.npz", plda / "plda.npz"))
        self._theirs.instantiate({"threshold": 0.6, "Fa": 0.07, "Fb": 0.8})
        arrays = [dict(np.load(plda / f"{name}.npz")) for name in ("xvec_transform", "plda")]
        self._ours = Speakers(Space.read(*arrays), 0.6, 0.07, 0.8)

    def ours(self, fewest, most):
        return self._ours.of(self.voices, self.heard, fewest, most)

    def theirs(self, fewest, most):
        hard, _, _ = self._theirs(
            embeddings=self.voices.copy(),
            segmentations=self._segments,
            num_clusters=fewest if fewest == most else None,
            min_clusters=fewest,
            max_clusters=most,
        )
        # -2 is a voice for which no speaker was left.
        return np.where(self.heard.any(axis=1), np.maximum(hard, -1), -1)


@pytest.mark.parametrize("speakers", [1, 2, 5])
@pytest.mark.parametrize(("fewest", "most"), [(1, np.inf), (3, 3), (1, 2), (7, 9)])
def test_voices_are_put_together_as_the_package_does(folder, speakers, fewest, most):
    together = Together(folder, speakers)
    ours, theirs = together.ours(fewest, most), together.theirs(fewest, most)
    pairs = set(zip(ours.ravel().tolist(), theirs.ravel().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    if (fewest, most) == (1, np.inf):
        assert ours.max() + 1 == speakers


def test_too_little_speech_for_so_many_speakers_has_fewer(folder):
    together = Together(folder, 2, windows=3)
    assert together.ours(50, 50).max() < 9


# -- any sound -----------------------------------------------------------------------------------
def test_rate_and_channels_are_those_of_the_networks_before_they_hear(model):
    audio = lively(11)
    expected = model.turns(audio.blocks())
    doubled = sound(np.concatenate((audio.samples * 2, audio.samples * 0)), 16000)
    assert model.turns(doubled.blocks()) == expected
    assert model.turns(as_blocks(audio, 777)) == expected
    assert model.turns(lively(3, rate=44100, channels=8).blocks())


def test_turns_lie_in_the_sound_and_speakers_are_counted_as_they_come(model):
    audio = lively(12.34)
    found = model.turns(audio.blocks())
    assert all(0 <= turn.start < turn.end <= audio.duration for turn in found)
    assert [turn.start for turn in found] == sorted(turn.start for turn in found)
    first = list(dict.fromkeys(turn.speaker for turn in found))
    assert first == list(range(len(first)))


def test_nobody_speaks_in_no_sound(model):
    assert model.turns(silence(seconds=0).blocks()) == []


def test_a_network_that_hears_nobody_has_no_turns(folder, model, monkeypatch):
    monkeypatch.setattr(model, "_heard", np.zeros_like(model._heard))
    assert model.turns(lively(3).blocks()) == []


def test_a_short_pause_ends_no_turn_if_the_settings_say_so(model, monkeypatch):
    audio = lively(6)
    monkeypatch.setattr(model, "_pause", 1.0)
    found = model.turns(audio.blocks())
    for speaker in {turn.speaker for turn in found}:
        mine = [turn for turn in found if turn.speaker == speaker]
        assert all(b.start - a.end >= 1 for a, b in itertools.pairwise(mine))


def test_a_sample_that_is_no_number_is_refused(model):
    samples = np.zeros(20000)
    samples[5] = np.inf
    with pytest.raises(CannotProcess, match="no numbers"):
        model.turns(sound(samples).blocks())


# -- no more work than is needed -----------------------------------------------------------------
def test_each_window_passes_once_through_each_network(model, monkeypatch):
    calls = {"who": 0, "voice": 0}
    for name in calls:
        network = getattr(model, f"_{name}")

        def counted(*given, network=network, name=name):
            calls[name] += 1
            return network(*given)

        counted.frames, counted.step = getattr(network, "frames", 0), getattr(network, "step", 0)
        counted.reach = getattr(network, "reach", 0)
        counted.shortest = getattr(network, "shortest", 0)
        monkeypatch.setattr(model, f"_{name}", counted)
    model.turns(lively(14).blocks())
    assert calls == {"who": 5, "voice": 5}


def test_work_is_told_window_by_window_and_ends_when_cancelled(model):
    told = []

    def progress(share):
        told.append(share)
        if len(told) == 2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        model.turns(lively(14).blocks(), progress=progress)
    assert told == pytest.approx([0.2, 0.4], abs=0.01)


# -- privacy -------------------------------------------------------------------------------------
def test_neither_the_package_nor_its_telemetry_is_imported(folder):
    program = (
        "import sys, pathlib, numpy as np\n"
        "from handlers.artifacts import Audio\n"
        "from handlers.engines.pyannote import ENGINE\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "model = ENGINE.load({w.path: root / w.path for w in ENGINE.weights}, 'cpu')\n"
        "rng = np.random.default_rng(0)\n"
        "samples = rng.standard_normal((1, 32000)).astype(np.float32)\n"
        "model.turns(Audio(samples, 16000).blocks())\n"
        "bad = ('pyannote', 'lightning', 'opentelemetry', 'huggingface_hub')\n"
        "print([name for name in bad if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout.strip() == "[]"


# -- files that are not what they should be ------------------------------------------------------
@pytest.fixture
def copied(folder, tmp_path):
    for name, path in files(folder).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(path.read_bytes())
    return tmp_path


class Bomb:
    def __init__(self, path):
        self.path = os.fspath(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("part", ["segmentation", "embedding"])
def test_a_checkpoint_runs_no_code(copied, part):
    import torch

    path = copied / part / "pytorch_model.bin"
    torch.save({"state_dict": {}, "hyper_parameters": Bomb(copied / "it went off")}, path)
    with pytest.raises(WeightsCorrupt, match=rf"{part}.*mkdir would have to be run"):
        _load(files(copied), "cpu")
    assert not (copied / "it went off").exists()


def test_arrays_and_settings_run_no_code(copied):
    path = copied / "plda" / "plda.npz"
    good = path.read_bytes()
    bomb = np.empty(1, object)
    bomb[0] = Bomb(copied / "it went off")
    np.savez(path, mu=bomb)
    with pytest.raises(WeightsCorrupt, match=r"plda\.npz"):
        _load(files(copied), "cpu")
    path.write_bytes(pickle.dumps(Bomb(copied / "it went off")))
    with pytest.raises(WeightsCorrupt, match=r"plda\.npz"):
        _load(files(copied), "cpu")
    path.write_bytes(good)
    (copied / "config.yaml").write_text(f"!!python/object/apply:os.mkdir ['{copied}/it went off']")
    with pytest.raises(WeightsCorrupt, match="holds no settings"):
        _load(files(copied), "cpu")
    assert not (copied / "it went off").exists()


def test_a_checkpoint_that_lacks_a_tensor_or_is_of_another_network_is_refused(copied):
    import torch

    path = copied / "segmentation" / "pytorch_model.bin"
    voice = (copied / "embedding" / "pytorch_model.bin").read_bytes()
    good = path.read_bytes()
    path.write_bytes(voice)
    with pytest.raises(WeightsCorrupt, match=r"WeSpeakerResNet34, not PyanNet"):
        _load(files(copied), "cpu")
    path.write_bytes(good[:-500])
    with pytest.raises(WeightsCorrupt, match=r"no checkpoint of plain weights"):
        _load(files(copied), "cpu")
    path.write_bytes(good)
    checkpoint = torch.load(path, weights_only=False)
    del checkpoint["state_dict"]["classifier.bias"]
    torch.save(checkpoint, path)
    with pytest.raises(WeightsCorrupt, match=r"does not fit its network.*classifier\.bias"):
        _load(files(copied), "cpu")
    torch.save({"state_dict": {}}, path)
    with pytest.raises(WeightsCorrupt, match=r"no checkpoint of pyannote\.audio"):
        _load(files(copied), "cpu")


def test_layers_that_were_saved_one_by_one_are_the_same_network(copied, folder):
    import torch

    with tiny.seeded():
        sizes = {**tiny_pyannote.SMALL, "lstm": {**tiny_pyannote.SMALL["lstm"], "num_layers": 2}}
        whole = tiny_pyannote.who_is_heard(sizes)
        apart = tiny_pyannote.who_is_heard(
            {**sizes, "lstm": {**sizes["lstm"], "monolithic": False}}, lively=False
        )
        state = whole.state_dict()
        for name in list(apart.state_dict()):
            if name.startswith("lstm."):
                _, number, tensor = name.split(".")
                state[name] = state.pop(f"lstm.{tensor.replace('_l0', f'_l{number}')}")
        apart.load_state_dict(state)
    found = []
    for network in (whole, apart):
        path = copied / "segmentation" / "pytorch_model.bin"
        tiny_pyannote.save_checkpoint(network, path)
        found.append(_load(files(copied), "cpu").turns(lively(4).blocks()))
    assert found[0] == found[1]
    assert found[0]
    assert torch.equal(whole.classifier.bias, apart.classifier.bias)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["pipeline"]["params"].update(clustering="KMeansClustering"), "KMeans"),
        (lambda c: c["params"].pop("clustering"), "holds no settings"),
        (lambda c: c["params"]["clustering"].update(Fa="much"), "holds no settings"),
    ],
)
def test_settings_for_something_else_are_refused(copied, change, message):
    config = yaml.safe_load(tiny_pyannote.CONFIG)
    change(config)
    (copied / "config.yaml").write_text(yaml.dump(config))
    with pytest.raises(WeightsCorrupt, match=message):
        _load(files(copied), "cpu")


def test_who_has_not_accepted_the_terms_reads_what_to_do(tmp_path):
    with pytest.raises(WeightsMissing) as refusal:
        tiny.shelf(tmp_path, "pyannote").borrow("pyannote").__enter__()
    for part in ("config.yaml", "segmentation/pytorch_model.bin", "accept the terms", "TOKEN"):
        assert part in refusal.value.detail
