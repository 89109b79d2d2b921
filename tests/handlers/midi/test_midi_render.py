import os
import struct
import subprocess
import tracemalloc
from itertools import pairwise

import mido
import numpy as np
import pytest
import soundfile

from handlers import chain, fluidsynth
from handlers.artifacts import Midi, NamedFile
from handlers.chain import Desk, Monitor, Step
from handlers.codecs.files import InputFile
from handlers.errors import BadParameter, TooLarge, UnknownEngine, UnreadableInput
from handlers.midi.midi_render import MidiRender, midi_render
from handlers.registry import find
from handlers.soundfonts import DEFAULT, Shelf, shelf
from tests.fonts import chunk, group, sine_font, write_font
from tests.scores import music, opened, saved
from tests.sounds import difference_db, level_db, peak_db

DRY = {"reverb_level": 0.0, "chorus_level": 0.0}
QUANTUM = 64  # frames between two moments at which FluidSynth hears messages


@pytest.fixture
def sine(tmp_path):
    return held("sine.sf2", write_font(tmp_path / "sine.sf2"))


def held(name, path):
    """A file as the runner hands it over."""
    return NamedFile(name=name).holding(InputFile(path, name))


def notes(*times, tempo=120, pitch=69, beats=0.25, program=None, end=0.0, off=True):
    """Notes at seconds, each `beats` long, in ticks of a 9600th of a beat."""
    scale = 9600
    file = mido.MidiFile(type=0, ticks_per_beat=scale)
    track = file.add_track()
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo)))
    if program is not None:
        track.append(mido.Message("program_change", program=program))
    now = 0
    for at in times:
        tick = round(at * tempo / 60 * scale)
        track.append(mido.Message("note_on", note=pitch, velocity=100, time=tick - now))
        now = tick
        if off:
            held = round(beats * scale)
            track.append(mido.Message("note_off", note=pitch, time=held))
            now += held
    rest = max(0, round(end * tempo / 60 * scale) - now)
    track.append(mido.MetaMessage("end_of_track", time=rest))
    return saved(file)


def rendered(file, font=None, **params):
    named = None if font is None else [font]
    name = None if font is None else font.name
    p = MidiRender(soundfont_path=name, **params)
    return midi_render(file, named, p).sound


def onset(samples, rate, near):
    """When a tenth of the peak is first reached, around a moment; seconds."""
    start = max(0, round((near - 0.02) * rate))
    part = np.abs(samples[start : start + round(0.06 * rate)])
    return (start + int(np.argmax(part > 0.1 * np.abs(samples).max()))) / rate


def pitch_of(samples, rate):
    """Frequency of the strongest partial near 440 Hz, by a parabola over a long spectrum."""
    windowed = samples * np.hanning(samples.size)
    spectrum = np.log(np.abs(np.fft.rfft(windowed, 4 * samples.size)) + 1e-12)
    scale = rate / (4 * samples.size)
    low, high = int(400 / scale), int(480 / scale)
    k = low + int(np.argmax(spectrum[low:high]))
    left, middle, right = spectrum[k - 1 : k + 2]
    return (k + 0.5 * (left - right) / (left - 2 * middle + right)) * scale


def cents(freq):
    return 1200 * np.log2(freq / 440)


# -- time and pitch --------------------------------------------------------------------------
@pytest.mark.parametrize("rate", [22050, 44100, 48000, 88200, 96000])
def test_notes_begin_within_3_ms_of_their_time(sine, rate):
    times = [0.1 + 0.3137 * n for n in range(12)]
    sound = rendered(notes(*times, tempo=97), sine, samplerate=rate, **DRY).whole()

    assert sound.rate == rate
    late = [onset(sound.samples[0], rate, t) - t for t in times]
    assert max(abs(value) for value in late) < 0.003
    # Half a quantum either way, and the beginning of the attack.
    assert max(late) - min(late) < QUANTUM / rate + 0.0002


def test_tempo_changes_are_followed(sine):
    file = mido.MidiFile(type=1, ticks_per_beat=100)
    conductor, piano = file.add_track(), file.add_track()
    conductor.append(mido.MetaMessage("set_tempo", tempo=500_000))
    conductor.append(mido.MetaMessage("set_tempo", tempo=250_000, time=200))
    for _ in range(4):
        piano.append(mido.Message("note_on", note=69, velocity=100, time=50))
        piano.append(mido.Message("note_off", note=69, time=50))
    sound = rendered(saved(file), sine, **DRY).whole()

    # Ticks 50, 150 at 5 ms each; 250, 350 half as long from tick 200 on.
    for t in (0.25, 0.75, 1.125, 1.375):
        assert onset(sound.samples[0], 44100, t) == pytest.approx(t, abs=0.003)


