import json
import os
import threading

import pytest

from daemon import arrivals, hotfolder
from daemon.client import News, QueueUnavailable
from daemon.delivering import journal, putting
from daemon.jobs import ENDED
from rules.orders import Order
from tests.daemon.inboxes import Studio, wav
from tests.scores import music


@pytest.fixture
def studio(tmp_path):
    with_events = []

    def make(rules="rules: [{name: all}]", **more):
        made = Studio(tmp_path, rules, **more)
        with_events.append(made)
        return made

    yield make
    for made in with_events:
        made.manager.stop()


def only_job(studio):
    (job,) = studio.queue.jobs.values()
    return job


# -- the way of a file -----------------------------------------------------------------------------
def test_a_file_goes_through_processing_to_done(studio):
    s = studio()
    s.drop("take 1.wav")
    s.manager.turn()

    assert s.files() == ["processing/job-00001/take 1.wav"]
    assert only_job(s).source == "folder"
    assert only_job(s).endpoint == "podcast/all"

    s.finish()

    assert s.files() == ["done/take 1.wav"]
    assert os.listdir(s.root / "processing") == []


def test_a_failed_file_tells_which_step_failed_and_why(studio):
    s = studio()
    s.drop("take.wav")
    s.manager.turn()
    s.finish("failed", error_kind="BadParameter", error="too loud", error_step=1, error_op="eq")

    assert s.files() == ["failed/take.wav", "failed/take.wav.json"]
    reason = json.loads((s.root / "failed/take.wav.json").read_text())
    told = {"kind", "error", "step", "op", "rule", "job", "attempts", "failed_at", "retry"}
    assert told <= set(reason)
    assert (reason["error"], reason["step"], reason["op"]) == ("too loud", 2, "eq")
    assert reason["failed_at"] == "2033-05-18T03:33:20+00:00"


def test_a_cancelled_file_goes_to_failed(studio):
    s = studio()
    s.drop("take.wav")
    s.manager.turn()
    s.finish("cancelled")

    assert json.loads((s.root / "failed/take.wav.json").read_text())["kind"] == "Cancelled"


def test_moving_a_failed_file_back_is_a_retry_and_success_clears_its_reason(studio):
    s = studio()
    s.drop("a/take.wav")
    s.manager.turn()
    s.finish("failed", error_kind="X", error="no")
    os.rename(s.root / "failed/a/take.wav", s.root / "a/take.wav")
    s.pass_time(2.5)

    assert len(s.queue.jobs) == 2
    s.finish()
    assert s.files() == ["done/a/take.wav"]


def test_a_reason_moved_back_together_with_its_file_is_no_input(studio):
    s = studio()
    s.drop("take.wav")
    s.manager.turn()
    s.finish("failed", error_kind="X", error="no")
    os.rename(s.root / "failed/take.wav.json", s.root / "take.wav.json")
    os.rename(s.root / "failed/take.wav", s.root / "take.wav")
    s.pass_time(5, steps=5)
    s.finish()

    assert s.names == ["take.wav", "take.wav"]
    assert s.files() == ["done/take.wav"]


def test_a_reason_never_takes_the_place_of_a_file_that_somebody_wrote(studio):
    s = studio("rules: [{match: {ext: wav}}]")
    s.drop("take.wav.json", b'{"my": "notes"}')
    s.pass_time(3, steps=3)  # no rule takes it
    s.drop("take.wav")
    s.pass_time(2.5)
    s.finish("failed", error_kind="X", error="no")

    assert json.loads((s.root / "failed/take.wav.json").read_text()) == {"my": "notes"}
    assert "take (2).wav" in s.files("failed")


def test_a_second_take_of_one_name_does_not_replace_the_first(studio):
    s = studio()
    for frames in (10, 20):
        s.drop("take.wav", wav(frames))
        s.pass_time(2.5)
        s.finish()

    assert s.files("done") == ["take (2).wav", "take.wav"]
    assert (s.root / "done/take.wav").read_bytes() == wav(10)
    assert (s.root / "done/take (2).wav").read_bytes() == wav(20)


def test_equal_names_in_subfolders_stay_apart_on_every_way(studio):
    s = studio()
    for rel in ("a/x.wav", "b/x.wav", "x.wav"):
        s.drop(rel)
    s.manager.turn()
    orders = [Order.model_validate_json(job.order) for job in s.queue.jobs.values()]
    s.finish()

    out = s.root / "out"
    assert {order.delivery.folder for order in orders} == {out, out / "a", out / "b"}
    assert s.files("done") == ["a/x.wav", "b/x.wav", "x.wav"]


