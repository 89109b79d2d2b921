"""The engines as this installation has them: where their weights are, which may be used."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from daemon.settings import Settings
from handlers.engines.declare import Engine
from handlers.engines.files import Models
from handlers.engines.registry import engines
from handlers.engines.shelf import Loaded, Shelf

#: No library of a worker reaches out: weights are found by us or not at all, nobody is told of use.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "PYANNOTE_METRICS_ENABLED": "0",
    "OTEL_SDK_DISABLED": "true",
}


def go_offline() -> None:
    """Say so to the libraries of this process; before any of them is imported."""
    os.environ.update(OFFLINE)


def models_of(settings: Settings) -> Models:
    """Where weights are looked for."""
    others = [settings.uvr_models_dir] if settings.uvr_models_dir else []
    return Models([settings.models, *others])


def enabled(settings: Settings) -> Sequence[Engine[Any]]:
    """The engines that may be used."""
    return [
        engine
        for engine in engines().values()
        if not settings.enabled_engines or engine.slug in settings.enabled_engines
    ]


def shelf_of(
    settings: Settings, device: str, changed: Callable[[list[Loaded]], None] = lambda _: None
) -> Shelf:
    """An empty shelf for a worker."""
    return Shelf(
        models_of(settings),
        engines(),
        device=device,
        enabled=settings.enabled_engines,
        ttl=settings.engine_ttl,
        budget=settings.engine_memory,
        changed=changed,
    )


def resolved_device(wanted: str) -> str:
    """The device that a setting means on this machine; never `auto`."""
    if wanted != "auto":
        return wanted
    # Asking the driver takes time and memory; without its device file there is nothing to ask.
    if not any(os.path.exists(path) for path in ("/dev/nvidiactl", "/dev/dxg")):
        return "cpu"
    from daemon.doctor import cuda_devices

    return "cuda" if cuda_devices()[0] else "cpu"
