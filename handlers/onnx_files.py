"""What we do with ONNX files: read a model's weights, write a model of our own.

An ONNX file is one protocol buffer. The few of its messages that are needed are
read and written here; the package for it brings a second copy of what the
runtime has.

Source: onnx.proto (IR version 8, operators 15); encoding of protocol buffers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from handlers.artifacts import Samples

Constant = Samples | NDArray[np.int64]
Attribute = int | str | Sequence[int]

_IR_VERSION, _OPERATORS = 8, 15
_FLOAT, _INT64 = 1, 7
#: How a field is stored.
_NUMBER, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_SIZES = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
#: What an attribute holds, in its own field and in the type that it states.
_INT, _TEXT, _INTS = (3, 2), (4, 3), (8, 7)


def weights(model: bytes) -> dict[str, Samples]:
    """A model's float32 constants, by name.

    Raises:
        ValueError: it is no ONNX model.
    """
    found: dict[str, Samples] = {}
    try:
        for graph in _all(model, 7):
            for tensor in _all(graph, 5):
                if list(_numbers(tensor, 2)) == [_FLOAT]:
                    (name,), (raw,) = _all(tensor, 8), _all(tensor, 9)
                    shape = tuple(_numbers(tensor, 1))
                    found[name.decode()] = np.frombuffer(raw, "<f4").reshape(shape)
    except (ValueError, IndexError) as wrong:
        raise ValueError(f"not a whole ONNX model: {wrong}") from None
    return found


def _all(message: bytes, number: int) -> list[bytes]:
    """The strings, bytes or messages in a field."""
    return [value for at, value in _fields(message) if at == number and isinstance(value, bytes)]


def _numbers(message: bytes, number: int) -> Iterator[int]:
    """The numbers in a field, packed or not."""
    for at, value in _fields(message):
        if at == number and isinstance(value, int):
            yield value
        elif at == number and isinstance(value, bytes):
            position = 0
            while position < len(value):
                one, position = _varint(value, position)
                yield one


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind = key & 7
        if kind == _NUMBER:
            value, position = _varint(message, position)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, position = _varint(message, position)
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise ValueError(f"a field of kind {kind}")
        if position + size > len(message):
            raise ValueError("it is cut off")
        yield key >> 3, message[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


@dataclass
class Graph:
    """A model as it is being written; what is computed is known by its name."""

    _nodes: list[bytes] = field(default_factory=list)
    _constants: list[bytes] = field(default_factory=list)
    _inputs: list[bytes] = field(default_factory=list)

    def input(self, name: str, shape: Sequence[int]) -> str:
        """What a run is given: float32."""
        self._inputs.append(_value(name, shape))
        return name

    def constant(self, values: Constant) -> str:
        """A tensor that is part of the model."""
        name = f"c{len(self._constants)}"
        kind, dtype = (_INT64, "<i8") if values.dtype.kind == "i" else (_FLOAT, "<f4")
        told = b"".join(_field(1, size) for size in values.shape)
        raw = np.ascontiguousarray(values, dtype).tobytes()
        self._constants.append(told + _field(2, kind) + _field(8, name.encode()) + _field(9, raw))
        return name

    def node(self, kind: str, *inputs: str, name: str = "", **attributes: Attribute) -> str:
        """One operator of ONNX; gives its first output, called `name` if that is given."""
        out = name or f"n{len(self._nodes)}"
        told = b"".join(_field(1, each.encode()) for each in inputs)
        told += _field(2, out.encode()) + _field(4, kind.encode())
        told += b"".join(_field(5, _attribute(*each)) for each in attributes.items())
        self._nodes.append(told)
        return out

    def model(self, outputs: Mapping[str, Sequence[int]]) -> bytes:
        """The file; `outputs` are names with their shapes."""
        graph = b"".join(_field(1, node) for node in self._nodes) + _field(2, b"graph")
        graph += b"".join(_field(5, constant) for constant in self._constants)
        graph += b"".join(_field(11, value) for value in self._inputs)
        graph += b"".join(_field(12, _value(*each)) for each in outputs.items())
        return _field(1, _IR_VERSION) + _field(7, graph) + _field(8, _field(2, _OPERATORS))


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return _packed(number << 3 | _BYTES) + _packed(len(value)) + value
    return _packed(number << 3 | _NUMBER) + _packed(value)


def _packed(value: int) -> bytes:
    value &= 2**64 - 1  # numbers below zero have all 64 bits
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def _value(name: str, shape: Sequence[int]) -> bytes:
    sizes = b"".join(_field(1, _field(1, size)) for size in shape)
    tensor = _field(1, _FLOAT) + _field(2, sizes)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _attribute(name: str, value: Attribute) -> bytes:
    held: Sequence[int | bytes]
    if isinstance(value, int):
        (at, kind), held = _INT, [value]
    elif isinstance(value, str):
        (at, kind), held = _TEXT, [value.encode()]
    else:
        (at, kind), held = _INTS, value
    told = _field(1, name.encode()) + b"".join(_field(at, each) for each in held)
    return told + _field(20, kind)
