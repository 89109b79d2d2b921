"""What spectra a sound would have had at another tempo or pitch.

Both tempo and pitch are a question of phases: every spectrum of the result has
the magnitudes of one of the sound's (moved to other bins for a new pitch), and
phases that fit both the result's spectrum before (so that tones go on) and
each other (so that attacks stay together).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from handlers.artifacts import Samples
from handlers.kernels.jit import OUT_ROW, OUT_ROWS, ROW, ROWS, kernel

_SPECTRA = types.Array(types.complex64, 3, "C", readonly=True)
_OUT_SPECTRA = types.Array(types.complex64, 3, "C")
_CHANNELS = types.Array(types.complex64, 2, "C")

Real = np.float32 | float
Spot = np.complex64

# numba's types of tuples have no annotations of their own.
_PLACE: Any = types.Tuple((types.int64, types.float32))  # type: ignore[no-untyped-call]

#: Energies below this are silence; a phase cannot be told from them.
_NOTHING = np.float32(1e-15)


@kernel(_PLACE(types.float32, types.int64))
def _split(at: Real, bins: int) -> tuple[int, Real]:
    """A fractional bin as place in an array with two zeros before bin 0, and the rest."""
    low = math.floor(at)
    return min(max(int(low) + 2, 0), bins + 2), np.float32(at - low)


@kernel(types.complex64(types.complex64, types.complex64, types.float32))
def _sized(phase: Spot, fallback: Spot, energy: Real) -> Spot:
    """`phase` with this energy; if it is too weak to tell one, that of `fallback`."""
    size = phase.real * phase.real + phase.imag * phase.imag
    if size <= _NOTHING:
        phase = fallback
        size = phase.real * phase.real + phase.imag * phase.imag + _NOTHING
    return np.complex64(phase * np.float32(math.sqrt(energy / size)))


@kernel(
    types.void(
        ROW,
        _SPECTRA,
        _SPECTRA,
        types.int64,
        types.float32,
        types.float64,
        OUT_ROW,
        OUT_ROW,
        OUT_ROW,
        OUT_ROW,
    )
)
def _map_bins(
    energy: Samples,
    now: NDArray[np.complex64],
    before: NDArray[np.complex64],
    frame: int,
    factor: Real,
    advance: float,
    smooth: Samples,
    source: Samples,
    slope: Samples,
    moved: Samples,
) -> None:
    """Where each bin of a shifted spectrum comes from.

    A peak moves as a whole, to `factor` times its frequency, so that it keeps its
    shape; between two peaks the way is bent smoothly.

    Args:
        energy: of each bin, over all channels.
        now, before, frame: the spectra; how its phase has turned tells a peak's true frequency.
        factor: of the new pitch.
        advance: hop over window length.
        smooth: room for as many numbers.
        source: bin (with a fraction) that each new bin comes from.
        slope: how fast that moves with the new bin; what is squeezed gets louder.
        moved: by how many bins the nearest peak was moved, exactly.
    """
    bins = energy.size
    zero, half, lobe = np.float32(0), np.float32(0.5), np.float32(1.5)
    turn = 2 * math.pi * advance
    # A peak stands out of what is around it within the width of the window's main lobe.
    pull = np.float32(1 / (1 + 0.5 / advance))
    smooth[:] = energy
    level = np.float32(0)
    for _ in range(2):
        for k in range(bins - 1, -1, -1):
            level += (smooth[k] - level) * pull
            smooth[k] = level
        for k in range(bins):
            level += (smooth[k] - level) * pull
            smooth[k] = level
    slope[:] = 1
    last_in = last_out = np.float32(0)
    known = False
    k = 0
    while k < bins:
        if energy[k] <= smooth[k]:
            k += 1
            continue
        moment = total = np.float32(0)
        top = k
        while k < bins and energy[k] > smooth[k]:
            moment += k * energy[k]
            total += energy[k]
            if energy[k] > energy[top]:
                top = k
            k += 1
        here = moment / total
        twist = np.complex64(0)
        for channel in range(now.shape[0]):
            twist += now[channel, frame, top] * before[channel, frame, top].conjugate()
        # The phase went on by this much beyond what bin `top` itself would.
        apart = math.atan2(twist.imag, twist.real) - turn * top
        apart -= 2 * math.pi * math.floor(apart / (2 * math.pi) + 0.5)
        there = here + (factor - np.float32(1)) * np.float32(top + apart / turn)
        if not known:
            for b in range(min(bins, max(0, math.ceil(there)))):
                source[b] = b + here - there
                moved[b] = there - here
            known = True
        elif there > last_out:
            scale = np.float32(1) / (there - last_out)
            bend = (here - there) - (last_in - last_out)
            first, stop = max(0, math.ceil(last_out)), min(bins, max(0, math.ceil(there)))
            for b in range(first, stop):
                r = (b - last_out) * scale
                source[b] = b + last_in - last_out + r * r * (3 - 2 * r) * bend
                slope[b] = max(zero, 1 + 6 * r * (1 - r) * bend * scale)
                moved[b] = b - source[b]
                if b - last_out < lobe and r < half:
                    moved[b] = last_out - last_in
                elif there - b < lobe:
                    moved[b] = there - here
        else:
            continue
        last_in, last_out = here, there
    first = max(0, math.ceil(last_out)) if known else 0
    for b in range(min(first, bins), bins):
        source[b] = b + last_in - last_out
        moved[b] = last_out - last_in


@kernel(
    types.void(
        _SPECTRA,
        _SPECTRA,
        ROWS,
        types.float64,
        types.float64,
        types.float64,
        _CHANNELS,
        OUT_ROWS,
        _OUT_SPECTRA,
    )
)
def revoice(
    now: NDArray[np.complex64],
    before: NDArray[np.complex64],
    envelope: Samples,
    stretch: float,
    factor: float,
    advance: float,
    state: NDArray[np.complex64],
    loudness: Samples,
    out: NDArray[np.complex64],
) -> None:
    """Spectra of the result, one after another.

    All spectra are referred to the middle of their window.

    Args:
        now: `(channels, frames, bins)`: the sound where each result is in it.
        before: the same, one hop of the result earlier in the sound.
        envelope: `(frames, bins)`: natural logarithm of the magnitude's envelope, to be
            kept where it is while the pitch moves; `(0, 0)` lets it move along.
        stretch: how much longer the result is; from 1/2 to 2 it is clean.
        factor: of the pitch.
        advance: hop over window length.
        state: `(channels, bins)`: the result's last spectrum; zeros at the start. Changed.
        loudness: `(channels, bins)`: its energies. Changed.
        out: `(channels, frames, bins)`.

    Source: the method of G. Luff, "Four Ways To Write A Pitch-Shifter", Audio Developer
    Conference 2022 (predictions along time and along frequency are added as complex
    numbers, so that the stronger one decides), known from his Signalsmith Stretch. Pitch
    factors apply to frequencies that the phases tell, which makes them exact.
    """
    channels, frames, bins = now.shape
    far = round(1 / advance)
    shifted = factor != 1
    time = np.float32(stretch)
    turn = np.float32(2 * math.pi * advance)
    nothing = np.complex64(0)
    source = np.empty(bins, np.float32)
    slope = np.ones(bins, np.float32)
    moved = np.zeros(bins, np.float32)
    room = np.empty(bins, np.float32)
    total = np.empty(bins, np.float32)
    energy = np.zeros((channels, bins + 4), np.float32)
    # Two zeros at both ends: what lies beyond can be asked for.
    sound = np.zeros((channels, bins + 4), np.complex64)
    past = np.zeros((channels, bins + 4), np.complex64)
    wanted = np.empty((channels, bins), np.float32)
    voice = np.empty((channels, bins), np.complex64)
    near_turn = np.zeros((channels, bins), np.complex64)
    far_turn = np.zeros((channels, bins), np.complex64)
    for b in range(bins):
        source[b] = b
    for frame in range(frames):
        total[:] = 0
        for channel in range(channels):
            for b in range(bins):
                value = now[channel, frame, b]
                power = value.real * value.real + value.imag * value.imag
                sound[channel, b + 2] = value
                past[channel, b + 2] = before[channel, frame, b]
                energy[channel, b + 2] = power
                total[b] += power
        if shifted:
            _map_bins(
                total, now, before, frame, np.float32(factor), advance, room, source, slope, moved
            )
        # Along time: each tone goes on from where the last spectrum left it.
        for b in range(bins):
            if shifted:
                at, share = _split(source[b], bins)
                gain = slope[b]
                if envelope.size:
                    low, part = _split(min(max(source[b], np.float32(0)), bins - 1.0), bins)
                    level = envelope[frame, low - 2]
                    if low < bins + 1:
                        level += part * (envelope[frame, low - 1] - level)
                    # Some 40 dB either way; more is only the noise between two envelopes.
                    move = min(max(envelope[frame, b] - level, np.float32(-4.6)), np.float32(4.6))
                    gain *= np.float32(math.exp(2 * move))
                angle = turn * moved[b]
                twist = np.complex64(complex(math.cos(angle), math.sin(angle)))
            else:
                at, share, gain, twist = b + 2, np.float32(0), np.float32(1), np.complex64(1)
            for channel in range(channels):
                row = sound[channel]
                value = row[at] + (row[at + 1] - row[at]) * share
                row = past[channel]
                last = row[at] + (row[at + 1] - row[at]) * share
                power = energy[channel, at]
                power = gain * (power + (energy[channel, at + 1] - power) * share)
                old = loudness[channel, b]
                voice[channel, b] = value
                wanted[channel, b] = power
                loudness[channel, b] = power
                state[channel, b] *= value * (
                    last.conjugate() * (twist * (np.float32(1) / (max(old, power) + _NOTHING)))
                )
        # Along frequency: how phases differ from bin to bin says where in the window an
        # attack is; `stretch` as far from the middle is `stretch` times the difference.
        for b in range(bins):
            at, share = _split(source[b] - time, bins)
            far_at, far_share = _split(source[b] - far * time, bins)
            for channel in range(channels):
                row, value = sound[channel], voice[channel, b]
                below = row[at] + (row[at + 1] - row[at]) * share
                near_turn[channel, b] = value * below.conjugate()
                below = row[far_at] + (row[far_at + 1] - row[far_at]) * far_share
                far_turn[channel, b] = value * below.conjugate()
        for b in range(bins):
            lead = 0
            for channel in range(1, channels):
                if wanted[channel, b] > wanted[lead, b]:
                    lead = channel
            phase = nothing
            if b + far < bins:
                phase += state[lead, b + far] * far_turn[lead, b + far].conjugate()
            if b + 1 < bins:
                phase += state[lead, b + 1] * near_turn[lead, b + 1].conjugate()
            if b >= far:
                phase += state[lead, b - far] * far_turn[lead, b]
            if b > 0:
                phase += state[lead, b - 1] * near_turn[lead, b]
            state[lead, b] = phase = _sized(phase, voice[lead, b], wanted[lead, b])
            # The image stays: other channels keep their phase against the loudest one.
            for channel in range(channels):
                if channel != lead:
                    turned = phase * (voice[channel, b] * voice[lead, b].conjugate())
                    state[channel, b] = _sized(turned, voice[channel, b], wanted[channel, b])
        for channel in range(channels):
            out[channel, frame] = state[channel]
