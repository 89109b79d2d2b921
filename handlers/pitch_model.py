"""basic-pitch's model as a graph that takes a fifth of the time.

It computes what the packaged one does, to the rounding of float32; what differs is how.

- The layer that takes half of the time sees one spectrum eight times, shifted to where the
  harmonics of a pitch lie. Its weights are merged into as many as it has pairs of a bin
  heard and a bin told: a product of matrices, at a fifth of the work.
- Runtimes compute 8 or 16 channels at once, so a layer with one output is computed as one
  with sixteen: a square of 4 by 4 neighbours, or that many samples in a row.
- Frames that are cut off from every window are not computed.

Frequency comes before time here, so that the bins of a spectrum are channels.

Source: the weights and layers of basic-pitch 0.4 (`nmp.onnx`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial, reduce
from typing import Final

import numpy as np

from handlers.artifacts import Samples
from handlers.onnx_files import Graph, weights

SAMPLES: Final = 43844
FRAMES: Final = 172
"""A window in samples and in frames."""
EDGE: Final = 15
"""Frames at either end of it that are not given: its neighbours hear them better."""
GIVEN: Final = FRAMES - 2 * EDGE
PITCHES: Final = 88
INPUT: Final = "samples"
"""float32 `(1, 1, 1, SAMPLES)`."""
OUTPUTS: Final = ("notes", "onsets", "contours")
"""float32 `(GIVEN, PITCHES)`, the same, and `(GIVEN, 3 * PITCHES)`."""

_OCTAVES = 9
_BINS = 309
_TOLD = 3 * PITCHES  # bins of the layers behind the spectrum
#: Bins between a pitch and its harmonics: 36 log2(1/2), 36 log2(1) ... 36 log2(7).
_HARMONICS = (-36, 0, 36, 57, 72, 84, 93, 101)
_ONE_AFTER_ANOTHER = 16
_SQUARE = 4
#: So many bins are told at once by one product; the more, the more of its weights are zero.
_AT_ONCE = 44

_LOW_PASS, _COSINE, _SINE = "const_fold_opt__734", "const_fold_opt__655", "const_fold_opt__664"
_NORMALIZED = "model_1/batch_normalization/FusedBatchNormV3"


def graph_of(packaged: bytes) -> bytes:
    """The model to run, made of the weights in the packaged one.

    Raises:
        ValueError: these are not the weights of basic-pitch 0.4.
    """
    return _Layers(packaged).model()


class _Layers:
    def __init__(self, packaged: bytes) -> None:
        self._weights = weights(packaged)
        self._graph = Graph()

    def model(self) -> bytes:
        node = self._graph.node
        spectrum = self._spectrum(self._graph.input(INPUT, (1, 1, 1, SAMPLES)))

        # Each layer hears as many frames around one as it has taps, and gives fewer: what is
        # left over at the end is what was cut off too little at the beginning.
        heard = self._narrowed(spectrum, EDGE - 10)
        shapes = self._of_harmonics(heard, "const_fold_opt__727", "re_lu_1/Relu")
        contours = self._single(
            {shapes: self._named("const_fold_opt__710")}, "contours-reduced/BiasAdd", GIVEN + 14
        )
        softened = self._third(contours, "const_fold_opt__738", "conv2d_2/BiasAdd", around=2)
        notes = self._single(
            {softened: self._named("const_fold_opt__702")}, "conv2d_3/BiasAdd", GIVEN + 2
        )

        stacked = self._stacked(self._narrowed(spectrum, EDGE - 3))
        struck = self._third(stacked, "const_fold_opt__707", "re_lu_3/Relu", around=1)
        taps = self._named("const_fold_opt__680")
        onsets = self._single({struck: taps[:, 1:], notes: taps[:, :1]}, "conv2d_5/BiasAdd", GIVEN)

        shapes_given = {}
        tables = (self._narrowed(notes, 1), onsets, self._narrowed(contours, 7))
        for name, table, bins in zip(OUTPUTS, tables, (PITCHES, PITCHES, _TOLD), strict=True):
            turned = node("Transpose", table, perm=(0, 1, 3, 2))
            node("Reshape", turned, self._sizes(GIVEN, bins), name=name)
            shapes_given[name] = (GIVEN, bins)
        return self._graph.model(shapes_given)

    # -- the spectrum ------------------------------------------------------------------------
    def _spectrum(self, sound: str) -> str:
        """Constant-Q, in dB from the quietest to the loudest of the window as 0 to 1, scaled."""
        node = self._graph.node
        basis = self._constant(np.concatenate([self._named(_COSINE), self._named(_SINE)]))
        octaves: list[str] = []
        samples = SAMPLES
        for octave in range(_OCTAVES):
            if octave:
                sound, samples = self._halved(sound, samples), samples // 2
            padded = node("Pad", sound, self._sizes(0, 0, 0, 128, 0, 0, 0, 128), mode="reflect")
            hop = 256 >> octave
            parts = node("Conv", padded, basis, kernel_shape=(1, 256), strides=(1, hop))
            octaves.insert(0, node("Reshape", parts, self._sizes(1, 2, 36, FRAMES)))
        parts = self._slice(node("Concat", *octaves, axis=2), 36 * _OCTAVES - _BINS, None, 2)
        squares = node("Mul", parts, parts)
        power = node("Add", self._slice(squares, 0, 1, 1), self._slice(squares, 1, 2, 1))
        lengths = self._called("cq_t2010v2_1/Sqrt").reshape(_BINS, 1)
        power = node("Mul", power, self._constant(lengths * lengths))
        loud = node("Log", node("Add", power, self._number(1e-10)))
        loud = node("Mul", loud, self._number(10 / math.log(10)))
        above = node("Sub", loud, node("ReduceMin", loud, keepdims=1))
        # Of silence all are 0, and stay it.
        most = node("Max", node("ReduceMax", above, keepdims=1), self._number(1e-30))
        scale, shift = (
            self._named(f"{_NORMALIZED};{_NORMALIZED}{which}").reshape(()) for which in ("", "1")
        )
        scaled = node("Mul", node("Div", above, most), self._constant(scale))
        return node("Add", scaled, self._constant(shift))

    def _halved(self, sound: str, samples: int) -> str:
        """An octave lower: every other sample of what the low-pass gives."""
        low_pass = self._named(_LOW_PASS).reshape(-1)
        step = 2 * _ONE_AFTER_ANOTHER
        bank = np.zeros((_ONE_AFTER_ANOTHER, 1, 1, low_pass.size + step - 2), np.float32)
        for at, row in enumerate(bank[:, 0, 0]):
            row[2 * at : 2 * at + low_pass.size] = low_pass
        reach = low_pass.size // 2 - 1
        times = math.ceil(samples // 2 / _ONE_AFTER_ANOTHER)
        missing = (times - 1) * step + bank.shape[3] - (reach + samples)
        node = self._graph.node
        rows = node(
            *("Conv", sound, self._constant(bank)),
            kernel_shape=bank.shape[2:],
            strides=(1, step),
            pads=(0, reach, 0, missing),
        )
        row = node("Reshape", node("Transpose", rows, perm=(0, 2, 3, 1)), self._sizes(1, 1, 1, -1))
        return self._slice(row, 0, samples // 2, 3)

    # -- layers ------------------------------------------------------------------------------
    def _of_harmonics(self, spectrum: str, kernel: str, bias: str) -> str:
        """A layer over the stack of harmonics, of the spectrum that they are all taken from."""
        node = self._graph.node
        taps = self._named(kernel)
        outputs, _, frames, _ = taps.shape
        biases = self._constant(np.repeat(self._called(bias), _AT_ONCE))
        bins = node("Reshape", spectrum, self._sizes(1, _BINS, 1, -1))
        parts = []
        for first in range(0, _TOLD, _AT_ONCE):
            merged, low = _merged(taps, first)
            part = node(
                *("Conv", self._slice(bins, low, low + merged.shape[2], 1)),
                self._constant(merged.reshape(outputs * _AT_ONCE, -1, 1, frames)),
                biases,
                kernel_shape=(1, frames),
            )
            parts.append(node("Reshape", part, self._sizes(1, outputs, _AT_ONCE, -1)))
        return node("Relu", node("Concat", *parts, axis=2))

    def _stacked(self, spectrum: str) -> str:
        """The spectrum once for each harmonic, as channels, shifted to the pitch."""
        node = self._graph.node
        below, above = -_HARMONICS[0], _HARMONICS[-1] + _TOLD - _BINS
        padded = node("Pad", spectrum, self._sizes(0, 0, below, 0, 0, 0, above, 0))
        parts = (self._slice(padded, below + h, below + h + _TOLD, 2) for h in _HARMONICS)
        return node("Concat", *parts, axis=1)

    def _third(self, table: str, kernel: str, bias: str, around: int) -> str:
        """A layer that makes one bin of three."""
        node = self._graph.node
        taps = self._named(kernel).transpose(0, 1, 3, 2)
        thirds = node(
            *("Conv", table, self._constant(taps), self._constant(self._called(bias))),
            kernel_shape=taps.shape[2:],
            strides=(3, 1),
            pads=(around, 0, around, 0),
        )
        return node("Relu", thirds)

    def _single(self, heard: Mapping[str, Samples], bias: str, frames: int) -> str:
        """A layer with one output from 0 to 1, so many frames of it.

        Args:
            heard: tables and their taps, `(1, channels, frames, bins)`; they are added.
            bias: its name.
            frames: how many are given.
        """
        node = self._graph.node
        parts = [self._squares(table, taps[0], frames) for table, taps in heard.items()]
        parts.append(self._constant(self._called(bias)))
        whole = node("DepthToSpace", reduce(partial(node, "Add"), parts), blocksize=_SQUARE)
        return node("Sigmoid", self._slice(whole, 0, frames, 3))

    def _squares(self, table: str, taps: Samples, frames: int) -> str:
        channels, wide, high = taps.shape
        more = _SQUARE - 1
        square = np.zeros((_SQUARE, _SQUARE, channels, high + more, wide + more), np.float32)
        for row, column in np.ndindex(_SQUARE, _SQUARE):
            square[row, column, :, row : row + high, column : column + wide] = taps.swapaxes(1, 2)
        return self._graph.node(
            *("Conv", table, self._constant(square.reshape(-1, *square.shape[2:]))),
            kernel_shape=square.shape[3:],
            strides=(_SQUARE, _SQUARE),
            pads=(high // 2, 0, high // 2, -frames % _SQUARE),
        )

    # -- small things ------------------------------------------------------------------------
    def _narrowed(self, table: str, frames: int) -> str:
        """Without so many frames at either end."""
        return self._slice(table, frames, -frames, 3)

    def _slice(self, table: str, start: int, end: int | None, axis: int) -> str:
        stop = 2**31 - 1 if end is None else end
        return self._graph.node("Slice", table, *map(self._sizes, (start, stop, axis)))

    def _sizes(self, *values: int) -> str:
        return self._graph.constant(np.array(values, np.int64))

    def _number(self, value: float) -> str:
        return self._graph.constant(np.array(value, np.float32))

    def _constant(self, values: Samples) -> str:
        return self._graph.constant(values)

    def _named(self, name: str) -> Samples:
        """The constant of exactly this name."""
        if name not in self._weights:
            raise ValueError(f"there is no {name} among the weights")
        return self._weights[name]

    def _called(self, part: str) -> Samples:
        """The constant whose name begins with `model_1/` and this."""
        found = [name for name in self._weights if name.startswith(f"model_1/{part}")]
        if len(found) != 1:
            raise ValueError(f"there are {len(found)} constants model_1/{part} among the weights")
        return self._weights[found[0]]


def _merged(taps: Samples, first: int) -> tuple[Samples, int]:
    """Weights from bins of the spectrum to those told from `first` on.

    Args:
        taps: `(outputs, harmonics, frames, taps)`.

    Returns:
        `(outputs, told, heard, frames)`, and the first bin that is heard.
    """
    outputs, _, frames, count = taps.shape
    low = max(0, first - count // 2 + _HARMONICS[0])
    high = min(_BINS, first + _AT_ONCE + count // 2 + _HARMONICS[-1])
    low = max(0, low - (low - high) % 16)  # more than are needed, where that is faster
    merged = np.zeros((outputs, _AT_ONCE, high - low, frames), np.float32)
    stacked = first - count // 2 + np.add.outer(np.arange(_AT_ONCE), np.arange(count))
    for at, shift in enumerate(_HARMONICS):
        heard = stacked + shift
        # Both the stack and the spectrum end in zeros.
        told, tap = np.nonzero((stacked >= 0) & (stacked < _TOLD) & (heard >= 0) & (heard < _BINS))
        merged[:, told, heard[told, tap] - low] += taps[:, at, :, tap].swapaxes(0, 1)
    return merged, low