def test_a_name_that_is_not_utf_8_survives(studio):
    s = studio()
    name = os.fsdecode(b"caf\xe9 \xff.wav")
    s.drop(name)
    s.manager.turn()
    job = only_job(s)
    s.finish()

    assert job.input_name == "caf\ufffd \ufffd.wav"
    assert s.files() == [f"done/{name}"]


@pytest.mark.parametrize("name", ["new\nline.wav", "-rf.wav", "x" * 251 + ".wav", "%s {stem}.wav"])
def test_odd_names_survive(studio, name):
    s = studio()
    s.drop(name)
    s.manager.turn()
    s.finish("failed", error_kind="X", error="no")

    assert name in s.files("failed")
    assert len(s.files("failed")) == 2


def test_many_files_are_one_submission(studio):
    s = studio()
    for number in range(300):
        s.drop(f"{number}.wav")
    s.settle()

    assert s.queue.submissions == [256, 44]


# -- what is taken, and when -----------------------------------------------------------------------
def test_a_file_that_is_open_for_writing_is_not_taken_even_if_it_looks_whole(studio):
    s = studio()
    with (s.root / "bounce.wav").open("wb") as writer:
        writer.write(wav())
        writer.flush()
        s.pass_time(600, steps=100)
        assert s.queue.jobs == {}
        (status,) = s.manager.status().folders
        assert status.waiting_for == (("bounce.wav", "a program is still writing it"),)
    s.pass_time(5, steps=10)

    assert s.names == ["bounce.wav"]


def test_a_growing_file_is_taken_once_whole(studio):
    s = studio()
    data = wav(50_000)
    path = s.root / "grow.wav"
    # A copy that closes the file after each piece, with pauses, as some devices do.
    for end in range(10_000, len(data), 10_000):
        path.write_bytes(data[:end])
        s.pass_time(20, steps=10)
        assert s.queue.jobs == {}
    path.write_bytes(data)
    s.pass_time(5, steps=5)

    assert s.queue.file_of(only_job(s).order).read_bytes() == data


def test_a_file_of_a_format_without_length_waits_for_quiet(studio):
    s = studio()
    path = s.root / "take.raw"
    for pause in range(5):
        path.write_bytes(b"x" * (pause + 1))
        s.pass_time(0.8, steps=4)
        assert s.queue.jobs == {}
    s.pass_time(5, steps=20)

    assert s.names == ["take.raw"]


def test_midi_files_are_taken_whole_as_sounds_are(studio):
    s = studio("rules: [{match: {ext: mid}, steps: [{midi_transform: {tempo_bpm: 90}}]}]")
    whole = music().data
    s.drop("sketch.mid", whole)
    s.drop("cut.mid", whole[:-9])
    s.pass_time(2.5)
    assert s.names == ["sketch.mid"]
    (job,) = s.queue.jobs.values()
    assert [step.op for step in Order.model_validate_json(job.order).steps] == ["midi_transform"]
    s.finish()
    assert "done/sketch.mid" in s.files()


def test_a_cut_off_file_fails_with_its_numbers(studio):
    s = studio("settle: {truncated_after: 10s}\nrules: [{name: all}]")
    s.drop("cut.wav", wav(1000)[:1044])
    s.pass_time(9, steps=9)
    assert s.files() == ["cut.wav"]
    s.pass_time(3, steps=3)

    reason = json.loads((s.root / "failed/cut.wav.json").read_text())
    assert reason["kind"] == "Truncated"
    assert "1044 of the 2044 bytes" in reason["error"]
    assert s.queue.jobs == {}


def test_a_folder_may_take_cut_off_files_as_they_are(studio):
    s = studio("settle: {truncated_after: 10s, truncated: take}\nrules: [{name: all}]")
    s.drop("cut.wav", wav(1000)[:1044])
    s.pass_time(12, steps=12)

    assert s.names == ["cut.wav"]


def test_an_empty_file_is_handed_on_to_be_refused_by_a_worker(studio):
    s = studio()
    (s.root / "empty.wav").touch()
    s.pass_time(5, steps=10)

    assert s.names == ["empty.wav"]


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.wav",
        "._resource.wav",
        "~$lock.wav",
        "copy.wav.part",
        "copy.wav.tmp",
        "x.crdownload",
        "backup.wav~",
        ".syncthing.take.wav.tmp",
        "~syncthing~take.wav.tmp",
        ".take.wav.Xy12Zz",
        "@eaDir/take.wav",
        ".stversions/take.wav",
        "Thumbs.db",
    ],
)
def test_unfinished_and_foreign_names_are_left_alone(studio, name):
    s = studio()
    s.drop(name)
    s.pass_time(100, steps=20)

    assert s.files() == [name]


