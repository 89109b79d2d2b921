"""Engine ast-tag."""

from __future__ import annotations

from typing import Any

from handlers.engines.declare import Engine, WeightsFile

ENGINE: Engine[Any] = Engine(
    "ast-tag",
    "ast_tag",
    "Audio Spectrogram Transformer: what can be heard, in 527 classes.",
    lane="gpu",
    capability="tag",
    libraries=("torch", "transformers"),
    weights=(
        WeightsFile(
            "config.json",
            "hf:MIT/ast-finetuned-audioset-10-10-0.4593@main/config.json",
        ),
        WeightsFile(
            "model.safetensors",
            "hf:MIT/ast-finetuned-audioset-10-10-0.4593@main/model.safetensors",
        ),
        WeightsFile(
            "preprocessor_config.json",
            "hf:MIT/ast-finetuned-audioset-10-10-0.4593@main/preprocessor_config.json",
        ),
    ),
    licence="BSD-3-Clause.",
    folder="ast",
    memory=450 * 2**20,
)
