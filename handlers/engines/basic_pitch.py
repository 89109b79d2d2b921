"""Engine basic-pitch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handlers.engines.declare import Device, Engine, WeightsFile


def _load(files: Mapping[str, Path], _device: Device) -> Any:
    from handlers.transcription import Ear

    (path,) = files.values()
    return Ear(path.read_bytes())


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
    load=_load,
)
