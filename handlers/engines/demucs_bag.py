"""Demucs models from their published files, and how they take a sound apart.

The windows, their weights and the mean over several models are those of
`demucs.apply.apply_model` without its random shifts; they are computed here so
that a sound of any length passes through in flat memory, only the models that
the wanted stems need run, and silence costs nothing.

Source: Rouard, Massa and Defossez, "Hybrid Transformers for Music Source
Separation", ICASSP 2023; Defossez, "Hybrid Spectrogram and Waveform Source
Separation", MDX workshop at ISMIR 2021.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Blocks, Samples
from handlers.engines.declare import Device
from handlers.engines.running import Batches, torch_for
from handlers.engines.separator import RATE, OverlapAdd, items_of
from handlers.errors import WeightsCorrupt
from handlers.streams import Strip

_GPU_BATCH = 8


def load_bag(
    files: Mapping[str, Path],
    device: Device,
    *,
    stems: Sequence[str],
    weights: Sequence[Sequence[float]] | None = None,
    segment: float | None = None,
) -> Bag:
    """The models of an engine, one per file in the order of `files`.

    Args:
        files: checkpoints as the authors publish them.
        device: where they run.
        stems: what the models must give.
        weights: of each model, for each stem; None means all alike.
        segment: seconds per window where it is not that of the models.

    Raises:
        WeightsCorrupt: a file holds something else, or what would have to run code to be read.
    """
    torch = torch_for(device)
    # Its fused attention writes out the whole matrix: slower here, and larger.
    torch.backends.mha.set_fastpath_enabled(False)
    models = [_model(path, device, segment) for path in files.values()]
    for path, model in zip(files.values(), models, strict=True):
        about = (tuple(model.sources), model.samplerate, model.audio_channels)
        if about != (tuple(stems), RATE, 2):
            raise WeightsCorrupt(
                f"{path.name} gives {', '.join(model.sources)} at {model.samplerate} Hz with "
                f"{model.audio_channels} channels, not {', '.join(stems)} at {RATE} Hz in stereo"
            )
    share = np.ones((len(models), len(stems))) if weights is None else np.array(weights)
    return Bag(models, tuple(stems), share, device)


def _model(path: Path, device: Device, segment: float | None) -> Any:
    import pickle

    import torch
    from demucs.demucs import Demucs
    from demucs.hdemucs import HDemucs
    from demucs.htdemucs import HTDemucs
    from demucs.states import load_model

    known = [HTDemucs, HDemucs, Demucs, Fraction]
    try:
        with torch.serialization.safe_globals(known):
            package = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as wrong:
        raise WeightsCorrupt(f"{path.name} is no checkpoint of plain weights: {wrong}") from wrong
    if not isinstance(package, dict) or package.get("klass") not in (HTDemucs, HDemucs):
        raise WeightsCorrupt(f"{path.name} is no checkpoint of Hybrid Demucs")
    with warnings.catch_warnings():
        # Training options of old checkpoints that the class has lost since.
        warnings.filterwarnings("ignore", message="Dropping inexistant parameter")
        model = load_model(package)
    if segment is not None and (not isinstance(model, HTDemucs) or segment <= model.segment):
        model.segment = segment
    return model.to(device).eval()


@dataclass(frozen=True)
class _Window:
    """A stretch of the sound that goes through the models at once."""

    #: First frame of what comes out, and how many there are.
    at: int
    frames: int
    #: First frame of what goes in (it may lie outside of the sound), and how many there are.
    start: int
    size: int


class Bag:
    """One or more Demucs models whose weighted mean is the result. See `Separator`."""

    def __init__(
        self,
        models: Sequence[Any],
        stems: tuple[str, ...],
        weights: NDArray[np.float64],
        device: Device,
    ) -> None:
        """`weights` is `(models, stems)`."""
        sizes = {int(model.samplerate * model.segment) for model in models}
        if len(sizes) > 1:
            raise WeightsCorrupt(f"the models of one bag have windows of {sorted(sizes)} frames")
        self.outputs = stems
        self._models = models
        #: `(models, stems)`, adding up to 1 over the models.
        self._share = weights / weights.sum(axis=0)
        (self._size,) = sizes
        self._stride = int(0.75 * self._size)
        # Those with a transformer always take a window of full size.
        self._fixed = all(hasattr(model, "valid_length") for model in models)
        self._batches = Batches(device, _GPU_BATCH, *models)

    def separate(
        self, sound: Blocks, stems: Sequence[str], progress: Callable[[float], None], /
    ) -> Iterator[Samples]:
        """The wanted stems; see `Separator`."""
        self._batches.begin()
        rows = [self.outputs.index(stem) for stem in stems]
        level = _Level(sound, progress)
        windows = list(self._windows(sound.frames))
        sums = OverlapAdd(len(stems) * sound.channels, self._size)
        half = self._size // 2
        rising = np.concatenate((np.arange(1, half + 1), np.arange(self._size - half, 0, -1)))
        weight = (rising / rising.max()).astype(np.float32)
        strip = Strip(sound)
        done = 0
        while done < len(windows):
            group = self._group(windows[done:])
            pieces = [strip.span(w.start, w.start + w.size) for w in group]
            before, share = done / len(windows), len(group) / len(windows)
            results = self._predict(group, pieces, rows, level, _within(progress, before, share))
            for window, result in zip(group, results, strict=True):
                sums.add(window.at, result, weight)
                done += 1
                yield sums.take(windows[done].at if done < len(windows) else sound.frames)

    def _windows(self, frames: int) -> Iterator[_Window]:
        for at in range(0, frames, self._stride):
            count = min(self._size, frames - at)
            size = self._size if self._fixed else count
            # A short one stands in the middle of what is around it.
            yield _Window(at, count, at - (size - count) // 2, size)

    def _group(self, windows: Sequence[_Window]) -> Sequence[_Window]:
        """The next windows that can go through together."""
        count = 1
        while count < min(self._batches.size, len(windows)):
            if windows[count].size != windows[0].size:
                break
            count += 1
        return windows[:count]

    def _predict(
        self,
        group: Sequence[_Window],
        pieces: Sequence[Samples],
        rows: Sequence[int],
        level: _Level,
        progress: Callable[[float], None],
    ) -> list[Samples]:
        """`(stems * channels, frames)` for each window."""
        channels = pieces[0].shape[0]
        items = [
            (which, pair, level.normalised(piece, pair, group[which].start))
            for which, window in enumerate(pieces)
            for pair, piece in items_of(window)
        ]
        models = [m for m, share in enumerate(self._share) if share[rows].any()]
        results = [
            np.zeros((len(rows), channels // 2, 2, window.frames), np.float32) for window in group
        ]
        for step, number in enumerate(models):
            progress(step / len(models))
            forward = partial(self._forward, number, rows)
            outputs = self._batches.run([item for _, _, item in items], forward)
            for (which, pair, _), output in zip(items, outputs, strict=True):
                window = group[which]
                trim = (output.shape[2] - window.frames) // 2
                share = self._share[number, rows].astype(np.float32)[:, None, None]
                results[which][:, pair] += share * output[..., trim : trim + window.frames]
        for which, pair, _ in items:
            results[which][:, pair] = level.restored(results[which][:, pair], pair)
        progress(1.0)
        return [result.reshape(len(rows) * channels, -1) for result in results]

    def _forward(self, number: int, rows: Sequence[int], items: Sequence[Samples]) -> list[Samples]:
        """`(stems, 2, size)` of one model for each item."""
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(np.stack(items)).to(self._batches.device)
            return list(self._models[number](batch)[:, rows].cpu().numpy())


def _within(
    progress: Callable[[float], None], before: float, share: float
) -> Callable[[float], None]:
    """Progress of a part of the work."""
    return lambda part: progress(before + share * part)


class _Level:
    """Mean and standard deviation of each pair's mono mix: what the models were trained on."""

    def __init__(self, sound: Blocks, progress: Callable[[float], None]) -> None:
        """Reads the sound once."""
        pairs = sound.channels // 2
        total, squares = np.zeros(pairs), np.zeros(pairs)
        # Around a first guess, so that a large mean does not drown a small deviation.
        guess: NDArray[np.float64] | None = None
        frames = 0
        for block in sound:
            progress(0.0)
            mono = block.reshape(pairs, 2, -1).mean(axis=1, dtype=np.float64)
            if guess is None:
                guess = mono.mean(axis=1)
            mono -= guess[:, None]
            total += mono.sum(axis=1)
            squares += np.einsum("pn,pn->p", mono, mono)
            frames += mono.shape[1]
        self._frames = frames
        mean = total / max(frames, 1)
        spread = np.maximum(squares - frames * mean**2, 0) / max(frames - 1, 1)
        self._mean = mean + (0 if guess is None else guess)
        self._deviation = np.sqrt(spread) + 1e-8

    def normalised(self, piece: Samples, pair: int, start: int) -> Samples:
        """A window that begins at frame `start`; what lies outside of the sound stays zero."""
        scaled = (piece - np.float32(self._mean[pair])) / np.float32(self._deviation[pair])
        scaled[:, : max(-start, 0)] = 0
        scaled[:, max(self._frames - start, 0) :] = 0
        return scaled

    def restored(self, stems: Samples, pair: int) -> Samples:
        """Stems at the level of the sound again."""
        return stems * np.float32(self._deviation[pair]) + np.float32(self._mean[pair])
