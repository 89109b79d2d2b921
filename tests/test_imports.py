"""The rooms, and who may import whom: docs/architecture.md as a test."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "handlers": {"handlers"},
    "rules": {"rules", "handlers"},
    "control_api": {"control_api", "rules", "handlers"},
    "daemon": {"daemon", "control_api", "rules", "handlers"},
}

HEAVY = {
    "alembic",
    "av",
    "lameenc",
    "llvmlite",
    "mutagen",
    "numba",
    "scipy",
    "soundfile",
    "soxr",
    "sqlalchemy",
    "torch",
}


def imported(source: str) -> set[str]:
    """Top-level names of every module that a source imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction"
            found.add((node.module or "").partition(".")[0])
    return found


def files(room: str) -> list[Path]:
    return sorted(p for p in (ROOT / room).rglob("*.py") if "__pycache__" not in p.parts)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room):
    checked = files(room)
    wrong = {
        str(path.relative_to(ROOT)): sorted(others)
        for path in checked
        if (others := imported(path.read_text()) & (MAY_IMPORT.keys() - MAY_IMPORT[room]))
    }
    assert len(checked) > 1
    assert wrong == {}


def test_nothing_in_the_program_imports_tests_benches_or_examples():
    outside = {"tests", "bench", "inbox_examples", "pytest", "hypothesis"}
    wrong = {
        str(path.relative_to(ROOT)): sorted(others)
        for room in MAY_IMPORT
        for path in files(room)
        if (others := imported(path.read_text()) & outside)
    }
    assert wrong == {}


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(
            "from handlers.registry import operations; operations()", id="every operation"
        ),
        pytest.param("import rules.load, rules.match, rules.plan", id="the rules"),
        pytest.param("import daemon.cli", id="the command, for --help"),
    ],
)
def test_importing_pulls_in_no_heavy_library(statement):
    script = f"{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    modules = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert modules & HEAVY == set()
