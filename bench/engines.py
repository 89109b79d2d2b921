"""Bench (g): the neural engines at full size, beside their own libraries in the same run.

    python -m bench.engines [NAME ...] [--seconds 30] [--rounds 2] [--device cpu]

Weights are random: neither speed nor memory depends on their values. Each side of a row runs
in a process of its own, in turn, round by round: it loads the model, runs it once over a
sound, and says how long that took and what its largest memory was. On a processor,
which other work may share, time is that of the process (one thread); on a GPU it is the
clock's, and memory is the GPU's. A ratio above 1 means that ours is faster.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from handlers.artifacts import Audio, Samples
from handlers.engines.registry import find_engine
from handlers.engines.running import unwarned

RATE = 44100

#: Loads a model from its files for a device, and gives what runs it over a sound.
Side = Callable[[Mapping[str, Path], str], Callable[[Samples], Any]]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    engine: str
    write: Callable[[Sequence[Path]], None]
    ours: Side
    theirs: Side
    rate: int = RATE
    channels: int = 2


# ---- weights -----------------------------------------------------------------------------------
def _demucs(sources: Sequence[str], paths: Sequence[Path]) -> None:
    import torch
    from demucs.hdemucs import HDemucs
    from demucs.htdemucs import HTDemucs
    from demucs.states import get_state

    for number, path in enumerate(paths):
        if len(paths) == 4 and "bag" in path.name:
            model = HDemucs(sources=list(sources), channels=48, cac=number % 2 == 0)
        else:
            bottom = 0 if len(sources) == 6 else 512
            model = HTDemucs(
                sources=list(sources),
                bottom_channels=bottom,
                dconv_mode=3,
                t_layers=5,
                segment=Fraction(39, 5),
            )
        args, kwargs = model._init_args_kwargs
        package = {"klass": type(model), "args": args, "kwargs": kwargs, "training_args": {}}
        torch.save(package | {"state": get_state(model, None, half=True)}, path)


def _roformer(model: Mapping[str, Any], paths: Sequence[Path]) -> None:
    import torch
    import yaml

    with unwarned():
        from audio_separator.separator.uvr_lib_v5.roformer.bs_roformer import (
            DEFAULT_FREQS_PER_BANDS,
            BSRoformer,
        )
        from audio_separator.separator.uvr_lib_v5.roformer.mel_band_roformer import MelBandRoformer

        common = {
            "stereo": True,
            "num_stems": 1,
            "time_transformer_depth": 1,
            "freq_transformer_depth": 1,
            "dim_head": 64,
            "heads": 8,
            "stft_n_fft": 2048,
            "stft_hop_length": 441,
            "stft_win_length": 2048,
            "mask_estimator_depth": 2,
        }
        if "num_bands" in model:
            chosen = {**common, **model, "sample_rate": RATE}
            network: Any = MelBandRoformer(**chosen)
        else:
            chosen = {**common, **model, "freqs_per_bands": DEFAULT_FREQS_PER_BANDS}
            network = BSRoformer(**chosen)
    checkpoint, beside = paths
    torch.save(network.state_dict(), checkpoint)
    settings = {
        "audio": {"hop_length": 441, "sample_rate": RATE},
        "model": chosen,
        "training": {"instruments": ["Vocals", "rest"], "target_instrument": "Vocals"},
        "inference": {"dim_t": 801, "num_overlap": 4},
    }
    beside.write_text(yaml.dump(settings))


def _vr(paths: Sequence[Path]) -> None:
    import torch

    with unwarned():
        from audio_separator.separator.uvr_lib_v5.vr_network.nets_new import CascadedNet
    (path,) = paths
    torch.save(CascadedNet(672 * 2, nout=48, nout_lstm=128).state_dict(), path)


def _deepfilter(paths: Sequence[Path]) -> None:
    from tests.handlers.engines.tiny_deepfilter import FULL, write_deepfilter

    (path,) = paths
    write_deepfilter(path, FULL)


def _pyannote(paths: Sequence[Path]) -> None:
    from tests.handlers.engines.tiny_pyannote import FULL, write_pyannote

    write_pyannote(paths[0].parent, FULL, bands=80)


# ---- the two sides -----------------------------------------------------------------------------
def _ours(
    engine: str, stems: Sequence[str], files: Mapping[str, Path], device: str
) -> Callable[[Samples], Any]:
    load = find_engine(engine).load
    assert load is not None
    model = load(files, device)
    wanted = list(stems) or list(model.outputs)

    def run(samples: Samples) -> None:
        for _ in model.separate(Audio(samples, RATE).blocks(), wanted, lambda _: None):
            pass

    return run


def _apply_model(engine: str, files: Mapping[str, Path], device: str) -> Callable[[Samples], Any]:
    """`demucs.apply.apply_model` over the whole file, without random shifts."""
    import torch
    from demucs.apply import BagOfModels, apply_model
    from demucs.states import load_model

    about = getattr(find_engine(engine).load, "keywords", {})
    models = [load_model(path).to(device).eval() for path in files.values()]
    weights = [list(row) for row in about.get("weights") or []] or None
    bag = BagOfModels(models, weights, about.get("segment"))

    def run(samples: Samples) -> None:
        mix = torch.from_numpy(samples)
        mono = mix.mean(0)
        scaled = (mix - mono.mean()) / (mono.std() + 1e-8)
        apply_model(bag, scaled[None], shifts=0, overlap=0.25, device=device)

    return run


def _demix(files: Mapping[str, Path], device: str) -> Callable[[Samples], Any]:
    """`MDXCSeparator.demix` over the whole file, with as many windows as ours has."""
    import torch

    from handlers.engines.roformer import _Settings

    with unwarned():
        import yaml
        from audio_separator.separator.architectures.mdxc_separator import MDXCSeparator

        checkpoint, beside = files.values()
        settings = yaml.load(beside.read_text(), Loader=_Settings)
        separator = MDXCSeparator(
            {
                "logger": logging.getLogger("library"),
                "log_level": logging.ERROR,
                "torch_device": torch.device(device),
                "torch_device_cpu": torch.device("cpu"),
                "torch_device_mps": None,
                "onnx_execution_provider": None,
                "model_name": "bench",
                "model_path": str(checkpoint),
                "model_data": settings | {"is_roformer": True},
                "output_format": "WAV",
                "output_dir": None,
                "normalization_threshold": 0.9,
                "amplification_threshold": 0,
                "output_single_stem": None,
                "invert_using_spec": False,
                "sample_rate": RATE,
                "use_soundfile": False,
            },
            {"overlap": 2 if device == "cpu" else 4, "segment_size": 801},
        )
    return separator.demix


def _whole_vr(files: Mapping[str, Path], device: str) -> Callable[[Samples], Any]:
    """`VRSeparator`'s own steps over the whole file."""
    import soundfile
    import torch

    from handlers.engines.vr import load_vr

    load = find_engine("uvr-deecho").load
    ours = load_vr(files, device, **getattr(load, "keywords", {}))
    with unwarned():
        from audio_separator.separator.architectures.vr_separator import VRSeparator
    separator = VRSeparator.__new__(VRSeparator)
    vars(separator).update(
        logger=logging.getLogger("library"),
        model_params=ours._table,
        model_run=ours._network,
        is_vr_51_model=True,
        torch_device_mps=None,
        high_end_process=False,
        input_high_end=None,
        input_high_end_h=None,
        window_size=512,
        batch_size=1,
        enable_tta=False,
        enable_post_process=False,
        primary_stem_name="No Echo",
        wav_subtype="FLOAT",
    )

    def run(samples: Samples) -> None:
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            soundfile.write(file.name, samples.T, RATE, subtype="FLOAT")
            separator.audio_file_path = file.name
            mix = separator.loading_mix()
        how = {"value": 0.05, "split_bin": 85, "aggr_correction": None}
        primary, _ = separator.inference_vr(mix, torch.device(device), how)
        separator.spec_to_wav(primary)

    return run


