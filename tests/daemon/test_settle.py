import os
import random
import signal
import subprocess
import sys

import pytest

from daemon.readings import read_file
from daemon.settle import Patience, Reading, Ready, Settling, Truncated, Wait
from handlers.codecs.complete import Completeness

WHOLE = Completeness("whole", "wav", 100, 100)
SHORT = Completeness("short", "wav", 60, 100)
OPEN = Completeness("open", "wav", 60)
UNKNOWN = Completeness("unknown", "mp3", 60)


def still(container, leased, *, quiet=0.0, at_most=2000.0):
    """Seconds until a file that never changes is decided, and the verdict."""
    settling, now = Settling(Patience(quiet=quiet)), 0.0
    while now < at_most:
        verdict = settling.look(Reading(1, 60, 0, container, leased), now)
        if not isinstance(verdict, Wait):
            return now, verdict
        assert verdict.until > now
        now = verdict.until
    return now, verdict


@pytest.mark.parametrize(
    ("container", "leased", "seconds", "verdict"),
    [
        pytest.param(WHOLE, True, 0, Ready, id="whole, nobody writes: at once"),
        pytest.param(WHOLE, None, 2, Ready, id="whole, nobody can tell: two equal readings"),
        pytest.param(UNKNOWN, True, 1, Ready, id="no length, nobody writes: a moment"),
        pytest.param(UNKNOWN, None, 15, Ready, id="no length, nobody can tell: quiet"),
        pytest.param(OPEN, True, 5, Ready, id="placeholder, nobody writes: a stream that ended"),
        pytest.param(OPEN, None, 15, Ready, id="placeholder, nobody can tell: quiet"),
        pytest.param(SHORT, True, 60, Truncated, id="short, nobody writes: cut off"),
        pytest.param(SHORT, None, 600, Truncated, id="short on a share: cut off, much later"),
    ],
)
def test_a_file_that_does_not_change_is_decided_after(container, leased, seconds, verdict):
    after, decided = still(container, leased)
    assert isinstance(decided, verdict)
    assert after == pytest.approx(seconds, abs=0.05)


@pytest.mark.parametrize("container", [None, WHOLE, UNKNOWN])
def test_as_long_as_somebody_writes_nothing_else_counts(container):
    assert isinstance(still(container, False, at_most=7200)[1], Wait)


def test_a_folder_may_ask_for_more_quiet():
    assert still(WHOLE, True, quiet=30)[0] == pytest.approx(30, abs=0.05)


def test_a_cut_off_file_is_told_with_its_numbers():
    _, verdict = still(SHORT, True)
    assert "60 of the 100 bytes" in verdict.why


def test_quiet_grows_with_the_pauses_that_were_seen():
    settling = Settling()
    for second in range(0, 60, 20):  # a writer that pauses 20 s
        settling.look(Reading(1, second, second, UNKNOWN, True), second)

    assert isinstance(settling.look(Reading(1, 40, 40, UNKNOWN, True), 40 + 59), Wait)
    assert isinstance(settling.look(Reading(1, 40, 40, UNKNOWN, True), 40 + 60), Ready)


def test_another_file_under_the_name_begins_anew():
    settling = Settling()
    settling.look(Reading(1, 10, 0, UNKNOWN, None), 0)
    settling.look(Reading(1, 20, 1, UNKNOWN, None), 30)
    settling.look(Reading(2, 20, 1, UNKNOWN, None), 40)

    assert isinstance(settling.look(Reading(2, 20, 1, UNKNOWN, None), 54), Wait)
    assert isinstance(settling.look(Reading(2, 20, 1, UNKNOWN, None), 55), Ready)


# -- writers, in virtual time ----------------------------------------------------------------------
# Each is a list of (time, bytes there) whose last entry is the end; whether it holds the file open.
def _local_copy(chance):
    times = _steps(chance, 20, 0.001, 0.2)
    return [(t, i + 1) for i, t in enumerate(times)], lambda _t: True


def _share_copy_with_stalls(chance):
    times = _steps(chance, 30, 0.05, 1.0, stall=(0.15, 3, 45))
    return [(t, i + 1) for i, t in enumerate(times)], None


def _bounce_with_pauses_of_a_minute(chance):
    times = _steps(chance, 20, 0.5, 5, stall=(0.3, 30, 90))
    return [(t, i + 1) for i, t in enumerate(times)], lambda _t: True


def _device_that_reopens(chance):
    times = _steps(chance, 10, 0.05, 0.6)
    return [(t, i + 1) for i, t in enumerate(times)], lambda _t: False


def _steps(chance, count, low, high, stall=(0.0, 0, 0)):
    now, times = 0.0, []
    for _ in range(count):
        now += chance.uniform(low, high)
        if chance.random() < stall[0]:
            now += chance.uniform(stall[1], stall[2])
        times.append(now)
    return times


@pytest.mark.parametrize(
    "writer",
    [
        _local_copy,
        _share_copy_with_stalls,
        _bounce_with_pauses_of_a_minute,
        _device_that_reopens,
    ],
)
def test_of_200_drops_none_is_taken_before_its_last_byte_if_it_states_its_length(writer):
    for seed in range(200):
        writes, holds = writer(random.Random(seed))
        end, size = writes[-1]
        settling, now = Settling(), writes[0][0]
        for _ in range(100_000):
            there = max(n for t, n in writes if t <= now)
            leased = None if holds is None else not (holds(now) and now < end)
            container = None
            if leased is not False:
                whole = there >= size
                container = Completeness("whole" if whole else "short", "wav", there, size)
            verdict = settling.look(Reading(1, there, there, container, leased), now)
            if not isinstance(verdict, Wait):
                break
            now = verdict.until
        assert isinstance(verdict, Ready), (seed, verdict)
        assert end <= now <= end + 2 + 2.1, seed


# -- the real lease --------------------------------------------------------------------------------
def test_a_writer_in_another_process_is_seen(tmp_path):
    path = tmp_path / "x.wav"
    path.touch()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"f = open({str(path)!r}, 'ab'); print('open', flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout.readline() == "open\n"
        assert read_file(str(path), local=True).leased is False
        holder.communicate("\n")
    assert read_file(str(path), local=True).leased is True


def test_a_reader_is_no_writer(tmp_path):
    path = tmp_path / "x.wav"
    path.touch()
    with path.open("rb"):
        assert read_file(str(path), local=True).leased is True


def test_on_a_network_mount_no_lease_is_asked_for(tmp_path):
    path = tmp_path / "x.wav"
    with path.open("wb"):
        assert read_file(str(path), local=False).leased is None


def test_a_writer_who_meets_the_lease_neither_waits_nor_ends_this_process(tmp_path):
    path = tmp_path / "x.wav"
    path.touch()
    assert signal.getsignal(signal.SIGIO) is signal.SIG_DFL  # which would be deadly
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import os\nfor _ in range(20000): os.close(os.open({str(path)!r}, os.O_WRONLY))",
        ]
    )
    looks = 0
    while writer.poll() is None:
        read_file(str(path), local=True)
        looks += 1
    assert writer.returncode == 0
    assert looks > 100


def test_a_pipe_does_not_hang_and_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert read_file(str(tmp_path / "pipe.wav"), local=True) is None


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "link.wav").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic"):
        read_file(str(tmp_path / "link.wav"), local=True)
