"""Engine clap-embed.

Source: Wu et al., "Large-scale Contrastive Language-Audio Pretraining with Feature Fusion and
Keyword-to-Caption Augmentation", ICASSP 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from handlers.engines.declare import Device, Engine, WeightsFile

if TYPE_CHECKING:
    from handlers.artifacts import Blocks

Vector = NDArray[np.float64]
"""Of unit length."""

RATE = 48000
WINDOW = 480_000
"""10 s: what the model was trained on."""

_HOME = "hf:laion/larger_clap_music_and_speech@main/"
_FILES = (
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
)


class Embedder:
    """Puts sounds and texts into one space, where what belongs together is near."""

    def __init__(self, folder: Path, device: Device) -> None:
        from handlers.engines.hub import whole_model
        from handlers.engines.torchaudio_part import importable

        importable()
        from transformers import ClapAudioModelWithProjection, ClapFeatureExtractor

        self._folder = folder
        self._device = device
        self._audio = whole_model(ClapAudioModelWithProjection, folder, device)
        self._extractor = ClapFeatureExtractor.from_pretrained(folder, local_files_only=True)

    @cached_property
    def _text(self) -> tuple[Any, Any]:
        """Two thirds of the weights: only for who asks about texts."""
        from transformers import ClapTextModelWithProjection, RobertaTokenizer

        from handlers.engines.hub import whole_model

        model = whole_model(ClapTextModelWithProjection, self._folder, self._device)
        return RobertaTokenizer.from_pretrained(self._folder, local_files_only=True), model

    def of_sound(self, sound: Blocks, progress: Callable[[float], None] = lambda _: None) -> Vector:
        """Where a sound is, `(512,)`: the mean over its windows of 10 s.

        The windows are cut here: the library takes a random ten seconds of longer sounds, so
        that two calls differ. A last window under a second is left out; a short sound is
        repeated until it fills a window, as in training.
        """
        import torch

        from handlers.engines.windows import mono_windows

        total: Any = 0.0
        count = 0
        expected = max(sound.duration * RATE / WINDOW, 1.0)
        with torch.inference_mode():
            for window in mono_windows(sound, RATE, WINDOW, shortest=RATE):
                features = self._extractor(window, sampling_rate=RATE, return_tensors="pt")
                given = features["input_features"].to(self._device)
                found = self._audio(input_features=given).audio_embeds[0]
                total = total + _unit(found.double().cpu().numpy())
                count += 1
                progress(min(count / expected, 1.0))
        return _unit(np.asarray(total))

    def of_texts(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Where texts are, `(texts, 512)`."""
        import torch

        tokenizer, model = self._text
        with torch.inference_mode():
            # One at a time: padding changes what a text is to the model in the last digits.
            found = [
                model(**tokenizer(text, return_tensors="pt", truncation=True).to(self._device))
                for text in texts
            ]
        return np.stack([_unit(one.text_embeds[0].double().cpu().numpy()) for one in found])


def _unit(vector: NDArray[np.float64]) -> Vector:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def _load(files: Mapping[str, Path], device: Device) -> Embedder:
    from handlers.engines.hub import folder_of

    return Embedder(folder_of(files), device)


ENGINE: Engine[Embedder] = Engine(
    "clap-embed",
    "clap_embed",
    "CLAP: sound and text in one space.",
    lane="gpu",
    capability="embed",
    libraries=("torch", "transformers"),
    weights=tuple(WeightsFile(name, _HOME + name) for name in _FILES),
    licence="Apache-2.0.",
    folder="clap",
    memory=900 * 2**20,
    load=_load,
)
