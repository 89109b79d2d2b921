import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from daemon import arrivals
from daemon.readings import read_file
from daemon.settle import Patience, Reading, Ready, Settling, Truncated, Wait
from handlers.codecs.complete import Completeness
from tests.daemon.writers import KINDS, play

WHOLE = Completeness("whole", "wav", 100, 100)
SHORT = Completeness("short", "wav", 60, 100)
OPEN = Completeness("open", "wav", 60)
UNKNOWN = Completeness("unknown", "mp3", 60)


def still(container, leased, *, quiet=0.0, at_most=2000.0, age=None, **more):
    """Seconds until a file that never changes is decided, and the verdict."""
    settling, now = Settling(Patience(quiet=quiet)), 0.0
    while now < at_most:
        old = None if age is None else age + now
        verdict = settling.look(Reading(1, 60, 0, container, leased, age=old, **more), now)
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
        pytest.param(UNKNOWN, None, 60, Ready, id="no length, nobody can tell: quiet"),
        pytest.param(OPEN, True, 5, Ready, id="placeholder, nobody writes: a stream that ended"),
        pytest.param(OPEN, None, 120, Ready, id="placeholder, nobody can tell: quiet"),
        pytest.param(SHORT, True, 120, Truncated, id="short, nobody writes: cut off"),
        pytest.param(SHORT, None, 600, Truncated, id="short on a share: cut off, much later"),
    ],
)
def test_a_file_that_does_not_change_is_decided_after(container, leased, seconds, verdict):
    after, decided = still(container, leased)
    assert isinstance(decided, verdict)
    assert after == pytest.approx(seconds, abs=0.05)


@pytest.mark.parametrize(
    ("container", "leased", "more", "seconds"),
    [
        pytest.param(WHOLE, None, {"front": 60}, 2, id="something on its last page"),
        pytest.param(WHOLE, None, {"front": 40}, 120, id="zeros at its end"),
        pytest.param(WHOLE, None, {"front": 40, "hollow": True}, 600, id="no room for its end"),
        pytest.param(UNKNOWN, None, {"front": 40}, 120, id="no length, and zeros at its end"),
        pytest.param(WHOLE, True, {"hollow": True}, 5, id="a size that was only set, locally"),
        pytest.param(OPEN, True, {"age": 0}, 115, id="a placeholder, written a moment ago"),
        pytest.param(OPEN, True, {"age": 3600}, 5, id="a placeholder, written long ago"),
    ],
)
def test_what_may_be_room_for_more_is_waited_for(container, leased, more, seconds):
    after, decided = still(container, leased, **more)
    assert isinstance(decided, Ready)
    assert seconds - 0.1 < after < seconds + 7.1


def test_a_front_that_moves_is_a_change_even_if_size_and_time_stand_still():
    settling = Settling()
    for second in range(0, 200, 40):
        verdict = settling.look(Reading(1, 60, 0, WHOLE, None, front=second // 10), second)
    assert isinstance(verdict, Wait)
    assert isinstance(settling.look(Reading(1, 60, 0, WHOLE, None, front=60), 200), Wait)
    assert isinstance(settling.look(Reading(1, 60, 0, WHOLE, None, front=60), 202), Ready)


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

    assert isinstance(settling.look(Reading(2, 20, 1, UNKNOWN, None), 99), Wait)
    assert isinstance(settling.look(Reading(2, 20, 1, UNKNOWN, None), 100), Ready)


# -- writers, in virtual time on a real disk -------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_none_of_these_drops_is_taken_before_its_last_byte(kind, tmp_path):
    """A small part of the 12,000 drops that `python -m bench.settle` looks at."""
    (tmp_path / "inbox").mkdir()
    outcome = play(KINDS[kind], 15, tmp_path / "inbox", seed=8)

    assert outcome.early == []
    assert all(drop.taken - drop.end < 400 for drop in outcome.drops)
    assert outcome.delay < (3 if "DAW" not in kind else 7)


@pytest.mark.parametrize(
    ("kind", "impatience"),
    [
        ("NAS copy with stalls", {"unknown_remote": 2.0, "pauses": 1.0}),
        ("preallocated copy", {"zeros_remote": 2.0, "truncated_remote": 2.0}),
        ("DAW bounce", {"open_fresh": 5.0}),
    ],
)
def test_the_model_tells_a_rule_that_is_too_hasty(kind, impatience, tmp_path, monkeypatch):
    monkeypatch.setattr(arrivals, "Patience", partial(Patience, **impatience))
    (tmp_path / "inbox").mkdir()

    assert len(play(KINDS[kind], 40, tmp_path / "inbox", seed=8).early) > 1


def test_a_copy_that_made_room_first_is_seen_filling_it(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(bytes(40_000))
    with path.open("r+b") as file:
        assert read_file(str(path), local=False).front == 0
        file.write(b"x" * 10_000)
        file.flush()
        assert 8192 < read_file(str(path), local=False).front <= 12_288
        file.seek(0)
        file.write(b"x" * 39_000)
        file.flush()
        assert read_file(str(path), local=False).front == 40_000
    os.truncate(path, 10_000_000)
    assert read_file(str(path), local=False).hollow
    assert read_file(str(path), local=True).hollow


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
