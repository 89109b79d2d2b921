"""The demo where things are not as it would like them; tests/test_examples.py has it whole."""

import argparse
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from daemon.commands import demo
from daemon.commands.outcome import Unreachable


def arguments(data: Path, **more) -> argparse.Namespace:
    return argparse.Namespace(**{"once": True, "json": False, "port": 0, "data_dir": data} | more)


@pytest.fixture
def examples(tmp_path, monkeypatch):
    """One example folder with one second of noise and a rule that cannot be carried out."""
    box = tmp_path / "examples" / "box"
    box.mkdir(parents=True)
    subprocess.run(
        ["sox", "-n", "-r", "8000", box / "hiss.wav", "synth", "1", "pinknoise"], check=True
    )
    step = "eq: {bands: [{freq: 9000, gain_db: 3}]}"  # above half of 8000 Hz
    (box / "rules.yaml").write_text(f"rules: [{{name: Air, steps: [{{{step}}}]}}]")
    monkeypatch.setattr(demo, "EXAMPLES", box.parent)
    return box.parent


def test_a_free_port_is_taken_as_it_is():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert demo.free_port("127.0.0.1", port) == (port, False)


def test_instead_of_a_taken_port_a_free_one_is_found():
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        port, was_taken = demo.free_port("127.0.0.1", taken)
    assert was_taken
    assert port not in (0, taken)


def test_each_run_has_a_fresh_data_directory_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = demo.data_dir(None), demo.data_dir(None)
    assert first != second
    assert first.parent == second.parent == tmp_path / ".audiolla"


def test_where_nothing_can_be_written_the_data_directory_is_a_temporary_one(tmp_path, monkeypatch):
    (tmp_path / ".audiolla").write_text("a file where the folder would be")
    monkeypatch.chdir(tmp_path)
    place = demo.data_dir(None)
    try:
        assert place.is_dir()
        assert tmp_path not in place.parents
    finally:
        shutil.rmtree(place)


def test_a_job_that_fails_is_shown_with_its_reason_and_makes_the_exit_code_1(
    examples, tmp_path, capsys
):
    assert demo.run(arguments(tmp_path / "data")) == 1
    said = capsys.readouterr().out
    assert "✗ box/hiss.wav failed at eq: " in said
    assert "9000" in said
    assert "0 of 1 sounds delivered, 1 failed" in said


def test_a_daemon_that_ends_at_once_is_told_with_its_last_words(examples, tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho out of luck\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(demo.sys, "executable", str(python))
    with pytest.raises(Unreachable, match="out of luck"):
        demo.run(arguments(tmp_path / "data"))


def test_without_examples_the_demo_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "EXAMPLES", tmp_path)
    with pytest.raises(Unreachable, match="from a clone"):
        demo.run(arguments(tmp_path / "data"))
