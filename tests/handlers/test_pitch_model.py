from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from handlers.errors import WeightsCorrupt
from handlers.onnx_files import Graph, weights
from handlers.pitch_model import EDGE, INPUT, OUTPUTS, SAMPLES, graph_of
from handlers.transcription import Ear

PACKAGED = Path(
    find_spec("basic_pitch").submodule_search_locations[0], "saved_models/icassp_2022/nmp.onnx"
)


def session(model):
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def windows():
    rng = np.random.default_rng(3)
    t = np.arange(SAMPLES) / 22050
    chord = sum(np.sin(2 * np.pi * f * k * t) / k for f in (55, 220, 277.2) for k in range(1, 9))
    yield "noise", rng.standard_normal(SAMPLES) * 0.1
    yield "loud noise", rng.standard_normal(SAMPLES) * 30
    yield "a chord", 0.05 * chord * np.exp(-2 * (t % 0.5))
    yield "half silent", np.where(t < 1, chord, 0) * 0.1
    yield "all but silent", rng.standard_normal(SAMPLES) * 1e-6
    yield "silence", np.zeros(SAMPLES)
    for at in (0, SAMPLES // 2, SAMPLES - 1):
        yield f"a click at {at}", np.where(np.arange(SAMPLES) == at, 1.0, 0.0)


@pytest.mark.parametrize(("what", "window"), list(windows()))
def test_it_says_what_the_packaged_model_says(what, window):
    heard = window.astype(np.float32)
    names = [f"StatefulPartitionedCall:{n}" for n in (1, 2, 0)]
    theirs = session(PACKAGED).run(names, {"serving_default_input_2:0": heard[None, :, None]})
    ours = session(graph_of(PACKAGED.read_bytes())).run(
        OUTPUTS, {INPUT: heard.reshape(1, 1, 1, -1)}
    )
    for one, other in zip(ours, theirs, strict=True):
        # Rounding of float32; where all is nearly as loud, a window is stretched to 0..1 the most.
        assert np.abs(one - other[0, EDGE:-EDGE]).max() < 2e-5, what


def test_what_is_written_is_what_the_runtime_reads():
    graph = Graph()
    given = graph.input("given", (1, 1, 1, 6))
    taps = np.array([1.0, -2.0, 0.5], np.float32).reshape(1, 1, 1, 3)
    part = graph.node("Conv", given, graph.constant(taps), kernel_shape=(1, 3), strides=(1, 2))
    ends = (graph.constant(np.array([at], np.int64)) for at in (0, -1, 3))
    graph.node("Slice", part, *ends, name="made")
    model = graph.model({"made": (1, 1, 1, 1)})
    row = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0], np.float32).reshape(1, 1, 1, 6)
    (made,) = session(model).run(["made"], {"given": row})
    assert made.reshape(-1).tolist() == [3.0 - 2.0 + 2.0]


def test_weights_come_back_as_they_were_written():
    graph = Graph()
    rng = np.random.default_rng(1)
    tables = [rng.standard_normal(shape).astype(np.float32) for shape in ((2, 300), (1,), ())]
    names = [graph.constant(table) for table in tables]
    graph.constant(np.array([-1, 2**40], np.int64))
    found = weights(graph.model({}))
    assert list(found) == names
    assert all(np.array_equal(found[n], t) for n, t in zip(names, tables, strict=True))


@pytest.mark.parametrize("size", [1, 100, 5000, -1])
def test_a_model_that_is_cut_off_is_refused(size):
    with pytest.raises(ValueError, match="ONNX"):
        weights(PACKAGED.read_bytes()[:size])


def test_weights_of_another_model_are_refused_with_what_to_install():
    with pytest.raises(WeightsCorrupt, match=r"not those of basic-pitch 0\.4.*pip install"):
        Ear(Graph().model({}))