def test_links_pipes_and_folders_named_like_sounds_are_left_alone(studio, tmp_path):
    s = studio()
    (tmp_path / "secret.wav").write_bytes(wav())
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.wav").write_bytes(wav())
    (s.root / "link.wav").symlink_to(tmp_path / "secret.wav")
    (s.root / "folder link").symlink_to(tmp_path / "outside")
    (s.root / "broken.wav").symlink_to("nowhere")
    os.mkfifo(s.root / "pipe.wav")
    (s.root / "folder.wav").mkdir()
    s.pass_time(100, steps=20)

    assert s.queue.jobs == {}
    assert (tmp_path / "outside" / "x.wav").exists()


def test_a_link_that_takes_the_place_of_a_waiting_file_is_not_followed(studio, tmp_path):
    s = studio()
    (tmp_path / "secret.wav").write_bytes(wav())
    path = s.root / "take.wav"
    path.write_bytes(wav()[:50])
    s.pass_time(1)
    path.unlink()
    path.symlink_to(tmp_path / "secret.wav")
    s.pass_time(100, steps=20)

    assert s.queue.jobs == {}


def test_stages_and_outputs_are_never_input(studio):
    s = studio("output: {folder: finished/mp3}\nrules: [{name: all}]")
    for rel in ("out/x.wav", "done/x.wav", "failed/x.wav", "finished/mp3/x.wav"):
        s.drop(rel)
    s.drop("finished/take.wav")
    s.pass_time(10, steps=5)

    assert s.names == ["finished/take.wav"]


def test_a_sound_that_a_rule_names_is_never_input(studio, tmp_path):
    s = studio("rules: [{name: all}]")
    s.drop("bed.wav")
    rules = 'rules: [{steps: [{mix: {tracks: [{file: "{input}"}, {file: bed.wav}]}}]}]'
    s.drop("rules.yaml", rules.encode())
    s.drop("talk.wav")
    s.pass_time(5, steps=5)

    assert s.names == ["talk.wav"]
    assert s.manager.status().broken == ()


def test_subfolders_are_left_alone_if_the_folder_says_so(studio):
    s = studio("recurse: false\nrules: [{name: all}]")
    s.drop("a/x.wav")
    s.drop("y.wav")
    s.pass_time(5, steps=5)

    assert s.names == ["y.wav"]


def test_a_writer_who_comes_in_the_last_moment_gets_the_file_back(studio, monkeypatch):
    s = studio()
    path = s.drop("take.wav")
    real, writers = hotfolder.move, []

    def move_while_somebody_opens(source, target, **how):
        writers.append(open(source, "ab"))  # noqa: SIM115  # it has to stay open
        real(source, target, **how)

    monkeypatch.setattr(hotfolder, "move", move_while_somebody_opens)
    s.manager.turn()
    monkeypatch.undo()

    assert s.files() == ["take.wav"]
    assert s.queue.jobs == {}
    writers[0].write(b"more")
    writers[0].close()
    s.pass_time(5, steps=5)
    assert s.queue.file_of(only_job(s).order).read_bytes() == wav() + b"more"
    assert path.name == "take.wav"


# -- finding ---------------------------------------------------------------------------------------
def test_what_was_there_at_the_start_is_found(studio):
    s = studio()
    for number in range(20):
        s.drop(f"{number % 3}/{number}.wav")
    s.restart().turn()

    assert len(s.queue.jobs) == 20


def test_a_tree_that_is_moved_in_is_found_without_events(studio, tmp_path):
    s = studio()
    s.manager.turn()
    for rel in ("session/day 1/a.wav", "session/day 2/b.wav", "session/c.wav"):
        path = tmp_path / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav())
    os.rename(tmp_path / "session", s.root / "session")
    s.pass_time(2.5)

    assert s.names == ["session/c.wav", "session/day 1/a.wav", "session/day 2/b.wav"]


def test_a_folder_that_is_renamed_and_filled_again_is_followed(studio):
    s = studio(listen=True)
    s.drop("a/1.wav")
    s.manager.turn()
    os.rename(s.root / "a", s.root / "b")
    s.pass_time(2.5)
    s.drop("b/2.wav")
    s.drop("a/3.wav")
    s.pass_time(2.5)

    assert s.names == ["a/1.wav", "a/3.wav", "b/2.wav"]


