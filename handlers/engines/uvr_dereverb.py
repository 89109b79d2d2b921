"""Engine uvr-dereverb."""

from __future__ import annotations

from functools import partial

from handlers.engines.declare import Engine, WeightsFile
from handlers.engines.roformer import Roformer, load_roformer

ENGINE: Engine[Roformer] = Engine(
    "uvr-dereverb",
    "uvr_separator",
    "BS-Roformer, takes the room out. For a GPU: a core takes about 35 s per second of sound.",
    lane="gpu",
    capability="restore",
    libraries=("torch", "audio_separator"),
    weights=(
        WeightsFile(
            "deverb_bs_roformer_8_384dim_10depth.ckpt",
            "https://github.com/nomadkaraoke/python-audio-separator/releases/download/model-configs/deverb_bs_roformer_8_384dim_10depth.ckpt",
        ),
        WeightsFile(
            "deverb_bs_roformer_8_384dim_10depth_config.yaml",
            "https://github.com/nomadkaraoke/python-audio-separator/releases/download/model-configs/deverb_bs_roformer_8_384dim_10depth_config.yaml",
        ),
    ),
    licence="None stated by its makers; not known to be licensed for commercial use.",
    ask=True,
    folder="uvr",
    memory=400 * 2**20,
    load=partial(load_roformer, gives="No Reverb", not_=("other", "reverb")),
)
