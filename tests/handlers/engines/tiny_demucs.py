"""Demucs checkpoints as they are published, with the real layers but few of them."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path


def write_htdemucs(
    path: Path, sources: Sequence[str], seed: int = 0, segment: Fraction = Fraction(1)
) -> None:
    """A Hybrid Transformer Demucs of windows of `segment` seconds, with random weights."""
    import torch
    from demucs.htdemucs import HTDemucs

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = HTDemucs(
            sources=list(sources),
            channels=4,
            t_layers=1,
            t_heads=2,
            t_hidden_scale=1.0,
            bottom_channels=8,
            dconv_comp=2,
            norm_groups=2,
            segment=segment,
        )
    _save(model, path)


def write_hdemucs(path: Path, sources: Sequence[str], seed: int = 0, *, cac: bool = True) -> None:
    """A Hybrid Demucs with random weights, of complex spectra (`cac`) or of masks."""
    import torch
    from demucs.hdemucs import HDemucs

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = HDemucs(
            sources=list(sources),
            channels=4,
            depth=6,
            norm_groups=2,
            dconv_comp=2,
            cac=cac,
            segment=4,
        )
    _save(model, path)


def _save(model, path):
    import torch
    from demucs.states import get_state

    args, kwargs = model._init_args_kwargs
    package = {
        "klass": type(model),
        "args": args,
        "kwargs": kwargs,
        "state": get_state(model, None, half=True),
        "training_args": {},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(package, path)
