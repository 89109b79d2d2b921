"""Our package names are common words: nothing that is installed may bring them in as well."""

import importlib
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions, version
from pathlib import Path

import pytest

from tests.test_imports import MAY_IMPORT, files, imported

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

#: Where a package is imported under another name than it is installed under.
IMPORTED_AS = {
    "annotated-types": "annotated_types",
    "audio-separator": "audio_separator",
    "deepfilterlib": "libdf",
    "deepfilternet": "df",
    "mcp-types": "mcp_types",
    "pillow": "PIL",
    "prometheus-client": "prometheus_client",
    "pydantic-core": "pydantic_core",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "typing-extensions": "typing_extensions",
    "uuid-utils": "uuid_utils",
}
#: Packages that are never imported: their models are files to us.
DATA_OF = {"basic-pitch", "silero-vad"}


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    found = [line.split(";")[0].rstrip(" \\") for line in lines if "==" in line.split("#")[0]]
    return dict(line.split("==") for line in found)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_belongs_to_us_alone(room):
    assert set(packages_distributions()[room]) == {"audiolla"}
    module = importlib.import_module(room)
    assert Path(module.__file__).parent == ROOT / room


def test_the_lock_pins_every_dependency_and_what_is_installed_agrees():
    locked = pins("base")
    for name in PROJECT["dependencies"]:
        assert version(name) == locked[name], name


def test_the_engines_lock_pins_all_but_torch_and_agrees_with_the_base():
    locked, base = pins("engines"), pins("base")
    wanted = {name.replace(".", "-") for name in PROJECT["optional-dependencies"]["engines"]}
    assert wanted - locked.keys() == {"torch"}
    assert {name: base[name] for name in locked.keys() & base.keys()}.items() <= locked.items()


@pytest.mark.parametrize("name", ["base", "dev", "engines"])
def test_every_pin_has_its_hashes_and_no_host_is_named(name):
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    for pinned in pins(name):
        start = text.index(f"{pinned}==")
        assert "--hash=sha256:" in text[start : text.index("# via", start)], pinned
    assert "://" not in text
    assert "index-url" not in text


def test_what_the_program_imports_is_what_the_project_requires():
    used = {
        name for room in MAY_IMPORT for path in files(room) for name in imported(path.read_text())
    }
    third_party = used - set(MAY_IMPORT) - set(sys.stdlib_module_names)
    required = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["engines"]
    declared = {IMPORTED_AS.get(name, name) for name in required}
    assert third_party == declared - DATA_OF


@pytest.mark.parametrize("name", sorted(DATA_OF))
def test_packages_of_which_only_the_data_is_used_are_named_where_it_is_found(name):
    texts = [path.read_text() for room in MAY_IMPORT for path in files(room)]
    assert any(f'"{name.replace("-", "_")}' in text for text in texts)


def test_the_licence_is_said_the_same_everywhere():
    assert PROJECT["license"] == "GPL-3.0-or-later"
    assert "GNU GENERAL PUBLIC LICENSE" in (ROOT / "LICENSE").read_text()[:200]
    assert distribution("audiolla").metadata["License-Expression"] == "GPL-3.0-or-later"
