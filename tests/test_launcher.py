"""The launcher: what it does is seen by a Python that only writes down what it is asked to do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: What a system without any Python still has.
TOOLS = [
    *("cat", "chmod", "cksum", "cp", "date", "dirname", "env", "find", "flock", "mkdir", "mv"),
    *("readlink", "rm", "sed", "sh", "sleep", "tail"),
]

#: Stands in for Python: makes "virtual environments" that hold itself, installs nothing.
PYTHON = """#!/bin/sh
printf '%s\\n' "$*" >>"$CALLS"
case "$1 $2" in
    "-c import ensurepip, venv") [ ! -e "$BREAK/ensurepip" ] ;;
    "-c "*version_info\\[:2\\]\\)) echo 3.11 ;;
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && : >"$3/pyvenv.cfg" ;;
    "-m pip")
        if [ -e "$BREAK/pip" ]; then echo "no such version"; exit 1; fi
        if [ -e "$BREAK/slow" ]; then sleep 0.3; fi
        case "$*" in
            *--editable*)
                printf '#!/bin/sh\\necho "audiolla $*"\\nexit 1\\n' >"$(dirname "$0")/audiolla"
                chmod +x "$(dirname "$0")/audiolla"
                ;;
        esac
        ;;
    "-m pytest") exit "$(cat "$BREAK/pytest" 2>/dev/null || echo 0)" ;;
esac
"""


class Clone:
    """A clone with the real launcher and lock files, and a PATH of our own making."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a clone"
        self.calls_file = folder / "calls"
        self.break_dir = folder / "break"
        self.bin = folder / "bin"
        for place in (self.root / "requirements", self.break_dir, self.bin):
            place.mkdir(parents=True)
        locks = [f"requirements/{name}.txt" for name in ("base", "engines", "dev")]
        for name in ("audiolla", "pyproject.toml", *locks):
            shutil.copy(ROOT / name, self.root / name)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.program("python3.11", PYTHON)
        self.program("id", "#!/bin/sh\necho 1000\n")
        self.program("ffmpeg", "#!/bin/sh\n")
        self.program("sox", "#!/bin/sh\n")
        self.program("fluidsynth", "#!/bin/sh\n")
        self.program("curl", "#!/bin/sh\n")
        self.program("fpcalc", "#!/bin/sh\n")
        self.env = {
            "PATH": str(self.bin),
            "CALLS": str(self.calls_file),
            "BREAK": str(self.break_dir),
        }

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def start(self, *arguments, at="audiolla", **more) -> subprocess.Popen:
        return subprocess.Popen(
            [self.root / at, *arguments],
            env=self.env | more,
            cwd=self.root.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments, **more):
        process = self.start(*arguments, **more)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    def calls(self, beginning="-m") -> list[str]:
        """What Python was asked since the last time, probes left out."""
        if not self.calls_file.exists():
            return []
        lines = self.calls_file.read_text().splitlines()
        self.calls_file.unlink()
        return [c for c in lines if c.startswith(beginning) and c != "-m pip --version"]


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path)


def test_the_first_start_installs_pinned_and_hashed_and_hands_over(clone):
    code, out, _ = clone.run("op", "trim", "a b.wav")

    assert (code, out) == (1, "audiolla op trim a b.wav\n")  # the command's own exit code
    venv, packages, project, kernels = clone.calls()
    assert venv == f"-m venv {clone.root}/.venv"
    assert "--require-hashes" in packages
    assert "--no-deps" in packages
    assert packages.endswith("-r requirements/base.txt")
    assert "--no-build-isolation" in project
    assert "--no-index" in project
    assert kernels == "-m handlers.kernels"


def processor_time():
    """Seconds that programs which have ended computed."""
    used = os.times()
    return used.children_user + used.children_system


def test_the_second_start_asks_python_nothing_and_is_quick(clone):
    clone.run("setup")
    clone.calls()

    began = processor_time()
    clone.run("op")
    assert processor_time() - began < 1
    assert clone.calls("") == []


@pytest.mark.parametrize(
    "changed", ["requirements/base.txt", "pyproject.toml", "audiolla", ".venv/bin/audiolla"]
)
def test_a_change_to_what_set_up_rests_on_sets_up_again(clone, changed):
    clone.run("setup")
    clone.calls()
    if changed.startswith(".venv"):
        (clone.root / changed).unlink()
    else:
        text = (clone.root / changed).read_text()
        first, _, rest = text.partition("\n")
        (clone.root / changed).write_text(f"{first}\n# another line\n{rest}")

    assert clone.run("setup")[0] == 0
    assert any("--require-hashes" in call for call in clone.calls())
    clone.run("setup")
    assert clone.calls() == []


def test_a_clone_that_was_moved_is_set_up_again(clone):
    clone.run("setup")
    clone.calls()
    clone.root = clone.root.rename(clone.root.with_name("moved"))

    assert clone.run("setup")[0] == 0
    assert any("--editable" in call for call in clone.calls())


@pytest.mark.parametrize("link", ["absolute", "relative", "a link to a link"])
def test_it_finds_its_place_through_a_link(clone, link):
    target = clone.root / "audiolla"
    name = clone.bin / "linked"
    if link == "relative":
        target = Path(os.path.relpath(target, clone.bin))
    if link == "a link to a link":
        (clone.bin / "first").symlink_to(target)
        target = Path("first")
    name.symlink_to(target)

    assert clone.run("x", at=name)[1] == "audiolla x\n"
    assert (clone.root / ".venv" / "bin" / "audiolla").exists()


