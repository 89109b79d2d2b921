"""The runner on real files: what is opened, run, named, written and reported."""

import json
import os
import zipfile
from pathlib import Path

import mutagen
import numpy as np
import pytest
import soundfile
from mutagen.id3 import ID3

from daemon import runner
from daemon.execution import Claim, Finished, HandOver
from daemon.settings import Settings
from daemon.shelves import shelf_of
from handlers import registry
from handlers.artifacts import Blocks, Midi, Result
from handlers.declare import Example, describe
from handlers.errors import BadParameter, Cancelled, NoSuchFile, StorageFull, UnreadableInput
from handlers.soundfonts import DEFAULT, shelf
from rules.match import Conditions
from rules.orders import Choice, Delivery, ItemRef, Order, SoundRef, StepOrder
from rules.plan import NoRuleMatches
from tests.fonts import write_font
from tests.handlers.codecs.tools import by_ffmpeg
from tests.handlers.tagging.making import png
from tests.scores import music
from tests.sounds import ffmpeg_loudness, noise, read_sound, tone, write_wav


class Here:
    """A worker's context without a worker."""

    lane = "cpu"
    recall = None

    def __init__(self, folder, lane="cpu", **settings):
        self.lane = lane
        self.scratch = folder / "scratch"
        self.scratch.mkdir(exist_ok=True)
        self.settings = Settings(data_dir=folder, **settings)
        self.shelf = shelf_of(self.settings, "cpu")
        self.told = []
        self.intents = []

    def progress(self, fraction, step):
        self.told.append((fraction, step))

    def intend(self, intent):
        self.intents.append(intent)
        return []

    def first(self, key, *, take=False):
        return None


@pytest.fixture
def source(tmp_path):
    return write_wav(noise(seconds=4, channels=2, peak_db=-12), tmp_path / "take 1.wav", "PCM_24")


def order(source, *steps, **about):
    return Order(
        sound=SoundRef(path=source, name=source.name),
        steps=[StepOrder(op=op, params=params) for op, params in steps],
        **about,
    )


def run(order, context, **claim):
    return runner.run(Claim(id="j", attempt=1, order=order.model_dump_json(), **claim), context)


def test_a_chain_goes_in_as_one_file_and_comes_out_as_one(source, tmp_path):
    out = tmp_path / "out"
    done = run(
        order(
            source,
            ("trim", {"start_sec": 1.0, "end_sec": 3.5}),
            ("eq", {"bands": [{"freq": 1000, "gain_db": 3}]}),
            ("normalize", {"target_lufs": -20}),
            ("fade", {"fade_in": 0.1}),
            delivery=Delivery(folder=out, name="{stem} {normalize.target_lufs:.0f}.{ext}"),
            measure=True,
        ),
        Here(tmp_path),
    )

    assert [p.name for p in out.iterdir()] == ["take 1 -20.wav"]
    assert soundfile.info(out / "take 1 -20.wav").frames == 2.5 * 48000
    assert ffmpeg_loudness(out / "take 1 -20.wav").integrated == pytest.approx(-20, abs=0.3)
    assert isinstance(done, Finished)
    assert done.result["before"]["duration"] == 4.0
    assert done.result["after"]["duration"] == 2.5
    assert done.result["after"]["lufs"] == pytest.approx(-20, abs=0.3)
    assert done.result["before"]["lufs"] == pytest.approx(
        ffmpeg_loudness(source).integrated, abs=0.1
    )
    assert [s["op"] for s in done.result["steps"]] == ["trim", "eq", "normalize", "fade"]
    (output,) = done.result["outputs"]
    assert output["size"] == (out / "take 1 -20.wav").stat().st_size
    assert output["role"] == "sound"


def test_a_report_alone_delivers_no_sound(source, tmp_path):
    out = tmp_path / "out"
    done = run(
        order(source, ("loudness", {}), delivery=Delivery(folder=out, reports=True)), Here(tmp_path)
    )

    assert [p.name for p in out.iterdir()] == ["take 1.loudness.json"]
    report = json.loads((out / "take 1.loudness.json").read_text())
    assert report["loudness_lufs"] == pytest.approx(ffmpeg_loudness(source).integrated, abs=0.1)
    assert done.result["descriptor"] == report


