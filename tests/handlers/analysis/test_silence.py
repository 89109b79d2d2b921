import re
import subprocess

import numpy as np
import pytest

from handlers import chain
from handlers.analysis.silence import Silence
from handlers.analysis.silence import silence as find
from handlers.declare import registered
from handlers.errors import BadParameter, CannotProcess
from handlers.hearing import Heard
from handlers.silences import between, loud_ranges
from tests.sounds import as_blocks, noise, one_after_another, silence, sound, speech, write_wav

RATE = 48000


def found(audio, size=4096, **params):
    return find(Heard(as_blocks(audio, size)), Silence(**params))


def loud(seconds, value=0.5):
    return sound(np.full(round(seconds * RATE), value))


#: 0.2 s quiet, 0.1 loud, 0.7 quiet, 0.1 loud, 0.3 quiet, 0.1 loud, 0.6 quiet.
PIECE = one_after_another(
    *(silence(seconds=0.2), loud(0.1), silence(seconds=0.7), loud(0.1, -0.3)),
    *(silence(seconds=0.3), loud(0.1), silence(seconds=0.6)),
)


@pytest.mark.parametrize("size", [1, 333, 4096, 200_000])
def test_silences_are_found_to_the_sample(size):
    report = found(PIECE, size).descriptor()
    assert report == {
        "trim_mode": None,
        "silent_ratio": round(1.3 / 2.1, 6),
        "silent_ranges": [
            {"start_sec": 0.3, "end_sec": 1.0, "duration_sec": 0.7},
            {"start_sec": 1.5, "end_sec": 2.1, "duration_sec": 0.6},
        ],
        "non_silent_ranges": [
            {"start_sec": 0.0, "end_sec": 0.3},
            {"start_sec": 1.0, "end_sec": 1.5},
        ],
        "duration": 2.1,
        "threshold_db": -30.0,
        "min_duration_sec": 0.5,
    }


@pytest.mark.parametrize("size", [1, 777, 4096])
@pytest.mark.parametrize("gap", [1, 5, 40])
def test_ranges_are_those_of_a_plain_search(size, gap):
    rng = np.random.default_rng(gap)
    audio = sound(rng.choice([0.0, 0.2], (2, 3000), p=[1 - 0.3 / gap, 0.3 / gap]), 8000)
    quiet = "".join("q" if not frame.any() else "L" for frame in audio.samples.T)
    silences = [match.span() for match in re.finditer(f"q{{{gap},}}", quiet)]
    ours = loud_ranges(as_blocks(audio, size), -20, gap / 8000)
    assert between(ours, 3000) == silences
    assert len(silences) > 3


@pytest.mark.parametrize("threshold_db", [-50, -30, -20])
def test_ffmpeg_finds_the_same(tmp_path, threshold_db):
    audio = speech(seconds=8)
    said = subprocess.run(
        ["ffmpeg", "-hide_banner", "-i", write_wav(audio, tmp_path / "x.wav"), "-af",
         f"silencedetect=noise={threshold_db}dB:duration=0.2", "-f", "null", "-"],
        capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    begins = [float(t) for t in re.findall(r"silence_start: ([\d.]+)", said)]
    ends = [float(t) for t in re.findall(r"silence_end: ([\d.]+)", said)]
    ours = found(audio, threshold_db=threshold_db, min_duration_sec=0.2).silent_ranges
    assert len(ours) > 2
    assert [s.start_sec for s in ours] == pytest.approx(begins, abs=0.001)
    assert [s.end_sec for s in ours] == pytest.approx(ends, abs=0.001)


@pytest.mark.parametrize(
    ("params", "kept"),
    [
        pytest.param({"trim_mode": "edges"}, [(0, 1.5)], id="edges"),
        pytest.param({"trim_mode": "edges", "min_duration_sec": 0.1}, [(0.2, 1.5)], id="shorter"),
        pytest.param({"trim_mode": "all"}, [(0, 0.3), (1.0, 1.5)], id="all"),
        pytest.param(
            {"trim_mode": "all", "keep_sec": 0.1}, [(0, 0.4), (0.9, 1.6)], id="a bit is kept"
        ),
        pytest.param({"trim_mode": "all", "keep_sec": 0.35}, [(0, 1.85)], id="nothing to cut"),
    ],
)
@pytest.mark.parametrize("size", [333, 50_000])
def test_what_is_left_is_what_was_there_to_the_sample(params, kept, size):
    parts = [PIECE.samples[:, round(a * RATE) : round(b * RATE)] for a, b in kept]
    trimmed = found(PIECE, size, **params).trimmed_audio
    np.testing.assert_array_equal(trimmed.whole().samples, np.concatenate(parts, axis=1))


def test_trimming_makes_one_pass_in_flat_memory():
    passes = []

    def pieces():
        passes.append(1)
        for number in range(600):
            yield np.full((1, 4800), 0.5 if number % 20 < 3 else 0.0, np.float32)

    from handlers.artifacts import Blocks

    audio = Blocks(pieces, rate=RATE, channels=1, frames=600 * 4800)
    trimmed = find(Heard(audio), Silence(trim_mode="all")).trimmed_audio
    assert len(passes) == 1
    assert sum(block.shape[1] for block in trimmed) == trimmed.frames == 30 * 3 * 4800
    assert len(passes) == 2


def test_nothing_but_silence_cannot_be_trimmed_but_reported():
    audio = noise(seconds=1, peak_db=-40)
    report = found(audio)
    assert [(s.start_sec, s.end_sec) for s in report.silent_ranges] == [(0, 1)]
    assert report.non_silent_ranges == []
    assert report.trimmed_audio is None
    with pytest.raises(CannotProcess, match="threshold_db = -30 dBFS"):
        found(audio, trim_mode="all")


@pytest.mark.parametrize(
    "params",
    [{"threshold_db": 0.5}, {"min_duration_sec": 0}, {"trim_mode": "middle"}, {"keep_sec": -1}],
)
def test_bad_parameters_are_refused(params):
    with pytest.raises(BadParameter, match=next(iter(params))):
        registered()["silence"].read_params(params)


def test_too_many_silences_are_refused_with_the_parameter_to_change(monkeypatch):
    monkeypatch.setattr("handlers.silences._MOST", 100)
    audio = sound(np.tile([0.5, 0.0], 500))
    with pytest.raises(CannotProcess, match="more than 100 silences") as refused:
        found(audio, min_duration_sec=1e-5)
    assert refused.value.field == "min_duration_sec"


def test_silences_are_markers_and_a_picture():
    report = found(PIECE, markers="audacity", plot=True)
    assert report.marker_file.data.decode().splitlines() == [
        "0.300000\t1.000000\tsilence",
        "1.500000\t2.100000\tsilence",
    ]
    assert "-30 dBFS" in report.plot.data.decode()


def test_in_a_chain_the_trimmed_sound_goes_on(tmp_path):
    steps = [
        chain.Step(op, op.read_params(params))
        for op, params in (
            (registered()["silence"], {"trim_mode": "all"}),
            (registered()["loudness"], {}),
        )
    ]
    outcome = chain.run(
        PIECE.blocks(),
        steps,
        chain.Desk(lambda: tmp_path, 2**20),
        chain.Monitor(lambda *_: None, 1),
    )
    assert outcome.sound.frames == round(0.8 * RATE)
    assert [report.op for report in outcome.reports] == ["silence", "loudness"]
