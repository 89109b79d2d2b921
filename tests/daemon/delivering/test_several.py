"""Jobs of several files, and several deliveries of one sound."""

import json
import threading
from datetime import UTC, datetime

import pytest

from daemon import cli
from daemon.delivering import putting
from daemon.delivering import undo as undoing
from daemon.delivering.journal import Journal
from daemon.delivering.summary import summary_of
from daemon.delivering.undo import NothingToUndo
from tests.daemon.delivering.doing import Bench, Workshop

BAND = """
set: {by: "{song}_{stem}", complete_when: [drums, bass]}
rules:
  - name: mixdown
    steps: [{mix: {tracks: [{file: "{input:drums}"}, {file: "{input:bass}", gain_db: -3}]}}]
    output: {name: "{set} mix"}
"""
SEVERAL = """
output: {conflict: replace}
rules:
  - name: show
    steps: [reverse]
    deliver:
      master: {output: {folder: out/master}}
      phone: {steps: [{loudness: {}}, {normalize: {target_lufs: -30}}], output: {folder: out/phone}}
"""


def everything(shop):
    return {name: (shop.root / name).read_bytes() for name in shop.files()}


def deliver_band(shop, take):
    shop.drop("a_drums.wav", take)
    shop.drop("a_bass.wav", take[:-4000] + bytes(4000))
    dropped = everything(shop)
    shop.pass_time(4, steps=8)
    shop.work()
    (job,) = shop.queue.jobs.values()
    return dropped, job


def replay(shop, name, capsys):
    path = shop.root / "manifests" / name
    code = cli.main(["replay", str(path), "--json", "--data-dir", str(shop.settings.data_dir)])
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else said.err


# -- sets ------------------------------------------------------------------------------------------
def test_an_undone_set_is_back_whole_and_is_not_taken_again(shop, take):
    s = shop(BAND)
    dropped, job = deliver_band(s, take)
    assert s.files("done") == ["a_bass.wav", "a_drums.wav"]

    done = s.manager.undo(job.id)
    assert everything(s) == dropped
    assert sorted(done.originals) == [s.root / "a_bass.wav", s.root / "a_drums.wav"]
    s.pass_time(700, steps=30)
    assert everything(s) == dropped


def test_the_journal_has_each_file_of_a_set_and_the_day_counts_it_once(shop, take):
    s = shop(BAND)
    _, job = deliver_band(s, take)
    told = Journal(s.settings.journal, s.clock).of_job(job.id)

    assert sorted((e["do"], e["rel"]) for e in told) == [
        ("put", "a_bass.wav"), ("put", "a_drums.wav"),
        ("take", "a_bass.wav"), ("take", "a_drums.wav"),
    ]  # fmt: skip
    assert [len(e.get("outputs", [])) for e in told if e["do"] == "put"] == [1, 0]
    day = summary_of(
        told, "podcast", datetime.fromtimestamp(s.clock.now(), UTC).astimezone().date()
    )
    assert (day["taken"], day["completed"], day["outputs"]) == (1, 1, 1)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_set_that_a_fault_stopped_halfway_is_put_away_whole_and_can_be_undone(
    shop, take, monkeypatch, restarted
):
    s = shop(BAND)
    moves = []

    def faulty(source, target, **more):
        moves.append(source)
        if len(moves) == 2:
            raise OSError(5, "Input/output error")
        real(source, target, **more)

    real = putting.move
    with monkeypatch.context() as patch:
        patch.setattr(putting, "move", faulty)
        dropped, job = deliver_band(s, take)
    assert len(s.files("done")) == len(s.files("processing")) == 1
    if restarted:
        s.restart()
    s.pass_time(30, steps=15)
    assert s.files("done") == ["a_bass.wav", "a_drums.wav"]
    assert s.files("processing") == []

    s.manager.undo(job.id)
    assert everything(s) == dropped