def test_a_picture_comes_beside_the_sound(source, tmp_path):
    out = tmp_path / "out"
    run(
        order(
            source,
            ("reverse", {}),
            ("waveform", {"width": 320, "height": 90}),
            delivery=Delivery(folder=out),
        ),
        Here(tmp_path),
    )

    assert sorted(p.name for p in out.iterdir()) == ["take 1.wav", "take 1.waveform.png"]
    assert (out / "take 1.waveform.png").read_bytes()[16:24] == bytes([0, 0, 1, 64, 0, 0, 0, 90])


def test_what_clips_in_an_integer_file_is_told(tmp_path):
    loud = write_wav(tone(440, seconds=1, peak_db=6), tmp_path / "loud.wav", "FLOAT")
    done = run(
        order(loud, ("reverse", {}), delivery=Delivery(folder=tmp_path / "o")), Here(tmp_path)
    )

    (output,) = done.result["outputs"]
    assert output["clipped_samples"] > 10_000
    assert output["clipped_db"] == pytest.approx(6, abs=0.05)


def test_sounds_of_a_list_are_opened_with_their_settings(tmp_path):
    one = write_wav(tone(440, seconds=1, peak_db=-12), tmp_path / "one.wav")
    two = write_wav(tone(440, seconds=2, peak_db=-12), tmp_path / "two.wav")
    items = [
        ItemRef(sound=SoundRef(path=one, name="one.wav")),
        ItemRef(sound=SoundRef(path=two, name="two.wav"), settings={"gain_db": 6.0206}),
    ]
    mixing = Order(
        steps=[StepOrder(op="mix", items={"tracks": items})],
        delivery=Delivery(folder=tmp_path / "out", name="mixed.{ext}"),
    )
    run(mixing, Here(tmp_path))

    samples, _ = soundfile.read(tmp_path / "out" / "mixed.wav")
    assert len(samples) == 2 * 48000
    quarter = 10 ** (-12 / 20)
    assert np.abs(samples[:40000]).max() == pytest.approx(3 * quarter, rel=0.01)
    assert np.abs(samples[50000:]).max() == pytest.approx(2 * quarter, rel=0.01)


def test_a_bad_entry_of_a_list_is_named(tmp_path):
    one = write_wav(tone(440, seconds=1), tmp_path / "one.wav")
    items = [ItemRef(sound=SoundRef(path=one, name="o"), settings={"gain_db": "loud"})] * 2
    with pytest.raises(BadParameter, match=r"tracks\[0\].gain_db"):
        run(Order(steps=[StepOrder(op="mix", items={"tracks": items})]), Here(tmp_path))


@pytest.mark.parametrize(
    ("content", "error"),
    [(None, NoSuchFile), (b"", UnreadableInput), (b"#EXTM3U\nx.wav\n", UnreadableInput)],
    ids=["gone", "empty", "a playlist"],
)
def test_what_cannot_be_opened_is_refused_in_words(tmp_path, content, error):
    path = tmp_path / "x.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match="x.wav"):
        run(order(path, ("info", {})), Here(tmp_path))


def test_a_wrong_parameter_names_its_step(source, tmp_path):
    with pytest.raises(BadParameter) as refused:
        run(order(source, ("reverse", {}), ("fade", {"fade_in": -1})), Here(tmp_path))
    assert (refused.value.step, refused.value.op) == (1, "fade")


def test_a_cancelled_job_leaves_nothing(source, tmp_path):
    class Stopping(Here):
        def progress(self, fraction, step):
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        run(
            order(source, ("reverse", {}), delivery=Delivery(folder=tmp_path / "out")),
            Stopping(tmp_path),
        )
    assert list((tmp_path / "out").glob("*")) == []


def test_a_full_disk_may_pass(source, tmp_path):
    full = Path("/dev/full")
    with pytest.raises(StorageFull) as refused, pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.Drafts, "add", lambda self, wanted, role, **about: _Full(full, about))
        run(
            order(source, ("reverse", {}), delivery=Delivery(folder=tmp_path / "o")), Here(tmp_path)
        )
    assert refused.value.transient


class _Full:
    def __init__(self, part, about):
        self.part, self.about = part, about


class Bands(Result):
    low: Blocks
    high: Blocks


def bands(sound: Blocks) -> Bands:
    """Two sounds, for the test."""
    return Bands(low=sound, high=sound.like(lambda: (-block for block in sound)))


def louder(sound: Blocks) -> Blocks:
    """A step of the other lane, for the test."""
    return sound.like(lambda: (block * np.float32(2) for block in sound))


@pytest.fixture
def more_operations(monkeypatch):
    about = {"route": "/x", "category": "editing", "examples": [Example("x")]}
    more = {
        "bands": describe(bands, **about),
        "louder": describe(louder, lane="gpu", **about),
    }
    known = {**registry.operations(), **more}
    monkeypatch.setattr(registry, "operations", lambda: known)


