"""Several deliveries from one sound: made in one pass where that can be, all of them or none."""

import json
import os

import numpy as np
import pytest
import soundfile
from mutagen.flac import FLAC

from daemon import runner
from daemon.execution import Claim, Finished, HandOver
from daemon.work.opening import Opener
from handlers import registry
from handlers.artifacts import Blocks
from handlers.codecs.reader import open_sound
from handlers.declare import Example, describe
from handlers.errors import AudiollaError, CannotProcess
from rules.load import Surroundings, load_rules
from rules.match import FileFacts
from rules.plan import plan
from rules.written import RulesBroken
from tests.daemon.contexts import Here
from tests.sounds import ffmpeg_loudness, noise, write_wav

RULES = """
rules:
  - name: Release
    steps: [{trim: {start_sec: 1.0}}]
    output: {format: wav, bit_depth: 24}
    deliver:
      master:
      preview:
        steps: [{trim: {end_sec: 1.0}}, {fade: {fade_out: 0.2}}]
        output: {format: mp3, bitrate: 128, folder: previews, name: "{stem} {delivery}"}
      picture: {steps: [waveform]}
      figures: {steps: [loudness]}
      loud: {steps: [{normalize: {target_lufs: -20}}], output: {name: "{stem} loud"}}
"""


@pytest.fixture
def hot(tmp_path):
    """A folder with a take of four seconds in it, and a way to run rules on it."""
    folder = tmp_path / "hot"
    folder.mkdir()
    write_wav(noise(seconds=4, channels=2, peak_db=-12), folder / "take.wav", "PCM_24")
    return folder


def order_of(hot, rules):
    loaded = load_rules(rules, hot / "rules.yaml", Surroundings(hot))
    return plan(loaded, FileFacts("take.wav", 1), hot / "take.wav").order


def run(order, context, **claim):
    claimed = Claim(id="j", attempt=1, order=order.model_dump_json(), **claim)
    return runner.run(claimed, context)


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def passes(monkeypatch):
    """Counts how often the dropped file is decoded."""
    made = []
    opened = Opener.sound

    def counted(self, ref):
        sound = opened(self, ref)

        def passing():
            made.append(ref.name)
            yield from sound

        return sound.like(passing)

    monkeypatch.setattr(Opener, "sound", counted)
    return made


@pytest.mark.parametrize("memory", [0, 1 << 26], ids=["spooled to disk", "kept in memory"])
def test_one_decode_makes_a_master_a_preview_a_picture_and_figures(hot, tmp_path, passes, memory):
    done = run(order_of(hot, RULES), Here(tmp_path, memory_per_sound=memory))

    assert passes == ["take.wav"]
    assert files(hot) == [
        "manifests/take.wav.json",
        "out/take loud.wav",
        "out/take.loudness.json",
        "out/take.wav",
        "out/take.waveform.png",
        "previews/take preview.mp3",
        "take.wav",
    ]
    source, _ = soundfile.read(hot / "take.wav", dtype="float32")
    master, rate = soundfile.read(hot / "out/take.wav", dtype="float32")
    np.testing.assert_array_equal(master, source[rate:])
    assert soundfile.info(hot / "previews/take preview.mp3").duration == pytest.approx(1, abs=0.01)
    loud = ffmpeg_loudness(hot / "out/take loud.wav").integrated
    assert loud == pytest.approx(-20, abs=0.3)
    figures = json.loads((hot / "out/take.loudness.json").read_text())
    measured = ffmpeg_loudness(hot / "out/take.wav").integrated
    assert figures["loudness_lufs"] == pytest.approx(measured, abs=0.1)
    told = {o["delivery"]: o["role"] for o in done.result["outputs"]}
    assert told == {
        "master": "sound",
        "preview": "sound",
        "picture": "picture",
        "figures": "report",
        "loud": "sound",
    }
    assert [(s["op"], s.get("delivery")) for s in done.result["steps"]][:2] == [
        ("trim", None),
        ("trim", "preview"),
    ]


def test_what_the_shared_steps_give_beside_the_sound_is_delivered_once(hot, tmp_path):
    rules = (
        "rules: [{steps: [waveform], deliver: {a: {output: {name: a}}, b: {output: {name: b}}}}]"
    )
    run(order_of(hot, rules), Here(tmp_path))

    assert files(hot / "out") == ["a.wav", "b.wav", "take.waveform.png"]


