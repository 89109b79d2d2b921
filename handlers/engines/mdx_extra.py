"""Engine mdx_extra."""

from __future__ import annotations

from functools import partial

from handlers.engines.declare import Engine, WeightsFile
from handlers.engines.demucs_bag import Bag, load_bag

_STEMS = ("drums", "bass", "other", "vocals")

ENGINE: Engine[Bag] = Engine(
    "mdx_extra",
    "demucs",
    "Four Hybrid Demucs models trained with extra songs, averaged; four stems.",
    lane="gpu",
    capability="separate",
    libraries=("torch", "demucs"),
    weights=(
        WeightsFile(
            "e51eebcc-c1b80bdd.th",
            "https://dl.fbaipublicfiles.com/demucs/mdx_final/e51eebcc-c1b80bdd.th",
            size=167_399_275,
            sha256="c1b80bdd6de58274abf359e66822a76f49ce2b9f086fc5dc917ac14598e6bebf",
        ),
        WeightsFile(
            "a1d90b5c-ae9d2452.th",
            "https://dl.fbaipublicfiles.com/demucs/mdx_final/a1d90b5c-ae9d2452.th",
            size=167_391_595,
            sha256="ae9d245283bf24b552913ee233a1101dcd0aeaed59b1c0a2da0e1f6eda15101b",
        ),
        WeightsFile(
            "5d2d6c55-db83574e.th",
            "https://dl.fbaipublicfiles.com/demucs/mdx_final/5d2d6c55-db83574e.th",
            size=167_391_595,
            sha256="db83574e05b2308f76e2764819da673f2d16d437b9e619f5fcb72f275fc0e24f",
        ),
        WeightsFile(
            "cfa93e08-61801ae1.th",
            "https://dl.fbaipublicfiles.com/demucs/mdx_final/cfa93e08-61801ae1.th",
            size=167_399_275,
            sha256="61801ae1567d606c97a9c3469e943ae306d0a873eeb60d623ae7cfc7042b3f68",
        ),
    ),
    licence="Given by the author for scientific purposes (facebookresearch/demucs, issues 327 and "
    "508); his later copies are tagged MIT.",
    ask=True,
    folder="demucs",
    stems=_STEMS,
    memory=1400 * 2**20,
    load=partial(load_bag, stems=_STEMS, segment=44),
)