@pytest.mark.usefixtures("more_operations")
def test_several_sounds_lie_beside_each_other_or_in_one_archive(source, tmp_path):
    run(order(source, ("bands", {}), delivery=Delivery(folder=tmp_path / "a")), Here(tmp_path))
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        "take 1.high.wav",
        "take 1.low.wav",
    ]

    for folder in ("b", "c"):
        delivery = Delivery(folder=tmp_path / folder, name="bands", bundle=True)
        run(order(source, ("bands", {}), delivery=delivery), Here(tmp_path))
    with zipfile.ZipFile(tmp_path / "b" / "bands.zip") as archive:
        assert archive.namelist() == ["low.wav", "high.wav"]
        assert archive.testzip() is None
    assert (tmp_path / "b" / "bands.zip").read_bytes() == (
        tmp_path / "c" / "bands.zip"
    ).read_bytes()


@pytest.mark.usefixtures("more_operations")
def test_a_chain_is_cut_where_the_lane_changes_and_finished_steps_stay_finished(source, tmp_path):
    chain = order(
        source,
        ("loudness", {}),
        ("waveform", {"width": 64, "height": 64}),
        ("trim", {"start_sec": 1, "end_sec": 2}),
        ("louder", {}),
        ("fade", {"fade_in": 0.001}),
        delivery=Delivery(folder=tmp_path / "out", reports=True),
        measure=True,
    )
    first = run(chain, Here(tmp_path))
    assert isinstance(first, HandOver)
    assert (first.next_step, first.lane) == (3, "gpu")
    first = HandOver.model_validate_json(first.model_dump_json())  # it travels as JSON

    second = run(
        chain,
        Here(tmp_path, lane="gpu"),
        next_step=first.next_step,
        carried=first.carried,
        finished=first.finished,
    )
    assert (second.next_step, second.lane) == (4, "cpu")
    third = run(
        chain,
        Here(tmp_path),
        next_step=second.next_step,
        carried=second.carried,
        finished=second.finished,
    )

    assert [s["op"] for s in third.result["steps"]] == [s.op for s in chain.steps]
    assert third.result["before"]["duration"] == 4.0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "take 1.loudness.json",
        "take 1.wav",
        "take 1.waveform.png",
    ]
    dry, _ = soundfile.read(source, dtype="float32")
    wet, _ = soundfile.read(tmp_path / "out" / "take 1.wav", dtype="float32")
    np.testing.assert_allclose(wet[1000:], 2 * dry[48000:96000][1000:], atol=2 / 32768)


@pytest.mark.usefixtures("more_operations")
def test_a_chain_that_begins_elsewhere_is_handed_over_untouched(source, tmp_path):
    given = run(order(source, ("louder", {})), Here(tmp_path))
    assert given == HandOver(next_step=0, lane="gpu", carried=None, finished=[])


def test_a_no_op_costs_nothing_and_succeeds(tmp_path):
    assert run(Order(), Here(tmp_path)) == Finished(result={})


# -- MIDI ----------------------------------------------------------------------------------------
def longer(file: Midi) -> Midi:
    """Add to a MIDI file."""
    return Midi(file.data + b"+")


def dearer(file: Midi) -> Midi:
    """Add to a MIDI file, elsewhere."""
    return Midi(file.data + b"#")


@pytest.fixture
def midi_operations(monkeypatch):
    about = {"route": "/x", "category": "midi", "examples": [Example("x")]}
    more = {
        "longer": describe(longer, **about),
        "dearer": describe(dearer, lane="gpu", **about),
    }
    known = {**registry.operations(), **more}
    monkeypatch.setattr(registry, "operations", lambda: known)


@pytest.fixture
def sketch(tmp_path):
    path = tmp_path / "sketch.mid"
    path.write_bytes(b"MThd")
    return path


@pytest.mark.usefixtures("midi_operations")
def test_a_midi_file_is_taken_changed_and_delivered(sketch, tmp_path):
    out = Delivery(folder=tmp_path / "out")
    done = run(order(sketch, ("longer", {}), ("longer", {}), delivery=out), Here(tmp_path))
    (output,) = done.result["outputs"]
    assert (output["role"], output["media_type"]) == ("midi", "audio/midi")
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "sketch.mid"
    assert path.read_bytes() == b"MThd++"


