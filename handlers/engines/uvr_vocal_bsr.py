"""Engine uvr-vocal-bsr."""

from __future__ import annotations

from functools import partial

from handlers.engines.declare import Engine, WeightsFile
from handlers.engines.roformer import Roformer, load_roformer

ENGINE: Engine[Roformer] = Engine(
    "uvr-vocal-bsr",
    "uvr_separator",
    "BS-Roformer, vocals and the rest. For a GPU: a core takes about a minute per second of sound.",
    lane="gpu",
    capability="separate",
    libraries=("torch", "audio_separator"),
    weights=(
        WeightsFile(
            "model_bs_roformer_ep_317_sdr_12.9755.ckpt",
            "https://github.com/TRvlvr/model_repo/releases/download/all_public_uvr_models/model_bs_roformer_ep_317_sdr_12.9755.ckpt",
            size=639_331_213,
            sha256="5b84f37e8d444c8cb30c79d77f613a41c05868ff9c9ac6c7049c00aefae115aa",
        ),
        WeightsFile(
            "model_bs_roformer_ep_317_sdr_12.9755.yaml",
            "https://raw.githubusercontent.com/TRvlvr/application_data/main/mdx_model_data/mdx_c_configs/model_bs_roformer_ep_317_sdr_12.9755.yaml",
            size=2_273,
            sha256="2bfdd16c656bd9519aba757cc4f8834b7ede675eb1e00ec4772d74ae1c41af7f",
        ),
    ),
    licence="None stated by its makers; not known to be licensed for commercial use.",
    ask=True,
    folder="uvr",
    stems=("Vocals", "Instrumental"),
    memory=700 * 2**20,
    load=partial(load_roformer, gives="Vocals", not_=("Instrumental",)),
)
