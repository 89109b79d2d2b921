import contextlib
import io
import logging
import tracemalloc
import warnings
from functools import cache

import mido
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from handlers import transcription
from handlers.artifacts import Blocks
from handlers.engines.shelf import Lent, packaged
from handlers.errors import BadParameter, MistypedParameter, UnknownEngine
from handlers.midi.midi_render import MidiRender, midi_render
from handlers.midi.to_midi import ToMidi, to_midi
from handlers.notation import HeardNote, written
from handlers.registry import find
from handlers.transcription import Activations, Taste, activations, heard_notes
from tests.scores import opened, saved
from tests.sounds import as_blocks, one_after_another, silence, sound, tone, write_wav

LENT = Lent("basic-pitch", packaged)


@cache
def library():
    """basic-pitch itself, as quiet as it can be."""
    before = logging.root.handlers[:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from basic_pitch import inference, note_creation
    logging.root.handlers[:] = before  # it logs before anybody has configured logging
    return inference, note_creation


def predicted(path, **how):
    inference, _ = library()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        _, midi, events = inference.predict(path, minimum_note_length=58.0, **how)
    return midi, sorted(events)


@pytest.fixture(scope="module")
def piano(tmp_path_factory):
    """Eight seconds: chords, a run, a held bass; and the notes that were written."""
    notes = [(0.25 + 0.5 * n, 0.45, 60 + s) for n, s in enumerate((0, 2, 4, 5, 7, 9, 11, 12))]
    notes += [(4.5 + n, 0.9, p) for n in range(3) for p in (48, 60 + n, 64 + n, 67 + n)]
    notes += [(0.5, 3.0, 40)]
    events = [(t, 1, p) for t, _, p in notes] + [(t + d, 0, p) for t, d, p in notes]
    file = mido.MidiFile(type=0, ticks_per_beat=500)
    track = file.add_track()
    now = 0
    for at, on, pitch in sorted(events):
        tick = round(at * 1000)
        kind = "note_on" if on else "note_off"
        track.append(mido.Message(kind, note=pitch, velocity=90, time=tick - now))
        now = tick
    played = midi_render(saved(file), None, MidiRender()).sound.whole()
    path = write_wav(played, tmp_path_factory.mktemp("piano") / "piano.wav")
    return played, path, notes


@pytest.fixture(scope="module")
def theirs(piano):
    return predicted(piano[1])


@pytest.fixture(scope="module")
def usual(piano):
    """What we make of it with every default."""
    return transcribed(piano[0])


def transcribed(audio, **params):
    blocks = audio if isinstance(audio, Blocks) else as_blocks(audio, 4096)
    return to_midi(blocks, LENT, ToMidi(engine="basic-pitch", **params))


def notes_of(midi):
    """`(pitch, start, end, velocity)` in seconds, and the bends by channel, as mido reads them."""
    now, held, found, bends = 0.0, {}, [], {}
    for message in opened(midi):
        now += message.time
        if message.type == "note_on" and message.velocity:
            assert (message.channel, message.note) not in held
            held[message.channel, message.note] = (now, message.velocity)
        elif message.type in ("note_on", "note_off"):
            start, velocity = held.pop((message.channel, message.note))
            found.append((message.note, start, now, velocity))
        elif message.type == "pitchwheel":
            bends.setdefault(message.channel, []).append((now, message.pitch))
    assert not held
    return sorted(found), bends


# -- the same notes as basic-pitch's own -------------------------------------------------------
@pytest.mark.parametrize(
    "how",
    [
        pytest.param({}, id="as it comes"),
        pytest.param({"melodia_trick": False}, id="onsets only"),
        pytest.param({"min_freq": 110.0, "max_freq": 1500.0}, id="a band"),
        pytest.param({"onset_thresh": 0.3, "frame_thresh": 0.15, "min_note_len": 2}, id="eager"),
        pytest.param({"onset_thresh": 0.9, "frame_thresh": 0.6, "min_note_len": 20}, id="strict"),
        pytest.param({"frame_thresh": 0.0, "min_note_len": 0}, id="everything"),
    ],
)
@pytest.mark.parametrize("frames", [2, 3, 300])
def test_notes_of_random_activations_are_the_librarys(how, frames):
    rng = np.random.default_rng(frames)

    def table(columns, width):
        rough = rng.standard_normal((frames, columns))
        return np.clip(gaussian_filter1d(rough, width, axis=0), 0, 1).astype(np.float32)

    notes, onsets, contours = table(88, 4), table(88, 1), table(264, 2)
    asked = {"onset_thresh": 0.5, "frame_thresh": 0.3, "min_note_len": 5} | how
    _, note_creation = library()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        output = {"note": notes.copy(), "onset": onsets.copy(), "contour": contours}
        _, theirs = note_creation.model_output_to_notes(output, **asked)

    from handlers.kernels.note_events import bends_of

    bends = np.empty(notes.shape, np.int8)
    bends_of(contours, transcription._nearness(), bends)
    maker = transcription._Notes(
        Taste(
            onset=asked["onset_thresh"],
            frame=asked["frame_thresh"],
            shortest=asked["min_note_len"],
            lowest=how.get("min_freq"),
            highest=how.get("max_freq"),
            rest=how.get("melodia_trick", True),
        ),
        10**6,
    )
    maker.add(Activations(notes, onsets, bends))
    check_equal(maker.done(), theirs)


def check_equal(ours, theirs):
    assert len(ours) == len(theirs)
    by_start = sorted(theirs, key=lambda event: (event[0], event[2]))
    for note, (start, end, pitch, amplitude, bends) in zip(ours, by_start, strict=True):
        assert note.start == pytest.approx(start, abs=1e-9)
        assert note.end == pytest.approx(end, abs=1e-9)
        assert note.pitch == pitch
        assert note.velocity == max(1, round(127 * float(amplitude)))
        # Those of the library are one bin sharp; a test below says what is right.
        assert np.allclose(np.array(note.bends) * 3, np.array(bends) - 1, atol=1e-9)


def test_notes_of_a_sound_are_those_of_predict(piano, theirs):
    played, _, _ = piano
    check_equal(heard_notes(as_blocks(played, 5000), Taste()), theirs[1])


def test_the_file_says_what_the_librarys_says(usual, theirs):
    written_by_it = sorted(
        (n.pitch, n.start, n.end, n.velocity) for i in theirs[0].instruments for n in i.notes
    )
    ours, _ = notes_of(usual.midi)
    assert len(ours) == len(written_by_it)
    for one, other in zip(ours, written_by_it, strict=True):
        assert one == pytest.approx(other, abs=0.002)


def test_what_was_written_is_found(piano, usual):
    _, _, truth = piano
    found, _ = notes_of(usual.midi)
    hits = sum(any(p == q and abs(t - s) < 0.05 for q, s, _, _ in found) for t, _, p in truth)
    assert hits >= 0.9 * len(truth)
    assert len(found) <= 1.3 * len(truth)


def test_thresholds_and_lengths_do_what_they_say(piano, usual):
    played, _, _ = piano
    strict, _ = notes_of(transcribed(played, onset_threshold=0.9, frame_threshold=0.6).midi)
    long, _ = notes_of(transcribed(played, minimum_note_length_ms=700.0).midi)
    band = transcribed(played, minimum_frequency=200.0, maximum_frequency=400.0)
    assert len(strict) < usual.notes
    assert long
    assert all(end - start > 0.69 for _, start, end, _ in long)
    # 200 Hz is nearest to G3, which is kept; 400 Hz to G4, the first that is not.
    assert {p for p, *_ in notes_of(band.midi)[0]} <= set(range(55, 67))


def test_limits_beyond_the_piano_limit_nothing(piano, usual):
    played, _, _ = piano
    wide = transcribed(played, minimum_frequency=5.0, maximum_frequency=19000.0)
    assert wide.midi == usual.midi


# -- bends -----------------------------------------------------------------------------------
def glide():
    """A4 that rises by a semitone, over a steady E3."""
    rate, t = 22050, np.arange(2 * 22050) / 22050
    freq = 440 * 2 ** (np.clip(t - 0.5, 0, 1) / 12)
    turns = 2 * np.pi * np.cumsum(freq) / rate
    lead = sum(np.sin(k * turns) / k for k in range(1, 6))
    bass = sum(np.sin(2 * np.pi * 164.8 * k * t) / k for k in range(1, 6))
    fade = np.minimum(1, np.minimum(t, t[::-1]) / 0.02)
    return sound(0.1 * fade * lead, rate), sound(0.1 * fade * (lead + bass), rate)


@pytest.mark.parametrize("cents", [-33, 0, 33])
@pytest.mark.parametrize("pitch", [45, 60, 72])
def test_a_bend_says_how_far_off_the_tone_is(pitch, cents):
    t = np.arange(22050) / 22050
    freq = 440 * 2 ** ((pitch - 69 + cents / 100) / 12)
    wave = sum(np.sin(2 * np.pi * freq * k * t) / k for k in range(1, 8))
    faded = 0.1 * wave * np.minimum(1, np.minimum(t, t[::-1]) / 0.02)
    notes = [n for n in heard_notes(sound(faded, 22050).blocks(), Taste()) if n.pitch == pitch]
    assert notes
    assert np.median(notes[0].bends) == pytest.approx(cents / 100, abs=0.01)


def test_a_glide_is_in_the_file():
    alone, _ = glide()
    _, bends = notes_of(transcribed(alone, multiple_pitch_bends=True).midi)
    rising = max(bends.values(), key=len)
    assert rising == sorted(rising)
    assert {value for _, value in rising} & {1365, 1366}


def test_notes_that_overlap_are_bent_only_on_channels_of_their_own():
    _, both = glide()
    notes, bends = notes_of(transcribed(both).midi)
    assert len({p for p, *_ in notes}) > 1
    assert not any(value for moves in bends.values() for _, value in moves)

    apart = transcribed(both, multiple_pitch_bends=True).midi
    channels = {m.channel for m in opened(apart) if m.type == "note_on"}
    assert len(channels) > 1
    assert 9 not in channels
    assert notes_of(apart)[1]


def test_the_wheel_is_back_for_a_note_that_is_not_bent():
    notes = [HeardNote(0.0, 1.0, 60, 90, (0.0, 0.5, 1.0)), HeardNote(1.5, 2.0, 62, 90)]
    _, bends = notes_of(written(notes, together=False))
    assert bends[0] == [(0.5, 2048), (1.0, 4096), (1.5, 0)]


def test_more_notes_than_channels_share_them_without_bends():
    notes = [HeardNote(0.1 * n, 10.0, 40 + n, 90, (1 / 3,)) for n in range(20)]
    found, bends = notes_of(written(notes, together=True))
    assert len(found) == 20
    assert len(bends) == 15
    assert all(len(moves) == 1 for moves in bends.values())


def test_bends_beyond_two_semitones_stop_there():
    _, bends = notes_of(written([HeardNote(0, 1, 60, 90, (3.0, -3.0))], together=True))
    assert [value for _, value in bends[0]] == [8191, -8192]


# -- long sounds -----------------------------------------------------------------------------
def test_parts_that_end_in_silence_give_the_same_notes(piano):
    played, _, _ = piano
    gap = silence(seconds=1.0, rate=played.rate, channels=2)
    long = one_after_another(played, gap, played)
    whole = heard_notes(long.blocks(), Taste())
    parts = heard_notes(long.blocks(), Taste(), part_frames=900)
    assert parts == whole


def test_a_note_that_is_cut_by_parts_is_one_note():
    held = tone(440, seconds=30, rate=22050, channels=1)
    (whole,) = heard_notes(held.blocks(), Taste())
    (note,) = heard_notes(held.blocks(), Taste(), part_frames=800)
    assert (note.pitch, note.start) == (whole.pitch, whole.start)
    # A frame of 12 ms more or less: the last part has another idea of where it ends.
    assert note.end == pytest.approx(whole.end, abs=0.0125)
    assert abs(len(note.bends) - len(whole.bends)) <= 1


def test_memory_does_not_grow_with_length(monkeypatch):
    # The model itself is not asked: it takes half a minute and no more memory.
    rng = np.random.default_rng(1)
    one = rng.random((142, 88), np.float32) ** 6
    answer = Activations(one, one.copy(), np.zeros((142, 88), np.int8))
    monkeypatch.setattr(transcription.Ear, "_computed", lambda _self, _: answer)

    def peak(seconds):
        quiet = np.full((1, 22050), 0.1, np.float32)
        long = Blocks(lambda: iter([quiet] * seconds), rate=22050, channels=1, frames=None)
        tracemalloc.start()
        assert not heard_notes(long, Taste(frame=1.0, onset=1.0), part_frames=4000)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)  # what is loaded at the first call
    assert peak(1200) < peak(200) + 3 * 2**20


