"""Small random checkpoints in the real formats, so that real loaders run without real weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from handlers.engines.declare import Engine
from handlers.engines.files import Models
from handlers.engines.registry import engines, find_engine
from handlers.engines.running import Batches
from handlers.engines.shelf import Lent, Shelf
from handlers.engines.torchaudio_part import importable
from tests.handlers.engines.tiny_deepfilter import write_deepfilter
from tests.handlers.engines.tiny_pyannote import write_pyannote
from tests.handlers.engines.tiny_separators import SEPARATORS, smaller


def unhashed(slug: str) -> Engine[Any]:
    """An engine that takes any file in place of its published ones."""
    engine = find_engine(slug)
    weights = tuple(dataclasses.replace(w, size=None, sha256=None) for w in engine.weights)
    return smaller(dataclasses.replace(engine, weights=weights))


def shelf(root: Path, *slugs: str, **about: Any) -> Shelf:
    """A shelf over the checkpoints below `root`."""
    return Shelf(Models([root]), {slug: unhashed(slug) for slug in slugs}, **about)


def lent(shelf: Shelf, slug: str) -> Lent[Any]:
    """What an operation is given."""
    return Lent(slug, shelf.borrow)


@contextmanager
def seeded(seed: int = 0) -> Any:
    """Random weights that are the same each time; one thread, so that tests do not fight."""
    import torch

    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def as_on_a_gpu(size: int) -> Batches:
    """Batches of this size, computed here."""
    batches = Batches("cuda", size)
    batches.device = batches._home = "cpu"
    return batches


def ast(root: Path) -> Path:
    """An audio spectrogram transformer of one layer."""
    importable()
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    folder = root / "ast"
    config = ASTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=527,
        id2label={i: f"sound {i}" for i in range(527)},
        label2id={f"sound {i}": i for i in range(527)},
    )
    with seeded():
        ASTForAudioClassification(config).save_pretrained(folder)
    ASTFeatureExtractor().save_pretrained(folder)
    return folder


def clap(root: Path) -> Path:
    """A CLAP of two small towers, with a tokenizer of single bytes."""
    importable()
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    folder = root / "clap"
    config = ClapConfig(
        text_config={
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "vocab_size": 261,
        },
        audio_config={
            "patch_embeds_hidden_size": 8,
            "hidden_size": 64,
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 2, 2, 2],
            "enable_fusion": False,
        },
        projection_dim=512,
    )
    with seeded():
        ClapModel(config).save_pretrained(folder)
    ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(folder)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    symbols = special + [_symbol(byte) for byte in range(256)]
    (folder / "vocab.json").write_text(json.dumps({s: i for i, s in enumerate(symbols)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "RobertaTokenizer"}')
    (folder / "special_tokens_map.json").write_text("{}")
    return folder


def _symbol(byte: int) -> str:
    """The printable character that byte-level BPE writes for a byte (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    if byte in printable:
        return chr(byte)
    return chr(256 + [b for b in range(256) if b not in printable].index(byte))


def deepfilter(root: Path) -> Path:
    """A DeepFilterNet of narrow layers."""
    with seeded():
        write_deepfilter(root / "deepfilter" / "DeepFilterNet3.zip")
    return root / "deepfilter"


def pyannote(root: Path) -> Path:
    """Two networks and what tells speakers apart."""
    with seeded():
        return write_pyannote(root / "pyannote")


MAKERS: dict[str, Callable[[Path], Path]] = {
    "ast-tag": ast,
    "clap-embed": clap,
    "deepfilter": deepfilter,
    "pyannote": pyannote,
    **SEPARATORS,
}
"""How the checkpoint of each engine is made."""


class Shelves:
    """One shelf over all engines; a checkpoint is made when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made: set[str] = set()
        self._shelf = shelf(root, *engines())

    def borrow(self, slug: str) -> Any:
        """The model of an engine."""
        # What has no maker comes with its package.
        if slug in MAKERS and slug not in self._made:
            self._made.add(slug)
            MAKERS[slug](self._root)
        return self._shelf.borrow(slug)
