"""Engine deepfilter.

The network is that of the package deepfilternet, the way through a sound is ours: the package
holds the whole sound (8 MB for each of its seconds and channels), looks for weights by itself,
reads its settings from environment variables of any name, and keeps random numbers where a
tensor of the checkpoint does not fit. Here a sound passes in blocks, to the same result.

Source: Schröter, Rosenkranz, Escalante-B. and Maier, "DeepFilterNet: Perceptually Motivated
Real-Time Speech Enhancement", Interspeech 2023.
"""

from __future__ import annotations

import dataclasses
import importlib
import io
import os
import re
import sys
import tempfile
import types
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from handlers.engines.declare import Device, Engine, WeightsFile
from handlers.errors import WeightsCorrupt

if TYPE_CHECKING:
    from handlers.artifacts import Blocks, Samples

RATE = 48000
"""Samples per second that the network was trained at."""

_LARGEST = 200 * 2**20
"""Bytes of a member of the archive."""
_CPU_FRAMES, _GPU_FRAMES = 100, 1000
"""Spectra of a block: 1 s, 10 s."""


# -- loading ---------------------------------------------------------------------------------------
def _load(files: Mapping[str, Path], device: Device) -> DeepFilter:
    import pickle

    from handlers.engines.running import torch_for, unread

    torch = torch_for(device)
    (path,) = files.values()
    settings, weights = _members(path)
    network, about = _network(settings, path.name)
    try:
        state = torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True)
        # The package would skip what does not fit.
        network.load_state_dict(state, strict=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, TypeError) as wrong:
        raise WeightsCorrupt(
            f"{path.name} holds no plain weights for the network it describes: {unread(wrong)}"
        ) from wrong
    return DeepFilter(network.to(device).eval(), about, device)


def _members(path: Path) -> tuple[str, bytes]:
    """Settings and checkpoint of an archive; nothing is unpacked to a disk."""
    try:
        with zipfile.ZipFile(path) as archive:
            settings = _member(archive, r"(.*/)?config\.ini")
            weights = _member(archive, r"(.*/)?checkpoints/model_\d+\.ckpt\.best")
            return settings.decode(), weights
    except (zipfile.BadZipFile, OSError, UnicodeDecodeError, NotImplementedError) as wrong:
        raise WeightsCorrupt(f"{path.name} is no archive of a model: {wrong}") from wrong


def _member(archive: zipfile.ZipFile, pattern: str) -> bytes:
    name = Path(archive.filename or "").name
    found = [info for info in archive.infolist() if re.fullmatch(pattern, info.filename)]
    if len(found) != 1:
        raise WeightsCorrupt(f"{name} has {len(found)} files like {pattern}, not one")
    if found[0].file_size > _LARGEST:
        raise WeightsCorrupt(f"{name}: {found[0].filename} has {found[0].file_size} bytes")
    return archive.read(found[0])


@dataclass(frozen=True)
class _About:
    """What the settings beside a checkpoint say about the way to and from spectra."""

    fft: int
    hop: int
    bands: int
    narrowest: int
    #: Of the moving means that features are measured against.
    alpha: float
    #: Bins that are filtered, of so many spectra, with so many of them later ones.
    filtered: int
    order: int
    later: int
    #: Spectra that features are ahead of what they are features of.
    ahead: int


def _network(settings: str, name: str) -> tuple[Any, _About]:
    import configparser

    package()
    import libdf
    from df import config as reading

    try:
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder) / "config.ini"
            written.write_text(settings)
            reading.load(str(written), config_must_exist=True, allow_reload=True)
        # Otherwise it takes the first GPU that it sees.
        reading.set("DEVICE", "cpu", str, "train")
        kind = reading("MODEL", default="deepfilternet3", section="train")
        if kind != "deepfilternet3":
            raise WeightsCorrupt(f"{name} holds a model {kind!r}, not 'deepfilternet3'")
        from df.model import ModelParams, init_model
        from df.utils import get_norm_alpha

        p = ModelParams()
        if p.sr != RATE or p.mask_pf or p.lsnr_dropout:
            raise WeightsCorrupt(f"{name} has settings that are not known here: {settings!r}")
        state = libdf.DF(p.sr, p.fft_size, p.hop_size, p.nb_erb, p.min_nb_freqs)
        network = init_model(state)
        alpha = get_norm_alpha(log=False)
    except (configparser.Error, ValueError, AssertionError, NotImplementedError) as wrong:
        raise WeightsCorrupt(f"the settings in {name} describe no network: {wrong}") from wrong
    return network, _About(
        fft=p.fft_size,
        hop=p.hop_size,
        bands=p.nb_erb,
        narrowest=p.min_nb_freqs,
        alpha=alpha,
        filtered=p.nb_df,
        order=p.df_order,
        later=p.df_lookahead,
        ahead=p.conv_lookahead,
    )


