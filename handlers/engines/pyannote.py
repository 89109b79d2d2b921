"""Engine pyannote: who speaks when.

The models are those of `speaker-diarization-community-1`; networks, windows and clustering are
in `handlers.networks.voices`, `diarizer` and `speakers`. The package pyannote.audio is not
needed to run them: the tests compare with it.
"""

from __future__ import annotations

import enum
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handlers.engines.declare import Device, Engine, WeightsFile
from handlers.errors import WeightsCorrupt

if TYPE_CHECKING:
    from handlers.engines.diarizer import Diarizer
    from handlers.engines.speakers import Space

_CONFIG = "config.yaml"
_WHO = "segmentation/pytorch_model.bin"
_VOICE = "embedding/pytorch_model.bin"
_MODEL = "plda/plda.npz"
_BEFORE = "plda/xvec_transform.npz"


# What a checkpoint says of itself, as the package writes it down: the names are the package's.
class _Problem(enum.Enum):
    BINARY_CLASSIFICATION = 0
    MONO_LABEL_CLASSIFICATION = 1
    MULTI_LABEL_CLASSIFICATION = 2
    REPRESENTATION = 3
    REGRESSION = 4


class _Resolution(enum.Enum):
    FRAME = 1
    CHUNK = 2


class _Specifications:
    """Filled from what was written."""

    problem: _Problem
    duration: float
    classes: list[str] | None = None
    powerset_max_classes: int | None = None


_TASK = "pyannote.audio.core.task."
_STAND_INS = (
    (_Specifications, _TASK + "Specifications"),
    (_Problem, _TASK + "Problem"),
    (_Resolution, _TASK + "Resolution"),
)


@dataclass(frozen=True)
class _Checkpoint:
    state: Mapping[str, Any]
    settings: Mapping[str, Any]
    about: _Specifications


def _load(files: Mapping[str, Path], device: Device) -> Diarizer:
    from handlers.engines.diarizer import Diarizer
    from handlers.engines.running import torch_for
    from handlers.engines.speakers import Speakers
    from handlers.engines.torchaudio_part import importable

    torch_for(device)
    importable()
    from handlers.networks.voices import Voice, Who, power_set

    config = _read_config(files[_CONFIG])
    who = _read(files[_WHO], "PyanNet")
    about = who.about
    if about.problem is not _Problem.MONO_LABEL_CLASSIFICATION or not about.powerset_max_classes:
        raise WeightsCorrupt(f"{files[_WHO]} does not say which voices are heard together")
    classes = power_set(len(about.classes or ()), about.powerset_max_classes)
    voice = _read(files[_VOICE], "WeSpeakerResNet34")
    if voice.settings.get("fbank_centering_span") is not None:
        raise WeightsCorrupt(f"{files[_VOICE]} hears spans, not whole windows")
    hears = _filled(files[_WHO], lambda: Who(who.settings, len(classes)), who)
    tells = _filled(files[_VOICE], lambda: Voice(voice.settings), voice)
    speakers = Speakers(
        _space(files[_BEFORE], files[_MODEL]),
        threshold=config["clustering"]["threshold"],
        evidence=config["clustering"]["Fa"],
        penalty=config["clustering"]["Fb"],
    )
    return Diarizer(
        hears.to(device),
        tells.fused().to(device),
        speakers,
        device,
        classes=classes,
        seconds=about.duration,
        alone=config["alone"],
        shortest_pause=config["segmentation"]["min_duration_off"],
    )


def _read_config(path: Path) -> dict[str, Any]:
    """The settings that the networks were tuned with.

    Raises:
        WeightsCorrupt: they are for something else.
    """
    import yaml

    try:
        config = yaml.safe_load(path.read_text())
        pipeline, params = config["pipeline"], config["params"]
        asked = pipeline["params"]
        kind = asked["clustering"]
        found = {
            "alone": bool(asked.get("embedding_exclude_overlap", False)),
            "clustering": {k: float(params["clustering"][k]) for k in ("threshold", "Fa", "Fb")},
            "segmentation": {"min_duration_off": float(params["segmentation"]["min_duration_off"])},
        }
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as wrong:
        raise WeightsCorrupt(
            f"{path} holds no settings of speaker-diarization-community-1: "
            f"{type(wrong).__name__}: {wrong}"
        ) from wrong
    if kind != "VBxClustering":
        raise WeightsCorrupt(f"{path} asks for {kind}; VBxClustering is what is known here")
    return found