def test_a_file_is_found_at_once_by_its_event(studio):
    s = studio(listen=True)
    s.manager.turn()
    s.manager._wake.clear()
    s.drop("take.wav")
    assert s.manager._wake.wait(5)
    s.manager.turn()  # no time has passed, so no rescan was due

    assert s.names == ["take.wav"]


def test_a_running_manager_needs_nobody_to_call_it(studio):
    s = studio(listen=True)
    s.manager.start()
    s.drop("take.wav")
    submitted = threading.Event()
    real = s.queue.submit
    s.queue.submit = lambda jobs: (real(jobs), submitted.set())[0]
    s.drop("take 2.wav")

    assert submitted.wait(10)


# -- rules -----------------------------------------------------------------------------------------
def test_a_file_that_no_rule_takes_fails_with_the_reason_of_each(studio):
    s = studio("rules: [{name: A, match: {ext: flac}}, {name: B, match: {glob: 'x-*'}}]")
    s.drop("take.wav")
    s.manager.turn()

    reason = json.loads((s.root / "failed/take.wav.json").read_text())
    assert reason["kind"] == "NoRuleMatches"
    assert "A: ext is wav, not flac; B: name does not fit x-*" in reason["error"]


def test_a_folder_may_leave_what_no_rule_takes_and_asks_again_when_rules_change(studio):
    s = studio("no_match: leave\nrules: [{match: {ext: flac}}]")
    s.drop("take.wav")
    s.pass_time(10, steps=5)
    assert s.files() == ["take.wav"]

    (s.root / "rules.yaml").write_text("rules: [{match: {ext: [flac, wav]}}]")
    s.pass_time(2.5)

    assert s.names == ["take.wav"]


def test_a_file_whose_header_suits_no_rule_is_put_back_if_the_folder_leaves_such_files(studio):
    s = studio("no_match: leave\nrules: [{match: {channels: 6}}]")
    s.drop("take.wav")
    s.manager.turn()
    s.finish("failed", error_kind="NoRuleMatches", error="channels is 1, not 6")
    s.pass_time(30, steps=10)

    assert s.files() == ["take.wav"]
    assert len(s.queue.jobs) == 1


def test_a_broken_rule_file_leaves_the_old_rules_in_force_and_says_so_in_the_folder(studio):
    s = studio()
    s.manager.turn()
    (s.root / "rules.yaml").write_text("rules: [{steps: [nonsense]}]")
    s.pass_time(2.5)
    s.drop("take.wav")
    s.pass_time(2.5)

    assert s.names == ["take.wav"]
    error = (s.root / "rules.error.txt").read_text()
    assert "step 1 (nonsense)" in error
    assert "The rules before this change are in force." in error
    (broken,) = s.manager.status().broken
    assert broken.older_in_force

    (s.root / "rules.yaml").write_text("rules: [{name: mended}]")
    s.pass_time(2.5)
    assert not (s.root / "rules.error.txt").exists()
    assert s.manager.status().broken == ()
    assert s.manager.status().folders[0].rules == ("mended",)


def test_rules_that_others_may_write_are_not_believed(studio):
    s = studio()
    (s.root / "rules.yaml").chmod(0o666)
    s.drop("take.wav")
    s.manager.turn()

    assert s.queue.jobs == {}
    assert "others may write it" in s.manager.status().broken[0].problems[0]


def test_a_new_hot_folder_is_picked_up_and_one_that_is_gone_is_cleared_up_after(studio):
    s = studio()
    s.drop("take.wav")
    s.manager.turn()
    (s.root / "rules.yaml").unlink()
    other = s.settings.folders / "music"
    other.mkdir()
    (other / "rules.yaml").write_text("rules: [{name: all}]")
    (other / "song.wav").write_bytes(wav())
    s.pass_time(2.5)
    s.drop("too late.wav")
    s.pass_time(2.5)

    assert s.names == ["song.wav", "take.wav"]
    s.finish()
    assert s.files() == ["done/take.wav", "too late.wav"]
    s.manager.turn()
    assert [f.name for f in s.manager.status().folders] == ["music"]


def test_a_central_rule_file_names_its_folder(studio):
    s = studio()
    s.settings.rules.mkdir()
    (s.settings.rules / "dj.yaml").write_text("folder: dj\nrules: [{name: all}]")
    s.manager.turn()
    (s.settings.folders / "dj" / "x.wav").write_bytes(wav())
    s.pass_time(2.5)

    assert s.names == ["x.wav"]


