import ast
import itertools
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soxr

from handlers.declare import registered
from handlers.engines.files import Models
from handlers.engines.registry import engines
from handlers.engines.shelf import Shelf
from handlers.errors import BadParameter
from handlers.hearing import Heard
from handlers.listening import speech as listening
from handlers.listening.speech import FRAME, RATE, SPEECH, speech_parts
from handlers.speech.vad import Vad, vad
from tests.sounds import as_blocks, noise, one_after_another, read_sound, silence, sound, tone

PACKAGE = Path(find_spec("silero_vad").submodule_search_locations[0])


def said(tmp_path, text, rate=22050):
    """Synthesised speech, without the silence around it."""
    path = tmp_path / "said.wav"
    subprocess.run(["espeak-ng", "-w", path, text], check=True)
    audio = read_sound(path)
    loud = np.flatnonzero(np.abs(audio.samples[0]) > 0.01)
    audio = audio.like(np.ascontiguousarray(audio.samples[:, loud[0] : loud[-1] + 1]))
    return sound(soxr.resample(audio.samples[0], audio.rate, rate), rate)


def heard(audio, size=4096, **params):
    return vad(Heard(as_blocks(audio, size)), Vad(**params))


@pytest.fixture(scope="module")
def the_packages_own():
    """The package's `get_speech_timestamps_from_probs`, taken out of a module that needs torch."""
    source = ast.parse((PACKAGE / "utils_vad.py").read_text())
    name = "get_speech_timestamps_from_probs"
    [function] = [n for n in source.body if isinstance(n, ast.FunctionDef) and n.name == name]
    names = {"List": list}
    exec(compile(ast.Module([function], []), "utils_vad.py", "exec"), names)
    return names[name]


def wandering(seed):
    """Probabilities that stay where they are for a while."""
    rng = np.random.default_rng(seed)
    targets = np.repeat(rng.beta(0.4, 0.4, 80), rng.integers(1, 14, 80))
    return np.clip(targets + rng.normal(0, 0.08, targets.size), 0, 1).astype(np.float32)


@pytest.mark.parametrize("seed", range(12))
def test_segments_are_those_of_the_package_for_any_probabilities(the_packages_own, seed):
    rng = np.random.default_rng(100 + seed)
    probabilities = wandering(seed)
    samples = probabilities.size * FRAME - int(rng.integers(0, FRAME))
    found = 0
    for threshold in (0.0, 0.005, 0.1, 0.35, 0.5, 0.7, 0.95, 1.0):
        for shortest, silence_ms, pad in ((250, 100, 30), (0, 0, 0), (64, 333.3, 80), (500, 32, 9)):
            theirs = the_packages_own(
                probabilities.tolist(),
                threshold=threshold,
                min_speech_duration_ms=shortest,
                min_silence_duration_ms=silence_ms,
                speech_pad_ms=pad,
                audio_length_samples=samples,
            )
            ours = speech_parts(
                probabilities,
                samples,
                threshold=threshold,
                min_speech_ms=shortest,
                min_silence_ms=silence_ms,
                pad_ms=pad,
            )
            assert ours == [(part["start"], part["end"]) for part in theirs]
            found += len(ours)
    assert found > 50


def test_probabilities_are_those_of_the_model_heard_frame_by_frame(tmp_path):
    import onnxruntime

    audio = said(tmp_path, "One after the other, as in a stream.", RATE)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    model = onnxruntime.InferenceSession(
        str(PACKAGE / "data" / "silero_vad.onnx"), options, providers=["CPUExecutionProvider"]
    )
    state, context, theirs = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32), []
    samples = np.pad(audio.samples[0], (0, -audio.frames % FRAME))
    for frame in samples.reshape(-1, FRAME):
        given = np.concatenate((context, frame))[None]
        out, state = model.run(None, {"input": given, "state": state, "sr": np.array(RATE)})
        theirs.append(out[0, 0])
        context = frame[-64:]
    ours = Heard(as_blocks(audio, 777))[SPEECH]
    assert ours.size == len(theirs) > 40
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_synthesised_speech_is_found_between_its_borders(tmp_path, rate):
    words = said(tmp_path, "The quick brown fox jumps over the lazy dog.", rate)
    hiss = noise(seconds=10, rate=rate, peak_db=-50)
    around = (silence(seconds=seconds, rate=rate) for seconds in (1.5, 2, 1))
    before, between, after = around
    audio = one_after_another(before, words, between, words, after)
    audio = audio.like(audio.samples + np.resize(hiss.samples, audio.samples.shape))
    report = heard(audio, min_silence_duration_ms=600)

    spoken = words.duration
    borders = [1.5, 1.5 + spoken, 3.5 + spoken, 3.5 + 2 * spoken]
    ours = [edge for s in report.speech_segments for edge in (s.start_sec, s.end_sec)]
    # A frame is 32 ms, the pad 30, and the end of a word is soft.
    assert ours == pytest.approx(borders, abs=0.15)
    assert report.speech_ratio == pytest.approx(2 * spoken / audio.duration, abs=0.05)
    assert all(s.confidence > 0.8 for s in report.speech_segments)
    assert all(s.confidence > 0.8 for s in report.non_speech_segments)


