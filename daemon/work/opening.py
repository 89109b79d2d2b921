"""Turns references into open sounds: the only place where that happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pydantic import ValidationError

from daemon.settings import Settings
from handlers import chain
from handlers.artifacts import Blocks, Midi, NamedFile, SoundItem
from handlers.codecs.files import InputFile
from handlers.codecs.midi import is_midi, read_midi
from handlers.codecs.reader import Caps
from handlers.declare import Operation
from handlers.engines.declare import Lane
from handlers.errors import AudiollaError, BadParameter, NoSuchFile, UnreadableInput
from handlers.registry import find
from rules.orders import ItemRef, Order, SoundRef, StepOrder


class Opener:
    """Opens what one job reads, within the limits of the settings."""

    def __init__(self, settings: Settings) -> None:
        """`settings` say how large a decoded sound may be."""
        self._settings = settings

    def source(self, order: Order) -> tuple[Blocks | None, Midi | None]:
        """What flows through the chain: a sound, or a MIDI file."""
        if order.sound is None:
            return None, None
        first = None if order.choose or not order.steps else find(order.steps[0].op).sound
        ref = order.sound
        with _still_there(ref):
            if (first is not None and first.kind == "midi") or is_midi(ref.path, name=ref.name):
                return None, read_midi(ref.path, name=ref.name)
        if first is not None and first.kind == "file":
            return self.tagged(ref), None
        return self.sound(ref), None

    def tagged(self, ref: SoundRef) -> Blocks:
        """A sound with the file that it lies in, for a step that works on the file itself."""
        from handlers.tagging.others import open_tagged

        with _still_there(ref):
            return open_tagged(ref.path, name=ref.name, caps=caps_of(self._settings))

    def steps(self, orders: Sequence[StepOrder], first: int = 0) -> list[chain.Step]:
        """Steps with their further sounds opened; `first` is the number of the first of them."""
        return [self._step(order, number) for number, order in enumerate(orders, first)]

    def _step(self, order: StepOrder, index: int) -> chain.Step:
        op = find(order.op)
        try:
            params = op.read_params(order.params, strict=True)
            return chain.Step(op, params, self._further(op, order))
        except AudiollaError as wrong:
            wrong.step, wrong.op = index, op.name
            raise

    def _further(self, op: Operation, order: StepOrder) -> Mapping[str, chain.Further]:
        opened: dict[str, chain.Further] = {}
        for declared in op.inputs:
            if declared.item is not None and declared.name in order.items:
                refs = order.items[declared.name]
                opened[declared.name] = self._items(declared.name, declared.item, refs)
            elif declared.name in order.sounds:
                opened[declared.name] = self.sound(order.sounds[declared.name])
        return opened

    def _items(self, name: str, model: type[SoundItem], refs: list[ItemRef]) -> list[SoundItem]:
        items: list[SoundItem] = []
        for index, ref in enumerate(refs):
            try:
                items.append(self._item(model.model_validate(ref.settings), ref.sound))
            except ValidationError as wrong:
                first = wrong.errors()[0]
                field = f"{name}[{index}].{'.'.join(map(str, first['loc']))}"
                raise BadParameter(f"{field}: {first['msg']}", field=field) from None
            except (UnreadableInput, NoSuchFile) as unusable:
                unusable.detail = f"{name}[{index}]: {unusable.detail}"
                raise
        return items

    def _item(self, item: SoundItem, ref: SoundRef) -> SoundItem:
        if isinstance(item, NamedFile):
            with _still_there(ref):
                return item.holding(InputFile(ref.path, ref.name))
        return item.opened(self.sound(ref))

    def sound(self, ref: SoundRef) -> Blocks:
        """A sound."""
        from handlers.codecs.reader import open_sound

        with _still_there(ref):
            return open_sound(ref.path, name=ref.name, caps=caps_of(self._settings))


def caps_of(settings: Settings) -> Caps:
    """What one sound may decode to."""
    return Caps(settings.max_decoded_bytes, settings.max_decoded_seconds, settings.max_channels)


@contextmanager
def _still_there(ref: SoundRef) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NoSuchFile(f"{ref.name} is not there any more") from None


def segment_of(lanes: list[Lane], start: int) -> tuple[int, Lane | None]:
    """Where the segment that begins at `start` ends, and the lane of what follows it."""
    for index in range(start + 1, len(lanes)):
        if lanes[index] != lanes[start]:
            return index, lanes[index]
    return len(lanes), None
