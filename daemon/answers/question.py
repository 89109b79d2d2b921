"""What makes two jobs the same question: every input, every parameter, every version.

A question is named in two steps. Its key is made of what is cheap to know: the
steps with all of their parameters, what they stand on, how the result is
written, and a *sketch* of each input (its name, its size and some of its
bytes). Only where an answer lies under the key are the inputs read whole and
their hashes compared with those of the answer: a new question costs no more
than a few small reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from io import BufferedReader
from pathlib import Path
from typing import Any

import handlers
from daemon.recall import identity_of
from daemon.settings import Settings
from daemon.shelves import models_of
from handlers.declare import Operation, Params
from handlers.engines.registry import find_engine
from handlers.hearing import Listened, with_needs
from handlers.registry import find
from rules.orders import Delivery, Order, SoundRef, StepOrder

_SAMPLED = 16 * 2**10
"""Bytes that are read at the beginning, in the middle and at the end of an input."""
#: Of a delivery, where a result goes and for how long; the rest says what it is.
_WHERE = frozenset({"folder", "name", "max_bytes", "urls", "conflict", "fleeting"})


@dataclass(frozen=True)
class Source:
    """One input file as it was when the question was asked."""

    path: Path
    size: int
    identity: tuple[int, int, int, int]

    def open(self) -> BufferedReader:
        """The file, if it is still the same.

        Raises:
            FileNotFoundError: it is not.
        """
        file = self.path.open("rb")
        if identity_of(os.fstat(file.fileno())) != self.identity:
            file.close()
            raise FileNotFoundError(f"{self.path} is another file by now")
        return file


@dataclass(frozen=True)
class Question:
    """What a job is asked to do, by name."""

    #: Hexadecimal.
    key: str
    sources: tuple[Source, ...]
    delivery: Delivery | None


def question_of(order: Order, settings: Settings, device: str) -> Question | None:
    """The question that an order asks; None where no answer may stand for it.

    That is where a sound is yet to be fetched, where the result is sent to
    URLs, and where chance decides.

    Raises:
        OSError: an input cannot be read.
    """
    delivery = order.delivery
    sounds = list(sounds_of(order))
    if order.choose or any(sound.remote is not None for sound in sounds):
        return None
    if delivery is not None and (delivery.urls or not delivery.exact):
        return None
    steps = [(find(step.op), step) for step in order.steps]
    checked = [(op, op.read_params(step.params, strict=True), step) for op, step in steps]
    if any(op.varies is not None and op.varies(params) for op, params, _ in checked):
        return None
    sketches: dict[Path, Any] = {}
    sources: list[Source] = []
    for sound in sounds:
        if sound.path not in sketches:
            sketch, source = _sketched(sound.path)
            sketches[sound.path] = sketch
            sources.append(source)

    def shown(sound: SoundRef | None) -> Any:
        return sound and [sound.name, sketches[sound.path]]

    told = {
        "program": _program(),
        "font": _identity(settings.soundfont),
        "device": [device, settings.cpu_fallback],
        "sound": shown(order.sound),
        "steps": [_step(op, params, step, settings, shown) for op, params, step in checked],
        "delivery": delivery and delivery.model_dump(mode="json", exclude=set(_WHERE)),
        "measure": order.measure,
        "names": order.names,
    }
    text = json.dumps(told, sort_keys=True).encode()
    return Question(hashlib.sha256(text).hexdigest(), tuple(sources), delivery)


def sounds_of(order: Order) -> Iterator[SoundRef]:
    """Every file that an order names, the one that flows through its chain first."""
    if order.sound is not None:
        yield order.sound
    for step in order.steps:
        yield from step.sounds.values()
        for items in step.items.values():
            yield from (item.sound for item in items)


def _step(op: Operation, params: Params, step: StepOrder, settings: Settings, shown: Any) -> Any:
    return [
        op.revision(params),
        params.model_dump(mode="json"),
        {name: shown(sound) for name, sound in step.sounds.items()},
        {n: [[shown(i.sound), i.settings] for i in items] for n, items in step.items.items()},
        [_engine(slug, settings) for slug in _engines(op, params)],
    ]


def _engines(op: Operation, params: Params) -> list[str]:
    features = with_needs(op.features(params))
    heard = {f.engine for f in features if isinstance(f, Listened) and f.engine}
    return sorted({*op.needs(params), *heard})


def _engine(slug: str, settings: Settings) -> Any:
    """An engine by the hashes of its weights; by size and date where no one published a hash."""
    engine, models = find_engine(slug), models_of(settings)
    return [slug, [w.sha256 or _identity(models.found(engine, w)) for w in engine.weights]]


def _identity(path: Path | None) -> Any:
    try:
        return list(identity_of(path.stat())) if path is not None else None
    except OSError:
        return None


def _sketched(path: Path) -> tuple[Any, Source]:
    with path.open("rb") as file:
        stat = os.fstat(file.fileno())
        digest = hashlib.sha256()
        for at in (0, stat.st_size // 2, max(stat.st_size - _SAMPLED, 0)):
            digest.update(os.pread(file.fileno(), _SAMPLED, at))
    return [stat.st_size, digest.hexdigest()], Source(path, stat.st_size, identity_of(stat))


@cache
def _program() -> Any:
    """What this program is: its version, its own files, and everything that it stands on."""
    root = Path(next(iter(handlers.__path__)))
    own = sorted(
        (os.fspath(p.relative_to(root)), p.stat().st_size, p.stat().st_mtime_ns)
        for p in root.rglob("*.py")
    )
    packages: set[str] = set()
    for folder in {os.path.realpath(folder) for folder in sys.path}:
        if os.path.isdir(folder):
            packages |= {n for n in os.listdir(folder) if n.endswith((".dist-info", ".egg-info"))}
    tools = [shutil.which(name) for name in ("ffmpeg", "ffprobe")]
    told = [own, sorted(packages), [_identity(Path(t)) if t else None for t in tools]]
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    return [version("audiolla"), sys.version, digest]
