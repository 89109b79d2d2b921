import numpy as np
import pytest

from handlers.kernels.loudness import Meter, as_lufs, channel_weights
from tests.sounds import (
    as_blocks,
    clicks,
    ffmpeg_loudness,
    noise,
    one_after_another,
    silence,
    sound,
    speech,
    tone,
    write_wav,
)


def metered(audio, block=32768, **options):
    meter = Meter(audio.rate, audio.channels, **options)
    for piece in as_blocks(audio, block):
        meter.add(piece)
    return meter


def levels(*steps, rate, freq=1000):
    """A stereo tone whose level changes: `(dBFS, seconds)` each."""
    return one_after_another(
        *(
            tone(freq, seconds=seconds, rate=rate, channels=2, peak_db=level)
            for level, seconds in steps
        )
    )


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([(-23, 20)], -23, id="case 1"),
        pytest.param([(-33, 20)], -33, id="case 2"),
        pytest.param([(-36, 10), (-23, 60), (-36, 10)], -23, id="case 3"),
        pytest.param([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23, id="case 4"),
        pytest.param([(-26, 20), (-20, 20.1), (-26, 20)], -23, id="case 5"),
    ],
)
@pytest.mark.parametrize("rate", [8000, 11025, 48000])
def test_integrated_loudness_of_ebu_tech_3341(rate, steps, expected):
    meter = metered(levels(*steps, rate=rate), true_peak=False)
    assert meter.integrated == pytest.approx(expected, abs=0.1)


def test_surround_channels_count_more_and_the_lfe_not_at_all():
    # EBU Tech 3341, case 6 (5.0), with a loud LFE put in.
    peaks = (-28, -28, -24, 0, -30, -30)
    parts = [tone(1000, seconds=20, rate=16000, peak_db=db).samples for db in peaks]
    meter = metered(sound(np.concatenate(parts), 16000), true_peak=False)
    assert meter.integrated == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([(-20, 20), (-30, 20)], 10, id="case 1"),
        pytest.param([(-20, 20), (-15, 20)], 5, id="case 2"),
        pytest.param([(-40, 20), (-20, 20)], 20, id="case 3"),
        pytest.param([(-50, 20), (-35, 20), (-20, 20), (-35, 20), (-50, 20)], 15, id="case 4"),
    ],
)
def test_loudness_range_of_ebu_tech_3342(steps, expected):
    meter = metered(levels(*steps, rate=8000), true_peak=False)
    assert meter.loudness_range == pytest.approx(expected, abs=1)


def test_the_maxima_are_those_of_the_loudest_window():
    # 400 ms at -20 within -40; 3 s of it hold 0.4 s at -20: 10 log10(0.4 / 3) = -8.75 dB.
    meter = metered(levels((-40, 5), (-20, 0.4), (-40, 5), rate=48000), true_peak=False)
    assert meter.momentary_max == pytest.approx(-20, abs=0.1)
    assert meter.short_term_max == pytest.approx(-20 - 8.75, abs=0.35)


@pytest.mark.parametrize("rate", [8000, 11025, 44100])
def test_400_ms_anywhere_are_heard_whole_and_found(rate):
    # The nearest window begins 5 ms away at most, and misses a bit more than 1 % of the burst.
    for start in (0.5, 1.0437, 2.005, 3.3333):
        audio = levels((-120, start), (-20, 0.4), (-120, 1), rate=rate)
        meter = metered(audio, 999, true_peak=False)
        assert meter.momentary_max == pytest.approx(-20, abs=0.1)
        assert meter.momentary_max_at / rate == pytest.approx(start, abs=0.0062)


def test_a_window_counts_as_soon_as_it_is_whole():
    # 410 ms: the loud part begins 10 ms in, and its window ends where the sound does.
    audio = levels((-120, 0.01), (-20, 0.4), rate=48000)
    assert metered(audio).momentary_max_at == 480
    assert metered(audio.like(audio.samples[:, :-1])).momentary_max_at == 0


def test_curves_have_a_window_every_100_ms():
    meter = metered(levels((-20, 2), (-40, 3), rate=48000), true_peak=False)
    momentary, short_term = as_lufs(meter.momentary()), as_lufs(meter.short_term())
    assert (momentary.size, short_term.size) == (50 - 3, 50 - 29)
    assert momentary[:17] == pytest.approx([-20] * 17, abs=0.1)
    assert momentary[21:] == pytest.approx([-40] * 26, abs=0.1)
    assert as_lufs(np.zeros(1))[0] < -120


