"""Models of the transformers library, from local files only and whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handlers.errors import WeightsCorrupt


def folder_of(files: Mapping[str, Path]) -> Path:
    """The folder that holds all files of an engine.

    Raises:
        WeightsCorrupt: they lie in several.
    """
    folders = {path.parent for path in files.values()}
    if len(folders) != 1:
        raise WeightsCorrupt(f"the files lie in several folders: {', '.join(map(str, folders))}")
    return folders.pop()


def whole_model(kind: Any, folder: Path, device: str) -> Any:
    """A model with every tensor of its checkpoint in its place.

    The library fills what a file lacks with random numbers and calls that success; here that
    is a refusal. Only safetensors are read: nothing in them is executed.

    Args:
        kind: class of the model.
        folder: where `config.json` and `model.safetensors` lie.
        device: where it shall run.

    Raises:
        WeightsCorrupt: the file does not fit the model.
    """
    model, found = kind.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    for what in ("missing_keys", "mismatched_keys", "error_msgs"):
        if found.get(what):
            names = ", ".join(map(str, list(found[what])[:3]))
            raise WeightsCorrupt(
                f"{folder / 'model.safetensors'}: {what.replace('_', ' ')}: {names}"
            )
    return model.eval().to(device)
