"""Engine silero-vad.

The model as its package brings it, run directly: importing the package would
need torch and change torch's threads for the whole process.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handlers.engines.declare import Device, Engine, WeightsFile


def _load(files: Mapping[str, Path], _device: Device) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # The recurrent part cannot be shared out; a second thread would only wait, and not idly.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # It warns about initializers in the package's file that nothing uses.
    options.log_severity_level = 3
    (path,) = files.values()
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


ENGINE: Engine[Any] = Engine(
    "silero-vad",
    "vad",
    "Finds speech.",
    lane="cpu",
    capability="vad",
    libraries=("onnxruntime",),
    weights=(
        WeightsFile(
            "silero_vad_16k_sequence.onnx",
            "package:silero_vad/data/silero_vad_16k_sequence.onnx",
            size=1_246_165,
            sha256="9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
        ),
    ),
    licence="MIT.",
    memory=70 * 2**20,
    load=_load,
)