def test_a_set_of_which_one_file_is_gone_is_not_undone(shop, take):
    s = shop(BAND)
    _, job = deliver_band(s, take)
    (s.root / "done/a_bass.wav").rename(s.settings.data_dir / "elsewhere.wav")
    before = everything(s)
    with pytest.raises(NothingToUndo, match="a_bass.wav is not there any more"):
        s.manager.undo(job.id)
    assert everything(s) == before


class PowerCut(BaseException):
    """Ends the manager where it stands."""


def test_an_undo_of_a_set_that_a_power_cut_broke_off_is_finished_when_asked_for_again(
    tmp_path, take, monkeypatch
):
    number = 0
    while True:
        number += 1
        s = Workshop(tmp_path / f"{number}", BAND)
        dropped, job = deliver_band(s, take)
        calls = []

        def cut(real, calls=calls, number=number):
            def watched(*args, **more):
                calls.append(real)
                if len(calls) == number:
                    raise PowerCut
                return real(*args, **more)

            return watched

        with monkeypatch.context() as patch:
            patch.setattr(Journal, "write", cut(Journal.write))
            for name in ("move", "_remove_note"):
                patch.setattr(undoing, name, cut(getattr(undoing, name)))
            try:
                s.manager.undo(job.id)
                break
            except PowerCut:
                pass
        s.manager._lock = threading.Lock()  # the dead manager's
        s.restart()
        s.manager.turn()
        s.manager.undo(job.id)
        assert everything(s) == dropped, number
        s.manager.stop()
    assert number > 5
    s.manager.stop()


def test_a_set_is_made_again_from_where_its_files_lie_now(shop, take, capsys):
    s = shop(BAND)
    deliver_band(s, take)
    (name,) = s.files("manifests")
    assert replay(s, name, capsys) == (
        0,
        {"manifest": str(s.root / "manifests" / name), "ok": True, "same": ["a mix.wav"],
         "different": [], "versions": [], "kept": []},
    )  # fmt: skip

    (s.root / "done/a_bass.wav").unlink()
    (s.root / "done/a_drums.wav").write_bytes(take + bytes(4))
    code, said = replay(s, name, capsys)
    assert code != 0
    assert "is not" in said


# -- several deliveries ----------------------------------------------------------------------------
def test_several_deliveries_have_one_manifest_and_are_made_again_byte_for_byte(shop, take, capsys):
    s = shop(SEVERAL)
    s.deliver("take.wav", take)
    assert s.files("manifests") == ["take.wav.json"]
    said = json.loads((s.root / "manifests/take.wav.json").read_text())
    assert sorted(one["delivery"] for one in said["outputs"]) == ["master", "phone"]
    assert said["versions"]["operations"].keys() == {"reverse", "loudness", "normalize"}

    code, told = replay(s, "take.wav.json", capsys)
    assert (code, told["same"], told["different"]) == (0, ["take.wav", "take.wav"], [])


def test_each_delivery_keeps_the_file_that_it_replaces(shop, take):
    s = shop(SEVERAL)
    older = {f"out/{name}/take.wav": f"an older {name}".encode() for name in ("master", "phone")}
    for name, data in older.items():
        (s.root / name).parent.mkdir(parents=True, exist_ok=True)
        (s.root / name).write_bytes(data)
    job = s.deliver("take.wav", take)
    assert len(s.files("replaced")) == 2

    s.manager.undo(job.id)
    assert everything(s) == {"take.wav": take, **older}


def test_an_original_goes_only_when_every_delivery_was_read_back(shop, take):
    s = shop("originals: delete\n" + SEVERAL)
    job = s.deliver("take.wav", take)
    assert [output["verified"] for output in job.result["outputs"]] == [True, True]
    assert s.files("done") == s.files("processing") == []


@pytest.mark.parametrize(
    ("originals", "lies"), [("move", "done/take.wav"), ("keep", "take.wav"), ("delete", "")]
)
def test_of_several_rules_that_match_all_must_want_the_original_deleted(
    shop, take, originals, lies
):
    rules = """
match_all: true
rules:
  - {name: one, steps: [reverse], originals: delete, output: {folder: out/1}}
  - {name: two, originals: ORIGINALS, output: {folder: out/2}, steps: [reverse]}
"""
    s = shop(rules.replace("ORIGINALS", originals))
    s.deliver("take.wav", take)
    assert s.files() == sorted(
        ["manifests/take.wav.json", "out/1/take.wav", "out/2/take.wav", *filter(None, [lies])]
    )


