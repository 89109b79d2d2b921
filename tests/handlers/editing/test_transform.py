import subprocess

import numpy as np
import pytest

from handlers.editing.transform import transform
from handlers.errors import BadParameter
from handlers.registry import find
from tests.sounds import (
    as_blocks,
    change_db,
    noise,
    read_sound,
    silence,
    sound,
    speech,
    tone,
    write_wav,
)

RATE = 44100
TALK = speech(seconds=2, rate=RATE, channels=2, peak_db=-12)
MONO = sound(TALK.samples[:1], RATE)
SURROUND = noise(seconds=1, rate=RATE, channels=6, peak_db=-14)


def transformed(audio, *steps, block=4096):
    params = find("transform").read_params({"operations": list(steps)}, strict=True)
    return transform(as_blocks(audio, block), params).sound.whole()


def step(op, **params):
    return {"op": op, "params": params}


def sox(audio, folder, *effect):
    """What the SoX command makes of it; 32-bit float files, no dither."""
    write_wav(audio, folder / "in.wav")
    command = ["sox", "-D", "-V1", "in.wav", "-e", "float", "-b", "32", "out.wav", *effect]
    subprocess.run([*map(str, command)], cwd=folder, check=True)
    return read_sound(folder / "out.wav")


CURVE = [[-60, -80], [-40, -20], [-10, -10]]


@pytest.mark.parametrize(
    ("audio", "ours", "theirs"),
    [
        pytest.param(TALK, step("gain", db=-4.5), ["gain", -4.5], id="gain"),
        pytest.param(
            TALK,
            step("equalizer", frequency=1000, gain_db=5, width_q=2),
            ["equalizer", 1000, "2q", 5],
            id="equalizer",
        ),
        pytest.param(
            TALK,
            {"op": "compand"},
            ["compand", "0.02,0.2", "6:-70,-70,-30,-30,-20,-15,0,-10"],
            id="compand, as it comes",
        ),
        pytest.param(
            MONO,
            step("compand", attack_time=0.005, decay_time=0.5, soft_knee_db=0, tf_points=CURVE),
            ["compand", "0.005,0.5", "-60,-80,-40,-20,-10,-10"],
            id="compand with sharp corners",
        ),
        pytest.param(
            MONO,
            step("compand", attack_time=0, tf_points=[[-60, -60], [-30, -30], [0, -10]]),
            ["compand", "0,0.2", "6:-60,-60,-30,-30,0,-10"],
            id="compand with a corner that is none, at once",
        ),
        *(
            pytest.param(
                audio, {"op": "reverb"}, ["reverb", 50, 50, 100, 100, 0, 0], id=f"reverb, {name}"
            )
            for audio, name in ((TALK, "stereo"), (MONO, "mono"), (SURROUND, "six channels"))
        ),
        pytest.param(
            TALK,
            step("reverb", reverberance=90, room_scale=30, pre_delay_ms=35),
            ["reverb", 90, 50, 30, 100, 35, 0],
            id="reverb with everything",
        ),
        *(
            pytest.param(
                audio,
                step("channels", n_channels=count),
                ["channels", count],
                id=f"{audio.channels} channels to {count}",
            )
            for audio in (MONO, TALK, SURROUND)
            for count in (1, 2, 4)
        ),
        pytest.param(
            TALK,
            step("trim", start_time=0.5, end_time=1.25),
            ["trim", 0.5, "=1.25"],
            id="trim",
        ),
        pytest.param(TALK, step("trim", start_time=0.5), ["trim", 0.5], id="trim the start"),
        pytest.param(
            TALK, step("pad", start_duration=0.5, end_duration=0.25), ["pad", 0.5, 0.25], id="pad"
        ),
    ],
)
def test_sample_for_sample_it_is_what_sox_does(audio, ours, theirs, tmp_path):
    expected = sox(audio, tmp_path, *theirs)

    out = transformed(audio, ours)

    assert (out.samples.shape, out.rate) == (expected.samples.shape, expected.rate)
    np.testing.assert_allclose(out.samples, expected.samples, atol=1e-6)


@pytest.mark.parametrize("rate", [48000, 22050, 96000])
def test_a_new_rate_sounds_as_soxs(rate, tmp_path):
    expected = sox(TALK, tmp_path, "rate", rate)

    out = transformed(TALK, step("rate", samplerate=rate))

    assert (out.samples.shape, out.rate) == (expected.samples.shape, rate)
    np.testing.assert_allclose(out.samples, expected.samples, atol=1e-3)


