import numpy as np
import pytest

from handlers.declare import registered
from handlers.dynamics.sidechain_duck import SidechainDuck, sidechain_duck
from handlers.errors import BadParameter
from tests.sounds import (
    as_blocks,
    change_db,
    difference_db,
    noise,
    one_after_another,
    silence,
    sound,
    tone,
)


def ducked(bed, host, size=32768, host_size=32768, **params):
    p = SidechainDuck(**params)
    return sidechain_duck(as_blocks(bed, size), as_blocks(host, host_size), p).whole()


@pytest.mark.parametrize(
    ("trigger_db", "threshold_db", "ratio", "expected_db"),
    [
        pytest.param(-8, -20, 4, -9, id="12 dB over at 4:1"),
        pytest.param(-8, -20, 1, 0, id="a ratio of one does nothing"),
        pytest.param(-30, -20, 4, 0, id="below the threshold"),
    ],
)
def test_a_steady_trigger_takes_its_share(trigger_db, threshold_db, ratio, expected_db):
    bed, host = tone(440, seconds=2), tone(1000, seconds=2, peak_db=trigger_db)
    wet = ducked(bed, host, threshold_db=threshold_db, ratio=ratio)
    assert change_db(bed, wet, at=(1, 2)) == pytest.approx(expected_db, abs=0.3)


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_trigger_may_have_another_rate_and_other_channels(rate, channels):
    bed = noise(seconds=2, channels=2, rate=48000)
    host = tone(1000, seconds=2, rate=rate, channels=channels, peak_db=-8)
    wet = ducked(bed, host)
    assert (wet.rate, wet.samples.shape) == (bed.rate, bed.samples.shape)
    assert change_db(bed, wet, at=(1, 2)) == pytest.approx(-9, abs=0.3)


def test_the_bed_keeps_its_length_and_comes_back_after_a_shorter_trigger():
    bed, host = tone(440, seconds=3), tone(1000, seconds=1, peak_db=-8)
    wet = ducked(bed, host, release_ms=100)
    assert wet.frames == bed.frames
    assert change_db(bed, wet, at=(0.5, 1)) < -8
    assert change_db(bed, wet, at=(2, 3)) == pytest.approx(0, abs=0.1)


def test_a_longer_trigger_adds_nothing():
    bed = tone(440, seconds=1)
    assert ducked(bed, tone(1000, seconds=3)).frames == bed.frames


def test_ducking_begins_and_ends_where_the_trigger_does():
    host = one_after_another(silence(), tone(1000, peak_db=-2), silence())
    bed = sound(np.ones(3 * 48000), channels=2)
    gain = ducked(bed, host, attack_ms=5, release_ms=50).samples[0]
    assert (gain[:48000] == 1).all()
    assert gain[48000 + 960] < 0.25
    assert gain[-1] == pytest.approx(1, abs=1e-3)


def test_opposite_sides_are_silent_together_and_the_bed_keeps_its_image():
    side_only = sound(np.stack([tone(peak_db=-3).samples[0], -tone(peak_db=-3).samples[0]]))
    bed = noise(channels=2)
    assert difference_db(bed, ducked(bed, side_only)) == -np.inf
    wet = ducked(bed, tone(1000, peak_db=-3))
    gains = wet.samples / bed.samples
    np.testing.assert_allclose(gains[0], gains[1], rtol=1e-5)


@pytest.mark.parametrize("size", [1, 333, 4096])
def test_the_block_sizes_are_never_heard(size):
    bed, host = noise(seconds=0.2, channels=2), noise(2, seconds=0.15, peak_db=0)
    whole = ducked(bed, host)
    np.testing.assert_allclose(ducked(bed, host, size, 777).samples, whole.samples, rtol=1e-6)
    np.testing.assert_allclose(ducked(bed, host, 777, size).samples, whole.samples, rtol=1e-6)


@pytest.mark.parametrize(
    "params",
    [{"threshold_db": 1}, {"ratio": 0.5}, {"attack_ms": 0}, {"release_ms": -1}],
    ids=str,
)
def test_out_of_range_is_refused(params):
    with pytest.raises(BadParameter, match=next(iter(params))):
        registered()["sidechain_duck"].read_params(params)
