"""Tempo and pitch, each without the other, of a sound that is read piece by piece."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Blocks, Samples
from handlers.errors import BadParameter

_BATCH = 32
"""Spectra that are computed at a time: about a second of the result."""

_LONGEST = 2**31
_FASTEST = 2.0**40
_HOP_S = 0.03
_OVERLAP = 4
#: Narrow enough to tell tones apart, and next to nothing at the edges, where a stretched
#: attack would leave the window and come back in at its other end.
_KAISER_BETA = 6.5
#: Periods of voices and instruments that an envelope may be asked for, 1000 to 60 Hz.
_PERIODS_S = (0.001, 0.0166)
#: Height in the cepstrum from which there is a pitch.
_VOICED = 0.1
#: An envelope is told by what is shorter than the period, or than this where there is none.
_ENVELOPE_SHARE = 0.8
_ENVELOPE_S = 0.0025
_ENVELOPE_ROUNDS = 4


def stretched(
    sound: Blocks, *, tempo: float = 1.0, semitones: float = 0.0, keep_formants: bool = False
) -> Blocks:
    """The sound `tempo` times as fast and `semitones` higher.

    What was at second `t` is at `t / tempo`; the result has `round(frames / tempo)`
    frames. Channels keep their phases against each other. Without any change the
    samples are the same.

    Args:
        sound: one channel or more.
        tempo: above 0; 2 is twice as fast.
        semitones: of the new pitch; 12 is an octave up.
        keep_formants: keep the spectrum's envelope where it is, so that a voice stays
            the voice of the same speaker.

    Raises:
        BadParameter: the result would be longer than 2^31 frames.

    Source: `handlers.kernels.phase_vocoder`; envelopes by A. Roebel and X. Rodet, "Efficient
    spectral envelope estimation and its application to pitch shifting and envelope
    preservation", DAFx 2005.
    """
    if tempo == 1 and semitones == 0:
        return sound
    frames = sound.stated_frames
    if frames is not None:
        frames = _length(frames, tempo)
    # Of what is faster than that, no sound leaves a frame; its steps would be endless.
    steps = min(max(tempo, 1 / _FASTEST), _FASTEST)
    # Beyond an octave of tempo, attacks fall apart and tones waver: go there in equal steps.
    count = max(1, math.ceil(abs(math.log2(steps)) - 1e-9))
    # The pitch changes where the sound is shortest.
    shifts = [0.0] * count
    shifts[0 if tempo < 1 else -1] = semitones

    def passing() -> Iterator[Samples]:
        read = 0

        def counted() -> Iterator[Samples]:
            nonlocal read
            for block in sound:
                read += block.shape[1]
                yield block

        made: Iterable[Samples] = counted()
        for number, shift in enumerate(shifts, start=1):
            step = _Step(sound.rate, sound.channels, steps ** (1 / count), shift, keep_formants)
            ends = None if number < count else lambda: _length(read, tempo)
            made = step.passing(made, ends)
        yield from made

    return sound.like(passing, frames=frames)


def _length(frames: int, tempo: float) -> int:
    if frames / tempo > _LONGEST:
        raise BadParameter(f"{frames} frames at tempo {tempo} would be more than 2^31 frames")
    return round(frames / tempo)


class _Step:
    """One pass through the phase vocoder."""

    def __init__(
        self, rate: int, channels: int, tempo: float, semitones: float, keep_formants: bool
    ) -> None:
        from scipy import fft

        self._rate, self._channels, self._tempo = rate, channels, tempo
        self._factor = 2.0 ** (semitones / 12)
        self._formants = keep_formants and semitones != 0
        self._hop = int(fft.next_fast_len(max(2, round(_HOP_S * rate))))
        self._half = self._hop * _OVERLAP // 2
        self._window = _window(self._hop)
        bins = self._half + 1
        self._state = np.zeros((channels, bins), np.complex64)
        self._loudness = np.zeros((channels, bins), np.float32)
        self._open = np.zeros((channels, 2 * self._half - self._hop), np.float32)

    def passing(
        self, sound: Iterable[Samples], ends: Callable[[], int] | None
    ) -> Iterator[Samples]:
        """The result, about a second at a time; `ends` tells its length when all has been read."""
        # So early that the first samples lie under as many windows as all others.
        frame = -_OVERLAP // 2
        at = frame * self._hop - self._half
        # Input in hand, from place `start` on; what lies before the sound is silence.
        start = self._reach_back(frame)
        hand = np.zeros((self._channels, max(0, -start)), np.float32)
        read = 0
        for block in sound:
            read += block.shape[1]
            hand = np.concatenate((hand, block), axis=1)
            while self._place(frame + _BATCH - 1) + self._half <= start + hand.shape[1]:
                piece = self._batch(hand, start, frame)[:, max(0, -at) :]
                if piece.shape[1]:
                    yield np.ascontiguousarray(piece)
                frame += _BATCH
                at += _BATCH * self._hop
                gone = min(self._reach_back(frame) - start, hand.shape[1])
                hand, start = hand[:, gone:], start + gone
        wanted = math.ceil(read / self._tempo) if ends is None else ends()
        while at < wanted:
            missing = self._place(frame + _BATCH - 1) + self._half - start - hand.shape[1]
            after = np.zeros((self._channels, max(0, missing)), np.float32)
            hand = np.concatenate((hand, after), axis=1)
            piece = self._batch(hand, start, frame)[:, max(0, -at) : wanted - at]
            if piece.shape[1]:
                yield np.ascontiguousarray(piece)
            frame += _BATCH
            at += _BATCH * self._hop
            gone = self._reach_back(frame) - start
            hand, start = hand[:, gone:], start + gone

    def _place(self, frame: int) -> int:
        """Where in the sound the middle of the result's window `frame` is."""
        return round(frame * self._hop * self._tempo)

    def _reach_back(self, frame: int) -> int:
        """The first place that a window `frame` and the one a hop before it look at."""
        return self._place(frame) - self._hop - self._half

    def _batch(self, hand: Samples, start: int, frame: int) -> Samples:
        """The next `_BATCH` hops of the result."""
        from handlers.kernels.phase_vocoder import revoice

        places = np.array([self._place(frame + k) for k in range(_BATCH)])
        if self._tempo == 1:
            both = self._spectra(hand, np.concatenate((places[:1] - self._hop, places)) - start)
            now, before = both[:, 1:], np.ascontiguousarray(both[:, :-1])
            now = np.ascontiguousarray(now)
        else:
            now = self._spectra(hand, places - start)
            before = self._spectra(hand, places - self._hop - start)
        envelope = self._envelopes(now) if self._formants else np.zeros((0, 0), np.float32)
        result = np.empty_like(now)
        revoice(
            now,
            before,
            envelope,
            1 / self._tempo,
            self._factor,
            1 / _OVERLAP,
            self._state,
            self._loudness,
            result,
        )
        return self._overlapped(result)

    def _spectra(self, hand: Samples, places: NDArray[np.int64]) -> NDArray[np.complex64]:
        from scipy import fft

        windows = np.lib.stride_tricks.sliding_window_view(hand, 2 * self._half, axis=1)
        pieces = windows[:, places - self._half] * self._window
        # Turned around so that phases are told for the middle of the window.
        turned = np.concatenate((pieces[..., self._half :], pieces[..., : self._half]), axis=2)
        return np.asarray(fft.rfft(turned, axis=2, overwrite_x=True))

    def _overlapped(self, result: NDArray[np.complex64]) -> Samples:
        from scipy import fft

        channels, count, _ = result.shape
        turned = fft.irfft(result, 2 * self._half, axis=2, overwrite_x=True)
        pieces = np.concatenate((turned[..., self._half :], turned[..., : self._half]), axis=2)
        pieces *= self._window
        total = np.zeros((channels, count + _OVERLAP - 1, self._hop), np.float32)
        total.reshape(channels, -1)[:, : self._open.shape[1]] = self._open
        parts = pieces.reshape(channels, count, _OVERLAP, self._hop)
        for part in range(_OVERLAP):
            total[:, part : part + count] += parts[:, :, part]
        flat = total.reshape(channels, -1)
        self._open = flat[:, count * self._hop :].copy()
        return np.ascontiguousarray(flat[:, : count * self._hop])

    def _envelopes(self, now: NDArray[np.complex64]) -> Samples:
        """Natural logarithm of each frame's spectral envelope, over all channels."""
        from scipy import fft

        power = np.square(np.abs(now)).sum(axis=0)
        level = 0.5 * np.log(power + np.float32(1e-20))
        # What is 80 dB below the loudest partial is a gap between partials, not the envelope.
        level = np.maximum(level, level.max(axis=1, keepdims=True) - np.float32(9.2))
        lifter = self._lifter(fft.irfft(level, axis=1))
        envelope = level
        for _ in range(_ENVELOPE_ROUNDS):
            cepstrum = fft.irfft(np.maximum(level, envelope), axis=1)
            envelope = fft.rfft(cepstrum * lifter, axis=1).real
        return np.ascontiguousarray(envelope, np.float32)

    def _lifter(self, cepstrum: Samples) -> Samples:
        """What of each cepstrum is envelope: all that is shorter than the pitch's period."""
        shortest, longest = (math.ceil(self._rate * s) for s in _PERIODS_S)
        searched = cepstrum[:, shortest:longest]
        periods = shortest + searched.argmax(axis=1)
        voiced = searched.max(axis=1) > _VOICED
        kept = np.where(voiced, _ENVELOPE_SHARE * periods, _ENVELOPE_S * self._rate)[:, None]
        # A real spectrum's cepstrum is symmetric; the second half is folded onto the first.
        n = np.arange(cepstrum.shape[1])
        fade = np.cos(np.pi / 2 * np.minimum(n / kept, 1)) ** 2 * np.where(n == 0, 1, 2)
        return np.where(n < longest, fade, 0).astype(np.float32)


def _window(hop: int) -> NDArray[np.float32]:
    """A Kaiser window of four hops about its middle sample; its squares add up to 1."""
    half = hop * _OVERLAP // 2
    t = np.arange(-half, half) / half
    shape = np.i0(_KAISER_BETA * np.sqrt(np.maximum(0, 1 - t * t)))
    covered = np.square(shape).reshape(_OVERLAP, hop).sum(axis=0)
    return np.asarray(shape / np.sqrt(np.tile(covered, _OVERLAP)), np.float32)