def test_names_and_tags_may_ask_for_what_the_shared_steps_said(hot, tmp_path):
    """In a delivery that is made in the one pass, in one that listens, and below other rules."""
    rules = """
match_all: true
rules:
  - name: Release
    steps: [loudness]
    output: {format: flac, tags: {comment: "{loudness.loudness_lufs:.1f} LUFS"}}
    deliver:
      flows: {output: {name: "flows {loudness.loudness_lufs:.1f}"}}
      listens:
        steps: [{normalize: {target_lufs: -20}}]
        output: {name: "{loudness.loudness_lufs:.1f} to {normalize.target_lufs:.0f}"}
  - name: Other
    steps: [waveform]
"""
    for written in (rules, rules.replace("match_all: true", "")):
        run(order_of(hot, written), Here(tmp_path))
        lufs = f"{ffmpeg_loudness(hot / 'take.wav').integrated:.1f}"
        made = {path.name: path for path in (hot / "out").glob("*.flac")}
        assert sorted(made) == [f"{lufs} to -20.flac", f"flows {lufs}.flac"]
        for path in made.values():
            assert FLAC(path)["comment"] == [f"{lufs} LUFS"]
            path.unlink()


def test_one_delivery_that_fails_keeps_all_others_back(hot, tmp_path, monkeypatch):
    def stubborn(sound: Blocks) -> Blocks:
        """Fails in the middle of the sound, for the test."""

        def passing():
            for number, block in enumerate(sound):
                if number == 3:
                    raise CannotProcess("no further")
                yield block

        return sound.like(passing)

    about = {"route": "/v1/audio/x", "category": "editing", "examples": [Example("As it is.")]}
    fake = dict(registry.operations()) | {"stubborn": describe(stubborn, **about)}
    monkeypatch.setattr(registry, "operations", lambda: fake)
    rules = """
rules:
  - deliver:
      good:
      figures: {steps: [loudness]}
      bad: {steps: [stubborn], output: {name: bad}}
"""
    context = Here(tmp_path)
    with pytest.raises(AudiollaError, match="no further") as wrong:
        run(order_of(hot, rules), context)

    assert wrong.value.op == "stubborn"
    assert context.intents == []
    assert files(hot) == ["take.wav"]


def test_everything_is_promised_together(hot, tmp_path):
    context = Here(tmp_path)
    run(order_of(hot, RULES), context)

    (intent,) = context.intents
    assert len(intent.placements) == 6  # with the manifest


@pytest.fixture
def for_a_gpu(monkeypatch):
    def halve(sound: Blocks) -> Blocks:
        """A step of the other lane, for the test."""
        return sound.like(lambda: (block * np.float32(0.5) for block in sound))

    about = {"route": "/v1/audio/x", "category": "editing", "examples": [Example("As it is.")]}
    fake = dict(registry.operations()) | {"halve": describe(halve, lane="gpu", **about)}
    monkeypatch.setattr(registry, "operations", lambda: fake)


def test_deliveries_of_two_lanes_wait_for_each_other_and_appear_together(
    hot, tmp_path, passes, for_a_gpu
):
    rules = """
rules:
  - steps: [{trim: {start_sec: 2}}]
    output: {bit_depth: 32f}
    deliver:
      master:
      figures: {steps: [loudness]}
      half: {steps: [halve], output: {name: "{stem} half {trim.start_sec:.0f}"}}
      back: {steps: [halve, {trim: {end_sec: 1}}], output: {name: "{stem} back"}}
"""
    order = order_of(hot, rules)
    first = run(order, Here(tmp_path))
    assert isinstance(first, HandOver)
    assert (first.lane, first.next_step) == ("gpu", 2)
    assert files(hot) == ["take.wav"]

    # Whoever takes over dies once; the next attempt begins with the same hand-over.
    claim = {"next_step": first.next_step, "finished": json.loads(json.dumps(first.finished))}
    run(order, Here(tmp_path, lane="gpu"), **claim)
    second = run(order, Here(tmp_path, lane="gpu"), **claim)
    assert isinstance(second, HandOver)
    assert second.lane == "cpu"
    assert files(hot) == ["take.wav"]

    claim = {"next_step": second.next_step, "finished": second.finished}
    third = run(order, Here(tmp_path), **claim)
    assert isinstance(third, Finished)
    assert files(hot / "out") == [
        "take back.wav",
        "take half 2.wav",
        "take.loudness.json",
        "take.wav",
    ]
    assert passes == ["take.wav"]
    source, rate = soundfile.read(hot / "take.wav", dtype="float32")
    half, _ = soundfile.read(hot / "out/take half 2.wav", dtype="float32")
    back, _ = soundfile.read(hot / "out/take back.wav", dtype="float32")
    np.testing.assert_allclose(half, source[2 * rate :] / 2, atol=2e-7)
    np.testing.assert_array_equal(back, half[:rate])
    assert sorted(o["delivery"] for o in third.result["outputs"]) == [
        "back",
        "figures",
        "half",
        "master",
    ]


