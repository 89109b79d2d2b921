"""A VR checkpoint as it is published, on the real bands but with a narrow network."""

from pathlib import Path

from handlers.engines.running import unwarned

BANDS = "4band_v3"
WIDTH = {"nout": 4, "nout_lstm": 8}


def write_vr(path: Path, seed: int = 0) -> None:
    """A checkpoint with random weights for a network of `WIDTH`."""
    import torch

    with unwarned():
        from audio_separator.separator.uvr_lib_v5.vr_network.nets_new import CascadedNet

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = CascadedNet(672 * 2, **WIDTH)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), path)