def test_speech_and_the_rest_are_the_sound(tmp_path):
    words = said(tmp_path, "Yes. No. Perhaps.")
    audio = one_after_another(words, silence(seconds=1, rate=22050), words)
    report = heard(audio)
    parts = sorted(
        [*report.speech_segments, *report.non_speech_segments], key=lambda s: s.start_sec
    )
    edges = [(s.start_sec, s.end_sec) for s in parts]
    assert edges[0][0] == 0
    assert edges[-1][1] == report.duration == audio.duration
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(edges))
    assert [s.duration_sec for s in parts] == pytest.approx([b - a for a, b in edges], abs=1e-6)


def test_the_model_goes_on_from_one_batch_to_the_next(tmp_path, monkeypatch):
    words = said(tmp_path, "State and context go on.", RATE)
    whole = Heard(words.blocks())[SPEECH]
    monkeypatch.setattr(listening, "_BATCH", 7)
    assert np.allclose(Heard(words.blocks())[SPEECH], whole, atol=1e-6)


@pytest.mark.parametrize(
    "audio", [silence(seconds=2), tone(440, seconds=2), sound(np.zeros(0)), sound(np.ones(1))]
)
def test_where_nobody_speaks_all_is_no_speech(audio):
    report = heard(audio)
    assert report.speech_ratio == 0
    assert report.speech_segments == []
    assert sum(s.duration_sec for s in report.non_speech_segments) == pytest.approx(
        audio.duration, abs=1e-6
    )


def test_an_hour_is_heard_in_flat_memory():
    # Without samples: what grows is 4 bytes for each 32 ms.
    class Counting(listening._Speech):
        def _run(self, samples):
            assert samples.base is self._waiting or samples is self._waiting
            self._found.append(np.zeros(samples.size // FRAME, np.float32))

    counting = Counting(None, None)
    for _ in range(3600):
        counting.add(np.zeros(RATE, np.float32))
    assert counting.done().nbytes == 3600 * RATE // FRAME * 4


def test_neither_torch_nor_the_package_is_imported():
    code = (
        "import sys, numpy as np\n"
        "from handlers.artifacts import Audio\n"
        "from handlers.hearing import Heard\n"
        "from handlers.speech.vad import Vad, vad\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "vad(Heard(Audio(np.zeros((1, 16000), np.float32), 16000).blocks()), Vad())\n"
        "assert not {'torch', 'silero_vad'} & set(sys.modules)\n"
    )
    root = Path(__file__).parents[3]
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=root, env={"PYTHONPATH": str(root)}
    )


def test_the_model_is_borrowed_for_the_pass_and_given_back():
    shelf = Shelf(Models([]), engines())
    lent = []

    def borrow(slug):
        lent.append(slug)
        return shelf.borrow(slug)

    audio = noise(seconds=1.0)
    report = vad(Heard(as_blocks(audio, 4096), borrow=borrow), Vad())
    assert lent == ["silero-vad"]
    assert [(one.slug, one.lent) for one in shelf.loaded()] == [("silero-vad", 0)]
    assert report == heard(audio)


@pytest.mark.parametrize(
    "params",
    [{"threshold": 1.1}, {"min_speech_duration_ms": -1}, {"min_silence_duration_ms": -1}],
)
def test_bad_parameters_are_refused(params):
    with pytest.raises(BadParameter, match=next(iter(params))):
        registered()["vad"].read_params(params)


def test_speech_is_markers_and_a_picture(tmp_path):
    words = said(tmp_path, "Subtitles, please.")
    report = heard(words, markers="webvtt", plot=True)
    assert report.marker_file.data.startswith(b"WEBVTT\n\n00:00:00.")
    assert "Probability" in report.plot.data.decode()