def test_progress_never_goes_back(hot, tmp_path):
    context = Here(tmp_path)
    run(order_of(hot, RULES), context)

    fractions = [fraction for fraction, _ in context.told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)


# -- how it is written -----------------------------------------------------------------------------
def tags_of(path):
    return {k: list(v) for k, v in open_sound(path).facts.metadata.tags.items()}


def test_tags_are_kept_cleared_or_set_by_template(hot, tmp_path):
    tagged = {"title": ["Take"], "artist": ["Ann"], "comment": ["draft"]}
    rules = """
rules:
  - output: {format: flac}
    deliver:
      kept: {output: {name: kept}}
      cleared: {output: {name: cleared, tags: clear}}
      set:
        output:
          name: set
          tags: {artist: [Bob, "{folder}"], album: "{stem} {delivery}", comment: null}
"""
    first = FLAC(_flac(hot))
    first.update(tagged)
    first.save()
    loaded = load_rules(rules, hot / "rules.yaml", Surroundings(hot))
    order = plan(loaded, FileFacts("take.flac", 1), hot / "take.flac").order
    run(order, Here(tmp_path))

    assert tags_of(hot / "out/kept.flac") == tagged
    assert tags_of(hot / "out/cleared.flac") == {}
    assert tags_of(hot / "out/set.flac") == {
        "title": ["Take"],
        "artist": ["Bob", "hot"],
        "album": ["take set"],
    }


def _flac(hot):
    samples, rate = soundfile.read(hot / "take.wav")
    soundfile.write(hot / "take.flac", samples, rate)
    return hot / "take.flac"


def test_what_is_written_gets_its_permissions_and_so_do_folders_that_are_made(hot, tmp_path):
    group = os.getgid()
    (hot / "out").mkdir(mode=0o700)
    rules = f"""
rules:
  - output: {{mode: "664", owner: ":{group}", folder: "out/a/b", reports: true}}
    steps: [loudness, {{trim: {{end_sec: 1}}}}]
"""
    run(order_of(hot, rules), Here(tmp_path))

    modes = {p.relative_to(hot).as_posix(): p.stat().st_mode & 0o777 for p in hot.rglob("out/**/*")}
    assert modes == {
        "out/a": 0o775,
        "out/a/b": 0o775,
        "out/a/b/take.wav": 0o664,
        "out/a/b/take.loudness.json": 0o664,
    }
    assert (hot / "out").stat().st_mode & 0o777 == 0o700
    assert (hot / "out/a/b/take.wav").stat().st_gid == group


@pytest.mark.parametrize(
    ("output", "wrong"),
    [
        ('mode: "888"', "output.mode"),
        ("owner: nobody-of-this-name", "there is no user 'nobody-of-this-name' here"),
        ("tags: {album: '{nothing}'}", r"output.tags.album: no field \{nothing\}"),
        ("tags: shred", "output.tags"),
    ],
)
def test_what_cannot_be_written_is_told_when_the_rules_are_read(hot, output, wrong):
    with pytest.raises(RulesBroken, match=wrong):
        load_rules(f"rules: [{{output: {{{output}}}}}]", hot / "rules.yaml", Surroundings(hot))