def package() -> None:
    """Make `import df` work in this process, and the package keep to what it is given."""
    from handlers.engines.torchaudio_part import importable

    importable()
    if "torchaudio.backend.common" not in sys.modules:
        # It wants a class that torchaudio has no more, only to name a type.
        backend = types.ModuleType("torchaudio.backend")
        backend.__path__ = []
        common = types.ModuleType("torchaudio.backend.common")
        vars(common)["AudioMetaData"] = dataclasses.make_dataclass("AudioMetaData", [])
        sys.modules.update({module.__name__: module for module in (backend, common)})
    importlib.import_module("df")
    # It would take each setting from an environment variable of that name: `SR`, `MODEL`, ...
    without = types.SimpleNamespace(environ={}, path=os.path)
    vars(sys.modules["df.config"])["os"] = without
    importlib.import_module("loguru").logger.disable("df")


# -- running ---------------------------------------------------------------------------------------
class DeepFilter:
    """Lets what is no speech fade, each channel for itself."""

    def __init__(self, network: Any, about: _About, device: Device) -> None:
        """`network` is changed: it remembers from block to block."""
        from handlers.networks.memory import Memory, remembering

        self._memory = Memory()
        # These two look ahead; here the frames that they wait for are there.
        network.pad_feat = network.df_op = None
        try:
            remembering(network, self._memory, ("enc.emb_gru", "erb_dec.emb_gru", "df_dec.df_gru"))
        except ValueError as wrong:
            raise WeightsCorrupt(f"this network cannot work block by block: {wrong}") from wrong
        self._network = network
        self._about = about
        self._device = device
        self._frames = _GPU_FRAMES if device.startswith("cuda") else _CPU_FRAMES

    def enhance(
        self, sound: Blocks, progress: Callable[[float], None] = lambda _: None
    ) -> Iterator[Samples]:
        """The sound with less of what is no speech, as long as it was.

        Args:
            sound: finite, at `RATE`.
            progress: told the share that is done; may raise to stop.

        Yields:
            `(channels, n)`.
        """
        from handlers.streams import Feed

        feed = Feed(sound)
        run = _Run(self._network, self._memory, self._about, sound.channels, self._device)
        expected = sound.expected_frames
        size = self._frames * self._about.hop
        # From samples to spectra and back takes as long as two windows overlap.
        late = self._about.fft - self._about.hop
        given = 0
        ended = False
        while not ended:
            piece = feed.read(size)
            ended = piece.shape[1] < size
            if ended:
                if not feed.position:
                    return
                piece = np.pad(piece, ((0, 0), (0, self._about.fft)))
                piece = piece[:, : piece.shape[1] // self._about.hop * self._about.hop]
            out = run.block(piece, last=ended)
            skip = min(late, out.shape[1])
            late -= skip
            out = out[:, skip : skip + feed.position - given]
            given += out.shape[1]
            if expected:
                progress(min(feed.position / expected, 1.0))
            if out.shape[1]:
                yield np.ascontiguousarray(out)


class _Run:
    """One sound on its way through the network."""

    def __init__(
        self, network: Any, memory: Any, about: _About, channels: int, device: Device
    ) -> None:
        import libdf
        import torch

        self._network, self._memory, self._about = network, memory, about
        self._device = device
        form = (RATE, about.fft, about.hop, about.bands, about.narrowest)
        # What one of them remembers is of one channel.
        self._to: list[Any] = [libdf.DF(*form) for _ in range(channels)]
        self._back: list[Any] = [libdf.DF(*form) for _ in range(channels)]
        self._widths = self._to[0].erb_widths()
        self._remembered: dict[Any, Any] = {}
        level = np.linspace(-60, -90, about.bands, dtype=np.float32)
        self._level = np.tile(level, (channels, 1))
        self._size = np.tile(libdf.unit_norm_init(about.filtered), (channels, 1))
        before = about.order - 1 - about.later
        self._spectra = torch.zeros(
            (channels, before, about.fft // 2 + 1), dtype=torch.complex64, device=device
        )
        self._unseen = about.ahead

    def block(self, samples: Samples, *, last: bool) -> Samples:
        """What is finished after this block; `samples` are whole hops."""
        import torch

        spectra = np.concatenate(
            [df.analysis(row[None], reset=False) for df, row in zip(self._to, samples, strict=True)]
        )
        levels, shapes = self._features(spectra)
        with torch.inference_mode():
            done = self._through(
                torch.from_numpy(spectra), torch.from_numpy(levels), torch.from_numpy(shapes), last
            )
            found = done.cpu().numpy()
        if not found.shape[1]:
            return np.zeros((samples.shape[0], 0), np.float32)
        return np.concatenate(
            [
                df.synthesis(row[None], reset=False)
                for df, row in zip(self._back, found, strict=True)
            ]
        )

    def _features(
        self, spectra: NDArray[np.complex64]
    ) -> tuple[NDArray[np.float32], NDArray[np.complex64]]:
        """Levels of bands in dB and the lowest bins, each against its own moving mean."""
        import libdf

        about = self._about
        levels = libdf.erb(spectra, self._widths)
        low = np.ascontiguousarray(spectra[..., : about.filtered])
        next_level = _moved(self._level, levels, about.alpha)
        next_size = _moved(self._size, np.abs(low), about.alpha)
        # Both work in place, also on the state.
        levels = libdf.erb_norm(levels, about.alpha, self._level)
        low = libdf.unit_norm(low, about.alpha, self._size)
        self._level, self._size = next_level, next_size
        return levels, low

    def _through(self, spectra: Any, levels: Any, shapes: Any, last: bool) -> Any:
        import torch
        from torch.nn.functional import pad

        about, network = self._about, self._network
        ending = about.ahead if last else 0
        seen = pad(levels, (0, 0, 0, ending))[:, self._unseen :, None].transpose(1, 2)
        low = pad(torch.view_as_real(shapes), (0, 0, 0, 0, 0, ending))[:, self._unseen :]
        self._unseen = max(self._unseen - spectra.shape[1], 0)
        self._spectra = torch.cat((self._spectra, spectra.to(self._device)), 1)
        if last:
            self._spectra = pad(self._spectra, (0, 0, 0, about.later))
        count = seen.shape[2]
        if not count:
            return self._spectra[:, :0]
        self._memory.now = self._remembered
        e0, e1, e2, e3, emb, c0, _ = network.enc(
            seen.to(self._device), low.permute(0, 3, 1, 2).to(self._device)
        )
        gains = network.erb_dec(emb, e3, e2, e1, e0)[:, 0] @ network.mask.erb_inv_fb
        taps = network.df_dec(emb, c0)
        taps = torch.view_as_complex(taps.unflatten(3, (about.order, 2)))
        before = about.order - 1 - about.later
        done = self._spectra[:, before : before + count] * gains
        low = self._spectra[:, : count + about.order - 1, : about.filtered]
        filtered = low[:, :count] * taps[..., 0]
        for tap in range(1, about.order):
            filtered += low[:, tap : tap + count] * taps[..., tap]
        done[..., : about.filtered] = filtered
        self._spectra = self._spectra[:, count:].clone()
        return done


def _moved(
    state: NDArray[np.float32], values: NDArray[np.float32], alpha: float
) -> NDArray[np.float32]:
    """Where a moving mean stands after `values`, `(channels, frames, bins)`."""
    keep = np.float32(alpha)
    add = float(np.float32(1) - keep)
    weights = add * float(keep) ** np.arange(values.shape[1] - 1, -1, -1.0)
    moved = np.tensordot(weights, values, (0, 1)) + float(keep) ** values.shape[1] * state
    return np.asarray(moved, np.float32)


ENGINE: Engine[DeepFilter] = Engine(
    "deepfilter",
    "deepfilter",
    "DeepFilterNet 3, makes speech stand out of noise.",
    lane="gpu",
    capability="enhance",
    libraries=("torch", "df", "libdf"),
    weights=(
        WeightsFile(
            "DeepFilterNet3.zip",
            "https://github.com/Rikorose/DeepFilterNet/raw/v0.5.6/models/DeepFilterNet3.zip",
            size=7_986_207,
            sha256="49c52edc8947ae1f9bf50d81530beaf3a2c3245aeaf34b6f31ff535cd22284d2",
        ),
    ),
    licence="MIT or Apache-2.0.",
    folder="deepfilter",
    memory=60 * 2**20,
    load=_load,
)
