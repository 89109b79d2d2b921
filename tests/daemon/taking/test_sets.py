import json
import os

import pytest

from daemon import hotfolder, runner
from daemon.execution import Claim
from rules.load import Surroundings, load_rules
from rules.orders import Order
from rules.sets import Pattern, read_pattern
from rules.written import RulesBroken
from tests.daemon.inboxes import Studio, wav
from tests.daemon.test_runner import Here
from tests.sounds import read_sound, tone, write_wav

BAND = """
set: {by: "{song}_{stem}", complete_when: [drums, bass, vocals], give_up: 10m}
rules:
  - name: mixdown
    steps:
      - mix:
          tracks:
            - {file: "{input:drums}"}
            - {file: "{input:Bass}", gain_db: -3}
            - {file: "{input:vocals}"}
    output: {name: "{set} mix", format: wav}
"""


@pytest.fixture
def studio(tmp_path):
    made = []

    def make(rules=BAND, **more):
        made.append(Studio(tmp_path, rules, **more))
        return made[-1]

    yield make
    for one in made:
        one.manager.stop()


def order_of(s):
    (job,) = s.queue.jobs.values()
    return Order.model_validate_json(job.order)


# -- names -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("pattern", "rel", "fields"),
    [
        ("{song}_{stem}", "my_song_drums", {"song": "my_song", "stem": "drums"}),
        ("{song}_{stem}", "a/b/my song_drums", {"song": "my song", "stem": "drums"}),
        ("{song}/{stem}", "morning/drums", {"song": "morning", "stem": "drums"}),
        ("{a} - {b} [{part}]", "x - y [L]", {"a": "x", "b": "y", "part": "L"}),
        ("{song}_{stem}", "drums", None),
        ("{song}.{stem}", "aXb", None),
    ],
)
def test_a_pattern_reads_the_fields_of_a_name(pattern, rel, fields):
    assert Pattern(pattern).read(rel) == fields


@pytest.mark.parametrize("text", ["{song}", "{a}{b}", "{a}_{a}", "song_stem", "{a b}_{c}", 3])
def test_a_pattern_that_cannot_tell_set_and_member_is_refused(text):
    with pytest.raises(ValueError, match="song|told apart"):
        read_pattern(text, 2)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("{input:drums}", "{input:keys}", "no member keys; it has: drums, bass, vocals"),
        ("[drums, bass, vocals]", "{count: 3, quiet: 5s}", "one of count, marker and quiet"),
        ("[drums, bass, vocals]", "[drums, Drums]", "names a member twice"),
        ("[drums, bass, vocals]", '{marker: "{x}.done"}', "must name the set by {song}"),
        ("give_up: 10m", "main: keys", "no member keys"),
        ("give_up: 10m", "giveup: 10m", "there is no such setting"),
        ("rules:", "duplicates: skip\nrules:", "leave one of the two out"),
        ("rules:", "sidecars: take\nrules:", "sidecars are about single sounds"),
        ("rules:", "tickets: {roots: [/srv]}\nrules:", "tickets are about single sounds"),
        ('set: {by: "{song}_{stem}", complete_when: [drums, bass, vocals], give_up: 10m}', "",
         "this folder has no `set:`"),
    ],
)  # fmt: skip
def test_what_a_set_cannot_be_is_refused_with_what_would_be_right(old, new, told, tmp_path):
    with pytest.raises(RulesBroken) as broken:
        load_rules(BAND.replace(old, new), tmp_path / "rules.yaml", Surroundings(folder=tmp_path))
    assert told in str(broken.value)


# -- coming together -------------------------------------------------------------------------------
def test_the_files_of_a_set_are_taken_together_once_all_are_there(studio):
    s = studio()
    s.drop("Morning_drums.wav")
    s.drop("Evening_drums.wav")
    s.drop("Morning_vocals.wav")
    s.pass_time(60, steps=20)
    assert s.queue.jobs == {}
    waiting = dict(s.manager.status().folders[0].waiting_for)
    assert waiting["Morning_drums.wav"] == "for its set Morning: bass is missing"
    assert waiting["Evening_drums.wav"] == "for its set Evening: bass and vocals are missing"

    s.drop("MORNING_Bass.wav")
    s.pass_time(3, steps=3)
    order = order_of(s)
    home = s.root / "processing/job-00001"
    assert s.names == ["Morning"]
    assert [item.sound.path for item in order.steps[0].items["tracks"]] == [
        home / "Morning_drums.wav",
        home / "MORNING_Bass.wav",
        home / "Morning_vocals.wav",
    ]
    assert order.steps[0].items["tracks"][1].settings == {"gain_db": -3}
    assert all(ref.path.exists() for ref in order.members)

    s.finish()
    assert s.files("done") == ["MORNING_Bass.wav", "Morning_drums.wav", "Morning_vocals.wav"]
    assert s.files("processing") == []


def test_sets_in_different_subfolders_stay_apart(studio):
    s = studio()
    for folder, stem in (("a", "drums"), ("b", "bass"), ("a", "vocals")):
        s.drop(f"{folder}/x_{stem}.wav")
    s.pass_time(5, steps=5)
    assert s.queue.jobs == {}
    s.drop("a/x_bass.wav")
    s.pass_time(5, steps=5)
    assert s.names == ["x"]
    s.finish("failed", error_kind="X", error="no")
    assert "a/x_bass.wav" in s.files("failed")