@pytest.mark.usefixtures("midi_operations")
def test_a_midi_file_goes_from_lane_to_lane(sketch, tmp_path):
    out = Delivery(folder=tmp_path / "out")
    the_order = order(sketch, ("longer", {}), ("dearer", {}), ("longer", {}), delivery=out)
    claim = Claim(id="j", attempt=1, order=the_order.model_dump_json())
    for lane in ("cpu", "gpu"):
        done = runner.run(claim, Here(tmp_path, lane=lane))
        assert isinstance(done, HandOver)
        update = {"next_step": done.next_step, "carried": done.carried, "finished": done.finished}
        claim = claim.model_copy(update=update)
    runner.run(claim, Here(tmp_path))
    (path,) = (tmp_path / "out").iterdir()
    assert path.read_bytes() == b"MThd+#+"


@pytest.mark.usefixtures("midi_operations")
def test_sound_where_midi_is_wanted_is_refused_with_the_mark_that_is_missing(source, tmp_path):
    with pytest.raises(UnreadableInput, match="take 1.wav is not a Standard MIDI File.*MThd"):
        run(order(source, ("longer", {})), Here(tmp_path))


def test_midi_where_a_sound_is_wanted_is_refused(sketch, tmp_path):
    with pytest.raises(UnreadableInput, match="this is a MIDI file; reverse needs a sound") as it:
        run(order(sketch, ("reverse", {})), Here(tmp_path))
    assert it.value.step == 0


# -- files in their own container ----------------------------------------------------------------
@pytest.fixture
def song(source, tmp_path):
    return by_ffmpeg(source, tmp_path / "song.mp3", "-metadata", "artist=Somebody")


def titled(**more):
    return ("metadata", {"tags": {"title": "New"}, **more})


def test_a_tagged_copy_takes_the_sounds_place_in_a_folder(song, tmp_path):
    before = song.read_bytes()
    done = run(order(song, titled(), delivery=Delivery(folder=tmp_path / "out")), Here(tmp_path))

    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "song.mp3"
    assert ID3(path)["TIT2"].text == ["New"]
    assert ID3(path)["TPE1"].text == ["Somebody"]
    assert song.read_bytes() == before
    (output,) = done.result["outputs"]
    assert (output["role"], output["media_type"]) == ("file", "audio/mpeg")
    assert done.result["descriptor"]["persisted"] is True
    assert done.result["descriptor"]["artist"] == "Somebody"


def test_a_chain_that_only_reads_tags_delivers_the_sound_as_before(song, tmp_path):
    steps = [("metadata", {}), ("trim", {"end_sec": 1.0})]
    run(order(song, *steps, delivery=Delivery(folder=tmp_path / "out")), Here(tmp_path))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["song.wav"]


def test_a_step_before_may_look_and_one_after_may_change(song, tmp_path):
    steps = [("loudness", {}), titled(), ("trim", {"end_sec": 1.0})]
    run(order(song, *steps, delivery=Delivery(folder=tmp_path / "out")), Here(tmp_path))
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["song.metadata.mp3", "song.wav"]


def test_the_file_of_a_sound_that_was_changed_is_refused_by_name(song, tmp_path):
    steps = [("trim", {"end_sec": 1.0}), titled()]
    with pytest.raises(BadParameter, match="must stand before every step that changes") as refused:
        run(order(song, *steps), Here(tmp_path))
    assert (refused.value.step, refused.value.op) == (1, "metadata")


def test_a_picture_that_a_step_names_is_read_as_a_file(song, tmp_path):
    art = tmp_path / "art.png"
    art.write_bytes(png(4, 4))
    name, params = titled(pictures=[{"file": "art.png"}])
    step = StepOrder(
        op=name,
        params=params,
        items={
            "covers": [
                ItemRef(sound=SoundRef(path=art, name="art.png"), settings={"name": "art.png"})
            ]
        },
    )
    whole = order(song, delivery=Delivery(folder=tmp_path / "out"))
    run(whole.model_copy(update={"steps": [step]}), Here(tmp_path))
    (picture,) = ID3(tmp_path / "out" / "song.mp3").getall("APIC")
    assert picture.data == png(4, 4)
    with pytest.raises(NoSuchFile, match="art.png"):
        art.unlink()
        run(whole.model_copy(update={"steps": [step]}), Here(tmp_path))


