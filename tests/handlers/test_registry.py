"""Finding operations: our own, those of plugins, and plugins that are broken."""

import os
import shutil
import subprocess
import sys

import pytest

from handlers.errors import UnknownOperation
from handlers.registry import find, operations
from tests.plugin import BROKEN, CONTRADICTING, EMPTY, GOOD

SAY_WHAT_IS_THERE = """
from handlers.errors import BrokenPlugin
from handlers.registry import operations
try:
    for name, op in operations().items():
        print(name, op.lane)
except BrokenPlugin as broken:
    print("BROKEN", broken)
"""


def said(*folders):
    """What a fresh process says of its operations, with these folders on its path."""
    path = os.pathsep.join(map(str, folders))
    done = subprocess.run(
        [sys.executable, "-c", SAY_WHAT_IS_THERE],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_our_own_operations_are_found_in_order_of_name():
    names = list(operations())

    assert names == sorted(names)
    assert {"info", "convert", "trim", "fade", "eq", "normalize", "mix"} <= set(names)


def test_each_operation_is_declared_in_the_file_of_its_name():
    ours = [op for op in operations().values() if op.module.startswith("handlers.")]

    assert [op.module.rpartition(".")[2] for op in ours] == [op.name for op in ours]


def test_an_unknown_operation_is_refused_with_those_that_exist():
    with pytest.raises(
        UnknownOperation, match=r"unknown op 'equalise'; known are: .*eq"
    ) as refusal:
        find("equalise")

    assert refusal.value.field == "op"


def test_an_installed_plugin_adds_its_operations():
    with_plugin = said(GOOD)

    assert set(said()) < set(with_plugin)
    assert "test_gpu_gain gpu" in with_plugin
    assert "test_sleep cpu" in with_plugin


@pytest.mark.parametrize(
    ("folder", "file", "why"),
    [
        (
            BROKEN,
            "audiolla_broken_plugin.py",
            "cannot be loaded: ModuleNotFoundError: No module named 'a_library_that_nobody_has'",
        ),
        (EMPTY, "audiolla_empty_plugin.py", "declares no operation"),
        (
            CONTRADICTING,
            "audiolla_contradicting_plugin.py",
            "cannot be loaded: TypeError: test_contradiction: example 'Too much.'",
        ),
    ],
    ids=["it cannot be imported", "it declares nothing", "its declaration is refused"],
)
def test_a_broken_plugin_stops_the_start_and_names_its_file(folder, file, why):
    (line,) = said(folder)

    assert line.startswith("BROKEN plugin audiolla-")
    assert str(folder / file) in line
    assert why in line


def test_a_plugin_whose_module_is_missing_is_named(tmp_path):
    """The entry point of a distribution that was removed by half."""
    name = "audiolla_test_plugin-1.0.dist-info"
    shutil.copytree(GOOD / name, tmp_path / name)
    (line,) = said(tmp_path)

    assert "plugin audiolla-test-plugin (module audiolla_test_plugin) cannot be loaded" in line