def test_a_set_that_never_completes_is_failed_as_a_set_with_what_is_missing(studio):
    s = studio()
    s.drop("Morning_drums.wav")
    s.pass_time(300, steps=30)
    s.drop("Morning_bass.wav")
    s.pass_time(590, steps=59)
    assert s.files("failed") == [], "ten minutes after the last file, not the first"
    s.pass_time(20, steps=4)

    reason = json.loads((s.root / "failed/Morning_drums.wav.json").read_text())
    assert reason["kind"] == "NoSet"
    assert "vocals is missing" in reason["error"]
    assert len(s.files("failed")) == 4
    assert s.queue.jobs == {}


def test_a_file_whose_name_belongs_to_no_set_is_failed_with_what_would(studio):
    s = studio()
    s.drop("notes.wav")
    s.pass_time(3, steps=3)
    reason = json.loads((s.root / "failed/notes.wav.json").read_text())
    assert "not like {song}_{stem}.wav" in reason["error"]


def test_a_second_take_of_a_member_waits_for_the_next_set(studio):
    s = studio()
    s.drop("x_drums.wav")
    s.drop("x_drums.aiff")
    s.drop("x_bass.wav")
    s.pass_time(5, steps=5)
    assert "in its place" in str(s.manager.status().folders[0].waiting_for)
    s.drop("x_vocals.wav")
    s.pass_time(5, steps=5)
    assert len(s.queue.jobs) == 1
    s.drop("x_bass.wav")
    s.drop("x_vocals.wav")
    s.pass_time(200, steps=50)
    assert len(s.queue.jobs) == 2


@pytest.mark.parametrize(
    ("until", "last", "seconds"),
    [
        ("{count: 3}", "x_c.wav", 1),
        ('{marker: "{song}.done"}', "x.done", 3),
        ("{quiet: 30s}", "x_c.wav", 31),
    ],
)
def test_a_set_may_be_complete_by_count_marker_or_quiet(until, last, seconds, studio):
    rules = f'set: {{by: "{{song}}_{{part}}", complete_when: {until}}}\nrules:\n'
    rules += '  - steps: [{mix: {tracks: [{file: "{input:*}"}]}}]'
    s = studio(rules)
    s.drop("x_a.wav")
    s.drop("x_b.wav")
    s.pass_time(4, steps=4)
    assert s.queue.jobs == {}
    s.drop(last, b"" if last == "x.done" else None)
    s.pass_time(seconds + 3, steps=seconds + 3)

    count = 2 if last == "x.done" else 3
    assert len(order_of(s).steps[0].items["tracks"]) == count
    s.finish()
    assert last in s.files("done")


def test_a_member_that_is_replaced_while_the_set_waits_is_looked_at_again(studio):
    s = studio()
    s.drop("x_drums.wav")
    s.drop("x_bass.wav")
    s.pass_time(3, steps=3)
    (s.root / "x_bass.wav").write_bytes(wav(1000)[:500])  # in place: no name tells
    s.drop("x_vocals.wav")
    s.pass_time(3, steps=3)
    assert s.queue.jobs == {}
    (s.root / "x_bass.wav").write_bytes(wav(1000))
    s.pass_time(10, steps=10)
    bass = order_of(s).members[1].path
    assert bass.read_bytes() == wav(1000)


# -- crashes and retries ---------------------------------------------------------------------------
@pytest.mark.parametrize("at", range(1, 9))
def test_a_power_cut_at_any_move_loses_no_file_and_makes_one_job(at, studio, monkeypatch):
    s = studio()
    real, moves = hotfolder.move, 0

    class PowerCut(BaseException):
        pass

    def cut(*args, **more):
        nonlocal moves
        moves += 1
        if moves == at:
            raise PowerCut
        real(*args, **more)

    for stem in ("drums", "bass", "vocals"):
        s.drop(f"x_{stem}.wav", wav(len(stem)))
    monkeypatch.setattr(hotfolder, "move", cut)
    monkeypatch.setattr(
        hotfolder, "move_numbered", lambda a, b, **more: (cut(a, b, durable=False), b)[1]
    )
    try:
        s.pass_time(5, steps=5)
        s.finish()
    except PowerCut:
        pass
    monkeypatch.undo()
    s.restart()
    s.pass_time(30, steps=15)
    s.finish()
    s.pass_time(5, steps=2)

    assert s.files() == ["done/x_bass.wav", "done/x_drums.wav", "done/x_vocals.wav"]
    for stem in ("drums", "bass", "vocals"):
        assert (s.root / f"done/x_{stem}.wav").read_bytes() == wav(len(stem))
    assert len(s.queue.jobs) == 1


