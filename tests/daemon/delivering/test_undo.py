import hashlib
import json
import threading

import pytest

from daemon import cli
from daemon.delivering import undo as undoing
from daemon.delivering.journal import Journal, recorded_outputs
from daemon.delivering.undo import NothingToUndo
from daemon.schedules.fixity import from_journal
from tests.daemon.delivering.doing import Workshop

REPLACING = """
output: {conflict: replace}
rules: [{name: back, steps: [reverse]}]
"""


def everything(shop):
    """Every file of the folder and its bytes."""
    return {name: (shop.root / name).read_bytes() for name in shop.files()}


def test_an_undone_job_leaves_everything_as_it_was(shop, take):
    s = shop()
    job = s.deliver("a/take.wav", take)
    assert s.files() == ["done/a/take.wav", "manifests/a/take.wav.json", "out/a/take.wav"]

    done = s.manager.undo(job.id)

    assert everything(s) == {"a/take.wav": take}
    assert done.original == s.root / "a/take.wav"
    assert done.removed == [s.root / "out/a/take.wav"]


@pytest.mark.parametrize("restarted", [False, True])
def test_what_was_put_back_is_not_taken_again_until_it_changes(shop, take, restarted):
    s = shop()
    job = s.deliver("take.wav", take)
    s.manager.undo(job.id)
    if restarted:
        s.restart()
    s.pass_time(400, steps=20)  # a rescan that trusts nothing comes every 300 s
    assert s.files() == ["take.wav"]

    s.drop("take.wav", take)  # the same bytes, but a new file
    s.pass_time(5, steps=2)
    assert len(s.queue.jobs) == 2


def test_an_output_that_somebody_changed_is_renamed_and_not_removed(shop, take):
    s = shop()
    job = s.deliver("take.wav", take)
    (s.root / "out/take.wav").write_bytes(b"a better mix")
    done = s.manager.undo(job.id)

    assert s.files("out") == ["take (kept).wav"]
    assert done.removed == []
    assert (s.root / "out/take (kept).wav").read_bytes() == b"a better mix"


def test_a_replaced_file_comes_back(shop, take):
    s = shop(REPLACING)
    s.root.joinpath("out").mkdir(exist_ok=True)
    (s.root / "out/take.wav").write_bytes(b"an older mix")
    job = s.deliver("take.wav", take)
    assert (s.root / "out/take.wav").read_bytes() != b"an older mix"

    s.manager.undo(job.id)
    assert everything(s) == {"take.wav": take, "out/take.wav": b"an older mix"}


def test_of_two_jobs_that_replaced_one_another_each_can_be_undone_in_any_order(shop, take):
    s = shop(REPLACING)
    (s.root / "out").mkdir(exist_ok=True)
    (s.root / "out/take.wav").write_bytes(b"the oldest mix")
    first = s.deliver("take.wav", take)
    second = s.deliver("take.wav", take[:-4000] + bytes(4000))
    delivered = (s.root / "out/take.wav").read_bytes()

    s.manager.undo(first.id)
    assert (s.root / "out/take.wav").read_bytes() == delivered
    s.manager.undo(second.id)
    assert {n: b for n, b in everything(s).items() if n.startswith(("out", "repl"))} == {
        "out/take.wav": b"the oldest mix"
    }


def test_a_failed_job_is_undone_together_with_its_reason(shop):
    s = shop()
    s.drop("take.wav", b"no sound at all")
    s.pass_time(20, steps=10)  # nothing says how long it must be
    s.work()
    (job,) = s.queue.jobs.values()
    assert s.files() == ["failed/take.wav", "failed/take.wav.json"]

    s.manager.undo(job.id)
    assert everything(s) == {"take.wav": b"no sound at all"}


def test_nothing_is_undone_twice_nor_before_its_end(shop, take):
    s = shop()
    s.drop("take.wav", take)
    s.pass_time(2.5)
    (job,) = s.queue.jobs
    with pytest.raises(NothingToUndo, match="has not ended"):
        s.manager.undo(job)
    s.work()
    s.manager.undo(job)
    with pytest.raises(NothingToUndo, match="undone already"):
        s.manager.undo(job)
    with pytest.raises(NothingToUndo, match="knows of no job"):
        s.manager.undo("nobody")
    assert everything(s) == {"take.wav": take}


def test_an_undo_without_its_original_changes_nothing(shop, take):
    s = shop()
    job = s.deliver("take.wav", take)
    (s.root / "done/take.wav").rename(s.settings.data_dir / "elsewhere.wav")
    before = everything(s)
    with pytest.raises(NothingToUndo, match="is not there any more"):
        s.manager.undo(job.id)
    assert everything(s) == before


def test_the_journal_outlives_the_database(shop, take):
    s = shop()
    job = s.deliver("take.wav", take)
    s.queue.jobs.clear()
    s.restart()
    s.manager.turn()

    s.manager.undo(job.id)
    assert everything(s) == {"take.wav": take}


