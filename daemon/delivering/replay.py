"""Makes again what a manifest describes, and compares byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.delivering.hashes import hash_of
from daemon.delivering.journal import entries_with
from daemon.delivering.manifest import FORM, MARK, differences, versions
from handlers.errors import NoSuchFile, UnreadableInput
from rules.orders import Delivery, Order, SoundRef, path_from_text


@dataclass(frozen=True)
class Replayed:
    """What came of a replay."""

    #: Outputs that came out with the same bytes, and those that did not.
    same: tuple[str, ...]
    different: tuple[str, ...]
    #: What has another version than then, in words.
    versions: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """True when every byte is the same."""
        return not self.different


def read_manifest(path: Path) -> dict[str, Any]:
    """A manifest, as far as this program understands it.

    Raises:
        UnreadableInput: it is no manifest, or one of a newer program.
    """
    try:
        manifest = json.loads(path.read_bytes())
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict) or MARK not in manifest:
        raise UnreadableInput(f"{path} is no manifest: it has no {MARK} at its top")
    if manifest[MARK] != FORM:
        raise UnreadableInput(
            f"{path} has form {manifest[MARK]} of a manifest; this program knows form {FORM}"
        )
    return manifest


def original_of(manifest: dict[str, Any], at: Path, journal: Path) -> Path:
    """Where the sound lies now that a manifest is about, found by its content.

    Args:
        manifest: the manifest.
        at: where it lies; the folders around it are searched where the journal does not help.
        journal: the journal's folder.

    Raises:
        NoSuchFile: it is in no place where it should be.
    """
    asked = manifest["input"]
    for path in _places(manifest, at, journal):
        if not path.is_file() or path.stat().st_size != asked["size"]:
            continue
        if hash_of(path) == asked["sha256"]:
            return path
    raise NoSuchFile(
        f"{asked['file']} (SHA-256 {asked['sha256'][:16]}...) is not where the journal or the "
        "folders beside the manifest have it",
        hint="name it with --input",
    )


def _places(manifest: dict[str, Any], at: Path, journal: Path) -> Iterator[Path]:
    job = manifest["job"]
    moves = [e for e in entries_with(journal, [job.encode()]) if e.get("job") == job]
    for entry in reversed(moves):
        for key in ("to", "original"):
            if key in entry:
                yield path_from_text(entry[key])
    yield path_from_text(manifest["input"]["lay_at"])
    suffix = path_from_text(manifest["input"]["file"]).suffix
    for folder in list(at.absolute().parents)[1:4]:
        if (folder / "rules.yaml").is_file() or (folder / "done").is_dir():
            yield from sorted((folder / "done").rglob(f"*{suffix}"))


def order_of(manifest: dict[str, Any], original: Path, folder: Path) -> Order:
    """The order that makes it again, into another folder.

    Raises:
        NoSuchFile, UnreadableInput: a further sound is not there, or is another one now.
    """
    for sound in manifest.get("sounds", []):
        path = path_from_text(sound["file"])
        if not path.is_file():
            raise NoSuchFile(f"{path}, which a step reads, is not there any more")
        if hash_of(path) != sound["sha256"]:
            raise UnreadableInput(f"{path}, which a step reads, is not what it was then")
    then = path_from_text(manifest["input"]["lay_at"])
    order = Order.model_validate(manifest["order"])

    def now(ref: SoundRef) -> SoundRef:
        return ref.model_copy(update={"path": original}) if ref.path == then else ref

    steps = [
        step.model_copy(
            update={
                "items": {
                    name: [item.model_copy(update={"sound": now(item.sound)}) for item in items]
                    for name, items in step.items.items()
                }
            }
        )
        for step in order.steps
    ]
    assert order.delivery is not None
    delivery: Delivery = order.delivery.model_copy(update={"folder": folder, "conflict": "number"})
    sound = None if order.sound is None else now(order.sound)
    return order.model_copy(update={"sound": sound, "steps": steps, "delivery": delivery})


def compared(manifest: dict[str, Any], result: dict[str, Any]) -> Replayed:
    """Hold what came out this time against what came out then, file by file."""
    same: list[str] = []
    different: list[str] = []
    made = list(result["outputs"])
    for number, then in enumerate(manifest["outputs"]):
        name = path_from_text(then["path"]).name
        again = made[number] if number < len(made) else None
        equal = again is not None and hash_of(path_from_text(again["path"])) == then["sha256"]
        (same if equal else different).append(name)
    different += [path_from_text(extra["path"]).name for extra in made[len(manifest["outputs"]) :]]
    now = versions(result["steps"])
    return Replayed(tuple(same), tuple(different), tuple(differences(manifest["versions"], now)))
