"""A sound with the spectrum and density of another one."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Audio, Samples
from handlers.errors import CannotProcess

LONGEST_S = 15 * 60
SHORTEST_S = 2
_FFT = 4096


def matched(sound: Audio, reference: Audio) -> Audio:
    """The sound equalised and levelled like the reference, without its peaks being held.

    Mid and side get a linear-phase filter each, so nothing is delayed; the level is that of
    the reference's loudest passages.

    Args:
        sound: one or two channels.
        reference: one or two channels, any rate; a mono one shapes mid and side alike.

    Raises:
        CannotProcess: one of them is silent, shorter than 2 s or longer than 15 minutes,
            or has more than two channels.

    Source: Matchering 2 (S. Grishakov), whose analysis this runs on samples in memory.
    """
    for name, audio in (("sound", sound), ("reference", reference)):
        _check(name, audio)
    helpers, config = _matchering(sound.rate)
    wanted = _at_rate(reference, sound.rate)
    wanted = (wanted / np.abs(wanted).max() * config.threshold).astype(np.float32)
    theirs = helpers.analyze_levels(_stereo(wanted).T, "reference", config)
    mid, side, mid_loud, side_loud, level, divisions, piece = helpers.analyze_levels(
        _stereo(sound.samples).T, "target", config
    )
    gain = theirs[4] / max(config.min_value, level)
    mid_filter = helpers.get_fir(mid_loud * gain, theirs[2], "mid", config)
    side_filter = mid_filter
    if reference.channels == 2:
        side_filter = helpers.get_fir(side_loud * gain, theirs[3], "side", config)
    mid = _filtered(mid, mid_filter * gain)
    correction = _correction(mid, theirs[4], piece, divisions, helpers, config)
    if sound.channels == 1:
        return sound.like((mid * correction)[None])
    side = _filtered(side, side_filter * gain)
    return sound.like(np.stack([mid + side, mid - side]) * correction)


def _check(name: str, audio: Audio) -> None:
    if audio.channels > 2:
        raise CannotProcess(
            f"the {name} has {audio.channels} channels; matching compares mid and side, "
            "so it works on mono and stereo"
        )
    if not SHORTEST_S <= audio.duration <= LONGEST_S:
        raise CannotProcess(
            f"the {name} lasts {audio.duration:.1f} s; matching needs {SHORTEST_S} s to "
            f"{LONGEST_S // 60} minutes"
        )
    if np.abs(audio.samples).max() < 1e-5:
        raise CannotProcess(f"the {name} is silent; there is nothing to match")


def _matchering(rate: int) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        # Matchering's own limiter, which is not used here, imports an old name of SciPy's.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        from matchering import Config, stage_helpers
    size = int(_FFT * 2.0 ** round(math.log2(rate / 44100)))
    return stage_helpers, Config(internal_sample_rate=rate, fft_size=size)


def _at_rate(audio: Audio, rate: int) -> Samples:
    if audio.rate == rate:
        return audio.samples
    import soxr

    return np.asarray(soxr.resample(audio.samples.T, audio.rate, rate).T, np.float32)


def _stereo(samples: Samples) -> Samples:
    return samples if samples.shape[0] == 2 else np.repeat(samples, 2, axis=0)


def _filtered(row: Samples, taps: NDArray[np.float64]) -> Samples:
    from scipy.signal import oaconvolve

    # The middle tap is taps.size / 2; the "same" of SciPy would be one sample late.
    middle = taps.size // 2
    whole = oaconvolve(row, taps.astype(np.float32))
    return np.asarray(whole[middle : middle + row.size], np.float32)


def _correction(
    mid: Samples, level: float, piece: int, divisions: int, helpers: Any, config: Any
) -> np.float32:
    """Gain that brings the loudest passages to `level` even where they go beyond full scale."""
    gain = 1.0
    for _ in range(config.rms_correction_steps):
        clipped = np.clip(mid * np.float32(gain), -1, 1)
        _, powers, average = helpers.get_average_rms(clipped, piece, divisions, "result")
        _, heard = helpers.get_lpis_and_match_rms(powers, average)
        gain *= level / max(config.min_value, heard)
    return np.float32(gain)
