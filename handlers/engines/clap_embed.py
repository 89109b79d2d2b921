"""Engine clap-embed."""

from __future__ import annotations

from typing import Any

from handlers.engines.declare import Engine, WeightsFile

ENGINE: Engine[Any] = Engine(
    "clap-embed",
    "clap_embed",
    "CLAP: sound and text in one space.",
    lane="gpu",
    capability="embed",
    libraries=("torch", "transformers"),
    weights=(
        WeightsFile(
            "config.json",
            "hf:laion/larger_clap_music_and_speech@main/config.json",
        ),
        WeightsFile(
            "model.safetensors",
            "hf:laion/larger_clap_music_and_speech@main/model.safetensors",
        ),
        WeightsFile(
            "preprocessor_config.json",
            "hf:laion/larger_clap_music_and_speech@main/preprocessor_config.json",
        ),
        WeightsFile(
            "tokenizer.json",
            "hf:laion/larger_clap_music_and_speech@main/tokenizer.json",
        ),
        WeightsFile(
            "tokenizer_config.json",
            "hf:laion/larger_clap_music_and_speech@main/tokenizer_config.json",
        ),
        WeightsFile(
            "vocab.json",
            "hf:laion/larger_clap_music_and_speech@main/vocab.json",
        ),
        WeightsFile(
            "merges.txt",
            "hf:laion/larger_clap_music_and_speech@main/merges.txt",
        ),
        WeightsFile(
            "special_tokens_map.json",
            "hf:laion/larger_clap_music_and_speech@main/special_tokens_map.json",
        ),
    ),
    licence="Apache-2.0.",
    folder="clap",
    memory=900 * 2**20,
)
