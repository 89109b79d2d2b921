"""Engine silero-vad."""

from __future__ import annotations

from typing import Any

from handlers.engines.declare import Engine, WeightsFile

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
)