def _read(path: Path, architecture: str) -> _Checkpoint:
    """A checkpoint: plain data, and the four classes that all of them contain.

    Raises:
        WeightsCorrupt: it is for another network, or more would have to be run to read it.
    """
    import pickle

    import torch
    from torch.torch_version import TorchVersion

    from handlers.engines.running import unread

    try:
        with torch.serialization.safe_globals([*_STAND_INS, TorchVersion]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, zipfile.BadZipFile) as wrong:
        raise WeightsCorrupt(
            f"{path} is no checkpoint of plain weights: {unread(wrong)}"
        ) from wrong
    try:
        mine = found["pyannote.audio"]
        name, about = mine["architecture"]["class"], mine["specifications"]
        checkpoint = _Checkpoint(found["state_dict"], found["hyper_parameters"], about)
    except (KeyError, TypeError) as wrong:
        raise WeightsCorrupt(f"{path} is no checkpoint of pyannote.audio: {wrong!r}") from wrong
    if name != architecture:
        raise WeightsCorrupt(f"{path} is for the network {name}, not {architecture}")
    rate = checkpoint.settings.get("sample_rate", 16000)
    if rate != 16000 or not isinstance(about, _Specifications):
        raise WeightsCorrupt(f"{path} hears {rate} Hz, not 16000 Hz")
    return checkpoint


def _filled(path: Path, make: Any, checkpoint: _Checkpoint) -> Any:
    """A network with every tensor of its checkpoint in its place.

    Raises:
        WeightsCorrupt: a tensor is missing, too many, or of another size.
    """
    from handlers.networks.voices import in_one_piece

    try:
        network = make()
        network.load_state_dict(in_one_piece(checkpoint.state), strict=True)
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as wrong:
        raise WeightsCorrupt(f"{path} does not fit its network: {wrong!r}") from wrong
    return network.eval()


def _space(before: Path, model: Path) -> Space:
    import numpy as np

    from handlers.engines.speakers import Space

    try:
        # Arrays alone: numpy would run what it unpickles.
        with (
            np.load(before, allow_pickle=False) as first,
            np.load(model, allow_pickle=False) as then,
        ):
            return Space.read(dict(first), dict(then))
    except (
        KeyError,
        TypeError,
        ValueError,
        OSError,
        zipfile.BadZipFile,
        np.linalg.LinAlgError,
    ) as wrong:
        raise WeightsCorrupt(
            f"{before} and {model} do not hold how speakers differ: {wrong}"
        ) from wrong


ENGINE: Engine[Diarizer] = Engine(
    "pyannote",
    "diarize_pyannote",
    "Finds who speaks when.",
    lane="gpu",
    capability="diarize",
    libraries=("torch", "torchaudio", "sklearn"),
    weights=(
        WeightsFile(
            "config.yaml",
            "hf:pyannote/speaker-diarization-community-1@main/config.yaml",
            size=444,
            sha256="5ce2bfa9a938dc132cec1172592d65173cbb8f444ea1e4133f10f9391de155be",
        ),
        WeightsFile(
            "segmentation/pytorch_model.bin",
            "hf:pyannote/speaker-diarization-community-1@main/segmentation/pytorch_model.bin",
            size=5_906_507,
            sha256="7ad24338d844fb95985486eb1a464e32d229f6d7a03c9abe60f978bacf3f816e",
        ),
        WeightsFile(
            "embedding/pytorch_model.bin",
            "hf:pyannote/speaker-diarization-community-1@main/embedding/pytorch_model.bin",
            size=26_646_242,
            sha256="6f10ff60898a1d185fa22e1d11e0bfa8a92efec811f11bca48cb8cafebefd929",
        ),
        WeightsFile(
            "plda/plda.npz",
            "hf:pyannote/speaker-diarization-community-1@main/plda/plda.npz",
            size=133_852,
            sha256="9b77bcd840692710dd3496f62ecfeed8d8e5f002fd991b785079b244eab7d255",
        ),
        WeightsFile(
            "plda/xvec_transform.npz",
            "hf:pyannote/speaker-diarization-community-1@main/plda/xvec_transform.npz",
            size=134_376,
            sha256="325f1ce8e48f7e55e9c8aa47e05d2766b7c48c4b25b8de8dd751e7a4cc5fbe8f",
        ),
    ),
    licence="CC BY 4.0.",
    gate="accept the terms of pyannote/speaker-diarization-community-1 on its page and set "
    "HUGGINGFACE_TOKEN",
    wants_token=True,
    ask=True,
    folder="pyannote",
    memory=120 * 2**20,
    load=_load,
)