def test_two_rule_files_about_one_folder_are_refused(studio):
    s = studio()
    s.settings.rules.mkdir()
    (s.settings.rules / "dj.yaml").write_text("folder: podcast/inner\nrules: [{name: all}]")
    s.manager.turn()

    (broken,) = s.manager.status().broken
    assert "overlaps" in broken.problems[0]
    assert (s.settings.rules / "dj.error.txt").exists()


def test_a_share_that_is_not_mounted_is_waited_for(studio, tmp_path):
    s = studio()
    s.settings.rules.mkdir()
    nas = tmp_path / "nas"
    (s.settings.rules / "nas.yaml").write_text(f"folder: {nas}\nrules: [{{name: all}}]")
    s.pass_time(5, steps=2)
    assert not nas.exists()
    assert "No such file" in s.manager.status().broken[0].problems[0]

    nas.mkdir()
    (nas / "x.wav").write_bytes(wav())
    s.pass_time(5, steps=2)
    assert s.names == ["x.wav"]
    assert s.manager.status().broken == ()


# -- faults and crashes ----------------------------------------------------------------------------
def test_a_queue_that_does_not_answer_pauses_the_folder_and_loses_nothing(studio):
    s = studio()
    s.drop("1.wav")
    s.queue.faults = [QueueUnavailable("not there"), QueueUnavailable("not there")]
    s.manager.turn()
    assert s.manager.status().folders[0].problem == "not there"
    s.drop("2.wav")
    s.pass_time(10, steps=5)
    s.finish()

    assert s.files() == ["done/1.wav", "done/2.wav"]
    assert s.manager.status().folders[0].problem == ""


def test_a_lost_answer_does_not_double_a_job(studio):
    s = studio()
    s.drop("1.wav")
    s.queue.lose_answer = True
    s.pass_time(10, steps=5)
    s.finish()

    assert len(s.queue.jobs) == 1
    assert s.files() == ["done/1.wav"]


def test_the_end_of_a_job_that_nobody_told_is_noticed(studio):
    s = studio()
    s.drop("1.wav")
    s.manager.turn()
    s.queue.end("job-00001")
    s.pass_time(11)

    assert s.files() == ["done/1.wav"]


def test_missed_news_are_asked_for_at_once(studio):
    s = studio()
    s.drop("1.wav")
    s.manager.turn()
    s.queue.end("job-00001")
    s.manager.heard(News(state="missed"))
    s.manager.turn()

    assert s.files() == ["done/1.wav"]


class PowerCut(BaseException):
    """Ends the manager where it stands."""


def _calls_of(monkeypatch, module, name, log, cut_at):
    """Count a function's calls; at the given one the power goes, before or after its work."""
    real = getattr(module, name)

    def watched(*args, **more):
        log.append(name)
        if cut_at == (len(log), "before"):
            raise PowerCut
        result = real(*args, **more)
        if cut_at == (len(log), "after"):
            raise PowerCut
        return result

    monkeypatch.setattr(module, name, watched)


_STEPS = (
    (hotfolder, "move"),
    (hotfolder, "move_numbered"),
    (putting, "move"),
    (putting, "write_reason"),
    (journal.Journal, "write"),
    (hotfolder, "fsync_folders"),
    (hotfolder, "remove_empty"),
    (hotfolder.HotFolder, "_send"),
    (arrivals, "read_file"),
)


def _one_run(tmp_path, monkeypatch, end, cut_at):
    """Drop two files and let their jobs end; the power goes once. Returns the steps made."""
    s = Studio(tmp_path)
    log = []
    with monkeypatch.context() as patch:
        for module, name in _STEPS:
            _calls_of(patch, module, name, log, cut_at)
        try:
            s.drop("a/x.wav")
            s.drop("y.wav")
            s.manager.turn()
            s.finish(end, **({"error_kind": "X", "error": "no"} if end == "failed" else {}))
            s.manager.turn()
        except PowerCut:
            assert cut_at is not None
    steps = len(log)
    s.manager._lock = threading.Lock()  # the dead manager's
    s.restart()
    for _ in range(3):
        s.pass_time(3)
        s.finish(end, **({"error_kind": "X", "error": "no"} if end == "failed" else {}))
    stage = "done" if end == "completed" else "failed"
    expected = ["a/x.wav", "y.wav"]
    if stage == "failed":
        expected = ["a/x.wav", "a/x.wav.json", "y.wav", "y.wav.json"]
    assert s.files() == [f"{stage}/{name}" for name in expected], cut_at
    assert len(s.queue.jobs) == 2, cut_at
    assert all(job.state in ENDED for job in s.queue.jobs.values())
    assert os.listdir(s.root / "processing") == []
    s.manager.stop()
    return steps


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_a_power_cut_at_any_step_leaves_each_file_in_one_place_and_one_job(
    tmp_path, monkeypatch, end
):
    steps = _one_run(tmp_path / "whole", monkeypatch, end, None)
    assert steps > 12
    for number in range(1, steps + 1):
        for when in ("before", "after"):
            _one_run(tmp_path / f"{number} {when}", monkeypatch, end, (number, when))