@pytest.mark.parametrize("at", range(1, 4))
def test_a_crash_while_a_set_goes_back_to_the_inbox_is_finished_and_written_down(
    at, studio, monkeypatch
):
    s = studio()
    for stem in ("drums", "bass", "vocals"):
        s.drop(f"x_{stem}.wav", wav(len(stem)))
    s.pass_time(5, steps=5)
    (lost,) = s.queue.jobs
    s.queue.jobs.clear()  # as if the crash had come before the row
    real, moves = hotfolder.move_numbered, 0

    class PowerCut(BaseException):
        pass

    def cut(*args, **more):
        nonlocal moves
        moves += 1
        if moves == at:
            raise PowerCut
        return real(*args, **more)

    monkeypatch.setattr(hotfolder, "move_numbered", cut)
    s.restart()
    with pytest.raises(PowerCut):
        s.settle()
    monkeypatch.undo()
    s.restart()
    s.pass_time(15, steps=8)
    s.finish()
    s.pass_time(5, steps=2)

    assert s.files() == ["done/x_bass.wav", "done/x_drums.wav", "done/x_vocals.wav"]
    assert len(s.queue.jobs) == 1
    told = [e["rel"] for e in s.manager._journal.of_job(lost) if e["do"] == "back"]
    assert sorted(set(told)) == ["x_bass.wav", "x_drums.wav", "x_vocals.wav"]


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("way", ["keep", "undo"])
def test_one_changed_member_of_a_set_that_stayed_makes_the_set_anew(way, restarted, studio):
    s = studio(BAND + "    originals: keep\n" if way == "keep" else BAND)
    for song in ("x", "y"):
        for stem in ("drums", "bass", "vocals"):
            s.drop(f"{song}_{stem}.wav", wav(len(stem)))
    s.pass_time(5, steps=5)
    first = list(s.queue.jobs)
    assert len(first) == 2
    kept = {"record": {"originals": "keep"}} if way == "keep" else {}
    for job in first:
        s.queue.end(job, "completed", result={"outputs": [], "steps": [], **kept})
    s.pass_time(15, steps=3)
    if way == "undo":
        for job in first:
            s.manager.undo(job)
    assert len(s.files()) == 6
    s.pass_time(30, steps=6)
    assert list(s.queue.jobs) == first, "nothing has changed"
    if restarted:
        s.restart()
        s.pass_time(10, steps=5)

    s.drop("x_bass.wav", wav(77))
    s.pass_time(10, steps=10)
    (again,) = set(s.queue.jobs) - set(first)
    order = Order.model_validate_json(s.queue.jobs[again].order)
    assert [ref.path.name for ref in order.members] == [
        f"x_{stem}.wav" for stem in ("drums", "bass", "vocals")
    ]
    assert order.members[1].path.read_bytes() == wav(77)
    assert [name for name in s.files() if "/" not in name] == [
        f"y_{stem}.wav" for stem in ("bass", "drums", "vocals")
    ]


def test_a_failed_set_is_retried_whole(studio):
    s = studio()
    for stem in ("drums", "bass", "vocals"):
        s.drop(f"x_{stem}.wav")
    s.pass_time(5, steps=5)
    s.finish("failed", error_kind="X", error="no")
    assert len(s.files("failed")) == 6
    (job,) = s.queue.jobs
    assert s.manager.bring_back(job)
    assert s.files("failed") == []
    assert len(s.files("processing")) == 3

    s.queue.end(job, "failed", error_kind="X", error="no")
    s.pass_time(15, steps=3)
    os.unlink(s.root / "failed/x_bass.wav")
    assert not s.manager.bring_back(job)
    assert len(s.files("failed")) == 5, "nothing is moved when one is gone"


# -- what comes out --------------------------------------------------------------------------------
def run(s, context):
    return runner.run(
        Claim(id="job-00001", attempt=1, order=order_of(s).model_dump_json()), context
    )


def test_the_mix_of_a_set_is_the_sum_of_its_members(studio, tmp_path):
    s = studio()
    for stem, pitch in (("drums", 200), ("bass", 400), ("vocals", 800)):
        sound = tone(pitch, seconds=0.5, peak_db=-20)
        s.drop(f"Morning_{stem}.wav", write_wav(sound, tmp_path / "made.wav").read_bytes())
    s.pass_time(5, steps=5)
    result = run(s, Here(tmp_path)).result

    (output,) = result["outputs"]
    assert output["path"] == str(s.root / "out/Morning mix.wav")
    mixed = read_sound(s.root / "out/Morning mix.wav").samples
    drums, bass, vocals = (read_sound(ref.path).samples for ref in order_of(s).members)
    assert mixed == pytest.approx(drums + bass * 10 ** (-3 / 20) + vocals, abs=1e-4)


def test_members_must_fit_only_if_that_is_asked(studio, tmp_path):
    s = studio(BAND.replace("give_up: 10m", "fit: true"))
    for stem, seconds in (("drums", 0.5), ("bass", 0.5), ("vocals", 0.4)):
        sound = tone(200, seconds=seconds, peak_db=-20)
        s.drop(f"x_{stem}.wav", write_wav(sound, tmp_path / "made.wav").read_bytes())
    s.pass_time(5, steps=5)

    with pytest.raises(Exception, match=r"x_vocals.wav has 19200 frames .* others have 24000"):
        run(s, Here(tmp_path))
