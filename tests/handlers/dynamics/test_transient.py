import numpy as np
import pytest

from handlers.dynamics.transient import Transient, transient
from tests.sounds import as_blocks, change_db, noise, one_after_another, silence, sound, tone

RATE = 48000


def shaped(audio, size=32768, **params):
    return transient(as_blocks(audio, size), Transient(**params)).whole()


def hits(decay=0.08, seed=1, peak_db=-6.0):
    """Four hits of noise, half a second apart, that decay with this time constant."""
    t = np.arange(RATE // 2) / RATE
    one = noise(seed, seconds=0.5, peak_db=peak_db)
    hit = one.like((one.samples * np.exp(-t / decay)).astype(np.float32))
    return one_after_another(silence(seconds=0.25), hit, hit, hit, hit)


def at_attacks(audio):
    return [(0.25 + 0.5 * k, 0.25 + 0.5 * k + 0.010) for k in range(4)]


def in_tails(audio):
    return [(0.25 + 0.5 * k + 0.2, 0.25 + 0.5 * k + 0.4) for k in range(4)]


def test_both_zero_is_the_identity():
    drums = hits()
    np.testing.assert_array_equal(shaped(drums).samples, drums.samples)


@pytest.mark.parametrize("gain_db", [-12, -6, 6, 12])
def test_the_attack_is_moved_and_the_tail_is_not(gain_db):
    drums = hits()
    out = shaped(drums, attack_gain_db=gain_db)
    for part in at_attacks(drums):
        change = change_db(drums, out, at=part)
        assert change / gain_db > 0.7
        assert abs(change) <= abs(gain_db) + 0.1
    for part in in_tails(drums):
        assert abs(change_db(drums, out, at=part)) < 0.25


@pytest.mark.parametrize("gain_db", [-12, -6, 6, 12])
def test_the_sustain_is_moved_and_the_attack_is_not(gain_db):
    drums = hits()
    out = shaped(drums, sustain_gain_db=gain_db)
    for part in in_tails(drums):
        assert change_db(drums, out, at=part) / gain_db > 0.6
    for part in at_attacks(drums):
        assert abs(change_db(drums, out, at=part)) < 0.6


def test_a_negative_attack_does_not_ignore_the_sustain():
    drums = hits()
    out = shaped(drums, attack_gain_db=-6, sustain_gain_db=6)
    assert change_db(drums, out, at=at_attacks(drums)[1]) < -3
    assert change_db(drums, out, at=in_tails(drums)[1]) > 3


@pytest.mark.parametrize("freq", [50, 440, 5000])
def test_a_steady_tone_is_left_alone(freq):
    steady = tone(freq, seconds=2)
    out = shaped(steady, attack_gain_db=12, sustain_gain_db=-12)
    assert change_db(steady, out, at=(1, 2)) == pytest.approx(0, abs=0.1)


def test_level_makes_no_difference():
    loud, soft = hits(peak_db=0), hits(peak_db=-30)
    params = {"attack_gain_db": 9, "sustain_gain_db": -9}
    louder, softer = shaped(loud, **params), shaped(soft, **params)
    for part in (*at_attacks(loud), *in_tails(loud)):
        same = change_db(soft, softer, at=part)
        assert change_db(loud, louder, at=part) == pytest.approx(same, abs=0.4)


def test_the_gain_is_there_when_the_hit_begins_and_nothing_is_shifted():
    step = one_after_another(silence(seconds=0.5), tone(1000, phase=np.pi / 2, seconds=0.5))
    out = shaped(step, attack_gain_db=6)
    assert out.frames == step.frames
    assert not out.samples[0, :24000].any()
    assert 20 * np.log10(out.samples[0, 24000] / step.samples[0, 24000]) > 5


def test_channels_move_together():
    drums = hits()
    spread = sound(np.vstack([drums.samples, 0.1 * drums.samples]))
    out = shaped(spread, attack_gain_db=9, sustain_gain_db=-9)
    np.testing.assert_allclose(out.samples[1], out.samples[0] * 0.1, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("size", [1, 333, 4096])
def test_the_block_size_is_never_heard(size):
    audio = noise(seconds=0.2, channels=2)
    whole = shaped(audio, attack_gain_db=6, sustain_gain_db=6)
    out = shaped(audio, size, attack_gain_db=6, sustain_gain_db=6)
    np.testing.assert_allclose(out.samples, whole.samples, rtol=2e-6)


@pytest.mark.parametrize("rate", [8000, 192000])
def test_silence_stays_silent_at_any_rate(rate):
    out = shaped(silence(rate=rate, channels=3), attack_gain_db=20, sustain_gain_db=20)
    assert out.frames == rate
    assert not out.samples.any()