def _enhance(files: Mapping[str, Path], device: str) -> Callable[[Samples], Any]:
    load = find_engine("deepfilter").load
    assert load is not None
    model = load(files, device)

    def run(samples: Samples) -> None:
        for _ in model.enhance(Audio(samples, 48000).blocks()):
            pass

    return run


def _df_enhance(files: Mapping[str, Path], device: str) -> Callable[[Samples], Any]:
    """`df.enhance.enhance` over the whole sound."""
    import torch

    from handlers.engines.deepfilter import package

    package()
    from df import enhance, init_df

    (path,) = files.values()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
        model, state, _ = init_df(
            f"{folder}/DeepFilterNet3", log_level="none", log_file=None, default_model="-"
        )
    model = model.to(device)
    return lambda samples: enhance(model, state, torch.from_numpy(samples))


def _turns(files: Mapping[str, Path], device: str) -> Callable[[Samples], Any]:
    load = find_engine("pyannote").load
    assert load is not None
    model = load(files, device)
    return lambda samples: model.turns(Audio(samples, 16000).blocks())


def _pipeline(files: Mapping[str, Path], device: str) -> Callable[[Samples], Any]:
    """`pyannote.audio.Pipeline`, with the sizes of batches that its configuration asks for."""
    import torch

    from tests.handlers.engines.tiny_pyannote import package

    package()
    from pyannote.audio import Pipeline

    pipeline = Pipeline.from_pretrained(str(files["config.yaml"].parent))
    pipeline.to(torch.device(device))
    return lambda samples: pipeline(
        {"waveform": torch.from_numpy(samples), "sample_rate": 16000, "uri": "bench"}
    )


