"""The two networks that tell voices apart, built so that published checkpoints fit them.

Both are pyannote.audio's, with its names for their tensors. They are written out here because
importing that package takes ten seconds of a processor, two thirds of it for training, and sends
what it does to its publisher unless told otherwise.

Sources: Ravanelli and Bengio, "Speaker Recognition from Raw Waveform with SincNet", SLT 2018;
Pariente, Cornell, Deleforge and Vincent, "Filterbank Design for End-to-End Speech Separation",
ICASSP 2020; Bredin, "pyannote.audio 2.1 speaker diarization pipeline", Interspeech 2023;
Wang et al., "WeSpeaker: A Research and Production Oriented Speaker Embedding Learning Toolkit",
ICASSP 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import combinations, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

RATE = 16000
"""Samples per second that both hear."""

# -- who speaks in a window ------------------------------------------------------------------------
_KERNELS = (251, 3, 5, 3, 5, 3)
"""Convolution, pooling, three times."""


class Who(nn.Module):
    """Says of each frame of a window which of its voices are heard."""

    def __init__(self, settings: Mapping[str, Any], classes: int) -> None:
        """`settings` are the hyperparameters of a checkpoint of PyanNet."""
        super().__init__()
        lstm, linear = settings["lstm"], settings["linear"]
        self._stride = int(settings["sincnet"]["stride"])
        self.sincnet = _SincNet(self._stride)
        self.lstm = nn.LSTM(
            60,
            int(lstm["hidden_size"]),
            num_layers=int(lstm["num_layers"]),
            bidirectional=bool(lstm["bidirectional"]),
            batch_first=True,
        )
        width = int(lstm["hidden_size"]) * (2 if lstm["bidirectional"] else 1)
        widths = [width] + [int(linear["hidden_size"])] * int(linear["num_layers"])
        self.linear = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.classifier = nn.Linear(widths[-1], classes)

    @property
    def step(self) -> int:
        """Samples from frame to frame."""
        return self._stride * 27

    @property
    def reach(self) -> int:
        """Samples that a frame is made from."""
        size = 1
        for kernel, stride in reversed(list(zip(_KERNELS, self._strides, strict=True))):
            size = (size - 1) * stride + kernel
        return size

    @property
    def _strides(self) -> tuple[int, ...]:
        return (self._stride, 3, 1, 3, 1, 3)

    def frames(self, samples: int) -> int:
        """Frames of a window of so many samples."""
        for kernel, stride in zip(_KERNELS, self._strides, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def forward(self, windows: Tensor) -> Tensor:
        """`(batch, 1, samples)` to the likeliest class of each frame, `(batch, frames)`."""
        found, _ = self.lstm(self.sincnet(windows).transpose(1, 2))
        for layer in self.linear:
            found = functional.leaky_relu(layer(found))
        return torch.as_tensor(self.classifier(found).argmax(-1))


class _SincNet(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.wav_norm1d = nn.InstanceNorm1d(1, affine=True)
        self.conv1d = nn.ModuleList([_Sinc(stride), nn.Conv1d(80, 60, 5), nn.Conv1d(60, 60, 5)])
        self.norm1d = nn.ModuleList(nn.InstanceNorm1d(n, affine=True) for n in (80, 60, 60))

    def forward(self, windows: Tensor) -> Tensor:
        found = self.wav_norm1d(windows)
        for convolution, norm in zip(self.conv1d, self.norm1d, strict=True):
            found = functional.leaky_relu(norm(functional.max_pool1d(convolution(found), 3)))
        return torch.as_tensor(found)


class _Sinc(nn.Module):
    """Band-pass filters of which only the edges were learnt: 40 of them, each with its sine."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self._stride = stride
        self.filterbank = nn.Module()
        half = _KERNELS[0] // 2
        for name, shape in {"low_hz_": (40, 1), "band_hz_": (40, 1)}.items():
            setattr(self.filterbank, name, nn.Parameter(torch.zeros(shape)))
        self.filterbank.register_buffer("window_", torch.zeros(half))
        self.filterbank.register_buffer("n_", torch.zeros(1, half))
        self._filters: Tensor | None = None

    def filters(self) -> Tensor:
        """The filters, `(80, 1, 251)`."""
        bank: Any = self.filterbank
        low = 50 + bank.low_hz_.abs()
        high = torch.clamp(low + 50 + bank.band_hz_.abs(), 50, RATE / 2)
        width = high - low
        below, above = low @ bank.n_, high @ bank.n_
        scale = bank.window_ / (bank.n_ / 2)
        even = (above.sin() - below.sin()) * scale
        odd = (below.cos() - above.cos()) * scale
        cosines = torch.cat((even, 2 * width, even.flip(1)), 1)
        sines = torch.cat((odd, torch.zeros_like(width), -odd.flip(1)), 1)
        return torch.as_tensor(torch.cat((cosines, sines)) / (2 * width.repeat(2, 1)))[:, None]

    def forward(self, windows: Tensor) -> Tensor:
        if self._filters is None or self._filters.device != windows.device:
            self._filters = self.filters()
        return functional.conv1d(windows, self._filters, stride=self._stride).abs()


