"""A DeepFilterNet 3 archive as it is published, with few and narrow layers."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from handlers.engines.deepfilter import package

SMALL = {
    "conv_ch": 8,
    "emb_hidden_dim": 16,
    "df_hidden_dim": 16,
    "emb_num_layers": 2,
    "df_num_layers": 1,
    "linear_groups": 4,
    "enc_linear_groups": 4,
}
FULL = {
    "conv_ch": 64,
    "emb_hidden_dim": 256,
    "df_hidden_dim": 256,
    "emb_num_layers": 3,
    "df_num_layers": 2,
    "linear_groups": 16,
    "enc_linear_groups": 32,
}


def settings_of(sizes: dict[str, int], **more: Any) -> str:
    """The `config.ini` beside a checkpoint."""
    sections = {
        "train": {"model": "deepfilternet3"},
        "df": {
            "sr": 48000,
            "fft_size": 960,
            "hop_size": 480,
            "nb_erb": 32,
            "nb_df": 96,
            "norm_tau": 1,
            "lsnr_max": 35,
            "lsnr_min": -15,
            "min_nb_erb_freqs": 2,
            "df_order": 5,
            "df_lookahead": 2,
        },
        "deepfilternet": {
            "conv_lookahead": 2,
            "conv_kernel": "1,3",
            "conv_kernel_inp": "3,3",
            "df_gru_skip": "groupedlinear",
            "df_pathway_kernel_size_t": 5,
            **sizes,
            **more,
        },
    }
    if "model" in more:
        sections["train"]["model"] = more["model"]
    return "\n".join(
        f"[{name}]\n" + "\n".join(f"{key} = {value}" for key, value in values.items())
        for name, values in sections.items()
    )


def network_of(settings: str) -> Any:
    """The package's own network for these settings, and its state for spectra."""
    package()
    import libdf
    from df.config import config
    from df.model import ModelParams, init_model

    with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
        file.write(settings)
        file.flush()
        config.load(file.name, allow_reload=True)
    config.set("DEVICE", "cpu", str, "train")
    p = ModelParams()
    state = libdf.DF(p.sr, p.fft_size, p.hop_size, p.nb_erb, p.min_nb_freqs)
    return init_model(state).eval(), state


def write_archive(path: Path, settings: str, weights: bytes) -> None:
    """The two files that matter, and another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("DeepFilterNet3/config.ini", settings)
        archive.writestr("DeepFilterNet3/checkpoints/model_120.ckpt.best", weights)
        archive.writestr("DeepFilterNet3/enhance.log", "")


def random_weights(settings: str, seed: int = 0) -> bytes:
    """A checkpoint for these settings."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network, _ = network_of(settings)
        # Statistics of normalisation that do something, and taps large enough to be heard.
        for name, tensor in network.named_buffers():
            if "running_var" in name:
                tensor.uniform_(0.5, 2)
            elif "running_mean" in name:
                tensor.normal_(0, 0.2)
    kept = io.BytesIO()
    torch.save(network.state_dict(), kept)
    return kept.getvalue()


def write_deepfilter(path: Path, sizes: dict[str, int] = SMALL, seed: int = 0) -> None:
    """An archive with random weights."""
    settings = settings_of(sizes)
    write_archive(path, settings, random_weights(settings, seed))