@pytest.mark.parametrize(
    ("one", "args", "frequency"),
    [
        pytest.param(step("tempo", factor=1.3), ["tempo", 1.3], 440, id="tempo"),
        pytest.param(step("pitch", n_semitones=5), ["pitch", 500], 440 * 2 ** (5 / 12), id="pitch"),
    ],
)
def test_tempo_and_pitch_go_where_soxs_go(one, args, frequency, tmp_path):
    audio = tone(440, seconds=3, rate=RATE)

    out, expected = transformed(audio, one), sox(audio, tmp_path, *args)

    # SoX's own length is a segment off.
    assert out.frames == pytest.approx(expected.frames, abs=0.1 * RATE)
    for heard in (out, expected):
        spectrum = np.abs(np.fft.rfft(heard.samples[0, RATE // 2 : RATE + RATE // 2], 8 * RATE))
        assert spectrum.argmax() / 8 == pytest.approx(frequency, rel=0.002)


def test_steps_follow_one_another_and_nothing_clips_between():
    audio = tone(1000, peak_db=-1)

    out = transformed(audio, step("gain", db=30), step("gain", db=-36), block=333)

    assert change_db(audio, out) == pytest.approx(-6, abs=0.01)


def test_no_steps_are_no_change():
    assert np.array_equal(transformed(TALK).samples, TALK.samples)


@pytest.mark.parametrize(
    "one",
    [
        {"op": "compand"},
        step("reverb", pre_delay_ms=20),
        step("equalizer", frequency=500, gain_db=3),
    ],
    ids=lambda one: one["op"],
)
def test_the_block_size_is_never_heard(one):
    whole = transformed(TALK, one, block=TALK.frames)

    for block in (1000, 333):
        np.testing.assert_allclose(
            transformed(TALK, one, block=block).samples, whole.samples, atol=1e-7
        )


def test_a_room_that_rings_out_comes_to_rest():
    audio = sound(np.concatenate([noise(seconds=0.2).samples[0], silence(seconds=9.8).samples[0]]))

    out = transformed(audio, step("reverb", reverberance=100)).samples

    assert np.isfinite(out).all()
    assert np.abs(out[0, -4800:]).max() < 0.05


@pytest.mark.parametrize(
    ("operations", "says"),
    [
        pytest.param([step("flanger")], r"operations\[0\].*flanger", id="unknown op"),
        pytest.param([{"params": {}}], "op", id="entry without op"),
        pytest.param([{"op": "gain"}], r"operations\[0\].*params", id="required params left out"),
        pytest.param([step("gain", db=1, dB=2)], "dB", id="unknown parameter"),
        pytest.param([step("gain", db="loud")], "db", id="mistyped"),
        pytest.param([step("reverb", reverberance=101)], "reverberance", id="out of range"),
        pytest.param([step("tempo", factor=0)], "factor", id="no tempo"),
        pytest.param([step("compand", tf_points=[[-20, -20], [-30, -30]])], "rise", id="falling"),
        pytest.param([step("compand", tf_points=[[-20, -20], [3, 0]])], "above 0", id="above 0 dB"),
        pytest.param([step("compand", tf_points=[[-20]])], "tf_points", id="half a pair"),
    ],
)
def test_wrong_steps_are_named(operations, says):
    with pytest.raises(BadParameter, match=says):
        find("transform").read_params({"operations": operations}, strict=True)


@pytest.mark.parametrize(
    ("one", "says"),
    [
        pytest.param(
            step("equalizer", frequency=30000, gain_db=1),
            r"operations\[1\] \(equalizer\): 30000 Hz is too high for 44100",
            id="beyond half the rate",
        ),
        pytest.param(
            step("trim", start_time=60),
            r"operations\[1\] \(trim\): .*past the end",
            id="past the end",
        ),
        pytest.param(
            step("trim", start_time=1, end_time=0.5), "must be greater than start", id="backwards"
        ),
    ],
)
def test_what_cannot_be_done_to_this_sound_names_the_step(one, says):
    with pytest.raises(BadParameter, match=says):
        transformed(TALK, step("gain", db=1), one)