def test_a_full_disk_pauses_the_folder_and_forgets_no_file(studio, monkeypatch):
    s = studio()
    for number in range(3):
        s.drop(f"{number}.wav")
    with monkeypatch.context() as patch:

        def full(*_args, **_more):
            raise OSError(28, "No space left on device")

        patch.setattr(hotfolder, "move", full)
        s.pass_time(10, steps=5)
        assert s.manager.status().folders[0].problem == "No space left on device"
        assert sorted(p.name for p in s.root.glob("*.wav")) == ["0.wav", "1.wav", "2.wav"]
    s.pass_time(10, steps=5)
    s.finish()

    assert s.files() == ["done/0.wav", "done/1.wav", "done/2.wav"]


def test_processing_is_taken_up_again_after_the_rules_changed(studio):
    s = studio()
    s.drop("take.wav")
    s.queue.faults = [QueueUnavailable("not there")]
    s.manager.turn()
    (s.root / "rules.yaml").write_text("rules: [{name: other, match: {ext: flac}}]")
    s.restart()
    s.manager.turn()

    assert s.files() == ["failed/take.wav", "failed/take.wav.json"]


def test_a_failed_job_can_be_retried_by_hand(studio):
    s = studio()
    s.drop("a/take.wav")
    s.manager.turn()
    s.finish("failed", error_kind="X", error="no")

    assert s.manager.bring_back("job-00001")
    assert s.files() == ["processing/job-00001/a/take.wav"]
    s.queue.end("job-00001", "pending")
    s.finish()
    assert s.files() == ["done/a/take.wav"]
    assert not s.manager.bring_back("job-00001")


def test_a_folder_that_only_clears_up_lets_the_manager_sleep(studio):
    s = studio()
    s.drop("take.wav")
    s.manager.turn()
    (s.root / "rules.yaml").unlink()
    s.pass_time(3)

    assert s.manager.status().folders[0].processing == 1
    assert s.manager.turn() > s.clock.monotonic() + 1


def test_a_job_that_the_queue_knows_is_let_run_whatever_the_rules_say_now(studio):
    s = studio()
    s.drop("take.wav")
    s.manager.turn()
    (s.root / "rules.yaml").write_text("rules: [{name: other, match: {ext: flac}}]")
    s.restart()
    s.settle()
    assert s.files() == ["processing/job-00001/take.wav"]

    s.finish()
    assert s.files() == ["done/take.wav"]


def test_a_disk_that_does_not_answer_for_a_moment_loses_no_file(studio, monkeypatch):
    s = studio()
    for number in range(5):
        s.drop(f"{number}.wav")
    with monkeypatch.context() as patch:
        real, answers = arrivals.read_file, [True, True, False]

        def sometimes(path, **how):
            if answers and not answers.pop(0):
                raise OSError(5, "Input/output error", path)
            return real(path, **how)

        patch.setattr(arrivals, "read_file", sometimes)
        s.manager.turn()
        assert "Input/output error" in s.manager.status().folders[0].problem
    s.pass_time(2.5)

    assert s.names == [f"{number}.wav" for number in range(5)]


# -- the clock -------------------------------------------------------------------------------------
def test_a_folder_that_is_let_go_knows_until_when_also_when_it_comes_later(studio):
    s = studio()
    s.manager.let_go("podcast", 100.0)  # before its rule file has been read
    s.settle()
    folder = next(iter(s.manager._folders.values())).folder
    assert folder.released_until == 100.0
    assert s.manager.names() == ["podcast"]

    s.manager.let_go("podcast", 200.0)
    s.manager.let_go("podcast", 150.0)
    s.manager.let_go("another", 300.0)
    assert folder.released_until == 200.0
