"""The documentation says what the program does: rules load, lines run, links lead somewhere."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.cli import COMMANDS
from daemon.commands.docs import REFERENCE
from daemon.reference import pages, stale
from daemon.schedules.load import Around, load_schedules
from daemon.settings import Settings, environment_name
from handlers.registry import operations
from rules.load import Surroundings, load_rules
from rules.presets import shipped
from tests.whole.living import living

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = Path(sys.executable).with_name("audiolla")
#: What the launcher does by itself; everything else it hands over.
OF_THE_LAUNCHER = {"setup", "test", "check", "docs", "bench"}


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """Line number and text of every code block in a language."""
    text = page.read_text()
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text[: block.start()].count("\n") + 1, block[1]) for block in found]


RULES = [
    pytest.param(page, text, id=f"{page.relative_to(ROOT)}:{line}")
    for page in PAGES
    for line, text in blocks(page, "yaml")
    if not re.search("^schedules:", text, re.MULTILINE)
]
SCHEDULES = [
    pytest.param(page, text, id=f"{page.relative_to(ROOT)}:{line}")
    for page in PAGES
    for line, text in blocks(page, "yaml")
    if re.search("^schedules:", text, re.MULTILINE)
]
LINES = [
    line.split("  #")[0].strip()
    for _, block in blocks(ROOT / "README.md", "sh")
    for line in block.splitlines()
    if line.strip()
]


@pytest.mark.parametrize(("page", "text"), RULES)
def test_every_rule_in_the_docs_loads(page, text):
    presets = {preset.name: preset for preset in shipped()}
    around = Surroundings(folder=Path("/hot"), preset=presets.get, is_file=lambda _: True)
    assert load_rules(text, page, around).rules


@pytest.mark.parametrize(("page", "text"), SCHEDULES)
def test_every_schedule_in_the_docs_loads(page, text, tmp_path):
    presets = {preset.name: preset for preset in shipped()}
    assert load_schedules(text, page, Around(tmp_path, presets.get))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_in_the_docs_leads_to_a_file(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []


def test_the_reference_is_fresh():
    assert stale(REFERENCE) == []


def test_a_stale_page_and_a_forgotten_one_are_named(tmp_path):
    for name, text in pages().items():
        (tmp_path / name).write_text(text)
    (tmp_path / "settings.md").write_text("old")
    (tmp_path / "formats.md").unlink()
    (tmp_path / "history.md").touch()

    assert sorted(stale(tmp_path)) == ["formats.md", "history.md", "settings.md"]


def test_the_reference_names_every_operation_with_every_parameter_and_every_setting():
    page = pages()["operations.md"]
    for op in operations().values():
        section = page[page.index(f"### {op.name}\n") :].partition("\n### ")[0]
        for name in op.params.model_fields:
            assert f"| `{name}` |" in section, f"{op.name}.{name}"
    for name in Settings.model_fields:
        assert f"`{environment_name(name)}`" in pages()["settings.md"]


def test_nobodys_home_folder_is_in_the_reference():
    assert str(Path.home()) not in "".join(pages().values())


def test_the_readme_has_two_commands_for_set_up_and_only_names_what_there_is():
    assert LINES[:2] == ["./audiolla demo", "./audiolla test"]
    ours = [shlex.split(line)[1] for line in LINES if "audiolla" in line.split()[0]]
    assert set(ours) - OF_THE_LAUNCHER <= set(COMMANDS)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with the sound that the README speaks of, and a daemon beside it."""
    folder = tmp_path_factory.mktemp("desk")
    noise = ["synth", "3", "pinknoise", "vol", "0.2"]
    subprocess.run(["sox", "-n", "-r", "44100", folder / "talk.wav", *noise], check=True)
    with living(folder / "data") as daemon:
        yield folder, daemon


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("curl")])
def test_requests_of_the_readme_work(line, desk):
    folder, daemon = desk
    ours = line.replace("http://127.0.0.1:8000", daemon.address).replace("curl", "curl -sS --fail")
    done = subprocess.run(shlex.split(ours), cwd=folder, capture_output=True, text=True, check=True)
    target = re.search(r" -o (\S+)", line)
    if target:
        assert (folder / target[1]).stat().st_size > 1000
    else:
        json.loads(done.stdout)


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("audiolla op")])
def test_commands_of_the_readme_work(line, desk):
    folder, daemon = desk
    _, *arguments = shlex.split(line)
    done = subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env=os.environ | {"AUDIOLLA_DATA_DIR": str(daemon.data)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    if "-o" in arguments:
        assert (folder / arguments[arguments.index("-o") + 1]).stat().st_size > 1000