def test_the_environment_may_lie_elsewhere(clone, tmp_path):
    assert clone.run("x", AUDIOLLA_VENV=str(tmp_path / "else where"))[1] == "audiolla x\n"
    assert (tmp_path / "else where" / "pyvenv.cfg").exists()
    assert not (clone.root / ".venv").exists()


def test_a_folder_that_is_no_environment_is_left_alone(clone, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    code, _, err = clone.run("x", AUDIOLLA_VENV=str(tmp_path / "photos"))

    assert code == 3
    assert "not a virtual environment" in err
    assert sorted(p.name for p in (tmp_path / "photos").iterdir()) == ["cat.jpg"]


def test_tests_and_checks_bring_the_development_packages(clone):
    assert clone.run("setup")[0] == 0
    clone.calls()
    assert clone.run("test", "-k", "one thing")[0] == 0

    calls = clone.calls()
    locks = [f"-r requirements/{name}.txt" for name in ("base", "engines", "dev")]
    assert calls[0].endswith(" ".join(locks))
    assert calls[1].startswith("-m pip install torch==")
    assert calls[-1] == "-m pytest -k one thing"
    clone.run("setup")
    assert clone.calls() == []  # the larger set counts for the smaller one
    clone.run("check", "lint")
    assert clone.calls() == ["-m daemon.commands.check lint"]


def test_the_engines_are_a_set_of_their_own_between_the_two(clone):
    assert clone.run("setup")[0] == 0
    assert not any("torch" in call for call in clone.calls())
    assert clone.run("setup", "--engines")[0] == 0
    calls = clone.calls()
    assert calls[0].endswith("-r requirements/base.txt -r requirements/engines.txt")
    assert calls[1].startswith("-m pip install torch==")
    clone.run("setup", "--engines")
    clone.run("setup")
    assert clone.calls() == []


@pytest.mark.parametrize(
    ("pytest_says", "code"),
    [
        pytest.param(0, 0, id="all passed"),
        pytest.param(1, 1, id="a test failed"),
        pytest.param(2, 1, id="a file cannot be collected"),
        pytest.param(4, 2, id="wrong arguments"),
        pytest.param(5, 1, id="no test was run"),
    ],
)
def test_exit_codes_of_a_test_run(clone, pytest_says, code):
    (clone.break_dir / "pytest").write_text(str(pytest_says))
    assert clone.run("test")[0] == code


def test_a_failed_installation_says_why_and_the_next_start_goes_on(clone):
    (clone.break_dir / "pip").touch()
    code, out, err = clone.run("x")
    assert (code, out) == (3, "")
    assert "no such version" in err
    assert "audiolla-setup.log" in err

    (clone.break_dir / "pip").unlink()
    assert clone.run("x")[1] == "audiolla x\n"


def test_an_interrupted_set_up_is_taken_up_again(clone):
    (clone.break_dir / "slow").touch()
    process = clone.start("setup")
    assert process.stderr.readline()  # it has begun
    assert "Python packages" in process.stderr.readline()
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode != 0

    assert clone.run("x")[1] == "audiolla x\n"


def test_two_starts_at_once_set_up_once(clone):
    (clone.break_dir / "slow").touch()
    both = [clone.start("setup") for _ in range(2)]
    said = [p.communicate(timeout=30)[1] for p in both]

    assert [p.returncode for p in both] == [0, 0]
    assert sum("--require-hashes" in call for call in clone.calls()) == 1
    assert sum("waiting for another set-up" in err for err in said) == 1


def test_without_rights_one_line_says_which_debian_packages_are_missing(clone):
    clone.program("apt-get", "#!/bin/sh\nexit 100\n")
    (clone.break_dir / "ensurepip").touch()
    code, _, err = clone.run("x")

    assert code == 3
    assert [line for line in err.splitlines() if "apt-get" in line] == [
        "audiolla: please run: sudo apt-get install python3.11-venv"
    ]


def test_debian_packages_are_installed_where_sudo_allows(clone, tmp_path):
    clone.program("apt-get", f'#!/bin/sh\necho "$*" >>"{tmp_path}/apt"\n')
    clone.program("sudo", '#!/bin/sh\nshift\nexec "$@"\n')
    (clone.bin / "true").symlink_to(shutil.which("true"))
    (clone.bin / "sox").unlink()
    clone.run("test")

    update, install = (tmp_path / "apt").read_text().splitlines()
    assert update.endswith("update")
    assert install.endswith("install --yes --no-install-recommends sox")


def test_a_missing_test_tool_stops_the_tests_and_nothing_else(clone):
    (clone.bin / "sox").unlink()
    assert clone.run("x")[1] == "audiolla x\n"
    code, _, err = clone.run("test")
    assert code == 3
    assert "please install what your system calls: sox" in err


def test_no_python_that_suits_is_said_in_words(clone):
    code, _, err = clone.run("x", AUDIOLLA_PYTHON="/nowhere/python")
    assert code == 3
    assert "AUDIOLLA_PYTHON = /nowhere/python" in err


def test_setup_refuses_what_it_does_not_know(clone):
    code, _, err = clone.run("setup", "--fast")
    assert code == 2
    assert "usage" in err
