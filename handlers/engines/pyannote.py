"""Engine pyannote."""

from __future__ import annotations

from typing import Any

from handlers.engines.declare import Engine, WeightsFile

ENGINE: Engine[Any] = Engine(
    "pyannote",
    "diarize_pyannote",
    "Finds who speaks when.",
    lane="gpu",
    capability="diarize",
    libraries=("torch", "pyannote.audio"),
    weights=(
        WeightsFile(
            "config.yaml",
            "hf:pyannote/speaker-diarization-community-1@main/config.yaml",
            size=444,
            sha256="5ce2bfa9a938dc132cec1172592d65173cbb8f444ea1e4133f10f9391de155be",
        ),
        WeightsFile(
            "segmentation/pytorch_model.bin",
            "hf:pyannote/speaker-diarization-community-1@main/segmentation/pytorch_model.bin",
            size=5_906_507,
            sha256="7ad24338d844fb95985486eb1a464e32d229f6d7a03c9abe60f978bacf3f816e",
        ),
        WeightsFile(
            "embedding/pytorch_model.bin",
            "hf:pyannote/speaker-diarization-community-1@main/embedding/pytorch_model.bin",
            size=26_646_242,
            sha256="6f10ff60898a1d185fa22e1d11e0bfa8a92efec811f11bca48cb8cafebefd929",
        ),
        WeightsFile(
            "plda/plda.npz",
            "hf:pyannote/speaker-diarization-community-1@main/plda/plda.npz",
            size=133_852,
            sha256="9b77bcd840692710dd3496f62ecfeed8d8e5f002fd991b785079b244eab7d255",
        ),
        WeightsFile(
            "plda/xvec_transform.npz",
            "hf:pyannote/speaker-diarization-community-1@main/plda/xvec_transform.npz",
            size=134_376,
            sha256="325f1ce8e48f7e55e9c8aa47e05d2766b7c48c4b25b8de8dd751e7a4cc5fbe8f",
        ),
    ),
    licence="CC BY 4.0.",
    gate="accept the terms of pyannote/speaker-diarization-community-1 on its page and set "
    "HUGGINGFACE_TOKEN",
    wants_token=True,
    ask=True,
    folder="pyannote",
    memory=120 * 2**20,
)
