"""Engine htdemucs."""

from __future__ import annotations

from typing import Any

from handlers.engines.declare import Engine, WeightsFile

ENGINE: Engine[Any] = Engine(
    "htdemucs",
    "demucs",
    "Hybrid Transformer Demucs, four stems.",
    lane="gpu",
    capability="separate",
    libraries=("torch", "demucs"),
    weights=(
        WeightsFile(
            "955717e8-8726e21a.th",
            "https://dl.fbaipublicfiles.com/demucs/hybrid_transformer/955717e8-8726e21a.th",
            size=84_141_911,
            sha256="8726e21a993978c7ba086d3872e7608d7d5bfca646ca4aca459ffda844faa8b4",
        ),
    ),
    licence="Given by the author for scientific purposes (facebookresearch/demucs, issues 327 and "
    "508); his later copies are tagged MIT.",
    ask=True,
    folder="demucs",
    stems=("drums", "bass", "other", "vocals"),
    memory=250 * 2**20,
)
