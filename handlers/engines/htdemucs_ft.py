"""Engine htdemucs_ft."""

from __future__ import annotations

from functools import partial

from handlers.engines.declare import Engine, WeightsFile
from handlers.engines.demucs_bag import Bag, load_bag

_STEMS = ("drums", "bass", "other", "vocals")
#: Each model was refined for one stem, in the order of the files.
_WEIGHTS = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))

ENGINE: Engine[Bag] = Engine(
    "htdemucs_ft",
    "demucs",
    "Hybrid Transformer Demucs, a model of its own for each of four stems.",
    lane="gpu",
    capability="separate",
    libraries=("torch", "demucs"),
    weights=(
        WeightsFile(
            "f7e0c4bc-ba3fe64a.th",
            "https://dl.fbaipublicfiles.com/demucs/hybrid_transformer/f7e0c4bc-ba3fe64a.th",
            size=84_141_271,
            sha256="ba3fe64ae8ef66ac9a4857222ce48efbdc5eb3ad375cb79dd13debee5aaa4066",
        ),
        WeightsFile(
            "d12395a8-e57c48e6.th",
            "https://dl.fbaipublicfiles.com/demucs/hybrid_transformer/d12395a8-e57c48e6.th",
            size=84_141_271,
            sha256="e57c48e6b0e38af4f7118d7bd08c49f0a0c0edf7d09143bdd902ea0d237303e6",
        ),
        WeightsFile(
            "92cfc3b6-ef3bcb9c.th",
            "https://dl.fbaipublicfiles.com/demucs/hybrid_transformer/92cfc3b6-ef3bcb9c.th",
            size=84_141_271,
            sha256="ef3bcb9c8b40d14ae5d51b6db2587339cc12c6b77c0be151ce6d69002e087bf2",
        ),
        WeightsFile(
            "04573f0d-f3cf25b2.th",
            "https://dl.fbaipublicfiles.com/demucs/hybrid_transformer/04573f0d-f3cf25b2.th",
            size=84_141_271,
            sha256="f3cf25b222c4eed7cd49dd8b2c9597d50c18bd154090f7b919cfa5f93cf22c49",
        ),
    ),
    licence="Given by the author for scientific purposes (facebookresearch/demucs, issues 327 and "
    "508); his later copies are tagged MIT.",
    ask=True,
    folder="demucs",
    stems=_STEMS,
    cuda_only=True,
    memory=900 * 2**20,
    load=partial(load_bag, stems=_STEMS, weights=_WEIGHTS),
)
