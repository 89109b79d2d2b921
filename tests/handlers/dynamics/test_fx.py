from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import signal

from handlers import pedals
from handlers.artifacts import NamedSound
from handlers.dynamics.fx import fx
from handlers.errors import BadParameter, CannotProcess, MistypedParameter
from handlers.registry import find
from rules.orders import SoundRef, named_items
from tests.sounds import as_blocks, change_db, clicks, level_db, noise, sound, tone

RATE = 44100
CONTRACT = next(
    entry
    for entry in yaml.safe_load(
        (Path(__file__).parents[2] / "contract" / "operations.yaml").read_text()
    )["operations"]
    if entry["name"] == "fx"
)["params"]["effects"]
NAMES = CONTRACT["item_type_enum"]
#: Those that work without a parameter, and at any rate.
PLAIN = [name for name in NAMES if name not in ("Convolution", "PitchShift", "MP3Compressor")]


def affected(audio, *effects, block=4096, impulses=None):
    params = find("fx").read_params({"effects": list(effects)}, strict=True)
    return fx(as_blocks(audio, block), impulses, params).sound.whole()


def effect(name, **params):
    return {"type": name, "params": params}


def impulse(name, audio):
    return NamedSound(name=name).opened(as_blocks(audio, 1000))


def test_the_list_and_its_defaults_are_those_of_the_contract():
    assert [kind.__name__ for kind in pedals.KINDS] == NAMES
    for kind in pedals.KINDS:
        said = CONTRACT["effect_params"][kind.__name__]
        if not isinstance(said, dict):
            assert not kind.model_fields
            continue
        ours = {name: field.default for name, field in kind.model_fields.items()}
        assert ours.keys() == said.keys()
        for name, default in ours.items():
            if not isinstance(said[name], str) or " " not in said[name]:
                assert default == said[name], (kind, name)
    assert pedals.LadderFilter().mode == "LPF12"


@pytest.mark.parametrize("name", [n for n in PLAIN if n != "IIRFilter"])
def test_it_sounds_as_pedalboard_does_on_the_whole_sound(name):
    import pedalboard

    audio = noise(seconds=1.5, rate=RATE, channels=1, peak_db=-8)
    theirs = getattr(pedalboard, name)().process(audio.samples, RATE)

    ours = affected(audio, effect(name)).samples

    if name == "GSMFullRateCompressor":  # where its frames begin differs by part of a frame
        ours, theirs = (signal.decimate(x[0], 40)[None] for x in (ours, theirs))
        np.testing.assert_allclose(np.std(ours), np.std(theirs), rtol=0.1)
    else:
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("name", [*PLAIN, "PitchShift", "MP3Compressor"])
def test_the_block_size_is_never_heard(name):
    audio = noise(seconds=1.2, rate=RATE, channels=2)
    params = {"semitones": 2} if name == "PitchShift" else {}

    whole = affected(audio, effect(name, **params), block=audio.frames)

    for block in (333, 8192):
        pieces = affected(audio, effect(name, **params), block=block)
        assert np.array_equal(pieces.samples, whole.samples)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        *[(name, {}) for name in PLAIN if name not in ("Delay", "Reverb", "NoiseGate", "Chorus")],
        ("PitchShift", {"semitones": 2}),
        ("MP3Compressor", {}),
    ],
)
def test_no_effect_delays_the_sound(name, params):
    audio = clicks([1.0], seconds=2, rate=RATE, peak_db=-1)

    out = affected(audio, effect(name, **params))

    assert out.frames == audio.frames
    # A ladder filter at 200 Hz answers late by its own nature, by no more than 2 ms.
    assert abs(int(np.abs(out.samples[0]).argmax()) - RATE) < 0.002 * RATE


