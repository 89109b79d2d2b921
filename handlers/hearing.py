"""What analyses hear in a sound: features that they share, each computed once.

An operation that listens takes `Heard` where others take `Blocks`, and says
what it asks for:

    @operation(..., hears=(TEMPO, KEY))
    def dj_prep(sound: Heard) -> DjPrep:
        return DjPrep(bpm=sound[TEMPO].bpm, key=sound[KEY].name, ...)

A feature is either listened (`Listened`: computed while the sound goes by,
block by block) or derived (`Derived`: computed from other features). All
listened features that are wanted are computed in one pass over the sound;
what several of them need of it (a mono sound at a low rate, spectra) is a
`Stage` that they share. Steps of a chain that listen to the same sound share
all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Blocks, Samples, SourceFacts
from handlers.engines.shelf import Borrow, packaged

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MONO_RATE = 22050
"""Samples per second of the `MONO` stage. Music's tempo, key and melody lie below 11 kHz."""


@dataclass(frozen=True)
class Form:
    """What the pieces of a stage are like: samples (or frames) per second, and rows."""

    rate: float
    channels: int


class Listener(Protocol[T_co]):
    """Takes in the pieces of a stage, then says what it heard."""

    def add(self, piece: Any) -> None:
        """The next piece."""

    def done(self) -> T_co:
        """The feature; nothing comes after."""


class Converter(Protocol):
    """Makes the pieces of a stage from those of the stage before."""

    #: What it gives.
    form: Form

    def add(self, piece: Any) -> Iterable[Any]:
        """What can be said after this piece."""

    def end(self) -> Iterable[Any]:
        """What can be said only now that nothing comes after."""


@dataclass(frozen=True)
class Stage:
    """A form of the sound that several features are computed from.

    `begin` makes a converter for one pass from the form of `source`.
    """

    name: str
    source: Stage | None = field(default=None, compare=False)
    begin: Callable[[Form], Converter] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Feature(Generic[T]):
    """Something that can be heard in a sound. Its name identifies it.

    Raise `version` when it gives other values: kept results no longer count.
    """

    name: str
    version: int = field(compare=False, kw_only=True)
    #: The features that it is computed from.
    needs: tuple[Feature[Any], ...] = field(default=(), compare=False, kw_only=True)


@dataclass(frozen=True)
class Listened(Feature[T]):
    """A feature computed from the pieces of a stage, in one pass."""

    stage: Stage = field(compare=False, kw_only=True)
    #: Called with the form of the pieces, and the model if an engine is named.
    begin: Callable[..., Listener[T]] = field(compare=False, kw_only=True)
    #: The engine whose model is lent to it for the pass; "" for none.
    engine: str = field(compare=False, kw_only=True, default="")


@dataclass(frozen=True)
class Derived(Feature[T]):
    """A feature computed from others; `compute` may ask for those in `needs` only."""

    compute: Callable[[Heard], T] = field(compare=False, kw_only=True)


class _Mono:
    """The mean of all channels at another rate."""

    def __init__(self, form: Form, rate: int) -> None:
        self.form = Form(rate, 1)
        self._stream: Any = None
        if form.rate != rate:
            import soxr

            self._stream = soxr.ResampleStream(form.rate, rate, 1, dtype="float32")

    def add(self, piece: Samples) -> Iterable[NDArray[np.float32]]:
        if piece.shape[0] == 2:
            # Twice as fast as the mean, and the same to the bit.
            mono = (piece[0] + piece[1]) * np.float32(0.5)
        else:
            mono = piece[0] if piece.shape[0] == 1 else piece.mean(axis=0)
        if self._stream is not None:
            mono = self._stream.resample_chunk(mono)
        return (mono,) if mono.size else ()

    def end(self) -> Iterable[NDArray[np.float32]]:
        if self._stream is None:
            return ()
        rest = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        return (rest,) if rest.size else ()


SOUND = Stage("sound")
"""The blocks of the sound as they are, `(channels, n)` at its own rate."""


def mono_at(rate: int) -> Stage:
    """The mean of all channels, float32 `(n,)` at `rate`, without delay."""
    return Stage(f"mono at {rate} Hz", SOUND, lambda form: _Mono(form, rate))


MONO = mono_at(MONO_RATE)
"""The mean of all channels at 22,050 Hz."""


