import os

import pytest

from daemon.recall import Recalled, content_of
from handlers.errors import NoSuchFile

KEY = "ab" + "0" * 62
KIB = 1024


def test_what_was_kept_is_found_by_whoever_looks(tmp_path):
    Recalled(tmp_path / "recall", 256 * KIB).put(KEY, {"bpm": 120.5, "beats": [0.5, None]})
    assert Recalled(tmp_path / "recall", 256 * KIB).get(KEY) == {"bpm": 120.5, "beats": [0.5, None]}


def test_nothing_is_found_before_it_was_kept(tmp_path):
    assert Recalled(tmp_path / "recall", KIB).get(KEY) is None


def test_what_was_not_asked_for_the_longest_makes_room(tmp_path):
    kept = Recalled(tmp_path, 256 * KIB)
    keys = [f"ab{number:062}" for number in range(3)]
    for age, key in enumerate(keys[:2]):
        kept.put(key, {"x": "a" * 400})
        os.utime(tmp_path / "ab" / key[2:], (age, age))
    assert kept.get(keys[0])
    kept.put(keys[2], {"x": "a" * 400})
    assert [kept.get(key) is not None for key in keys] == [True, False, True]


def test_what_would_fill_the_room_alone_is_not_kept(tmp_path):
    kept = Recalled(tmp_path, 256 * KIB)
    kept.put(KEY, {"x": "a" * KIB})
    assert kept.get(KEY) is None
    assert not (tmp_path / "ab").exists()


@pytest.mark.parametrize("left", [b"", b'{"bpm": 1'], ids=["nothing", "half"])
def test_a_file_that_a_power_cut_left_is_found_anew(tmp_path, left):
    kept = Recalled(tmp_path, 256 * KIB)
    kept.put(KEY, {"bpm": 120})
    (tmp_path / "ab" / KEY[2:]).write_bytes(left)
    assert kept.get(KEY) is None
    kept.put(KEY, {"bpm": 120})
    assert kept.get(KEY) == {"bpm": 120}


def test_the_same_content_has_one_name_wherever_it_lies(tmp_path):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"sound")
    (tmp_path / "c.wav").write_bytes(b"other")
    a, b, c = (content_of(tmp_path / f"{name}.wav") for name in "abc")
    assert a == b != c


def test_a_file_that_was_written_again_is_another_content(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"sound")
    before = content_of(path)
    path.write_bytes(b"saund")
    os.utime(path, ns=(1, 1))
    assert content_of(path) != before


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(NoSuchFile, match="x.wav is not there any more"):
        content_of(tmp_path / "x.wav")
