"""How a delivery was made: everything that has to be the same to make the same bytes again."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from daemon.delivering.hashes import hash_of
from handlers.engines.registry import find_engine
from handlers.registry import find
from rules.orders import Order, Record, SoundRef, path_to_text

MARK: Final = "audiolla_manifest"
"""First key of a manifest; its value is the version of its form."""
FORM: Final = 1

#: Packages whose versions decide what comes out.
_PACKAGES: Final = (
    "audiolla",
    "numpy",
    "scipy",
    "numba",
    "av",
    "soundfile",
    "soxr",
    "lameenc",
    "mutagen",
    "pedalboard",
    "onnxruntime",
)


def manifest_of(
    job: str,
    order: Order,
    record: Record,
    content: dict[str, Any],
    source: dict[str, Any],
    at: datetime,
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Everything that is known before the outputs have their names; call it with the result.

    Args:
        order: as it was run, its rule chosen.
        content: `size` and `sha256` of the dropped file.
        source: facts of the sound that went in.
        at: when it was made, UTC.
    """
    # What was decided before the work began (whether members fit, whether the sound came before)
    # is no part of how it was done.
    undecided: dict[str, Any] = {
        "record": None,
        "request": "",
        "members": [],
        "fit": False,
        "once": None,
        "budget": None,
    }
    plain = order.model_copy(update=undecided)
    dropped = record.input
    about: dict[str, Any] = {
        MARK: FORM,
        "job": job,
        "folder": record.folder,
        "rule": order.names.get("rule", ""),
        "made_at": at.isoformat(timespec="seconds"),
        "input": {
            "file": path_to_text(record.rel),
            "lay_at": path_to_text(dropped),
            **content,
            **source,
        },
    }
    sounds = [
        {"file": path_to_text(path), "sha256": hash_of(path)} for path in sorted(further(order))
    ]

    def told(result: dict[str, Any]) -> dict[str, Any]:
        steps = result["steps"]
        return {
            **about,
            **({"sounds": sounds} if sounds else {}),
            "steps": steps,
            **{key: result[key] for key in ("before", "after", "duplicate_of") if key in result},
            "outputs": result["outputs"],
            "versions": versions(steps),
            "order": plain.model_dump(mode="json", exclude_defaults=True),
        }

    return told


def references(order: Order) -> Iterator[SoundRef]:
    """Every sound that an order names."""
    if order.sound is not None:
        yield order.sound
    for step in order.all_steps():
        yield from step.sounds.values()
        for items in step.items.values():
            yield from (item.sound for item in items)


def further(order: Order) -> set[Path]:
    """The files beside the dropped one that its steps read."""
    dropped = order.record.input if order.record is not None else None
    return {ref.path for ref in references(order)} - {dropped}


def versions(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """What the result depends on beside input and parameters.

    Args:
        steps: `op` and `params` of each, as a job's result has them.
    """
    engines: dict[str, Any] = {}
    operations: dict[str, str] = {}
    for step in steps:
        op = find(step["op"])
        params = op.read_params(step["params"])
        operations[op.name] = op.revision(params)
        for slug in op.needs(params):
            weights = {file.path: file.sha256 for file in find_engine(slug).weights}
            engines[slug] = weights
    return {
        "operations": operations,
        **({"engines": engines} if engines else {}),
        "libraries": libraries(),
    }


@cache
def libraries() -> dict[str, str]:
    """The packages, FFmpeg's libraries and the machine, by name."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    import av
    import soundfile

    found["libsndfile"] = soundfile.__libsndfile_version__
    for name, numbers in av.library_versions.items():
        found[name] = ".".join(map(str, numbers))
    return found


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What has another version now, in words; nothing if all is the same."""
    told: list[str] = []
    for group in ("operations", "engines", "libraries"):
        old, new = then.get(group, {}), now.get(group, {})
        told += [
            f"{name}: {old.get(name, 'not there')}, now {new.get(name, 'gone')}"
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        ]
    return told
