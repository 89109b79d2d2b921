"""VR networks from their published files, and how they clean a sound.

Everything but the network's masks is arithmetic on spectra of four bands, each at a rate of
its own. Bands, masks and the way back are those of audio-separator's `VRSeparator` at its
defaults; here they are computed block by block. That gives the same sound: what a block
needs of its neighbours reaches no further than the frames that are read beside it, and the
one thing that the network is told of the whole file, its largest magnitude, is found by a
first pass.

Source: the networks of tsurumeso's vocal-remover 5.1, as Ultimate Vocal Remover has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Blocks, Samples
from handlers.engines.declare import Device
from handlers.engines.running import Batches, torch_for, unwarned
from handlers.engines.separator import RATE
from handlers.errors import WeightsCorrupt
from handlers.streams import Strip

Spectrum = NDArray[np.complex64]
"""complex64, `(2, bins, frames)`: the four bands of a stereo pair side by side."""

_FRAMES = 384
"""Spectra that the network gives masks for at once."""
_AROUND = 64
"""Spectra on both sides of these that it sees, too."""
_MARGIN = 16
"""Spectra that are computed on both sides of a block and dropped: more than any filter reaches."""
_AGGRESSION = 0.05
_GPU_BATCH = 4


def load_vr(
    files: Mapping[str, Path],
    device: Device,
    *,
    gives: str,
    bands: str,
    nout: int,
    nout_lstm: int,
) -> Vr:
    """The network of an engine.

    Args:
        files: one `.pth`, a dictionary of weights.
        device: where it runs.
        gives: the engine's name for what is left when the echo is gone.
        bands: name of the table of bands, one of those in the package.
        nout: width of the network.
        nout_lstm: width of its recurrent layers.

    Raises:
        WeightsCorrupt: the file holds something else, or code would have to run to read it.
    """
    import pickle

    torch = torch_for(device)
    with unwarned():
        from audio_separator.separator.uvr_lib_v5 import vr_network
        from audio_separator.separator.uvr_lib_v5.vr_network.model_param_init import (
            ModelParameters,
        )
        from audio_separator.separator.uvr_lib_v5.vr_network.nets_new import CascadedNet

    (path,) = files.values()
    tables = Path(vr_network.__path__[0]) / "modelparams"
    table = ModelParameters(str(tables / f"{bands}.json"))
    network = CascadedNet(table.param["bins"] * 2, nout=nout, nout_lstm=nout_lstm)
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, TypeError) as wrong:
        raise WeightsCorrupt(f"{path.name} is no checkpoint for this network: {wrong}") from wrong
    return Vr(network.to(device).eval(), table, gives, device)


class Vr:
    """One VR network, which gives one stem. See `Separator`."""

    def __init__(self, network: Any, table: Any, gives: str, device: Device) -> None:
        """`table` says which bands the network was trained on."""
        self.outputs = (gives,)
        self._network = network
        self._table = table
        self._batches = Batches(device, _GPU_BATCH, network)
        self._bands: Mapping[int, Mapping[str, Any]] = table.param["band"]
        self._hop = int(self._bands[len(self._bands)]["hl"])
        #: A sound this short is lengthened: the lowest band would have no spectrum.
        self._least = 4 * int(self._bands[len(self._bands)]["n_fft"])

    def separate(
        self, sound: Blocks, _stems: Sequence[str], progress: Callable[[float], None], /
    ) -> Iterator[Samples]:
        """What is left when the echo is gone; see `Separator`."""
        self._batches.begin()
        peaks = np.zeros(sound.channels // 2)
        for spectra in self._spectra(sound):
            progress(0.0)
            peaks = np.maximum(peaks, [np.abs(s).max() for s in spectra])
        blocks = -(-self._total_frames(sound.frames) // _FRAMES)
        given = 0
        for number, masked in enumerate(self._masked(sound, peaks, progress, blocks)):
            pieces = [self._wave(number, spectrum) for spectrum in masked]
            size = _FRAMES * self._hop
            length = sound.frames - given if number == blocks - 1 else size
            # The last spectrum stands up to one hop before the end.
            piece = np.zeros((sound.channels, length), np.float32)
            for pair, found in enumerate(pieces):
                count = min(length, found.shape[1])
                piece[2 * pair : 2 * pair + 2, :count] = found[:, :count]
            given += length
            yield piece

    # -- to spectra ----------------------------------------------------------------------------
    def _total_frames(self, frames: int) -> int:
        """How many spectra there are: as many as the band with the fewest has."""
        size = max(frames, self._least)
        counts = []
        for band in range(len(self._bands), 0, -1):
            about = self._bands[band]
            above = self._bands.get(band + 1, about)
            size = -(-size * int(about["sr"]) // int(above["sr"]))
            counts.append(1 + size // int(about["hl"]))
        return min(counts)

    def _spectra(self, sound: Blocks) -> Iterator[list[Spectrum]]:
        """Spectra of each pair, `_FRAMES` at a time; all but the last are full."""
        strip = Strip(sound)
        frames = max(sound.frames, self._least)
        total = self._total_frames(sound.frames)
        for first in range(0, total, _FRAMES):
            start = max(first - _MARGIN, 0)
            end = min((first + _FRAMES + _MARGIN) * self._hop, frames)
            piece = strip.span(start * self._hop, end)
            skip, count = first - start, min(_FRAMES, total - first)
            yield [
                self._spectrum(pair)[:, :, skip : skip + count]
                for pair in piece.reshape(-1, 2, piece.shape[1])
            ]

    def _spectrum(self, pair: Samples) -> Spectrum:
        import librosa
        from audio_separator.separator.uvr_lib_v5 import spec_utils

        found: dict[int, Any] = {}
        wave, above = pair, RATE
        for band in range(len(self._bands), 0, -1):
            about = self._bands[band]
            if about["sr"] != above:
                wave = librosa.resample(
                    wave, orig_sr=above, target_sr=about["sr"], res_type=about["res_type"]
                )
                above = about["sr"]
            found[band] = spec_utils.wave_to_spectrogram(
                wave, about["hl"], about["n_fft"], self._table, band=band, is_v51_model=True
            )
        combined = spec_utils.combine_spectrograms(found, self._table, is_v51_model=True)
        return np.ascontiguousarray(combined, np.complex64)

    # -- through the network -------------------------------------------------------------------
    def _masked(
        self,
        sound: Blocks,
        peaks: NDArray[np.float64],
        progress: Callable[[float], None],
        blocks: int,
    ) -> Iterator[list[Spectrum]]:
        """Masked spectra of each pair: `_MARGIN` before a block, the block, `_MARGIN` after it."""
        raw = _three_at_a_time(self._spectra(sound))
        masked = (
            self._block(window, peaks, number, blocks, progress)
            for number, window in enumerate(raw)
        )
        for before, now, after in _three_at_a_time(masked):
            yield [
                np.concatenate(
                    [
                        *([before[pair][:, :, -_MARGIN:]] if before else ()),
                        spectrum,
                        *([after[pair][:, :, :_MARGIN]] if after else ()),
                    ],
                    axis=2,
                )
                for pair, spectrum in enumerate(now)
            ]

    def _block(
        self,
        window: _Three,
        peaks: NDArray[np.float64],
        number: int,
        blocks: int,
        progress: Callable[[float], None],
    ) -> list[Spectrum]:
        """One block of each pair, masked."""
        before, now, after = window
        progress(number / blocks)
        heard = [pair for pair, spectrum in enumerate(now) if spectrum.any()]
        seen: list[NDArray[np.float32]] = []
        for pair in heard:
            count = now[pair].shape[2]
            size = np.zeros((2, now[pair].shape[1], _FRAMES + 2 * _AROUND), np.float32)
            if before:
                size[:, :, :_AROUND] = np.abs(before[pair][:, :, -_AROUND:])
            size[:, :, _AROUND : _AROUND + count] = np.abs(now[pair])
            if after:
                next_ones = np.abs(after[pair][:, :, :_AROUND])
                at = _AROUND + count
                size[:, :, at : at + next_ones.shape[2]] = next_ones
            size /= np.float32(peaks[pair])
            seen.append(size)
        results = list(now)
        for pair, mask in zip(heard, self._batches.run(seen, self._forward), strict=True):
            results[pair] = now[pair] * self._sharpened(mask[:, :, : now[pair].shape[2]])
        return results

    def _forward(self, items: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(np.stack(items)).to(self._batches.device)
            return list(self._network.predict_mask(batch).cpu().numpy())

    def _sharpened(self, mask: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mask, further from 1: less of what is doubtful stays."""
        low = int(self._bands[1]["crop_stop"])
        power = 2 * _AGGRESSION
        return np.concatenate(
            (mask[:, :low] ** np.float32(1 + power / 3), mask[:, low:] ** np.float32(1 + power)),
            axis=1,
        )

    # -- and back ------------------------------------------------------------------------------
    def _wave(self, number: int, spectrum: Spectrum) -> NDArray[np.float64]:
        """The samples of a block, from its spectra and those around it."""
        from audio_separator.separator.uvr_lib_v5 import spec_utils

        skip = (_MARGIN if number else 0) * self._hop
        if not spectrum.any():
            return np.zeros((2, (spectrum.shape[2] - 1) * self._hop - skip))
        wave = spec_utils.cmb_spectrogram_to_wave(spectrum, self._table, is_v51_model=True)
        return np.asarray(wave)[:, skip : skip + _FRAMES * self._hop]


_Three = tuple[list[Spectrum] | None, list[Spectrum], list[Spectrum] | None]


def _three_at_a_time(items: Iterator[list[Spectrum]]) -> Iterator[_Three]:
    """Each item between the one before and the one after; None where there is none."""
    before, now = None, next(items, None)
    while now is not None:
        after = next(items, None)
        yield before, now, after
        before, now = now, after
