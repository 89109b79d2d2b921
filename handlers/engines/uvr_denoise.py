"""Engine uvr-denoise."""

from __future__ import annotations

from functools import partial

from handlers.engines.declare import Engine, WeightsFile
from handlers.engines.roformer import Roformer, load_roformer

ENGINE: Engine[Roformer] = Engine(
    "uvr-denoise",
    "uvr_separator",
    "MelBand-Roformer, takes noise out. For a GPU: a core takes about 25 s per second of sound.",
    lane="gpu",
    capability="restore",
    libraries=("torch", "audio_separator"),
    weights=(
        WeightsFile(
            "denoise_mel_band_roformer_aufr33_sdr_27.9959.ckpt",
            "https://github.com/nomadkaraoke/python-audio-separator/releases/download/model-configs/denoise_mel_band_roformer_aufr33_sdr_27.9959.ckpt",
            size=913_097_300,
            sha256="7c1c39191edc34e942ca7f2346ce6b6c0e1208a5f76349ffce6f696bd12910de",
        ),
        WeightsFile(
            "denoise_mel_band_roformer_aufr33_sdr_27.9959_config.yaml",
            "https://github.com/nomadkaraoke/python-audio-separator/releases/download/model-configs/denoise_mel_band_roformer_aufr33_sdr_27.9959_config.yaml",
        ),
    ),
    licence="None stated by its makers; not known to be licensed for commercial use.",
    ask=True,
    folder="uvr",
    memory=1000 * 2**20,
    load=partial(load_roformer, gives="No Noise", not_=("other", "noise")),
)
