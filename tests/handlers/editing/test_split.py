import itertools
import re
import subprocess

import numpy as np
import pytest

from handlers import chain
from handlers.declare import registered
from handlers.editing.split import Split, split
from handlers.errors import BadParameter, CannotProcess
from handlers.silences import loud_ranges
from tests.sounds import as_blocks, noise, one_after_another, silence, sound, speech, write_wav


def parts_of(audio, size=32768, **params):
    out = split(as_blocks(audio, size), Split.model_validate(params))
    return out, {name: part.whole().samples for name, part in out.artifacts()}


@pytest.mark.parametrize("size", [1, 333, 4096])
def test_equal_parts_are_the_sound_and_differ_by_one_sample_at_most(size):
    audio = noise(channels=2, seconds=0.1)
    out, parts = parts_of(audio, size, count=7)
    assert list(parts) == [f"segment_{k:03}" for k in range(7)]
    assert out.descriptor() == {"segments": 7, "mode": "equal"}
    np.testing.assert_array_equal(np.hstack(list(parts.values())), audio.samples)
    lengths = [part.shape[1] for part in parts.values()]
    assert max(lengths) - min(lengths) <= 1


def test_more_than_a_thousand_parts_still_sort_by_name():
    _, parts = parts_of(noise(seconds=0.1), count=1001)
    assert list(parts) == sorted(parts)
    assert "segment_1000" in parts
    assert "segment_0000" in parts


@pytest.mark.parametrize("size", [1, 333, 4096])
def test_silence_is_left_out_and_what_is_between_kept_to_the_sample(size):
    loud = sound(np.full(4800, 0.5))
    audio = one_after_another(
        silence(seconds=0.5), loud, silence(seconds=0.5), loud, silence(seconds=0.2), loud,
        silence(seconds=0.1),
    )  # fmt: skip
    out, parts = parts_of(audio, size, mode="silence", min_duration_sec=0.5)
    assert out.descriptor() == {"segments": 2, "mode": "silence"}
    np.testing.assert_array_equal(parts["segment_000"], loud.samples)
    # What is quiet for less than half a second is no silence, at the end neither.
    assert parts["segment_001"].shape[1] == 4800 + 9600 + 4800 + 4800


def test_one_loud_channel_is_enough():
    audio = sound(np.stack([np.zeros(48000), np.full(48000, 0.1)]))
    assert loud_ranges(audio.blocks(), -30, 0.5) == [(0, 48000)]


@pytest.mark.parametrize("threshold_db", [-50, -30, -20])
def test_the_silences_are_those_that_ffmpeg_finds(tmp_path, threshold_db):
    audio = speech(seconds=8)
    path = write_wav(audio, tmp_path / "speech.wav")
    said = subprocess.run(
        ["ffmpeg", "-hide_banner", "-i", path, "-af",
         f"silencedetect=noise={threshold_db}dB:duration=0.2", "-f", "null", "-"],
        capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    begins = [float(t) for t in re.findall(r"silence_start: ([\d.]+)", said)]
    ends = [float(t) for t in re.findall(r"silence_end: ([\d.]+)", said)]
    loud = loud_ranges(audio.blocks(), threshold_db, 0.2)
    ours = [(a[1] / 48000, b[0] / 48000) for a, b in itertools.pairwise(loud)]
    theirs = [pair for pair in zip(begins, ends, strict=False) if pair[0] > 0.001]
    assert len(ours) > 2
    for (begin, end), (their_begin, their_end) in zip(ours, theirs, strict=False):
        assert begin == pytest.approx(their_begin, abs=0.001)
        assert end == pytest.approx(their_end, abs=0.001)


def test_a_chain_gives_each_part_by_its_name(tmp_path):
    op = registered()["split"]
    assert op.kind == "zip"
    step = chain.Step(op, op.read_params({"count": 3}))
    outcome = chain.run(
        noise().blocks(),
        [step],
        chain.Desk(lambda: tmp_path, 2**20),
        chain.Monitor(lambda *_: None, 1),
    )
    assert outcome.sound is None
    assert outcome.changed
    assert list(outcome.sounds) == ["segment_000", "segment_001", "segment_002"]
    assert outcome.reports[0].facts == {"segments": 3, "mode": "equal"}


@pytest.mark.parametrize(
    ("params", "says"),
    [
        pytest.param({}, "mode equal needs count", id="equal without a count"),
        pytest.param({"count": 1}, "count = 1", id="one part"),
        pytest.param({"mode": "beats"}, 'mode = "beats"', id="unknown mode"),
        pytest.param({"mode": "silence", "threshold_db": 3}, "threshold_db", id="above 0 dBFS"),
        pytest.param({"mode": "silence", "min_duration_sec": 0}, "min_duration", id="no duration"),
    ],
)
def test_what_makes_no_parts_is_refused(params, says):
    with pytest.raises(BadParameter, match=says):
        registered()["split"].read_params(params)


def test_nothing_but_silence_and_more_parts_than_samples_are_refused():
    with pytest.raises(CannotProcess, match="nothing but silence"):
        parts_of(noise(peak_db=-40), mode="silence")
    with pytest.raises(BadParameter, match="count = 9 is too many: the sound has 8 samples"):
        parts_of(sound(np.ones(8)), count=9)