class Heard:
    """A sound, and what has been heard in it so far."""

    def __init__(
        self, sound: Blocks, expected: Iterable[Feature[Any]] = (), borrow: Borrow = packaged
    ) -> None:
        """A sound of which nothing has been heard yet.

        Args:
            expected: computed in the first pass, whoever asks for one of them.
            borrow: lends the engines that features name.
        """
        self.sound = sound
        self._borrow = borrow
        self._expected = tuple(expected)
        self._known: dict[Feature[Any], Any] = {}
        self._may: frozenset[Feature[Any]] | None = None
        self._asker = ""

    @property
    def rate(self) -> int:
        """Samples per second."""
        return self.sound.rate

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.sound.channels

    @property
    def frames(self) -> int:
        """Length in frames."""
        return self.sound.frames

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.sound.duration

    @property
    def facts(self) -> SourceFacts | None:
        """The file it came from."""
        return self.sound.facts

    def __getitem__(self, feature: Feature[T]) -> T:
        """The feature, computed if nobody has asked for it before.

        Raises:
            TypeError: whoever asks has not declared that it needs this feature.
        """
        if self._may is not None and feature not in self._may:
            names = ", ".join(sorted(f.name for f in self._may)) or "nothing"
            raise TypeError(f"{self._asker} asks for {feature.name} and declares {names}")
        if feature not in self._known:
            self._listen(listened_of((feature, *self._expected)))
            if isinstance(feature, Derived):
                asker = self.asked_by(feature.name, feature.needs)
                self._known[feature] = feature.compute(asker)
        return cast(T, self._known[feature])

    def asked_by(self, asker: str, declared: Iterable[Feature[Any]]) -> Heard:
        """The same, for somebody who may ask only for what was declared."""
        view = Heard(self.sound, self._expected, self._borrow)
        view._known = self._known
        view._may, view._asker = frozenset(declared), asker
        return view

    def _listen(self, features: Sequence[Listened[Any]]) -> None:
        """One pass over the sound for all features not yet known."""
        wanted = [feature for feature in features if feature not in self._known]
        if not wanted:
            return
        root = _Branch(Form(self.rate, self.channels))
        branches: dict[Stage, _Branch] = {SOUND: root}
        with ExitStack() as lent:
            listeners = []
            for feature in wanted:
                given = [_grow(feature.stage, branches).form]
                if feature.engine:
                    given.append(lent.enter_context(self._borrow(feature.engine)))
                listeners.append((feature, feature.begin(*given)))
                branches[feature.stage].listeners.append(listeners[-1][1])
            for block in self.sound:
                root.pass_on(block)
            root.end()
            for feature, listener in listeners:
                self._known[feature] = listener.done()


class _Branch:
    """One stage during a pass: who listens to it, and what is made from it."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.listeners: list[Listener[Any]] = []
        self._further: list[tuple[Converter, _Branch]] = []

    def grow(self, converter: Converter) -> _Branch:
        branch = _Branch(converter.form)
        self._further.append((converter, branch))
        return branch

    def pass_on(self, piece: Any) -> None:
        for listener in self.listeners:
            listener.add(piece)
        for converter, branch in self._further:
            for made in converter.add(piece):
                branch.pass_on(made)

    def end(self) -> None:
        for converter, branch in self._further:
            for made in converter.end():
                branch.pass_on(made)
            branch.end()


def _grow(stage: Stage, branches: dict[Stage, _Branch]) -> _Branch:
    if stage not in branches:
        if stage.source is None or stage.begin is None:
            raise TypeError(f"stage {stage.name} says neither source nor how to begin")
        source = _grow(stage.source, branches)
        branches[stage] = source.grow(stage.begin(source.form))
    return branches[stage]


def with_needs(features: Iterable[Feature[Any]]) -> list[Feature[Any]]:
    """These features and all that they are computed from, once each."""
    found: dict[Feature[Any], None] = {}
    waiting = list(features)
    while waiting:
        feature = waiting.pop()
        if feature not in found:
            found[feature] = None
            waiting.extend(feature.needs)
    return list(found)


def listened_of(features: Iterable[Feature[Any]]) -> list[Listened[Any]]:
    """All listened features that these stand on."""
    return [feature for feature in with_needs(features) if isinstance(feature, Listened)]
