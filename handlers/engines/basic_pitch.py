"""Engine basic-pitch."""

from __future__ import annotations

from typing import Any

from handlers.engines.declare import Engine, WeightsFile

ENGINE: Engine[Any] = Engine(
    "basic-pitch",
    "basic_pitch",
    "Hears notes.",
    lane="cpu",
    capability="transcribe",
    libraries=("onnxruntime",),
    weights=(
        WeightsFile(
            "nmp.onnx",
            "package:basic_pitch/saved_models/icassp_2022/nmp.onnx",
            size=230_444,
            sha256="2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
        ),
    ),
    licence="Apache-2.0.",
    memory=70 * 2**20,
)
