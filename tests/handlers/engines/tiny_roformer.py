"""Roformer checkpoints and their settings as they are published, with few and small layers."""

from pathlib import Path
from typing import Any

import yaml

from handlers.engines.running import unwarned

BS: dict[str, Any] = {
    "dim": 16,
    "depth": 1,
    "stereo": True,
    "num_stems": 1,
    "time_transformer_depth": 1,
    "freq_transformer_depth": 1,
    "freqs_per_bands": (32, 32, 65),
    "dim_head": 8,
    "heads": 2,
    "attn_dropout": 0.0,
    "ff_dropout": 0.0,
    "flash_attn": True,
    "dim_freqs_in": 129,
    "stft_n_fft": 256,
    "stft_hop_length": 128,
    "stft_win_length": 256,
    "stft_normalized": False,
    "mask_estimator_depth": 2,
}
MEL_BAND: dict[str, Any] = {
    **{k: v for k, v in BS.items() if k != "freqs_per_bands"},
    "num_bands": 8,
    "sample_rate": 44100,
    "dim_freqs_in": 257,
    "stft_n_fft": 512,
    "stft_hop_length": 256,
    "stft_win_length": 512,
}


def settings_of(model: dict[str, Any], target: str, other: str, **inference: Any) -> dict[str, Any]:
    """The YAML beside a checkpoint, as data."""
    return {
        "audio": {"chunk_size": 12800, "hop_length": 128, "sample_rate": 44100, "num_channels": 2},
        "model": model,
        "training": {"instruments": [target, other], "target_instrument": target},
        "inference": {"batch_size": 1, "dim_t": 101, "num_overlap": 4, **inference},
    }


def write_roformer(checkpoint: Path, beside: Path, settings: dict[str, Any], seed: int = 0) -> None:
    """A checkpoint with random weights, and its settings."""
    import torch

    with unwarned():
        from audio_separator.separator.uvr_lib_v5.roformer.bs_roformer import BSRoformer
        from audio_separator.separator.uvr_lib_v5.roformer.mel_band_roformer import MelBandRoformer

    known = BSRoformer if "freqs_per_bands" in settings["model"] else MelBandRoformer
    with unwarned(), torch.random.fork_rng():
        torch.manual_seed(seed)
        model = known(**settings["model"])
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), checkpoint)
    # With the tag that the published ones have for tuples.
    beside.write_text(yaml.dump(settings))
