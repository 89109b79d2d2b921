"""Makes again what a manifest describes, and compares byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.delivering.hashes import hash_of
from daemon.delivering.journal import entries_with
from daemon.delivering.manifest import FORM, MARK, differences, versions
from handlers.errors import NoSuchFile, UnreadableInput
from rules.orders import Branch, Delivery, Order, SoundRef, StepOrder, path_from_text


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
    lay_at = path_from_text(asked["lay_at"])
    for path in _places(manifest, lay_at, at, journal):
        if not path.is_file() or path.stat().st_size != asked["size"]:
            continue
        if hash_of(path) == asked["sha256"]:
            return path
    raise NoSuchFile(
        f"{asked['file']} (SHA-256 {asked['sha256'][:16]}...) is not where the journal or the "
        "folders beside the manifest have it",
        hint="name it with --input",
    )


def _places(manifest: dict[str, Any], lay_at: Path, at: Path, journal: Path) -> Iterator[Path]:
    """Where a file of the job may be now that lay somewhere while it ran."""
    job = manifest["job"]
    moves = [e for e in entries_with(journal, [job.encode()]) if e.get("job") == job]
    for entry in reversed(moves):
        for key in ("to", "original"):
            if key in entry:
                yield path_from_text(entry[key])
    yield lay_at
    for folder in list(at.absolute().parents)[1:4]:
        if (folder / "rules.yaml").is_file() or (folder / "done").is_dir():
            yield from sorted((folder / "done").rglob(f"*{lay_at.suffix}"))


def sounds_of(manifest: dict[str, Any], at: Path, journal: Path) -> dict[Path, Path]:
    """Where the further sounds lie now that steps read, by where they lay; by their content, too.

    Args:
        manifest, at, journal: as for `original_of`.

    Raises:
        NoSuchFile, UnreadableInput: one is not there, or is another one now.
    """
    found: dict[Path, Path] = {}
    for sound in manifest.get("sounds", []):
        then = path_from_text(sound["file"])
        # The other files of a set have moved since, as the original has.
        places = (path for path in _places(manifest, then, at, journal) if path.is_file())
        now = next((path for path in places if hash_of(path) == sound["sha256"]), None)
        if now is None and then.is_file():
            raise UnreadableInput(f"{then}, which a step reads, is not what it was then")
        if now is None:
            raise NoSuchFile(f"{then}, which a step reads, is not there any more")
        found[then] = now
    return found


def order_of(
    manifest: dict[str, Any], original: Path, sounds: Mapping[Path, Path], folder: Path
) -> Order:
    """The order that makes it again, into another folder.

    Args:
        manifest: the manifest.
        original: where its sound lies now.
        sounds: where the further sounds lie now, by where they lay.
        folder: where everything goes.
    """
    now = {**sounds, path_from_text(manifest["input"]["lay_at"]): original}
    order = Order.model_validate(manifest["order"]).with_each_step(lambda step: _found(step, now))
    assert order.delivery is not None
    return order.model_copy(
        update={
            "sound": None if order.sound is None else _lies(order.sound, now),
            "delivery": _into(order.delivery, folder),
            "branches": [_with_folder(branch, folder) for branch in order.branches],
        }
    )


def _lies(ref: SoundRef, now: Mapping[Path, Path]) -> SoundRef:
    return ref.model_copy(update={"path": now.get(ref.path, ref.path)})


def _found(step: StepOrder, now: Mapping[Path, Path]) -> StepOrder:
    items = {
        name: [item.model_copy(update={"sound": _lies(item.sound, now)}) for item in items]
        for name, items in step.items.items()
    }
    sounds = {name: _lies(ref, now) for name, ref in step.sounds.items()}
    return step.model_copy(update={"items": items, "sounds": sounds})


def _into(delivery: Delivery, folder: Path) -> Delivery:
    # Whose it is and who may read it is no matter of its bytes.
    changes = {"folder": folder, "conflict": "number", "mode": None, "owner": None}
    return delivery.model_copy(update=changes)


def _with_folder(branch: Branch, folder: Path) -> Branch:
    return branch.model_copy(
        update={
            "delivery": _into(branch.delivery, folder),
            "branches": [_with_folder(one, folder) for one in branch.branches],
        }
    )


def pairs(
    manifest: dict[str, Any], result: dict[str, Any]
) -> Iterator[tuple[dict[str, Any] | None, dict[str, Any] | None]]:
    """Each output of then with the one that it is now; None for one without the other."""
    # Which of several deliveries is written first depends on how their lanes took turns.
    made: dict[str, list[dict[str, Any]]] = {}
    for output in result["outputs"]:
        made.setdefault(output.get("delivery", ""), []).append(output)
    for then in manifest["outputs"]:
        left = made.get(then.get("delivery", ""), [])
        yield then, left.pop(0) if left else None
    for left in made.values():
        yield from ((None, extra) for extra in left)


def compared(manifest: dict[str, Any], result: dict[str, Any]) -> Replayed:
    """Hold what came out this time against what came out then, file by file."""
    same: list[str] = []
    different: list[str] = []
    for then, again in pairs(manifest, result):
        name = path_from_text((then or again or {})["path"]).name
        equal = (
            then is not None
            and again is not None
            and hash_of(path_from_text(again["path"])) == then["sha256"]
        )
        (same if equal else different).append(name)
    now = versions(result["steps"])
    return Replayed(tuple(same), tuple(different), tuple(differences(manifest["versions"], now)))
