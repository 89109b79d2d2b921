"""Where the weights of engines lie, and whether they are what they should be."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from handlers.engines.declare import Engine, WeightsFile
from handlers.errors import WeightsCorrupt, WeightsMissing

LOCK = "verified.json"
"""Beside the models: which files have been hashed, and what they were then."""


class Models:
    """The folders that weights are looked for in.

    A file is found as `<root>/<engine>/<path>`, or flat as `<root>/<file name>`
    (as other programs keep them). The first root that has it counts.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        """Look in `roots`, the first of them being where new files are put."""
        self._roots = tuple(roots)

    @property
    def home(self) -> Path:
        """Where new files are put."""
        return self._roots[0]

    def place(self, engine: Engine[Any], file: WeightsFile) -> Path:
        """Where a file belongs."""
        return self.home / engine.home / file.path

    def found(self, engine: Engine[Any], file: WeightsFile) -> Path | None:
        """Where a file is, if anywhere."""
        if file.packaged:
            return _in_package(file.source.removeprefix("package:"))
        flat = Path(file.path).name
        for root in self._roots:
            for path in (root / engine.home / file.path, root / flat):
                if path.is_file():
                    return path
        return None

    def missing(self, engine: Engine[Any]) -> list[WeightsFile]:
        """What is not there."""
        return [file for file in engine.weights if self.found(engine, file) is None]

    def located(self, engine: Engine[Any]) -> Mapping[str, Path]:
        """Every file of an engine, checked.

        Raises:
            WeightsMissing: one is not there.
            WeightsCorrupt: one has another size or hash than published.
        """
        missing = self.missing(engine)
        if missing:
            raise weights_missing(engine, missing, self.home)
        files: dict[str, Path] = {}
        for file in engine.weights:
            path = self.found(engine, file)
            assert path is not None
            self._check(engine, file, path)
            files[file.path] = path
        return files

    def verify(self, engine: Engine[Any], file: WeightsFile, path: Path) -> str:
        """Hash a file anew, whatever is known of it; its SHA-256.

        Raises:
            WeightsCorrupt: it is not what was published.
        """
        with path.open("rb") as opened:
            stat = os.fstat(opened.fileno())
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        wrong = None
        if file.size is not None and stat.st_size != file.size:
            wrong = f"has {stat.st_size} bytes, not {file.size}"
        elif file.sha256 is not None and digest != file.sha256:
            wrong = f"has the SHA-256 {digest}, not {file.sha256}"
        if wrong:
            raise WeightsCorrupt(
                f"{engine.slug}: {path} {wrong}", hint=f"audiolla models pull {engine.slug}"
            )
        self._remember(path, stat, digest)
        return digest

    def _check(self, engine: Engine[Any], file: WeightsFile, path: Path) -> None:
        if file.packaged:
            return  # pip has checked it
        stat = path.stat()
        size, modified, digest = self._known().get(os.fspath(path), (None, None, None))
        same = (size, modified) == (stat.st_size, stat.st_mtime_ns)
        if not same or file.sha256 not in (None, digest):
            self.verify(engine, file, path)

    def _known(self) -> dict[str, list[Any]]:
        try:
            known: dict[str, list[Any]] = json.loads((self.home / LOCK).read_text())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return {}
        return known

    def _remember(self, path: Path, stat: os.stat_result, digest: str) -> None:
        known = self._known() | {os.fspath(path): [stat.st_size, stat.st_mtime_ns, digest]}
        draft = self.home / f".{LOCK}.{os.getpid()}"
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(known, indent=1))
            draft.rename(self.home / LOCK)
        except OSError:
            # A read-only volume of models: they are hashed again by the next worker.
            return


def weights_missing(
    engine: Engine[Any], files: Sequence[WeightsFile], home: Path
) -> WeightsMissing:
    """The refusal that names an engine, its missing files and the command that brings them."""
    names = ", ".join(file.path for file in files)
    if all(file.packaged for file in files):
        return WeightsMissing(
            f"the weights of engine {engine.slug} are not on disk: {names}, which a Python package "
            "brings",
            field="engine",
            hint="./audiolla setup",
        )
    command = f"audiolla models pull {engine.slug}"
    gate = f"; before that, {engine.gate}" if engine.gate else ""
    return WeightsMissing(
        f"the weights of engine {engine.slug} are not on disk: {names} below {home / engine.home}; "
        f"`{command}` brings them{gate}",
        field="engine",
        hint=command,
    )


def _in_package(place: str) -> Path | None:
    """`package/path/in/it`, without importing the package."""
    package, _, inside = place.partition("/")
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / inside
        if path.is_file():
            return path
    return None
