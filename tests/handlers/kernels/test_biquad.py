import numpy as np
import pytest
from scipy.signal import sosfilt, sosfreqz

from handlers.kernels.biquad import Cascade, k_weighting, peaking
from tests.sounds import as_blocks, noise


def sos(sections):
    return np.insert(np.asarray(sections), 3, 1.0, axis=1)


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("bands", [1, 2, 5])
def test_a_cascade_filters_as_scipy_does(channels, bands):
    sections = [peaking(100 * 3**band, 6 - 3 * band, 0.8, 44100) for band in range(bands)]
    audio = noise(seconds=0.3, rate=44100, channels=channels)
    cascade = Cascade(sections, channels)

    got = np.concatenate([cascade.filtered(block) for block in as_blocks(audio, 1000)], axis=1)

    expected = sosfilt(sos(sections), audio.samples.astype(np.float64))
    assert np.abs(got - expected).max() < 1e-6


@pytest.mark.parametrize("block", [1, 7, 512, 4096])
def test_a_cascade_does_not_hear_the_block_size(block):
    audio = noise(seconds=0.2, channels=2)
    sections = [peaking(60, 12, 5, 48000), peaking(9000, -20, 0.5, 48000)]
    pieces, whole = Cascade(sections, 2), Cascade(sections, 2)

    got = np.concatenate([pieces.filtered(b) for b in as_blocks(audio, block)], axis=1)

    assert np.array_equal(got, whole.filtered(audio.samples))


@pytest.mark.parametrize("rate", [22050, 48000, 192000])
@pytest.mark.parametrize("gain_db", [-30, -3, 6, 30])
def test_a_bell_has_its_gain_at_its_centre_and_none_far_away(gain_db, rate):
    _, response = sosfreqz(sos([peaking(1000, gain_db, 4, rate)]), [0, 1000], fs=rate)
    assert 20 * np.log10(np.abs(response)) == pytest.approx([0, gain_db], abs=1e-6)


def test_a_bell_is_as_wide_as_its_q_says():
    # Half the gain (in dB) at both edges of a band of freq / Q, centre the geometric mean.
    low, high = ((1 + 0.1**2) ** 0.5 - 0.1) * 1000, ((1 + 0.1**2) ** 0.5 + 0.1) * 1000
    _, response = sosfreqz(sos([peaking(1000, 12, 5, 384000)]), [low, high], fs=384000)
    assert 20 * np.log10(np.abs(response)) == pytest.approx([6, 6], abs=0.02)


def test_k_weighting_at_48_khz_is_the_table_of_the_standard():
    # ITU-R BS.1770-5, Annex 1, tables 1 and 2.
    table = [
        [
            1.53512485958697,
            -2.69169618940638,
            1.19839281085285,
            -1.69065929318241,
            0.73248077421585,
        ],
        [1.0, -2.0, 1.0, -1.99004745483398, 0.99007225036621],
    ]
    assert k_weighting(48000) == pytest.approx(np.array(table), abs=1e-8)


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 96000, 192000])
def test_k_weighting_is_the_same_curve_at_every_rate(rate):
    freqs = [20, 40, 100, 500, 1000, 2000]
    _, here = sosfreqz(sos(k_weighting(rate)), freqs, fs=rate)
    _, there = sosfreqz(sos(k_weighting(48000)), freqs, fs=48000)
    apart = 20 * np.log10(np.abs(here) / np.abs(there))
    assert np.abs(apart).max() < (0.3 if rate < 40000 else 0.05)