@pytest.mark.parametrize(
    ("chain", "audio", "expected_db"),
    [
        pytest.param([effect("Gain", gain_db=-7)], tone(1000), -7, id="gain"),
        pytest.param(
            [effect("Compressor", threshold_db=-18, ratio=4, attack_ms=1, release_ms=50)],
            tone(1000, peak_db=-6, seconds=2),
            -9,
            id="compressor: 12 dB over at 4:1",
        ),
        pytest.param(
            [effect("HighpassFilter", cutoff_frequency_hz=1000)], tone(1000), -3.01, id="high-pass"
        ),
        pytest.param(
            [effect("LowpassFilter", cutoff_frequency_hz=1000)], tone(4000), -12.3, id="low-pass"
        ),
        pytest.param(
            [effect("PeakFilter", cutoff_frequency_hz=1000, gain_db=6, q=1)],
            tone(1000),
            6,
            id="peak",
        ),
        pytest.param(
            [effect("LowShelfFilter", cutoff_frequency_hz=2000, gain_db=-8)],
            tone(100),
            -8,
            id="low shelf",
        ),
        pytest.param(
            [effect("HighShelfFilter", cutoff_frequency_hz=500, gain_db=5)],
            tone(12000),
            5,
            id="high shelf",
        ),
        pytest.param(
            [effect("Gain", gain_db=3), effect("Invert"), effect("Gain", gain_db=-5)],
            tone(1000),
            -2,
            id="a chain",
        ),
    ],
)
def test_levels_are_what_arithmetic_says(chain, audio, expected_db):
    assert change_db(audio, affected(audio, *chain), (0.5, 0.9)) == pytest.approx(
        expected_db, abs=0.4
    )


def test_a_bitcrusher_leaves_its_steps_and_a_clipper_its_ceiling():
    audio = tone(100, peak_db=0)

    crushed = affected(audio, effect("Bitcrush", bit_depth=4)).samples
    clipped = affected(audio, effect("Clipping", threshold_db=-6)).samples

    assert len(np.unique(crushed)) <= 33
    assert np.abs(clipped).max() == pytest.approx(10 ** (-6 / 20), rel=1e-5)