class PowerCut(BaseException):
    """Ends the manager where it stands."""


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_undo_that_a_power_cut_broke_off_is_finished_when_it_is_asked_for_again(
    tmp_path, take, monkeypatch, when
):
    number = 0
    while True:
        number += 1
        s = Workshop(tmp_path / f"{number}", REPLACING)
        (s.root / "out").mkdir()
        (s.root / "out/take.wav").write_bytes(b"an older mix")
        job = s.deliver("take.wav", take)
        calls = []

        def cut(real, calls=calls, number=number):
            def watched(*args, **more):
                calls.append(real)
                if len(calls) == number and when == "before":
                    raise PowerCut
                given = real(*args, **more)
                if len(calls) == number:
                    raise PowerCut
                return given

            return watched

        with monkeypatch.context() as patch:
            patch.setattr(Journal, "write", cut(Journal.write))
            for name in ("move", "move_numbered", "remove_empty", "_remove_note"):
                patch.setattr(undoing, name, cut(getattr(undoing, name)))
            try:
                s.manager.undo(job.id)
                break
            except PowerCut:
                pass
        s.manager._lock = threading.Lock()  # the dead manager's
        s.restart()
        s.manager.turn()
        try:
            s.manager.undo(job.id)
        except NothingToUndo as over:
            assert "undone already" in over.detail  # the cut came after the last word
        assert everything(s) == {"take.wav": take, "out/take.wav": b"an older mix"}, number
        s.manager.stop()
    assert number > 6
    s.manager.stop()


# -- the journal -----------------------------------------------------------------------------------
def test_a_line_that_a_crash_cut_short_spoils_neither_its_neighbours_nor_what_follows(shop, take):
    s = shop()
    first = s.deliver("1.wav", take)
    (month,) = s.settings.journal.iterdir()
    month.write_bytes(month.read_bytes()[:-20])  # within the end of the first job
    second = s.deliver("2.wav", take)

    told = Journal(s.settings.journal, s.clock).of_job(second.id)
    assert [entry["do"] for entry in told] == ["take", "put"]
    s.manager.undo(second.id)
    with pytest.raises(NothingToUndo, match="has not ended"):
        s.manager.undo(first.id)


def test_nothing_moves_while_the_journal_cannot_be_written(shop, take, monkeypatch):
    s = shop()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "write", full)
        s.drop("take.wav", take)
        s.pass_time(10, steps=5)
        assert s.queue.jobs == {}
        assert s.manager.status().folders[0].problem == "No space left on device"
    s.pass_time(10, steps=5)
    s.work()
    assert "done/take.wav" in s.files()


def test_the_outputs_that_are_still_to_be_there_are_told(shop, take):
    s = shop()
    jobs = [s.deliver(f"{name}.wav", take) for name in "ab"]
    s.manager.undo(jobs[0].id)

    (told,) = recorded_outputs(s.settings.journal)
    assert told["path"] == str(s.root / "out/b.wav")
    assert (told["job"], told["folder"]) == (jobs[1].id, "podcast")
    assert told["size"] == (s.root / "out/b.wav").stat().st_size

    # A check of fixity holds the file against the hash that was taken at its delivery.
    (held,) = from_journal(s.settings)
    algorithm, _, digest = held.hash.partition(":")
    content = (s.root / "out/b.wav").read_bytes()
    assert hashlib.new(algorithm, content).hexdigest() == digest


# -- history ---------------------------------------------------------------------------------------
def history(shop, capsys, *files):
    code = cli.main(
        ["history", "--json", "--data-dir", str(shop.settings.data_dir), *map(str, files)]
    )
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_history_tells_of_a_file_by_name_by_path_and_by_content(shop, take, tmp_path, capsys):
    s = shop()
    job = s.deliver("a/täke.wav", take)
    s.deliver("other.wav", take[:-4000] + bytes(4000))
    elsewhere = tmp_path / "renamed.bin"
    elsewhere.write_bytes((s.root / "out/a/täke.wav").read_bytes())

    for asked in ("täke.wav", s.root / "a/täke.wav", s.root / "out/a/täke.wav", elsewhere):
        code, (story,) = history(s, capsys, asked)
        assert (code, story["job"]) == (0, job.id)
        assert [event["do"] for event in story["events"]] == ["take", "put"]
    assert history(s, capsys, "nobody.wav")[0] == 1


def test_history_is_told_in_words(shop, take, capsys):
    s = shop()
    job = s.deliver("take.wav", take)
    s.manager.undo(job.id)
    cli.main(["history", "take.wav", "--data-dir", str(s.settings.data_dir)])
    said = capsys.readouterr().out

    for words in (
        f"came into podcast as take.wav ({len(take)} bytes)",
        "reverse by rule back",
        f"gave {s.root / 'out/take.wav'}",
        f"the original went to {s.root / 'done/take.wav'}",
        f"undone: the original is {s.root / 'take.wav'} again",
    ):
        assert words in said
