"""The doctor: each thing that can be wrong is found, named, and comes with a way to mend it."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from daemon import doctor
from daemon.mounts import Mount
from daemon.settings import Settings
from handlers import chromaprint, fluidsynth

COMMAND = Path(sys.executable).with_name("audiolla")


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path / "data", port=free_port())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def found(settings, subject):
    (finding,) = [f for f in doctor.examine(settings) if f.subject == subject]
    return finding


def test_a_machine_on_which_the_tests_run_has_no_problem(settings):
    findings = list(doctor.examine(settings))
    assert [f for f in findings if f.verdict == "problem"] == []
    assert found(settings, "encoders").verdict == "ok"
    assert {f.area for f in findings} == {
        "machine",
        "installed",
        "engines",
        "places",
        "queue",
        "folders",
        "daemon",
    }


def test_whatever_is_not_in_order_comes_with_a_way_to_mend_it(settings, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(chromaprint, "installed", lambda: False)
    monkeypatch.setattr(fluidsynth, "_LIBRARIES", ())
    fluidsynth.library.cache_clear()
    settings = settings.model_copy(update={"soundfont": Path("/nowhere.sf2")})
    wrong = [f for f in doctor.examine(settings) if f.verdict != "ok"]
    fluidsynth.library.cache_clear()
    assert {"ffmpeg, sox", "chromaprint", "fluidsynth", "soundfont"} <= {f.subject for f in wrong}
    assert all(f.mend for f in wrong)


def test_it_leaves_nothing_behind(settings):
    list(doctor.examine(settings))
    assert list(settings.data_dir.parent.iterdir()) == []


def test_a_file_where_the_data_directory_should_be_is_a_problem(settings):
    settings.data_dir.write_text("not a folder")
    finding = found(settings, "data directory")
    assert finding.verdict == "problem"
    assert "AUDIOLLA_DATA_DIR" in finding.mend


def test_a_disk_that_is_nearly_full_is_worth_a_note(settings, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=200 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert found(settings, "data directory").verdict == "note"


def test_a_database_on_a_network_mount_is_warned_about(settings, monkeypatch):
    monkeypatch.setattr(doctor, "mount_of", lambda _: Mount("/nas", "nfs4"))
    finding = found(settings, "file system")
    assert finding.verdict == "note"
    assert "nfs4" in finding.detail
    assert "AUDIOLLA_FOLDERS_DIR" in finding.mend


def test_a_damaged_database_is_a_problem(settings):
    settings.data_dir.mkdir()
    settings.database.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    finding = found(settings, "database")
    assert finding.verdict == "problem"
    assert str(settings.database) in finding.detail
    assert "backup" in finding.mend


@pytest.mark.parametrize(
    ("wanted", "devices", "verdict", "says"),
    [
        pytest.param("auto", [], "ok", "cpu (no NVIDIA driver)", id="auto without a driver"),
        pytest.param("auto", ["H100, 80 GiB"], "ok", "cuda:0, H100, 80 GiB", id="auto with one"),
        pytest.param("cuda", [], "problem", "no NVIDIA driver", id="cuda is asked for"),
        pytest.param("cuda:1", ["H100, 80 GiB"], "problem", "1 device found", id="the second"),
        pytest.param("cpu", ["H100, 80 GiB"], "ok", "as AUDIOLLA_DEVICE says", id="not wanted"),
    ],
)
def test_the_device(settings, monkeypatch, wanted, devices, verdict, says):
    why_not = "" if devices else "no NVIDIA driver"
    monkeypatch.setattr(doctor, "cuda_devices", lambda: (devices, why_not))
    finding = found(settings.model_copy(update={"device": wanted}), "device")
    assert finding.verdict == verdict
    assert says in finding.detail


def test_kernels_that_are_not_compiled_yet_are_named(settings, monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "empty"))
    finding = found(settings, "sound kernels")
    assert finding.verdict == "note"
    assert "biquad" in finding.detail
    assert finding.mend.endswith("-m handlers.kernels")


def test_a_broken_rule_file_is_named_with_its_rule_and_field(settings):
    box = settings.folders / "box"
    box.mkdir(parents=True)
    (box / "rules.yaml").write_text("rules: [{name: Loud, steps: [{normalize: {target_lufs: 3}}]}]")
    finding, counted = [f for f in doctor.examine(settings) if f.subject == "rules"]
    assert finding.verdict == "problem"
    assert "Loud" in finding.detail
    assert "target_lufs" in finding.detail
    assert counted.detail == "0 hot folders"


def test_a_port_that_another_program_uses_is_a_problem(settings):
    with socket.create_server(("127.0.0.1", settings.port)) as other:
        other.settimeout(5)
        finding = found(settings, "API")
    assert finding.verdict == "problem"
    assert "AUDIOLLA_PORT" in finding.mend


def test_one_look_that_fails_does_not_hide_the_others(settings, monkeypatch):
    def broken(_):
        raise RuntimeError("the mount table is on fire")

    monkeypatch.setattr(doctor, "mount_of", broken)
    findings = list(doctor.examine(settings))
    assert any("on fire" in f.detail and f.verdict == "problem" for f in findings)
    assert any(f.subject == "API" for f in findings)


def test_the_command_ends_with_3_for_a_problem_and_speaks_json(tmp_path):
    (tmp_path / "data").write_text("not a folder")
    done = subprocess.run(
        [COMMAND, "doctor", "--json", "--data-dir", tmp_path / "data"],
        capture_output=True,
        text=True,
    )
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 3
    assert any(f["verdict"] == "problem" and f["mend"] for f in findings)

    shown = subprocess.run(
        [COMMAND, "doctor", "--data-dir", tmp_path / "data"], capture_output=True, text=True
    )
    assert shown.returncode == 3
    assert "to mend:" in shown.stdout
    assert "Traceback" not in shown.stdout + shown.stderr


def test_engines_without_their_weights_are_named_with_the_command(settings):
    assert found(settings, "ready").detail == "basic-pitch, silero-vad"
    lacking = found(settings, "without their weights")
    assert "pyannote" in lacking.detail
    assert lacking.mend == "audiolla models pull ENGINE"
    assert found(settings, "CUDA only").detail == "htdemucs_ft"
