"""Engine uvr-deecho-aggressive."""

from __future__ import annotations

from functools import partial

from handlers.engines.declare import Engine, WeightsFile
from handlers.engines.vr import Vr, load_vr

ENGINE: Engine[Vr] = Engine(
    "uvr-deecho-aggressive",
    "uvr_separator",
    "VR network, takes echo out with less care for the rest (uvr-deecho with aggressive).",
    lane="gpu",
    capability="restore",
    libraries=("torch", "audio_separator"),
    weights=(
        WeightsFile(
            "UVR-De-Echo-Aggressive.pth",
            "https://github.com/TRvlvr/model_repo/releases/download/all_public_uvr_models/UVR-De-Echo-Aggressive.pth",
        ),
    ),
    licence="None stated by its makers; not known to be licensed for commercial use.",
    ask=True,
    folder="uvr",
    memory=200 * 2**20,
    load=partial(load_vr, gives="No Echo", bands="4band_v3", nout=48, nout_lstm=128),
)