def test_pitch_shift_shifts_the_pitch():
    out = affected(tone(440, seconds=2, rate=RATE), effect("PitchShift", semitones=12)).samples[0]

    spectrum = np.abs(np.fft.rfft(out[RATE // 2 : RATE + RATE // 2] * np.hanning(RATE)))
    assert spectrum.argmax() == 880


def test_the_empty_chain_and_the_empty_filter_pass_the_sound_on():
    audio = noise(seconds=0.3, channels=3)

    for chain in ([], [effect("IIRFilter")]):
        assert np.array_equal(affected(audio, *chain).samples, audio.samples)


@pytest.mark.parametrize("name", [*PLAIN, "PitchShift", "MP3Compressor"])
def test_channels_beyond_two_go_through_as_they_would_alone(name):
    audio = noise(seconds=0.8, rate=RATE, channels=5)

    five = affected(audio, effect(name)).samples

    # Pairs where an effect works on pairs; no channel hears another pair.
    pair = affected(sound(audio.samples[2:4], RATE), effect(name)).samples
    last = affected(sound(audio.samples[4:], RATE), effect(name)).samples
    np.testing.assert_array_equal(five[2:4], pair)
    np.testing.assert_array_equal(five[4:], last)


@pytest.mark.parametrize("mix", [1.0, 0.25])
def test_a_convolution_is_the_convolution_with_the_named_sound(mix):
    audio = noise(seconds=1, rate=RATE, channels=2, peak_db=-12)
    decay = np.random.default_rng(3).standard_normal(5000) * np.exp(-np.arange(5000) / 900) / 20
    params = {"impulse_response_filename": "rooms/hall.wav", "mix": mix}

    out = affected(
        audio,
        effect("Convolution", **params),
        impulses=[impulse("rooms/hall.wav", sound(decay, RATE))],
    ).samples

    # JUCE brings every response to the same energy, 18 dB down.
    level = 0.125 / np.sqrt(np.sum(decay**2))
    wet = level * signal.fftconvolve(audio.samples, decay[None], axes=1)[:, : audio.frames]
    np.testing.assert_allclose(out, (1 - mix) * audio.samples + mix * wet, atol=2e-5)


def test_parameters_name_their_sounds_and_a_surface_resolves_each_once():
    op = find("fx")
    effects = [
        effect("Convolution", impulse_response_filename="a.wav"),
        effect("Gain"),
        effect("Convolution", impulse_response_filename="b.wav"),
        effect("Convolution", impulse_response_filename="a.wav", mix=0.5),
    ]
    params = op.read_params({"effects": effects}, strict=True)

    found = named_items(op, params, lambda name: SoundRef(path=Path("/staged") / name, name=name))

    assert op.sounds_named(params) == {"impulses": ["a.wav", "b.wav"]}
    assert [item.sound.path for item in found["impulses"]] == [
        Path("/staged/a.wav"),
        Path("/staged/b.wav"),
    ]
    assert [item.settings for item in found["impulses"]] == [{"name": "a.wav"}, {"name": "b.wav"}]


def test_a_response_that_no_surface_resolved_is_never_opened(tmp_path):
    path = tmp_path / "ir.wav"
    path.write_bytes(b"not read")

    with pytest.raises(BadParameter, match="there is no sound"):
        affected(tone(), effect("Convolution", impulse_response_filename=str(path)))


def test_a_response_of_many_channels_is_refused():
    with pytest.raises(CannotProcess, match="6 channels"):
        affected(
            tone(),
            effect("Convolution", impulse_response_filename="x.wav"),
            impulses=[impulse("x.wav", noise(channels=6))],
        )


@pytest.mark.parametrize(
    ("effects", "says"),
    [
        pytest.param([effect("VST3Plugin")], r"effects\[0\].*VST3Plugin", id="plugin host"),
        pytest.param([effect("load_plugin")], r"effects\[0\]", id="anything else"),
        pytest.param(
            [effect("Gain"), effect("Reverb", roomsize=1)],
            "Reverb has no parameter roomsize; it has: room_size",
            id="unknown parameter",
        ),
        pytest.param([effect("Reverb", room_size=1.5)], "room_size = 1.5", id="out of range"),
        pytest.param([effect("Gain", gain_db="loud")], "gain_db", id="mistyped"),
        pytest.param([effect("Gain", gain_db=True)], "gain_db", id="a boolean is no number"),
        pytest.param([{"params": {}}], "type", id="without a type"),
        pytest.param([{"type": "Gain", "params": []}], "params", id="params not an object"),
        pytest.param([{"type": "Gain", "parms": {}}], "parms", id="unknown key"),
        pytest.param([{"type": "Convolution"}], "params", id="convolution with nothing"),
    ],
)
def test_what_is_wrong_is_named(effects, says):
    with pytest.raises(BadParameter, match=says):
        find("fx").read_params({"effects": effects}, strict=True)


@pytest.mark.parametrize("text", ["[{", '{"type": "Gain"}', '"Gain"'])
def test_effects_that_are_no_list_are_refused(text):
    with pytest.raises((BadParameter, MistypedParameter), match="effects"):
        find("fx").read_params({"effects": text})


@pytest.mark.parametrize(
    ("rate", "one", "says"),
    [
        pytest.param(
            8000,
            effect("LowpassFilter", cutoff_frequency_hz=5000),
            "5000.0 Hz is too high for 8000",
            id="beyond half the rate",
        ),
        pytest.param(96000, effect("MP3Compressor"), "not at 96000", id="no rate of MP3"),
    ],
)
def test_what_cannot_be_at_this_rate_is_refused_at_the_call(rate, one, says):
    params = find("fx").read_params({"effects": [one]}, strict=True)
    with pytest.raises(BadParameter, match=says):
        fx(as_blocks(tone(rate=rate), 4096), None, params)


def test_a_telephone_of_each_channel_keeps_the_image():
    left = tone(500, seconds=1, rate=RATE).samples[0]
    audio = sound(np.stack([left, np.zeros_like(left)]), RATE)

    out = affected(audio, effect("GSMFullRateCompressor"))

    assert level_db(sound(out.samples[:1], RATE)) > -15
    assert level_db(sound(out.samples[1:], RATE)) < -60