def _separating(engine: str, write: Any, theirs: Side, *stems: str) -> Row:
    return Row(engine, write, partial(_ours, engine, stems), theirs)


_FOUR = ("drums", "bass", "other", "vocals")
_SIX = (*_FOUR, "guitar", "piano")
ROWS: Mapping[str, Row] = {
    "htdemucs": _separating("htdemucs", partial(_demucs, _FOUR), partial(_apply_model, "htdemucs")),
    "htdemucs_6s": _separating(
        "htdemucs_6s", partial(_demucs, _SIX), partial(_apply_model, "htdemucs_6s")
    ),
    "htdemucs_ft vocals": _separating(
        "htdemucs_ft", partial(_demucs, _FOUR), partial(_apply_model, "htdemucs_ft"), "vocals"
    ),
    "mdx_extra": _separating(
        "mdx_extra", partial(_demucs, _FOUR), partial(_apply_model, "mdx_extra")
    ),
    "uvr-vocal-bsr": _separating(
        "uvr-vocal-bsr", partial(_roformer, {"dim": 512, "depth": 12}), _demix
    ),
    "uvr-karaoke": _separating(
        "uvr-karaoke", partial(_roformer, {"dim": 384, "depth": 6, "num_bands": 60}), _demix
    ),
    "uvr-deecho": _separating("uvr-deecho", _vr, _whole_vr),
    "deepfilter": Row("deepfilter", _deepfilter, _enhance, _df_enhance, 48000),
    "pyannote": Row("pyannote", _pyannote, _turns, _pipeline, 16000, 1),
}


# ---- running -----------------------------------------------------------------------------------
def _files(name: str, folder: Path) -> dict[str, Path]:
    engine = find_engine(ROWS[name].engine)
    if engine.slug == "pyannote":
        return {file.path: folder / file.path for file in engine.weights}
    kind = "bag-" if engine.slug == "mdx_extra" else ""
    return {file.path: folder / f"{kind}{Path(file.path).name}" for file in engine.weights}


def _one_side(name: str, side: str, seconds: float, device: str, folder: Path) -> None:
    """Run one side here, and print what it took."""
    import torch

    logging.disable(logging.WARNING)
    row = ROWS[name]
    run = (row.ours if side == "ours" else row.theirs)(_files(name, folder), device)
    rng = np.random.default_rng(0)
    length = round(seconds * row.rate)
    # A quarter of a second is loud, the next one quiet: speech changes, too.
    level = rng.uniform(0.01, 0.3, 4 * round(seconds) + 4).repeat(row.rate // 4)[:length]
    samples = rng.standard_normal((row.channels, length)).astype(np.float32)
    samples *= level.astype(np.float32)
    gpu = device.startswith("cuda")
    if gpu:
        run(samples[:, : 10 * row.rate])  # its kernels are chosen on first use
        torch.cuda.reset_peak_memory_stats()
    clock = time.perf_counter if gpu else time.process_time
    start = clock()
    run(samples)
    took = clock() - start
    peak = torch.cuda.max_memory_allocated() if gpu else _largest()
    print(json.dumps({"took": took, "peak": peak}), flush=True)


def _largest() -> int:
    """The most resident memory that this process ever had, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _measured(name: str, side: str, seconds: float, device: str, folder: Path) -> dict[str, float]:
    command = [
        *(sys.executable, "-W", "ignore", "-m", "bench.engines", name, "--side", side),
        *("--seconds", str(seconds), "--device", device, "--folder", str(folder)),
    ]
    environment = os.environ | ({} if device.startswith("cuda") else {"OMP_NUM_THREADS": "1"})
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def main() -> None:
    """Measure the rows that are asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(ROWS), metavar="NAME")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--side", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        _one_side(asked.names[0], asked.side, asked.seconds, asked.device, asked.folder)
        return
    print(f"{'engine':22}{'x realtime':>12}{'library':>12}{'ratio':>8}{'MB':>8}{'library':>10}")
    for name in asked.names:
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            ROWS[name].write(list(_files(name, folder).values()))
            found: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
            for _ in range(asked.rounds):
                for side, told in found.items():
                    told.append(_measured(name, side, asked.seconds, asked.device, folder))
        took = {side: statistics.median(t["took"] for t in told) for side, told in found.items()}
        peak = {side: max(t["peak"] for t in told) / 2**20 for side, told in found.items()}
        speed = {side: asked.seconds / took[side] for side in took}
        print(
            f"{name:22}{speed['ours']:12.2f}{speed['theirs']:12.2f}"
            f"{took['theirs'] / took['ours']:8.2f}{peak['ours']:8.0f}{peak['theirs']:10.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