@pytest.mark.parametrize("samples", [0, 1, 255, 36164 - 3840, 36164, 36165, 50000, 72328])
def test_every_frame_that_begins_within_the_sound_is_there(samples):
    audio = sound(np.random.default_rng(1).standard_normal(samples) * 0.1, 22050)
    with LENT() as ear:
        pieces = list(activations(as_blocks(audio, 1000), ear))
    begins = [36164 * w + 256 * k for w in range(3) for k in range(142)]
    assert sum(map(len, pieces)) == sum(at < samples for at in begins)


def test_the_end_of_a_long_sound_is_heard(tmp_path):
    # Forty windows, in which basic-pitch's own count of frames ends 0.4 s early.
    quiet = silence(seconds=64.0, rate=22050)
    late = one_after_another(quiet, tone(440, seconds=0.6, rate=22050))
    (note,) = heard_notes(late.blocks(), Taste())
    assert note.end - note.start > 0.5
    _, theirs = predicted(write_wav(late, tmp_path / "late.wav"))
    assert sum(end - start for start, end, *_ in theirs) < 0.3


# -- refusals ---------------------------------------------------------------------------------
def test_the_descriptor_is_the_contracts(usual):
    told = usual.descriptor()
    assert told.pop("notes") > 10
    assert told == {"engine": "basic-pitch", "output_format": "mid"}


@pytest.mark.parametrize(
    ("params", "error"),
    [
        pytest.param({"engine": "magic"}, UnknownEngine, id="unknown engine"),
        pytest.param({}, MistypedParameter, id="no engine"),
        pytest.param({"engine": "basic-pitch", "onset_threshold": 1.01}, BadParameter, id="onset"),
        pytest.param({"engine": "basic-pitch", "frame_threshold": -0.1}, BadParameter, id="frame"),
        pytest.param(
            {"engine": "basic-pitch", "minimum_note_length_ms": -1.0}, BadParameter, id="length"
        ),
        pytest.param(
            {"engine": "basic-pitch", "minimum_frequency": 500.0, "maximum_frequency": 400.0},
            BadParameter,
            id="no band",
        ),
    ],
)
def test_what_cannot_be_is_refused(params, error):
    with pytest.raises(error):
        find("to_midi").read_params(params, strict=True)
