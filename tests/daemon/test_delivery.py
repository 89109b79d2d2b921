import json
from pathlib import PurePosixPath

import pytest

from daemon import delivery
from daemon.delivery import Drafts, publish
from daemon.execution import Placement
from handlers.artifacts import Png
from handlers.errors import StorageFailed, TooLarge


class Queue:
    """A context that keeps intents, and refuses names promised elsewhere."""

    def __init__(self, promised=()):
        self.promised = set(promised)
        self.intents = []

    def intend(self, intent):
        taken = [p.final for p in intent.placements if p.final in self.promised and not p.replace]
        if not taken:
            self.intents.append(intent)
        return taken


def result(outputs):
    return {"outputs": [dict(o) for o in outputs]}


def deliver(folder, queue, *names, replace=False, job="j1"):
    with Drafts(job, folder, replace=replace) as drafts:
        for name in names:
            drafts.add_file(PurePosixPath(name), "picture", Png(name.encode()), step=0)
        return drafts.publish(queue, result)


def test_what_is_gone_with_its_reply_is_put_down_without_a_promise(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(delivery.os, "fsync", synced.append)
    monkeypatch.setattr(delivery, "fsync_folder", synced.append)
    queue = Queue()
    for content in (b"first attempt", b"second"):
        with Drafts("j1", tmp_path, replace=True, max_bytes=20, fleeting=True) as drafts:
            drafts.add_file(PurePosixPath("a.png"), "picture", Png(content), step=0)
            told = drafts.publish(queue, result)

    assert (queue.intents, synced) == ([], [])
    assert tree(tmp_path) == {"a.png": b"second"}
    assert told["outputs"][0]["size"] == 6
    assert told["outputs"][0]["path"] == str(tmp_path / "a.png")
    with (
        pytest.raises(TooLarge),
        Drafts("j1", tmp_path, replace=True, max_bytes=1, fleeting=True) as drafts,
    ):
        drafts.add_file(PurePosixPath("b.png"), "picture", Png(b"xx"), step=0)
        drafts.publish(queue, result)
    assert set(tree(tmp_path)) == {"a.png"}


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_files_get_their_names_after_the_intent_is_durable(tmp_path):
    class Watching(Queue):
        def intend(self, intent):
            assert sorted(p.name for p in tmp_path.iterdir()) == [
                ".audiolla-j1-0.part",
                ".audiolla-j1-1.part",
            ]
            return super().intend(intent)

    told = deliver(tmp_path, Watching(), "a.png", "b.png")

    assert tree(tmp_path) == {"a.png": b"a.png", "b.png": b"b.png"}
    assert [o["path"] for o in told["outputs"]] == [
        str(tmp_path / "a.png"),
        str(tmp_path / "b.png"),
    ]
    assert [o["size"] for o in told["outputs"]] == [5, 5]


def test_a_taken_name_gets_a_number_and_nothing_is_replaced(tmp_path):
    (tmp_path / "a.png").write_bytes(b"older")

    deliver(tmp_path, Queue(promised={tmp_path / "a (2).png"}), "a.png", "a.png")

    assert tree(tmp_path) == {"a.png": b"older", "a (3).png": b"a.png", "a (4).png": b"a.png"}


def test_replacing_is_done_when_asked(tmp_path):
    (tmp_path / "a.png").write_bytes(b"older")

    deliver(tmp_path, Queue(promised={tmp_path / "a.png"}), "a.png", replace=True)

    assert tree(tmp_path) == {"a.png": b"a.png"}


def test_a_name_taken_between_intent_and_rename_is_not_lost(tmp_path):
    class Racing(Queue):
        def intend(self, intent):
            (tmp_path / "a.png").write_bytes(b"stranger")
            return super().intend(intent)

    queue = Racing()
    told = deliver(tmp_path, queue, "a.png")

    assert tree(tmp_path) == {"a.png": b"stranger", "a (2).png": b"a.png"}
    assert told["outputs"][0]["path"].endswith("a (2).png")
    assert queue.intents[-1].result == told


@pytest.mark.parametrize("renamed", [0, 1, 2], ids=["before", "between", "after the renames"])
def test_an_attempt_that_died_while_publishing_is_finished_by_the_next(
    tmp_path, monkeypatch, renamed
):
    left = [renamed]

    class Died(BaseException):
        pass

    def dying(part, final, replace=False):
        if not left[0]:
            raise Died
        left[0] -= 1
        return place(part, final, replace=replace)

    place = delivery.place
    queue = Queue()
    if renamed < 2:
        monkeypatch.setattr(delivery, "place", dying)
        drafts = Drafts("j1", tmp_path, replace=False)  # no clean-up: a killed process has none
        for name in ("a.png", "b.png"):
            drafts.add_file(PurePosixPath(name), "picture", Png(name.encode()), step=0)
        with pytest.raises(Died):
            drafts.publish(queue, result)
        monkeypatch.undo()
    else:
        deliver(tmp_path, queue, "a.png", "b.png")

    assert publish(queue.intents[-1]) == []
    assert tree(tmp_path) == {"a.png": b"a.png", "b.png": b"b.png"}


def test_a_file_that_is_nowhere_is_reported(tmp_path):
    lost = Placement(part=tmp_path / "p", final=tmp_path / "f", inode=1, size=1)
    (tmp_path / "f").write_bytes(b"x")  # another file: other inode

    with pytest.raises(StorageFailed, match="disappeared"):
        delivery._published(lost)


def test_a_failure_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError), Drafts("j1", tmp_path, replace=False) as drafts:
        drafts.add_json(PurePosixPath("sub/a.json"), {"x": 1}, step=0)
        raise RuntimeError

    assert tree(tmp_path) == {}


def test_a_result_too_large_to_stage_is_refused_and_removed(tmp_path):
    with (
        pytest.raises(TooLarge, match="9 bytes; 8 may"),
        Drafts("j1", tmp_path, replace=True, max_bytes=8) as drafts,
    ):
        drafts.add_file(PurePosixPath("a.png"), "picture", Png(b"123456789"), step=0)
        drafts.publish(Queue(), result)

    assert tree(tmp_path) == {}


def test_a_report_is_strict_json(tmp_path):
    with Drafts("j1", tmp_path, replace=False) as drafts:
        drafts.add_json(PurePosixPath("a.json"), {"name": "ä", "lufs": None}, step=0)
        drafts.publish(Queue(), result)

    assert json.loads((tmp_path / "a.json").read_text()) == {"name": "ä", "lufs": None}
