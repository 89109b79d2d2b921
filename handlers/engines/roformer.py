"""Roformer models (BS and MelBand) from their published files, and how they take a sound apart.

Windows, steps and weights are those of audio-separator's `MDXCSeparator.demix`; they are
computed here so that a sound of any length passes through in flat memory, with a word
after every layer. A model gives one stem; what is left of the sound is the other.

Source: Lu, Wang, Kong and Hung, "Music Source Separation with Band-Split RoPE
Transformer", ICASSP 2024; Wang, Lu and Won, "Mel-Band RoFormer for Music Source
Separation", 2023.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml

from handlers.artifacts import Blocks, Samples
from handlers.engines.declare import Device
from handlers.engines.running import Batches, torch_for, unwarned
from handlers.engines.separator import RATE, OverlapAdd, items_of
from handlers.errors import WeightsCorrupt
from handlers.streams import Strip

_GPU_BATCH = 4
_CPU_OVERLAP = 2
"""Windows over each sample on a processor, where one takes minutes; on a GPU as many as the
settings beside the model say."""


class _Settings(yaml.SafeLoader):
    """Reads the settings that lie beside a checkpoint: plain data, and tuples of it."""


_Settings.add_constructor(
    "tag:yaml.org,2002:python/tuple",
    lambda loader, node: tuple(loader.construct_sequence(cast(yaml.SequenceNode, node))),
)


def load_roformer(
    files: Mapping[str, Path], device: Device, *, gives: str, not_: Sequence[str] = ()
) -> Roformer:
    """The model of an engine: a checkpoint and the settings beside it.

    Args:
        files: a `.ckpt` and a `.yaml`.
        device: where it runs.
        gives: the engine's name for the stem that the model gives.
        not_: names that its settings must not have for that stem.

    Raises:
        WeightsCorrupt: a file holds something else, they do not fit each other, or
            code would have to run to read them.
    """
    torch_for(device)
    checkpoint, beside = _by_suffix(files, ".ckpt"), _by_suffix(files, ".yaml")
    settings = _read_settings(beside)
    target = settings["training"].get("target_instrument")
    if not target or str(target).lower() in (name.lower() for name in not_):
        raise WeightsCorrupt(f"{beside.name} is for a model of {target!r}, not of {gives}")
    model = _model(checkpoint, settings)
    rate = settings["audio"].get("sample_rate", RATE)
    if (rate, model.audio_channels, model.num_stems) != (RATE, 2, 1):
        raise WeightsCorrupt(
            f"{beside.name} is for {model.num_stems} stems at {rate} Hz with "
            f"{model.audio_channels} channels, not for one at {RATE} Hz in stereo"
        )
    hop = int(settings["model"].get("stft_hop_length") or settings["audio"]["hop_length"])
    size = hop * (int(settings["inference"]["dim_t"]) - 1)
    overlap = int(settings["inference"].get("num_overlap") or 4)
    if not device.startswith("cuda"):
        overlap = min(overlap, _CPU_OVERLAP)
    return Roformer(model.to(device).eval(), gives, size, size // overlap, device)


def _by_suffix(files: Mapping[str, Path], suffix: str) -> Path:
    return next(path for path in files.values() if path.suffix == suffix)


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        # A SafeLoader: it makes nothing but plain data.
        settings = yaml.load(path.read_text(), Loader=_Settings)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError) as wrong:
        raise WeightsCorrupt(f"{path.name} holds no settings of a model: {wrong}") from wrong
    wanted = ("audio", "model", "training", "inference")
    if not isinstance(settings, dict) or not all(isinstance(settings.get(k), dict) for k in wanted):
        raise WeightsCorrupt(f"{path.name} has not all of the sections {', '.join(wanted)}")
    return settings


def _model(checkpoint: Path, settings: dict[str, Any]) -> Any:
    import pickle

    # The loader gives random weights where there is no file; `files` names only files that exist.
    try:
        with unwarned():
            from audio_separator.separator.roformer.roformer_loader import RoformerLoader

            loaded = RoformerLoader().load_model(str(checkpoint), settings, device="cpu")
    except (pickle.UnpicklingError, EOFError, OSError) as wrong:
        raise WeightsCorrupt(
            f"{checkpoint.name} is no checkpoint of plain weights: {wrong}"
        ) from wrong
    if not loaded.success or loaded.model is None:
        raise WeightsCorrupt(
            f"{checkpoint.name} is no checkpoint for these settings: {loaded.error_message}"
        )
    return loaded.model


class Roformer:
    """One Roformer, which gives one stem. See `Separator`."""

    def __init__(self, model: Any, gives: str, size: int, step: int, device: Device) -> None:
        """`size` frames at a time, every `step`."""
        self.outputs = (gives,)
        self._model = model
        self._size, self._step = size, step
        self._batches = Batches(device, _GPU_BATCH, model)
        self._layers = [part for layer in model.layers for part in layer]
        self._tell: Callable[[], None] = _nothing
        for layer in self._layers:
            layer.register_forward_pre_hook(lambda *_: self._tell())

    def separate(
        self, sound: Blocks, _stems: Sequence[str], progress: Callable[[float], None], /
    ) -> Iterator[Samples]:
        """The stem; see `Separator`."""
        self._batches.begin()
        starts = self._starts(sound.frames)
        sums = OverlapAdd(sound.channels, self._size)
        window = np.hamming(self._size).astype(np.float32)
        strip = Strip(sound)
        done = 0
        while done < len(starts):
            group = starts[done : done + self._batches.size]
            pieces = [strip.span(at, at + self._size) for at in group]
            with self._telling(progress, done, len(starts), pieces):
                results = self._predict(pieces)
            for at, result in zip(group, results, strict=True):
                sums.add(at, result, window)
                done += 1
                progress(done / len(starts))
                yield sums.take(starts[done] if done < len(starts) else sound.frames)

    def _starts(self, frames: int) -> list[int]:
        """Where windows start; the last one ends where the sound ends, if that is long enough."""
        last = max(frames - self._size, 0)
        return [*range(0, last, self._step), last] if frames else []

    def _predict(self, pieces: Sequence[Samples]) -> list[Samples]:
        results = [np.zeros_like(piece) for piece in pieces]
        items = [
            (which, pair, item)
            for which, piece in enumerate(pieces)
            for pair, item in items_of(piece)
        ]
        outputs = self._batches.run([item for _, _, item in items], self._forward)
        for (which, pair, _), output in zip(items, outputs, strict=True):
            results[which][2 * pair : 2 * pair + 2, : output.shape[1]] = output
        return results

    def _forward(self, items: Sequence[Samples]) -> list[Samples]:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(np.stack(items)).to(self._batches.device)
            return list(self._model(batch).cpu().numpy())

    @contextlib.contextmanager
    def _telling(
        self,
        progress: Callable[[float], None],
        done: int,
        total: int,
        pieces: Sequence[Samples],
    ) -> Iterator[None]:
        """Meanwhile every layer of the model tells `progress`: a window may take minutes."""
        pairs = sum(len(items_of(piece)) for piece in pieces)
        calls = -(-pairs // self._batches.size) * len(self._layers)
        passed = 0

        def tell() -> None:
            nonlocal passed
            # A batch that did not fit is run again: never beyond the end of the group.
            progress((done + len(pieces) * min(passed / max(calls, 1), 1.0)) / total)
            passed += 1

        self._tell = tell
        try:
            yield
        finally:
            self._tell = _nothing


def _nothing() -> None:
    """Nobody wants to be told."""
