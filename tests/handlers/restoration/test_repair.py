import numpy as np
import pytest
from scipy.interpolate import CubicHermiteSpline

from handlers.declare import registered
from handlers.errors import BadParameter
from handlers.restoration.repair import Repair, repair
from tests.sounds import (
    as_blocks,
    change_db,
    difference_db,
    level_db,
    noise,
    peak_db,
    silence,
    sound,
    speech,
    tone,
)

RATE = 48000


def repaired(audio, size=32768, **params):
    return repair(as_blocks(audio, size), Repair(**params)).sound.whole()


def clipped(audio):
    return audio.like(np.clip(audio.samples, -1, 1))


def error_db(wanted, got):
    return level_db(wanted.like(wanted.samples - got.samples))


@pytest.mark.parametrize(
    ("freq", "peak", "better_by_db"),
    [
        pytest.param(50, 6, 18, id="bass, 6 dB over"),
        pytest.param(440, 6, 18, id="6 dB over"),
        pytest.param(440, 12, 10, id="12 dB over"),
        pytest.param(3010, 3, 20, id="treble, 3 dB over"),
    ],
)
def test_a_clipped_sine_comes_back(freq, peak, better_by_db):
    wanted = tone(freq, peak_db=peak)
    broken = clipped(wanted)
    mended = repaired(broken, make_room=False)
    assert error_db(wanted, mended) < error_db(wanted, broken) - better_by_db


def test_a_peak_is_a_cubic_hermite_curve_and_not_a_line():
    x = np.array([-0.6, -0.1, 0.4, 0.9, 1, 1, 1, 1, 0.9, 0.3, -0.3, -0.9])
    padded = np.pad(x, 100)
    out = repaired(sound(padded), make_room=False).samples[0, 100:112]
    # It climbs by 0.5 per sample and falls by 0.6, straight on either side.
    curve = CubicHermiteSpline([3, 8], [0.9, 0.9], [0.5, -0.6])
    np.testing.assert_allclose(out[4:8], np.maximum(curve([4, 5, 6, 7]), 1), rtol=1e-6)
    assert out[5] > 1.5
    np.testing.assert_array_equal(out[:4], x[:4].astype(np.float32))
    np.testing.assert_array_equal(out[8:], x[8:].astype(np.float32))


def test_troughs_are_mended_like_peaks_and_channels_apart():
    wave = clipped(tone(440, peak_db=6)).samples[0]
    both = repaired(sound(np.stack([wave, -wave, 0.5 * wave])), make_room=False).samples
    np.testing.assert_array_equal(both[0], -both[1])
    assert np.abs(both[0]).max() > 1.8
    np.testing.assert_array_equal(both[2], np.float32(0.5) * wave)


def test_no_sample_outside_a_clipped_run_is_touched():
    broken = clipped(speech(peak_db=6))
    mended = repaired(broken, make_room=False)
    whole = np.abs(broken.samples) < 0.999
    np.testing.assert_array_equal(mended.samples[whole], broken.samples[whole])
    assert (np.abs(mended.samples[~whole]) >= np.abs(broken.samples[~whole])).all()


@pytest.mark.parametrize(
    "audio",
    [
        pytest.param(tone(peak_db=0), id="peaks that just reach full scale"),
        pytest.param(noise(peak_db=0), id="noise"),
        pytest.param(sound(np.ones(RATE)), id="full scale throughout"),
        pytest.param(silence(), id="silence"),
        pytest.param(sound(np.ones((2, 1))), id="one sample"),
    ],
)
def test_what_is_not_clipped_stays_as_it_is(audio):
    # A sine may lie within 0.999 for some samples: then its curve is the sine itself.
    assert difference_db(audio, repaired(audio)) < -55


def test_slopes_of_a_square_wave_are_not_believed():
    square = sound(np.sign(tone(100, peak_db=0).samples))
    assert peak_db(repaired(square, make_room=False)) < 13


def test_room_is_made_for_what_was_rebuilt_and_said():
    broken = clipped(tone(440, peak_db=6))
    result = repair(broken.blocks(), Repair())
    mended = result.sound.whole()
    assert peak_db(mended) == pytest.approx(-0.1, abs=0.01)
    as_it_is = repaired(broken, make_room=False)
    assert result.gain_db == pytest.approx(-0.1 - peak_db(as_it_is), abs=1e-3)
    assert change_db(as_it_is, mended) == pytest.approx(result.gain_db, abs=1e-3)
    told = {"declip": True, "dehum": False, "hum_freq": 50, "gain_db": result.gain_db}
    assert result.descriptor() == told


@pytest.mark.parametrize("hum_freq", [50, 60])
@pytest.mark.parametrize("harmonic", [1, 2, 3, 4])
def test_hum_is_gone_from_the_first_sample_on(hum_freq, harmonic):
    hum = tone(hum_freq * harmonic, seconds=3, phase=1.0)
    out = repaired(hum, declip=False, dehum=True, hum_freq=hum_freq)
    assert change_db(hum, out, at=(0, 0.1)) < -40
    assert change_db(hum, out, at=(1, 3)) < -50


def test_the_music_between_the_notches_stays():
    for freq in (30, 75, 125, 250, 440, 5000):
        music = tone(freq, seconds=3)
        out = repaired(music, declip=False, dehum=True)
        assert abs(change_db(music, out, at=(1, 3))) < 0.25


def test_hum_under_speech_is_taken_and_the_speech_left():
    voice, hum = speech(seconds=3), tone(100, seconds=3, peak_db=-20)
    out = repaired(sound(voice.samples + hum.samples), declip=False, dehum=True)
    # What is wrong now is mostly what the voice itself had at 100 Hz.
    assert error_db(voice, out) < level_db(hum) - 5


def test_harmonics_above_the_sound_are_left_out():
    out = repaired(tone(80, rate=500, seconds=2), declip=False, dehum=True, hum_freq=80)
    assert np.isfinite(out.samples).all()


@pytest.mark.parametrize("size", [1, 333, 4096])
@pytest.mark.parametrize("at", [0, 32768 - 100, 32768 + 1100])
def test_the_block_size_is_never_heard(size, at):
    # Clipped stretches across the borders of what is looked at together.
    broken = clipped(sound(np.roll(speech(seconds=0.8, peak_db=9).samples[0], at), channels=2))
    params = {"declip": True, "dehum": True}
    whole = repaired(broken, **params)
    np.testing.assert_allclose(repaired(broken, size, **params).samples, whole.samples, atol=1e-7)


@pytest.mark.parametrize("params", [{"declip": False}, {"hum_freq": 39}, {"hum_freq": 81}], ids=str)
def test_out_of_range_or_nothing_to_do_is_refused(params):
    with pytest.raises(BadParameter, match=next(iter(params))):
        registered()["repair"].read_params(params)
