"""Engine uvr-karaoke."""

from __future__ import annotations

from functools import partial

from handlers.engines.declare import Engine, WeightsFile
from handlers.engines.roformer import Roformer, load_roformer

ENGINE: Engine[Roformer] = Engine(
    "uvr-karaoke",
    "uvr_separator",
    "MelBand-Roformer, lead vocals and the rest. For a GPU: a core takes about 25 s per second.",
    lane="gpu",
    capability="separate",
    libraries=("torch", "audio_separator"),
    weights=(
        WeightsFile(
            "mel_band_roformer_karaoke_aufr33_viperx_sdr_10.1956.ckpt",
            "https://github.com/nomadkaraoke/python-audio-separator/releases/download/model-configs/mel_band_roformer_karaoke_aufr33_viperx_sdr_10.1956.ckpt",
            size=913_096_801,
            sha256="1de20d459332fe8869aeb01327a31df0032262706e1365114e852dc271779813",
        ),
        WeightsFile(
            "mel_band_roformer_karaoke_aufr33_viperx_sdr_10.1956_config.yaml",
            "https://github.com/nomadkaraoke/python-audio-separator/releases/download/model-configs/mel_band_roformer_karaoke_aufr33_viperx_sdr_10.1956_config.yaml",
            size=1_726,
            sha256="b35077d94861f068097cce1a5e54633c055e7dcc2613eade4e4dc7c7c9c3f48b",
        ),
    ),
    licence="None stated by its makers; not known to be licensed for commercial use.",
    ask=True,
    folder="uvr",
    stems=("Vocals", "Instrumental"),
    memory=1000 * 2**20,
    load=partial(load_roformer, gives="Vocals", not_=("Instrumental",)),
)
