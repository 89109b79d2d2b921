"""Engine htdemucs."""

from __future__ import annotations

from functools import partial

from handlers.engines.declare import Engine, WeightsFile
from handlers.engines.demucs_bag import Bag, load_bag

_STEMS = ("drums", "bass", "other", "vocals")

ENGINE: Engine[Bag] = Engine(
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
    stems=_STEMS,
    memory=250 * 2**20,
    load=partial(load_bag, stems=_STEMS),
)