def test_the_manifest_of_several_rules_names_them_all(shop, take):
    s = shop(
        "match_all: true\nrules:\n"
        "  - {name: one, steps: [reverse], output: {folder: out/1}}\n"
        "  - {name: two, steps: [reverse], output: {folder: out/2}}\n"
    )
    s.deliver("take.wav", take)
    manifest = json.loads((s.root / "manifests/take.wav.json").read_text())
    assert manifest["rule"] == "one + two"


# -- the same sound again --------------------------------------------------------------------------
def earlier(known, key, job):
    first = known.setdefault(key, job)
    return None if first == job else first


def test_what_links_to_earlier_outputs_is_kept_track_of_like_any_delivery(shop, take, monkeypatch):
    s = shop(
        "duplicates: link\noutput: {conflict: replace}\nrules: [{name: back, steps: [reverse]}]"
    )
    known = {}
    monkeypatch.setattr(Bench, "first", lambda self, key, **_: earlier(known, key, self.job))
    monkeypatch.setattr(Bench, "result_of", lambda _, job: s.queue.job(job).result, raising=False)
    (s.root / "out").mkdir(exist_ok=True)
    for name in "ab":
        (s.root / f"out/{name}.wav").write_bytes(b"older " + name.encode())
    first = s.deliver("a.wav", take)
    second = s.deliver("b.wav", take)
    assert second.result["duplicate_of"] == first.id
    (old,), (new,) = first.result["outputs"], second.result["outputs"]
    assert (new["path"], new["sha256"]) == (str(s.root / "out/b.wav"), old["sha256"])
    said = json.loads((s.root / "manifests/b.wav.json").read_text())
    assert said["duplicate_of"] == first.id

    s.manager.undo(second.id)
    assert (s.root / "out/b.wav").read_bytes() == b"older b"
    assert (s.root / "b.wav").read_bytes() == take
    s.manager.undo(first.id)
    assert (s.root / "out/a.wav").read_bytes() == b"older a"


def test_a_set_whose_originals_are_kept_is_back_in_the_inbox_and_taken_once(shop, take):
    s = shop("originals: keep\n" + BAND)
    dropped, _ = deliver_band(s, take)
    s.pass_time(700, steps=30)

    assert len(s.queue.jobs) == 1
    assert {name: (s.root / name).read_bytes() for name in dropped} == dropped
    assert s.files("processing") == []


def test_of_a_ticket_only_the_ticket_is_deleted(tmp_path, shop, take):
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "take.wav").write_bytes(take)
    s = shop(
        f'originals: delete\ntickets: {{roots: ["{archive}"]}}\n'
        "rules: [{match: {ext: wav}, steps: [reverse]}]"
    )
    s.drop("monday.job.yaml", json.dumps({"sound": "take.wav"}).encode())
    s.pass_time(4, steps=8)
    s.work()

    assert s.files() == ["manifests/take.wav.json", "out/take.wav"]
    assert (archive / "take.wav").read_bytes() == take


def test_a_sound_and_its_sidecar_are_undone_together(shop, take):
    s = shop("sidecars: take\nrules: [{steps: [{normalize: {target_lufs: -20}}]}]")
    s.drop("take.yaml", b"params: {normalize: {target_lufs: -30}}")
    s.drop("take.wav", take)
    dropped = everything(s)
    s.pass_time(4, steps=8)
    s.work()
    (job,) = s.queue.jobs
    assert s.files("done") == ["take.wav", "take.yaml"]

    done = s.manager.undo(job)
    assert everything(s) == dropped
    assert done.original == s.root / "take.wav"
    s.pass_time(60, steps=30)
    assert everything(s) == dropped
