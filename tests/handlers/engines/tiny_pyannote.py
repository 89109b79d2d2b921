"""A folder of speaker-diarization-community-1 as it is published, with small random networks.

Whoever calls this imports pyannote.audio, which the engine itself never does.
"""

from __future__ import annotations

import copyreg
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from handlers.engines.running import unwarned
from handlers.engines.torchaudio_part import importable

CONFIG = """\
dependencies:
  pyannote.audio: 4.0.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: VBxClustering
    segmentation: $model/segmentation
    segmentation_batch_size: 32
    embedding: $model/embedding
    embedding_batch_size: 32
    embedding_exclude_overlap: true
    plda: $model/plda
params:
  clustering:
    threshold: 0.6
    Fa: 0.07
    Fb: 0.8
  segmentation:
    min_duration_off: 0.0
"""
SMALL: dict[str, Any] = {
    "lstm": {"hidden_size": 8, "num_layers": 1, "bidirectional": True, "monolithic": True},
    "linear": {"hidden_size": 8, "num_layers": 2},
}
FULL: dict[str, Any] = {
    "lstm": {"hidden_size": 128, "num_layers": 4, "bidirectional": True, "monolithic": True},
    "linear": {"hidden_size": 128, "num_layers": 2},
}


def package() -> None:
    """Import the package, which sends what it does to its publisher unless told otherwise."""
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
    os.environ["HF_HUB_OFFLINE"] = "1"
    importable()
    with unwarned(), warnings.catch_warnings():
        # It looks for a decoder of files, which nobody here asks it for.
        warnings.filterwarnings("ignore", message="\\s*torchcodec is not installed")
        import pyannote.audio.pipelines  # noqa: F401


def _by_value(member: Any) -> tuple[Any, tuple[Any]]:
    return type(member), (member.value,)


def specifications(**about: Any) -> Any:
    """What a checkpoint says of its task."""
    package()
    from pyannote.audio.core.task import Problem, Resolution, Specifications

    # Python 3.11.0 to 3.11.3 pickle them by `getattr`, unlike those that published checkpoints.
    for kind in (Problem, Resolution):
        copyreg.pickle(kind, _by_value)
    problem = Problem[about.pop("problem")]
    return Specifications(problem=problem, resolution=Resolution[about.pop("resolution")], **about)


def who_is_heard(sizes: dict[str, Any] = SMALL, *, lively: bool = True) -> Any:
    """A network that says which of three voices are heard, in no class always."""
    package()
    import torch
    from pyannote.audio.models.segmentation import PyanNet

    network = PyanNet(**sizes)
    network.specifications = specifications(
        problem="MONO_LABEL_CLASSIFICATION",
        resolution="FRAME",
        duration=10.0,
        warm_up=(0.0, 0.0),
        classes=["speaker#1", "speaker#2", "speaker#3"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    network.build()
    network.eval()
    if lively:
        # What it says shall depend on what it hears: each class in its share of the frames.
        rng = np.random.default_rng(5)
        sound = rng.standard_normal(160_000) * np.repeat(rng.uniform(0.01, 0.5, 40), 4000)
        heard: list[Any] = []
        hook = network.classifier.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
        with torch.inference_mode():
            network(torch.from_numpy(sound.astype(np.float32))[None, None])
        hook.remove()
        with torch.no_grad():
            spread = heard[0][0] - heard[0][0].mean(0)
            axes = torch.linalg.svd(spread, full_matrices=False)
            weight = torch.randn(7, 3) @ (axes.Vh[:3] / axes.S[:3, None]) * spread.shape[0] ** 0.5
            network.classifier.weight.copy_(weight)
            network.classifier.bias.copy_(-weight @ heard[0][0].mean(0))
    return network


def whose_voice(bands: int = 8) -> Any:
    """A network that says where a voice is."""
    package()
    import torch
    from pyannote.audio.models.embedding.wespeaker import WeSpeakerResNet34

    network = WeSpeakerResNet34(num_mel_bins=bands)
    network.specifications = specifications(
        problem="REPRESENTATION", resolution="CHUNK", duration=5.0
    )
    for name, tensor in network.named_buffers():
        if "running_var" in name:
            tensor.uniform_(0.8, 1.25)
        elif "running_mean" in name:
            tensor.normal_(0, 0.1)
    network.eval()
    # What all voices have in common would hide how they differ.
    time = torch.arange(48_000) / 16_000
    sounds = torch.stack([torch.sin(6.28 * hz * time) for hz in (150, 400, 900, 2000)])
    with torch.no_grad():
        common = network(sounds[:, None] + 0.1 * torch.randn(4, 1, 48_000)).mean(0)
        network.resnet.seg_1.bias -= common
    return network


def save_checkpoint(network: Any, path: Path) -> None:
    """As Lightning writes it."""
    import lightning
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = {
        "state_dict": network.state_dict(),
        "hyper_parameters": dict(network.hparams),
        "pytorch-lightning_version": lightning.__version__,
    }
    network.on_save_checkpoint(checkpoint)
    checkpoint["pyannote.audio"]["versions"]["torch"] = torch.torch_version.TorchVersion("2.7.1")
    torch.save(checkpoint, path)


def write_pyannote(
    folder: Path, sizes: dict[str, Any] = SMALL, bands: int = 8, seed: int = 0
) -> Path:
    """All five files, in `folder`."""
    package()
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        save_checkpoint(who_is_heard(sizes), folder / "segmentation" / "pytorch_model.bin")
        save_checkpoint(whose_voice(bands), folder / "embedding" / "pytorch_model.bin")
    rng = np.random.default_rng(seed)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "plda").mkdir(exist_ok=True)
    turned = np.linalg.qr(rng.standard_normal((256, 256)))[0]
    np.savez(
        folder / "plda" / "xvec_transform.npz",
        mean1=rng.standard_normal(256) * 0.001,
        mean2=rng.standard_normal(128) * 0.001,
        lda=turned[:, :128],
    )
    np.savez(
        folder / "plda" / "plda.npz",
        mu=rng.standard_normal(128) * 0.001,
        tr=2 * np.linalg.qr(rng.standard_normal((128, 128)))[0],
        psi=np.sort(rng.uniform(1, 5, 128))[::-1],
    )
    return folder
