"""The walls themselves, each tried from inside by a process that put them up."""

import json
import subprocess
import sys

import pytest

from daemon.settings import BadSettings, Settings
from daemon.walls import calls, landlock, level

needs_landlock = pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock")

TRIES = """
import json, os, socket, subprocess, sys
from pathlib import Path
from daemon.walls import entry

told = json.loads(sys.argv[1])
made = {"mode": None, "owner": None, "make": True}
roots = [entry.Root(Path(p), made) for p in told["roots"]]
walls = entry.build(told["settings"], "cpu", roots, [])
found = {"walls": walls.told()}
for name, code in told["tries"].items():
    try:
        exec(code)
        found[name] = "done"
    except BaseException as wrong:
        found[name] = type(wrong).__name__
print(json.dumps(found))
"""


def inside(data, tries, roots=(), **settings):
    """What becomes of each try in a process behind its walls."""
    told = Settings(data_dir=data, **settings).model_dump_json()
    asked = {"settings": json.loads(told), "tries": tries, "roots": [str(r) for r in roots]}
    done = subprocess.run(
        [sys.executable, "-c", TRIES, json.dumps(asked)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@needs_landlock
def test_a_worker_reaches_its_own_folders_and_those_of_jobs_and_no_others(tmp_path):
    inbox, secret = tmp_path / "inbox", tmp_path / "secret.txt"
    staged = tmp_path / "data" / "files" / "y"
    inbox.mkdir()
    secret.write_text("secret")
    found = inside(
        tmp_path / "data",
        {
            "its staging area": f"Path({str(tmp_path / 'data/files/x')!r}).write_text('x')",
            "a job's folder": f"Path({str(inbox / 'x')!r}).write_text('x')",
            "a folder made for a job": f"Path({str(tmp_path / 'new/x')!r}).write_text('x')",
            "a rename inside": f"os.rename({str(inbox / 'x')!r}, {str(staged)!r})",
            "a secret": f"Path({str(secret)!r}).read_text()",
            "the database": f"Path({str(tmp_path / 'data/audiolla.db')!r}).write_text('')",
            "the password file of root": "Path('/etc/shadow').read_text()",
            "another process": "Path('/proc/1/environ').read_bytes()",
            "the program": f"Path({landlock.__file__!r}).read_text()",
            "the program, to write": f"Path({landlock.__file__!r}).open('a')",
            "a link out": f"os.symlink('/etc', {str(inbox / 'l')!r})",
            "a pipe": f"os.mkfifo({str(inbox / 'p')!r})",
        },
        roots=[inbox, tmp_path / "new"],
    )
    refused = {name for name, outcome in found.items() if outcome == "PermissionError"}

    assert refused == {
        "a secret",
        "the database",
        "the password file of root",
        "another process",
        "the program, to write",
        "a link out",
        "a pipe",
    }


@needs_landlock
@pytest.mark.skipif(not calls.refused(), reason="this machine's system calls are not known")
def test_a_worker_reaches_no_network_no_socket_and_starts_no_program(tmp_path):
    found = inside(
        tmp_path / "data",
        {
            "tcp": "socket.create_connection(('127.0.0.1', 9))",
            "udp": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
            "the dispatcher": "socket.socket(socket.AF_UNIX)",
            "a listener": "socket.create_server(('127.0.0.1', 0))",
            "a program": "subprocess.run(['/bin/true'])",
            "a shell": "os.execv('/bin/sh', ['sh'])",
            "a pair of its own": "socket.socketpair()",
            "a name": "socket.getaddrinfo('localhost.example', 80)",
        },
    )
    outcomes = {name: outcome for name, outcome in found.items() if name != "walls"}

    assert outcomes.pop("a pair of its own") == "done"
    assert outcomes.pop("a name") == "gaierror"
    assert set(outcomes.values()) == {"PermissionError"}, outcomes


def test_p11_a_worker_gets_no_more_memory_files_or_bytes_than_the_settings_say(tmp_path):
    scratch = tmp_path / "data" / "scratch"
    found = inside(
        tmp_path / "data",
        {
            "half a gigabyte": "bytearray(2**29)",
            "two gigabytes": "bytearray(2**31)",
            "a file of 3 MiB": f"Path({str(scratch / 'x')!r}).write_bytes(bytes(3 * 2**20))",
            "a file of 1 MiB": f"Path({str(scratch / 'y')!r}).write_bytes(bytes(2**20))",
            "2000 files": "held = [open('/dev/null') for _ in range(2000)]",
            "a core": "import resource; assert resource.getrlimit(resource.RLIMIT_CORE)[1] == 0",
            "first to go": "assert Path('/proc/self/oom_score_adj').read_text().strip() == '500'",
        },
        worker_memory=2**30,
        max_output_bytes=2**20,
    )
    del found["walls"]

    assert found == {
        "half a gigabyte": "done",
        "two gigabytes": "MemoryError",
        "a file of 3 MiB": "OSError",
        "a file of 1 MiB": "done",
        "2000 files": "OSError",
        "a core": "done",
        "first to go": "done",
    }


def test_the_walls_stand_before_anything_heavy_is_imported():
    """The first lines of a worker import the standard library and nothing else."""
    code = "import sys, daemon.walls.entry; print(*sorted(sys.modules), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    tops = {name.split(".")[0] for name in done.stdout.split()}

    assert not tops & {
        "numpy",
        "numba",
        "scipy",
        "av",
        "soundfile",
        "torch",
        "pydantic",
        "handlers",
    }


def test_where_a_sandbox_is_required_and_there_is_none_the_daemon_does_not_start(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    with pytest.raises(BadSettings, match="AUDIOLLA_REQUIRE_SANDBOX: this kernel has no Landlock"):
        level.check(Settings(data_dir=tmp_path, require_sandbox=True))
    with pytest.raises(BadSettings, match="AUDIOLLA_SANDBOX"):
        level.check(Settings(data_dir=tmp_path, sandbox="require"))
    level.check(Settings(data_dir=tmp_path))


def test_requiring_a_sandbox_and_switching_it_off_is_a_contradiction(tmp_path):
    with pytest.raises(BadSettings, match="choose one"):
        level.check(Settings(data_dir=tmp_path, require_sandbox=True, sandbox="off"))