@pytest.mark.parametrize(
    ("rate", "channels"), [(8000, 1), (22050, 2), (44100, 2), (48000, 6), (96000, 1), (192000, 2)]
)
def test_ffmpeg_hears_the_same(rate, channels, tmp_path):
    audio = one_after_another(
        speech(3, seconds=5, rate=rate, channels=channels, peak_db=-3),
        noise(2, seconds=3.1, rate=rate, channels=channels, peak_db=-20),
        tone(100, seconds=1, rate=rate, channels=channels, peak_db=-9),
    )
    meter, ffmpeg = metered(audio), ffmpeg_loudness(write_wav(audio, tmp_path / "x.wav"))

    # FFmpeg prints one digit.
    assert meter.integrated == pytest.approx(ffmpeg.integrated, abs=0.1)
    assert meter.true_peak_dbtp == pytest.approx(ffmpeg.true_peak, abs=0.2)
    assert meter.sample_peak_dbfs == pytest.approx(ffmpeg.sample_peak, abs=0.06)


def test_ffmpeg_finds_the_same_range_in_a_longer_programme(tmp_path):
    # FFmpeg counts the unfilled windows of the first 3 s, so the two agree only in the long run.
    audio = one_after_another(
        *(
            speech(seed, seconds=15, rate=8000, peak_db=level)
            for seed, level in enumerate((-20, -3, -12, -30, -6, -9))
        )
    )
    ffmpeg = ffmpeg_loudness(write_wav(audio, tmp_path / "x.wav"))
    assert metered(audio).loudness_range == pytest.approx(ffmpeg.range, abs=0.3)


@pytest.mark.parametrize("block", [1, 333, 4096])
def test_the_block_size_does_not_matter(block):
    audio = speech(seconds=6, rate=8000, channels=2)
    one, other = metered(audio, block), metered(audio, 10**9)
    for name in ("integrated", "momentary_max", "short_term_max", "loudness_range"):
        assert getattr(one, name) == getattr(other, name)
    assert one.true_peak_dbtp == pytest.approx(other.true_peak_dbtp, abs=1e-4)
    assert one.frames == other.frames == audio.frames


def test_reading_on_the_way_changes_nothing():
    audio = speech(seconds=8, rate=16000)
    asked, left_alone = Meter(16000, 1), metered(audio, 1234)
    for block in as_blocks(audio, 1234):
        asked.add(block)
        assert asked.true_peak_dbtp is not None
        assert asked.integrated is None or asked.integrated < 0
    assert asked.integrated == left_alone.integrated
    assert asked.loudness_range == left_alone.loudness_range


def test_each_channel_adds_its_power():
    one = metered(tone(seconds=2, peak_db=-20)).integrated
    two = metered(tone(seconds=2, peak_db=-20, channels=2)).integrated
    assert two - one == pytest.approx(10 * np.log10(2), abs=1e-6)


def test_what_is_soft_after_something_loud_is_not_lost_in_rounding():
    loud, soft = tone(seconds=2, peak_db=60), tone(seconds=60, peak_db=-60)
    meter = metered(one_after_another(loud, soft), true_peak=False)
    alone = metered(soft, true_peak=False)
    assert meter._windows(4)[-1] == pytest.approx(alone._windows(4)[-1], rel=1e-6)


@pytest.mark.parametrize(
    ("audio", "loudness"),
    [
        pytest.param(silence(seconds=5, channels=2), None, id="silence"),
        pytest.param(tone(seconds=5, peak_db=-80), None, id="below the gate"),
        pytest.param(silence(seconds=0), None, id="no sample"),
        # 997 Hz at -20 dBFS peak in one channel: -23.01 LKFS by the standard's calibration.
        pytest.param(tone(997, seconds=0.2, peak_db=-20), -23.0, id="shorter than a block"),
    ],
)
def test_what_cannot_be_measured_is_none_and_what_is_short_is_measured(audio, loudness):
    meter = metered(audio)
    if loudness is None:
        assert meter.integrated is None
    else:
        assert meter.integrated == pytest.approx(loudness, abs=0.25)
    assert meter.short_term_max is None or audio.duration >= 3
    if not audio.samples.any():
        assert meter.true_peak_dbtp is None
        assert meter.sample_peak_dbfs is None


def test_a_single_click_has_a_peak_and_no_infinite_value():
    meter = metered(clicks([0.5], seconds=4, peak_db=-3))
    assert meter.sample_peak_dbfs == pytest.approx(-3, abs=1e-5)
    assert meter.true_peak_dbtp == pytest.approx(-3, abs=0.01)


def test_layouts_without_agreed_places_count_alike():
    assert channel_weights(12).tolist() == [1] * 12
    assert channel_weights(8).tolist() == [1, 1, 1, 0, 1, 1, 1.41, 1.41]