@pytest.mark.parametrize("rate", [22050, 44100, 96000])
def test_a4_is_440_hz(sine, rate):
    sound = rendered(notes(0, beats=4), sine, samplerate=rate, **DRY).whole()
    assert abs(cents(pitch_of(sound.samples[0, rate // 10 : rate], rate))) < 0.1


#: Instruments that its makers did not detune: piano, organ, guitar, trumpet, clarinet, ocarina.
@pytest.mark.parametrize("program", [0, 4, 16, 24, 56, 71, 79])
def test_a4_of_the_debian_font_is_within_2_cents(program):
    sound = rendered(notes(0, beats=4, program=program), **DRY).whole()
    assert abs(cents(pitch_of(sound.samples.mean(axis=0)[4410:66150], 44100))) < 2


def test_the_pitch_wheel_bends(sine):
    file = mido.MidiFile(type=0)
    file.add_track().extend(
        [
            mido.Message("pitchwheel", pitch=4096),
            mido.Message("note_on", note=68, velocity=100),
            mido.Message("note_off", note=68, time=1920),
        ]
    )
    sound = rendered(saved(file), sine, **DRY).whole()
    # FluidSynth keeps pitches in whole cents.
    assert abs(cents(pitch_of(sound.samples[0, 4410:44100], 44100))) < 1.1


# -- beside the command ------------------------------------------------------------------------
def test_it_sounds_as_the_fluidsynth_command_does(tmp_path):
    score = tmp_path / "score.mid"
    # Times that are whole quanta and whole milliseconds: the command rounds to both.
    score.write_bytes(notes(0, 0.64, 1.28, beats=1, program=4).data)
    out = tmp_path / "out.wav"
    subprocess.run(
        [
            *("fluidsynth", "-n", "-i", "-q", "-g", "0.5", "-r", "48000", "-T", "wav"),
            *("-R", "0", "-C", "0", "-O", "float", "-F", str(out), str(DEFAULT), str(score)),
        ],
        check=True,
        capture_output=True,
    )
    theirs = soundfile.read(out, dtype="float32")[0].T
    ours = rendered(Midi(score.read_bytes()), samplerate=48000, gain=0.5, **DRY).whole().samples
    frames = 48000
    # The command begins a few quanta late.
    alike = [
        np.corrcoef(ours[0, :frames], theirs[0, lag : lag + frames])[0, 1]
        for lag in range(0, 8 * QUANTUM, QUANTUM)
    ]
    lag = int(np.argmax(alike)) * QUANTUM
    apart = ours[:, :frames] - theirs[:, lag : lag + frames]
    assert np.abs(apart).max() < 1e-4 * np.abs(ours).max()


# -- length ----------------------------------------------------------------------------------
def test_messages_that_change_nothing_change_no_sample(sine):
    plain = notes(0.0, 0.5, 1.6, end=4.0)
    busy = opened(plain)
    # A pitch wheel in the middle, in every quantum: no two are computed together.
    wheels = busy.add_track()
    ticks = busy.ticks_per_beat * 2 * QUANTUM / 44100
    at = np.unique(np.rint(np.arange(round(4 * 44100 / QUANTUM)) * ticks).astype(int)).tolist()
    wheels += [mido.Message("pitchwheel", time=next_ - now) for now, next_ in pairwise([0, *at])]
    busy.type = 1
    expected = rendered(plain, sine, **DRY).whole().samples
    assert np.array_equal(rendered(saved(busy), sine, **DRY).whole().samples, expected)


def test_it_rings_until_it_is_silent():
    file = notes(0, beats=0.5, program=11)  # a vibraphone
    long = rendered(file).whole()
    assert 0.5 < long.duration < 10.25
    assert peak_db(long, at=(long.duration - 0.02, long.duration)) < -100
    assert peak_db(long, at=(0.25, 0.75)) > -60

    cut = rendered(file, tail_s=0.25).whole()
    assert cut.frames == round(0.5 * 44100)
    assert np.array_equal(cut.samples, long.samples[:, : cut.frames])


def test_without_a_tail_it_is_as_long_as_the_file(sine):
    sound = rendered(notes(0.1, end=0.75), sine, tail_s=0.0)
    assert sound.stated_frames == 0.75 * 44100
    assert sound.whole().frames == sound.stated_frames


def test_notes_that_are_left_on_end_with_the_file(sine):
    sound = rendered(notes(0, end=0.5, off=False), sine, **DRY).whole()
    assert level_db(sound, at=(0.3, 0.5)) > -30
    assert 0.5 < sound.duration < 0.7


def test_a_pedal_that_is_left_down_is_let_go(sine):
    file = mido.MidiFile(type=0)
    file.add_track().extend(
        [
            mido.Message("control_change", control=64, value=127),
            mido.Message("note_on", note=69, velocity=100),
            mido.Message("note_off", note=69, time=480),
        ]
    )
    assert rendered(saved(file), sine, **DRY).whole().duration < 0.7


def test_silence_at_the_end_of_a_file_is_kept(sine):
    sound = rendered(notes(0, end=3.0), sine, **DRY).whole()
    assert 3.0 <= sound.duration < 3.1


def test_a_file_that_lasts_for_years_is_refused(sine):
    file = mido.MidiFile(type=0, ticks_per_beat=1)
    file.add_track().append(mido.Message("note_on", note=69, time=2**27))
    with pytest.raises(TooLarge, match="hours; up to 12 hours are rendered"):
        rendered(saved(file), sine)


# -- the same again ----------------------------------------------------------------------------
def test_each_pass_gives_the_same_samples_even_two_at_a_time():
    sound = rendered(music())
    first = sound.whole()
    together = list(zip(sound, sound, strict=True))

    assert np.array_equal(sound.whole().samples, first.samples)
    for number in (0, 1):
        again = np.concatenate([pair[number] for pair in together], axis=1)
        assert np.array_equal(again, first.samples)


def test_ten_minutes_take_no_more_memory_than_ten_seconds(sine):
    def peak(seconds):
        file = notes(*np.arange(0, seconds, 0.5), beats=0.5)
        sound = rendered(file, sine, samplerate=22050, **DRY)
        tracemalloc.start()
        frames = sum(block.shape[1] for block in sound)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert frames >= (seconds - 0.5) * 22050
        return most

    assert peak(600) < peak(10) + 2**20


def test_progress_is_told_by_time():
    said = []
    step = Step(find("midi_render"), MidiRender())
    monitor = Monitor(lambda fraction, label: said.append((fraction, label)), 1)
    desk = Desk(lambda: None, 2**20)
    outcome = chain.run(None, [step], desk, monitor, midi=notes(*np.arange(0, 8, 0.5)))
    for _ in monitor.watch(outcome.sound, "write"):
        pass
    shares = [fraction for fraction, _ in said]
    assert shares == sorted(shares)
    assert len({round(share, 1) for share in shares}) > 5
    assert shares[-1] > 0.8


# -- sound -----------------------------------------------------------------------------------
def test_gain_is_linear_and_0_is_silence(sine):
    one, two, none = (rendered(notes(0), sine, gain=g, **DRY).whole() for g in (0.4, 0.8, 0.0))
    frames = min(one.frames, two.frames)
    assert np.allclose(two.samples[:, :frames], 2 * one.samples[:, :frames], atol=1e-6)
    assert peak_db(none) < -150


def test_reverb_and_chorus_are_heard_where_instruments_ask_for_them(sine):
    file = mido.MidiFile(type=0)
    file.add_track().extend(
        [
            mido.Message("control_change", control=91, value=127),
            mido.Message("control_change", control=93, value=127),
            mido.Message("note_on", note=69, velocity=100),
            mido.Message("note_off", note=69, time=480),
        ]
    )
    wet = saved(file)
    dry = rendered(wet, sine, **DRY).whole()
    room = rendered(wet, sine, reverb_level=1.0, reverb_room_size=0.9, chorus_level=0.0).whole()
    chorus = rendered(wet, sine, reverb_level=0.0).whole()
    assert room.duration > dry.duration + 0.5
    assert level_db(chorus, at=(0.2, 0.4)) > level_db(dry, at=(0.2, 0.4)) + 1


def test_a_rendered_file_is_a_sound_like_any_other(sine):
    steps = [
        Step(find("midi_render"), MidiRender(soundfont_path="sine.sf2", **DRY), {"fonts": [sine]}),
        Step(find("reverse"), find("reverse").read_params({})),
    ]
    monitor = Monitor(lambda *_: None, 1)
    outcome = chain.run(None, steps, Desk(lambda: None, 2**26), monitor, midi=notes(0))
    straight = rendered(notes(0), sine, **DRY).whole()
    turned = outcome.sound.whole()
    assert difference_db(turned.like(turned.samples[:, ::-1]), straight) < -120


# -- fonts -----------------------------------------------------------------------------------
def test_the_descriptor_names_the_font(sine):
    told = midi_render(notes(0), [sine], MidiRender(soundfont_path="sine.sf2")).descriptor()
    assert told == {"engine": "midi-render", "soundfont_path": "sine.sf2"}
    assert midi_render(notes(0), None, MidiRender()).descriptor()["soundfont_path"] is None


def test_without_any_font_the_refusal_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(shelf, "default", tmp_path / "none.sf2")
    with pytest.raises(BadParameter, match="no default SoundFont.*AUDIOLLA_SOUNDFONT") as it:
        rendered(notes(0))
    assert it.value.hint == "apt-get install fluid-soundfont-gm"


def test_the_default_font_may_be_a_link(monkeypatch, sine, tmp_path):
    link = tmp_path / "default.sf2"
    link.symlink_to(tmp_path / "sine.sf2")
    monkeypatch.setattr(shelf, "default", link)
    assert rendered(notes(0)).whole().samples.any()


def test_without_the_library_the_refusal_says_what_to_install(monkeypatch, sine):
    monkeypatch.setattr(fluidsynth, "_LIBRARIES", ("libnone.so",))
    fluidsynth.library.cache_clear()
    try:
        with pytest.raises(UnknownEngine) as it:
            rendered(notes(0), sine)
    finally:
        fluidsynth.library.cache_clear()
    assert it.value.hint == "apt-get install libfluidsynth3 fluid-soundfont-gm"


def broken(change):
    """The font with one thing wrong."""
    return change(sine_font())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"MThd" * 8, "does not begin with RIFF and sfbk", id="another kind"),
        pytest.param(b"RIFF", "does not begin with RIFF and sfbk", id="four bytes"),
        pytest.param(chunk(b"RIFF", b"WAVEfmt "), "RIFF and sfbk", id="a WAV"),
        pytest.param(chunk(b"RIFF", b"sfbk"), "SoundFont version none", id="nothing in it"),
        pytest.param(sine_font(version=3), "version 3; only version 2", id="compressed"),
        pytest.param(sine_font()[:-100], "is cut off", id="cut off"),
        pytest.param(
            broken(lambda d: d.replace(b"phdr" + struct.pack("<I", 114), b"phdr\xff\xff\xff\x7f")),
            "has 2147483647 bytes",
            id="absurd length",
        ),
        pytest.param(
            broken(lambda d: d.replace(b"shdr", b"shdx")), "shdr has no bytes", id="no samples"
        ),
        pytest.param(
            chunk(
                b"RIFF",
                b"sfbk"
                + group(b"INFO", chunk(b"ifil", struct.pack("<HH", 2, 4)))
                + group(b"pdta", chunk(b"phdr", bytes(37))),
            ),
            "phdr has 37 bytes, which must be records of 38",
            id="broken records",
        ),
    ],
)
def test_what_is_no_whole_soundfont_is_refused(tmp_path, data, said):
    path = tmp_path / "x.sf2"
    path.write_bytes(data)
    with pytest.raises(UnreadableInput, match=said) as it:
        rendered(notes(0), held("x.sf2", path))
    assert "x.sf2" in it.value.detail
    assert str(tmp_path) not in it.value.detail


def test_what_only_the_library_finds_is_refused_without_a_path_of_the_server(tmp_path):
    path = tmp_path / "x.sf2"
    # The last entry of the instruments' zones says where they end: far behind the generators.
    path.write_bytes(sine_font().replace(b"INAM", b"IXYZ"))
    with pytest.raises(UnreadableInput, match="x.sf2 is no usable SoundFont: ") as it:
        rendered(notes(0), held("x.sf2", path))
    assert str(tmp_path) not in it.value.detail


def test_damaged_midi_is_refused_before_anything_is_played(sine):
    with pytest.raises(UnreadableInput, match="MThd"):
        rendered(Midi(b"RIFFxxxx"), sine)
    with pytest.raises(UnreadableInput):
        rendered(Midi(music().data[:-9]), sine)


# -- the shelf ---------------------------------------------------------------------------------
def test_a_font_is_loaded_once_under_whatever_name(sine, tmp_path):
    other = tmp_path / "second name"
    os.link(tmp_path / "sine.sf2", other)
    fonts = Shelf()
    with fonts.borrow(sine.file) as first:
        pass
    with fonts.borrow(InputFile(other)) as second:
        assert second is first


def test_a_font_that_was_replaced_is_loaded_anew(tmp_path):
    path = write_font(tmp_path / "a.sf2", peak=0.5)
    loud = peak_db(rendered(notes(0), held("a.sf2", path), **DRY).whole())
    os.replace(write_font(tmp_path / "b.sf2", peak=0.25), path)
    quiet = peak_db(rendered(notes(0), held("a.sf2", path), **DRY).whole())
    assert loud - quiet == pytest.approx(6.02, abs=0.05)


def test_fonts_that_nobody_plays_go_first_used_first_when_memory_is_short(tmp_path):
    files = [InputFile(write_font(tmp_path / f"{n}.sf2")) for n in range(3)]
    size = files[0].size
    fonts = Shelf(kept_bytes=2 * size)
    with fonts.borrow(files[0]) as held:
        for file in files[1:]:
            with fonts.borrow(file):
                pass
        # The first is the oldest, but it is being played.
        assert fonts.loaded() == 2
        with fonts.borrow(files[0]) as again:
            assert again is held
    with fonts.borrow(files[2]) as third:
        pass
    with fonts.borrow(files[1]):
        pass
    assert fonts.loaded() == 2
    with fonts.borrow(files[2]) as again:
        assert again is third