def in_one_piece(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, its recurrent layers as one of several, without its loss."""
    renamed = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] == "loss_func":
            continue
        if parts[0] == "lstm" and len(parts) == 3:
            parts[1:] = [parts[2].replace("_l0", f"_l{parts[1]}")]
        renamed[".".join(parts)] = tensor
    return renamed


# -- whose voice it is -----------------------------------------------------------------------------
class Voice(nn.Module):
    """Puts voices into a space where those of one speaker are near each other."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """`settings` are the hyperparameters of a checkpoint of WeSpeakerResNet34."""
        super().__init__()
        from torchaudio.compliance import kaldi

        bands = int(settings["num_mel_bins"])
        self._length = float(settings["frame_length"])
        self._features = partial(
            kaldi.fbank,
            num_mel_bins=bands,
            frame_length=self._length,
            frame_shift=float(settings["frame_shift"]),
            round_to_power_of_two=bool(settings.get("round_to_power_of_two", True)),
            snip_edges=bool(settings.get("snip_edges", True)),
            dither=0.0,
            sample_frequency=RATE,
            window_type=str(settings["window_type"]),
            use_energy=bool(settings["use_energy"]),
        )
        self.resnet = _ResNet(bands)

    @property
    def shortest(self) -> int:
        """Samples that a voice can be told from at all."""
        return round(self._length * RATE / 1000)

    def forward(self, window: Tensor, masks: Tensor) -> Tensor:
        """Where voices are, `(voices, 256)`.

        Args:
            window: `(1, samples)`.
            masks: when each speaks, `(voices, frames)`, 0 or 1.
        """
        features = self._features(window * 32768)
        features = features - features.mean(0, keepdim=True)
        return torch.as_tensor(self.resnet(features.T[None, None], masks))

    def fused(self) -> Voice:
        """The same, its normalisation within its convolutions. For inference only."""
        for layer in self.modules():
            if isinstance(layer, _ResNet | _Block):
                layer.fuse()
        return self


class _ResNet(nn.Module):
    def __init__(self, bands: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.bn1: Any = nn.BatchNorm2d(32)
        before = 32
        for number, (blocks, width) in enumerate(((3, 32), (4, 64), (6, 128), (3, 256)), 1):
            layers = []
            for block in range(blocks):
                layers.append(_Block(before, width, 2 if number > 1 and block == 0 else 1))
                before = width
            setattr(self, f"layer{number}", nn.Sequential(*layers))
        self.seg_1 = nn.Linear(bands // 8 * 256 * 2, 256)

    def fuse(self) -> None:
        self.conv1 = fuse_conv_bn_eval(self.conv1, self.bn1)
        self.bn1 = nn.Identity()

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        found = functional.relu(self.bn1(self.conv1(features)))
        for number in range(1, 5):
            found = getattr(self, f"layer{number}")(found)
        return torch.as_tensor(self.seg_1(_pooled(found.flatten(1, 2)[0], masks)))


class _Block(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        self.bn1: Any = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2: Any = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or before != width:
            passing = nn.Conv2d(before, width, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(passing, nn.BatchNorm2d(width))

    def fuse(self) -> None:
        self.conv1 = fuse_conv_bn_eval(self.conv1, self.bn1)
        self.conv2 = fuse_conv_bn_eval(self.conv2, self.bn2)
        self.bn1 = self.bn2 = nn.Identity()
        layers: Any = self.shortcut
        if len(layers):
            self.shortcut = nn.Sequential(fuse_conv_bn_eval(*layers))

    def forward(self, given: Tensor) -> Tensor:
        found = functional.relu_(self.bn1(self.conv1(given)))
        found = self.bn2(self.conv2(found))
        found += self.shortcut(given)
        return functional.relu_(found)


def _pooled(found: Tensor, masks: Tensor) -> Tensor:
    """Weighted mean and standard deviation of each feature, `(voices, 2 * features)`."""
    weights = functional.interpolate(masks[None], size=found.shape[1], mode="nearest")[0]
    pooled = []
    for weight in weights:
        total = weight.sum() + 1e-8
        mean = (found * weight).sum(1) / total
        spread = (found - mean[:, None]).square()
        free = total - weight.square().sum() / total + 1e-8
        pooled.append(torch.cat((mean, ((spread * weight).sum(1) / free).sqrt())))
    return torch.stack(pooled)


def power_set(voices: int, at_once: int) -> list[tuple[int, ...]]:
    """Which voices are heard in each class of `Who`: none, one of them, two of them, ..."""
    return [heard for count in range(at_once + 1) for heard in combinations(range(voices), count)]
