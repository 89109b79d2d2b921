"""Finds every operation: our own, one per file, and those of installed plugins.

A plugin is any installed distribution with an entry point in the group
`audiolla.operations`; the entry point names a module, and importing it must
declare at least one operation.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from handlers.declare import CATEGORIES, Operation, registered
from handlers.errors import BrokenPlugin, UnknownOperation

PLUGIN_GROUP = "audiolla.operations"


@cache
def operations() -> Mapping[str, Operation]:
    """All operations by name, in the order of name.

    Raises:
        BrokenPlugin: a plugin cannot be imported or declares nothing; the
            detail names its file. A broken plugin stops the start: a rule
            that relies on it must not fail at three in the morning instead.
    """
    here = Path(__file__).parent
    for category in CATEGORIES:
        folder = here / category.replace("-", "_")
        for module in pkgutil.iter_modules([str(folder)]):
            importlib.import_module(f"handlers.{folder.name}.{module.name}")
    for entry in entry_points(group=PLUGIN_GROUP):
        _load_plugin(entry.name, entry.value)
    return dict(sorted(registered().items()))


def find(name: str) -> Operation:
    """The operation of this name.

    Raises:
        UnknownOperation: there is none.
    """
    found = operations().get(name)
    if found is None:
        raise UnknownOperation(
            f"unknown op {name!r}; known are: {', '.join(operations())}", field="op"
        )
    return found


def _load_plugin(name: str, value: str) -> None:
    before = set(registered())
    module = value.partition(":")[0]
    try:
        importlib.import_module(module)
    except Exception as wrong:
        raise BrokenPlugin(
            f"plugin {name} ({_file_of(module)}) cannot be loaded: {type(wrong).__name__}: {wrong}"
        ) from wrong
    if set(registered()) == before:
        raise BrokenPlugin(f"plugin {name} ({_file_of(module)}) declares no operation")


def _file_of(module: str) -> str:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    return spec.origin if spec and spec.origin else f"module {module}"
