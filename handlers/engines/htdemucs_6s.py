"""Engine htdemucs_6s."""

from __future__ import annotations

from functools import partial

from handlers.engines.declare import Engine, WeightsFile
from handlers.engines.demucs_bag import Bag, load_bag

_STEMS = ("drums", "bass", "other", "vocals", "guitar", "piano")

ENGINE: Engine[Bag] = Engine(
    "htdemucs_6s",
    "demucs",
    "Hybrid Transformer Demucs, six stems.",
    lane="gpu",
    capability="separate",
    libraries=("torch", "demucs"),
    weights=(
        WeightsFile(
            "5c90dfd2-34c22ccb.th",
            "https://dl.fbaipublicfiles.com/demucs/hybrid_transformer/5c90dfd2-34c22ccb.th",
            size=54_996_327,
            sha256="34c22ccb381c6f9fdbf324f04e1e2fe21aaaf293f5ded163a162697ff9a02ddd",
        ),
    ),
    licence="Given by the author for scientific purposes (facebookresearch/demucs, issues 327 and "
    "508); his later copies are tagged MIT.",
    ask=True,
    folder="demucs",
    stems=_STEMS,
    memory=200 * 2**20,
    load=partial(load_bag, stems=_STEMS),
)
