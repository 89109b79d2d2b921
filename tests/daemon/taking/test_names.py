import os
import socket

import pytest

from tests.daemon.inboxes import Studio, wav


@pytest.fixture
def studio(tmp_path):
    made = Studio(tmp_path, "rules: [{name: all}]", listen=True)
    yield made
    made.manager.stop()


@pytest.mark.parametrize(
    "name",
    [b"\xff\xfe.wav", b"a\nb\tc.wav", b"-rf.wav", b"x" * 251 + b".wav", b" .wav", b"%s{stem}.wav"],
    ids=["no UTF-8", "control characters", "a flag", "255 bytes", "a blank", "a template"],
)
@pytest.mark.parametrize("state", ["completed", "failed"])
def test_a_name_survives_whatever_bytes_it_has(name, state, studio):
    rel = os.fsdecode(name)
    studio.drop(f"{rel[:20]}/{rel}")
    studio.pass_time(3, steps=3)
    studio.finish(state, **({"error_kind": "X", "error": "no"} if state == "failed" else {}))

    stage = "done" if state == "completed" else "failed"
    assert f"{rel[:20]}/{rel}" in studio.files(stage)


def test_a_file_with_a_second_name_outside_is_taken_by_its_own_and_the_other_stays(
    studio, tmp_path
):
    other = tmp_path / "archive.wav"
    other.write_bytes(wav())
    os.link(other, studio.root / "take.wav")
    studio.pass_time(3, steps=3)
    studio.finish()

    assert studio.files() == ["done/take.wav"]
    assert other.read_bytes() == wav()


def test_what_is_no_plain_file_is_never_opened_or_moved(studio, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.wav").write_bytes(wav())
    (studio.root / "link.wav").symlink_to(tmp_path / "outside/secret.wav")
    (studio.root / "up").symlink_to("..")
    (studio.root / "folder").symlink_to(tmp_path / "outside")
    os.mkfifo(studio.root / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as door:
        # Its path may be too long for an address: bind it by its folder.
        here = os.open(studio.root, os.O_RDONLY)
        door.bind(f"/proc/self/fd/{here}/s.wav")
        os.close(here)
        studio.pass_time(200, steps=20)

    assert studio.names == []
    assert (tmp_path / "outside/secret.wav").exists()
    assert {"folder", "link.wav", "pipe.wav", "s.wav", "up"} <= set(os.listdir(studio.root))