def test_a_file_whose_sound_is_not_decoded_can_be_tagged_and_nothing_else(source, tmp_path):
    song = by_ffmpeg(source, tmp_path / "song.wma")
    run(order(song, titled(), delivery=Delivery(folder=tmp_path / "out")), Here(tmp_path))
    assert mutagen.File(tmp_path / "out" / "song.wma")["Title"] == ["New"]
    with pytest.raises(UnreadableInput):
        run(order(song, titled(), ("loudness", {})), Here(tmp_path))


def test_midi_from_a_sound_lies_beside_it(source, tmp_path, monkeypatch):
    noted = describe(noted_down, route="/x", category="midi", examples=[Example("x")])
    known = {**registry.operations(), "noted_down": noted}
    monkeypatch.setattr(registry, "operations", lambda: known)
    out = Delivery(folder=tmp_path / "out", sound=True)
    run(order(source, ("noted_down", {}), delivery=out), Here(tmp_path))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["take 1.noted_down.mid", "take 1.wav"]


def noted_down(sound: Blocks) -> Midi:
    """Give a MIDI file for a sound."""
    return Midi(b"MThd" + bytes(sound.channels))


@pytest.mark.parametrize(
    ("length", "rule"), [("< 4s", "second"), ("> 4s", "first"), ("4.3..4.5", "first")]
)
def test_rules_may_ask_how_long_a_midi_file_lasts(tmp_path, length, rule):
    path = tmp_path / "song.mid"
    path.write_bytes(music().data)  # 4.4 s
    asks = Conditions(duration=length)
    here = Delivery(folder=tmp_path / "out", name="{rule} {duration:.1f}.{ext}")
    choices = [
        Choice(rule="first", match=asks, delivery=here, names={"rule": "first"}, steps=[
            StepOrder(op="midi_transform", params={"tempo_bpm": 90})
        ]),
        Choice(rule="second", match=Conditions(), delivery=here, names={"rule": "second"}, steps=[
            StepOrder(op="midi_quantize")
        ]),
    ]  # fmt: skip
    run(Order(sound=SoundRef(path=path, name="song.mid"), choose=choices), Here(tmp_path))
    (written,) = (tmp_path / "out").iterdir()
    assert written.name == f"{rule} 4.4.mid"


def test_a_rule_that_asks_for_a_sample_rate_takes_no_midi(tmp_path):
    path = tmp_path / "song.mid"
    path.write_bytes(music().data)
    choice = Choice(
        rule="hires",
        match=Conditions(sample_rate=">= 88.2 kHz"),
        delivery=Delivery(folder=tmp_path),
    )
    with pytest.raises(NoRuleMatches, match="hires: sample_rate is not known"):
        run(Order(sound=SoundRef(path=path, name="song.mid"), choose=[choice]), Here(tmp_path))


def test_a_damaged_midi_file_says_so_when_a_rule_asks_for_its_length(tmp_path):
    path = tmp_path / "song.mid"
    path.write_bytes(music().data[:-9])
    choice = Choice(
        rule="any", match=Conditions(duration="> 1"), delivery=Delivery(folder=tmp_path)
    )
    with pytest.raises(UnreadableInput, match="MTrk at byte"):
        run(Order(sound=SoundRef(path=path, name="song.mid"), choose=[choice]), Here(tmp_path))


def test_a_soundfont_that_a_step_names_reaches_it_without_its_path(tmp_path):
    score, font = tmp_path / "song.mid", write_font(tmp_path / "of a name of ours")
    score.write_bytes(music().data)
    step = StepOrder(
        op="midi_render",
        params={"soundfont_path": "sine.sf2", "reverb_level": 0.0},
        items={
            "fonts": [ItemRef(sound=SoundRef(path=font, name="x"), settings={"name": "sine.sf2"})]
        },
    )
    out = Delivery(folder=tmp_path / "out")
    done = run(
        Order(sound=SoundRef(path=score, name="song.mid"), steps=[step], delivery=out),
        Here(tmp_path),
    )

    assert done.result["descriptor"]["soundfont_path"] == "sine.sf2"
    assert [o["role"] for o in done.result["outputs"]] == ["sound"]
    assert read_sound(tmp_path / "out" / "song.wav").samples.any()


def test_the_font_of_the_settings_is_that_of_jobs_that_name_none(tmp_path, monkeypatch):
    font = write_font(tmp_path / "house.sf2")
    monkeypatch.setattr(shelf, "default", shelf.default)
    runner.prepare(Settings(data_dir=tmp_path, soundfont=font))
    assert os.path.samefile(shelf.chosen(None, None).path, font)
    assert Settings(data_dir=tmp_path).soundfont == DEFAULT
