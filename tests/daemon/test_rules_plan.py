"""`audiolla rules explain` and `plan`: all that would happen, and nothing that does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.cli import main
from tests.sounds import noise, silence, write_wav

RULES = """
rules:
  - {name: Loud, match: {ext: wav}, when: {lufs: "> -5", silence: "< 10%"}}
  - {name: Long, match: {duration: "> 1m"}}
  - name: Takes
    match: {glob: "take*", channels: 2}
    when: {lufs: "-60..-5"}
    deliver:
      master:
      preview: {steps: [{trim: {end_sec: 1}}], output: {format: mp3, folder: previews}}
"""

#: Put into every interpreter that is started: notes whatever would change a file.
SPY = """
import os, sys
_log = os.open(os.environ["SPY_LOG"], os.O_WRONLY | os.O_APPEND)
_changes = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink",
            "os.truncate", "os.chmod", "os.chown", "os.utime", "tempfile.mkstemp",
            "tempfile.mkdtemp", "sqlite3.connect", "shutil.move", "shutil.copyfile")
def _spy(event, args):
    if event == "open" and args[0] != "/dev/null":
        writes = args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        writes = writes or (isinstance(args[1], str) and set(args[1]) & set("wax+"))
        if isinstance(args[0], int) or not writes:
            return
    elif event not in _changes:
        return
    os.write(_log, f"{event} {args}\\n".encode("utf-8", "replace"))
os.write(_log, b"watching\\n")
sys.addaudithook(_spy)
"""


@pytest.fixture
def hot(tmp_path, monkeypatch):
    """A hot folder with four files that wait, one of which is no sound."""
    monkeypatch.setenv("AUDIOLLA_DATA_DIR", str(tmp_path / "data"))
    folder = tmp_path / "data/folders/hot"
    (folder / "sub").mkdir(parents=True)
    (folder / "rules.yaml").write_text(RULES)
    write_wav(noise(seconds=2, channels=2, peak_db=-12), folder / "take 1.wav")
    write_wav(silence(seconds=2), folder / "nothing.wav")
    write_wav(noise(seconds=2, channels=1, peak_db=-12), folder / "sub/take 2.wav")
    (folder / "broken.wav").write_bytes(b"RIFF")
    (folder / ".hidden.wav").write_bytes(b"")
    return folder


def watched(spy):
    """An environment in which every interpreter notes in `spy/log` what it changes."""
    spy.mkdir()
    (spy / "sitecustomize.py").write_text(SPY)
    (spy / "log").touch()
    path = f"{spy}:{Path.cwd()}"
    more = {"SPY_LOG": str(spy / "log"), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, **more}


def everything_below(folder):
    """Every name with all that a write would change; a change and its undoing show, too."""
    found = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        told = path.lstat()
        found[path] = (told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns, told.st_mode)
    return found


def test_a_plan_tells_all_files_apart_and_writes_nothing(hot, tmp_path):
    data = tmp_path / "data"
    before = everything_below(data)
    command = ["rules", "plan", "--json", "--data-dir", str(data)]
    done = subprocess.run(
        [sys.executable, "-m", "daemon.cli", *command],
        env=watched(tmp_path / "spy"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert everything_below(data) == before
    # numba asks at each start whether its own cache could be written; no name appears there.
    noted = [
        line
        for line in (tmp_path / "spy/log").read_text().splitlines()
        if "/kernels/__pycache__'" not in line
    ]
    # The command, and the child that decodes: both were watched, and neither wrote.
    assert noted == ["watching", "watching"]

    told = {one["file"].rpartition("/hot/")[2]: one for one in map(json.loads, lines(done.stdout))}
    assert {name: one["rule"] for name, one in told.items()} == {
        "nothing.wav": None,
        "sub/take 2.wav": None,
        "take 1.wav": "Takes",
    }
    outputs = [Path(one["output"]).relative_to(hot) for one in told["take 1.wav"]["deliveries"]]
    assert outputs == [Path("out/take 1.wav"), Path("previews/take 1.mp3")]
    reasons = [verdict["reason"] for verdict in told["nothing.wav"]["rules"]]
    assert reasons == [
        "lufs is that of silence, LUFS, not > -5 LUFS; silence is 1, not < 0.1",
        "duration is 2 s, not > 60",
        "name does not fit take*",
    ]
    assert told["sub/take 2.wav"]["rules"][2]["reason"] == "channels is 1, not 2"
    assert "broken.wav" in done.stderr
    assert done.returncode == 1


def test_the_spy_sees_a_write(tmp_path):
    """So that the test above can fail."""
    seen = tmp_path / "seen"
    spy = tmp_path / "spy"
    code = f"open({str(seen)!r}, 'w'); import os; os.rename({str(seen)!r}, {str(seen)!r} + '2')"
    subprocess.run([sys.executable, "-c", code], env=watched(spy), check=True)

    noted = (spy / "log").read_text().splitlines()[-2:]
    assert [line.split()[0] for line in noted] == ["open", "os.rename"]


def test_a_plan_by_name_alone_opens_nothing(hot, capsys):
    assert main(["rules", "plan", str(hot), "--no-open"]) == 0

    shown = capsys.readouterr().out
    assert "take 1.wav\n  rule Loud: measuring decides: lufs, silence" in shown
    assert shown.endswith("hot: 4 files (a rule that only its sound can tell: 4)\n")


def test_explain_says_what_was_found(hot, capsys):
    assert main(["rules", "explain", str(hot / "take 1.wav")]) == 0

    shown = capsys.readouterr().out.splitlines()
    assert shown[1].startswith("  rule Loud: does not: lufs is -1")
    assert shown[2] == "  rule Long: does not: duration is 2 s, not > 60"
    assert shown[3] == "  rule Takes: takes it"
    assert shown[4] == f"  delivery master: {hot}/out/take 1.wav"


def lines(text):
    return [line for line in text.splitlines() if line]
