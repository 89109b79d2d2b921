"""Engine deepfilter."""

from __future__ import annotations

from typing import Any

from handlers.engines.declare import Engine, WeightsFile

ENGINE: Engine[Any] = Engine(
    "deepfilter",
    "deepfilter",
    "DeepFilterNet 3, makes speech stand out of noise.",
    lane="gpu",
    capability="enhance",
    libraries=("torch", "df"),
    weights=(
        WeightsFile(
            "DeepFilterNet3.zip",
            "https://github.com/Rikorose/DeepFilterNet/raw/v0.5.6/models/DeepFilterNet3.zip",
            size=7_986_207,
            sha256="49c52edc8947ae1f9bf50d81530beaf3a2c3245aeaf34b6f31ff535cd22284d2",
        ),
    ),
    licence="MIT or Apache-2.0.",
    folder="deepfilter",
    memory=60 * 2**20,
)
