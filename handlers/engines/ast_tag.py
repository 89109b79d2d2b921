"""Engine ast-tag.

Source: Gong, Chung and Glass, "AST: Audio Spectrogram Transformer", Interspeech 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from handlers.engines.declare import Device, Engine, WeightsFile

if TYPE_CHECKING:
    from handlers.artifacts import Blocks

RATE = 16000
WINDOW = 163_840
"""10.24 s: what the model was trained on."""

_SHORTEST = 400  # one frame of its filter bank

_HOME = "hf:MIT/ast-finetuned-audioset-10-10-0.4593@main/"


class Tagger:
    """Says how likely each of its classes can be heard."""

    def __init__(self, model: Any, extractor: Any, device: Device) -> None:
        self._model = model
        self._extractor = extractor
        self._device = device
        names = model.config.id2label
        self.labels: tuple[str, ...] = tuple(names[index] for index in range(len(names)))

    def scores(
        self, sound: Blocks, progress: Callable[[float], None] = lambda _: None
    ) -> NDArray[np.float64]:
        """Probability of each label, `(labels,)`: the mean over windows of 10.24 s.

        AudioSet's classes do not exclude each other, so each has a sigmoid of its own. A last
        window under a tenth of the length is left out.
        """
        import torch

        from handlers.engines.windows import mono_windows

        total, count = np.zeros(len(self.labels)), 0
        expected = max(sound.duration * RATE / WINDOW, 1.0)
        with torch.inference_mode():
            for window in mono_windows(sound, RATE, WINDOW, shortest=WINDOW // 10):
                long_enough = np.pad(window, (0, max(_SHORTEST - window.size, 0)))
                features = self._extractor(long_enough, sampling_rate=RATE, return_tensors="pt")
                logits = self._model(features["input_values"].to(self._device)).logits[0]
                total += torch.sigmoid(logits).double().cpu().numpy()
                count += 1
                progress(min(count / expected, 1.0))
        return total / max(count, 1)


def _load(files: Mapping[str, Path], device: Device) -> Tagger:
    from handlers.engines.hub import folder_of, whole_model
    from handlers.engines.torchaudio_part import importable

    importable()
    from transformers import ASTFeatureExtractor, ASTForAudioClassification

    folder = folder_of(files)
    extractor = ASTFeatureExtractor.from_pretrained(folder, local_files_only=True)
    return Tagger(whole_model(ASTForAudioClassification, folder, device), extractor, device)


ENGINE: Engine[Tagger] = Engine(
    "ast-tag",
    "ast_tag",
    "Audio Spectrogram Transformer: what can be heard, in 527 classes.",
    lane="gpu",
    capability="tag",
    libraries=("torch", "transformers"),
    weights=tuple(
        WeightsFile(name, _HOME + name)
        for name in ("config.json", "model.safetensors", "preprocessor_config.json")
    ),
    licence="BSD-3-Clause.",
    folder="ast",
    memory=450 * 2**20,
    load=_load,
)
