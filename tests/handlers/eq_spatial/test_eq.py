import subprocess

import numpy as np
import pytest

from handlers.eq_spatial.eq import Eq, eq
from handlers.errors import BadParameter
from handlers.registry import find
from tests.sounds import as_blocks, change_db, noise, read_sound, tone, write_wav


def equalised(audio, *bands, block=1000):
    return eq(as_blocks(audio, block), Eq(bands=bands))


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
@pytest.mark.parametrize("gain_db", [-30, -6, 12, 30])
def test_a_tone_at_the_centre_changes_by_the_gain(gain_db, rate):
    audio = tone(1000, rate=rate, channels=2, peak_db=-40)
    wet = equalised(audio, {"freq": 1000, "gain_db": gain_db, "width_hz": 500}).sound.whole()
    assert change_db(audio, wet, at=(0.2, 1)) == pytest.approx(gain_db, abs=0.02)


def test_two_bands_add_up_and_a_far_tone_is_left_alone():
    bell = {"freq": 1000, "gain_db": 4}
    near, far = tone(1000), tone(60)
    assert change_db(near, equalised(near, bell, bell).sound.whole(), at=(0.2, 1)) == pytest.approx(
        8, abs=0.02
    )
    assert change_db(far, equalised(far, bell).sound.whole(), at=(0.2, 1)) == pytest.approx(
        0, abs=0.02
    )


def test_ffmpegs_equalizer_sounds_the_same(tmp_path):
    audio = noise(seconds=1, channels=2, rate=44100, peak_db=-12)
    source, target = write_wav(audio, tmp_path / "in.wav"), tmp_path / "out.wav"
    graph = (
        "equalizer=f=120:t=h:w=100:g=-9:r=f64,equalizer=f=3000:t=h:w=2000:g=6:r=f64,"
        "equalizer=f=12000:t=h:w=500:g=12:r=f64"
    )
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", source, "-af", graph, "-c:a", "pcm_f32le", target],
        check=True,
    )
    result = equalised(
        audio,
        {"freq": 120, "gain_db": -9},
        {"frequency": 3000, "gain_db": 6, "width_hz": 2000},
        {"freq": 12000, "gain_db": 12, "width_hz": 500},
    )
    assert result.band_count == 3
    assert np.abs(result.sound.whole().samples - read_sound(target).samples).max() < 1e-5


@pytest.mark.parametrize("freq", [22050, 30000])
def test_a_frequency_above_half_the_rate_is_refused_with_value_and_limit(freq):
    audio = noise(seconds=0.1, rate=44100)
    with pytest.raises(BadParameter, match=rf"bands\[1\].freq = {freq} Hz .* below 22050 Hz"):
        equalised(audio, {"freq": 100, "gain_db": 1}, {"freq": freq, "gain_db": 1})


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param({"bands": "100:3"}, id="not JSON"),
        pytest.param({"bands": '{"freq": 100, "gain_db": 3}'}, id="not an array"),
        pytest.param({"bands": "[]"}, id="empty"),
        pytest.param({"bands": '[{"gain_db": 3}]'}, id="no frequency"),
        pytest.param({"bands": '[{"freq": 0, "gain_db": 3}]'}, id="a frequency of zero"),
        pytest.param({"bands": '[{"freq": 100}]'}, id="no gain"),
        pytest.param({"bands": '[{"freq": 100, "gain_db": 31}]'}, id="too much gain"),
        pytest.param({"bands": '[{"freq": 100, "gain_db": 3, "width_hz": 0}]'}, id="no width"),
        pytest.param({"bands": '[{"freq": 100, "gain_db": NaN}]'}, id="not a number"),
    ],
)
def test_it_refuses(raw):
    with pytest.raises(BadParameter):
        find("eq").read_params(raw)


def test_bands_may_be_json_text():
    read = find("eq").read_params({"bands": '[{"frequency": 100, "gain_db": 3}]'})
    assert (read.bands[0].freq, read.bands[0].width_hz) == (100, 100)
