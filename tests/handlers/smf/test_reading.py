import resource
import struct
import time
from io import BytesIO

import mido
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handlers.artifacts import Midi
from handlers.errors import AudiollaError, UnreadableInput
from handlers.registry import find
from handlers.smf.clock import seconds_of
from handlers.smf.reading import read
from handlers.smf.writing import write
from tests.midi_strategies import files
from tests.scores import music, number, raw_file, raw_track, simple

NOTE = (0, b"\x90\x3c\x64"), (96, b"\x80\x3c\x40")
GOOD = raw_track(*NOTE)


@pytest.fixture(scope="module", autouse=True)
def _kernels_are_there():
    read(raw_file(GOOD))


def chunk(body, size=None, mark=b"MTrk"):
    return mark + struct.pack(">I", len(body) if size is None else size) + body


def header(kind=1, tracks=1, division=96, size=6):
    return b"MThd" + struct.pack(">IHHH", size, kind, tracks, division & 0xFFFF)


# -- what is refused -----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "begins with nothing, not with MThd", id="nothing"),
        pytest.param(b"RIFF....", "not a Standard MIDI File.*52 49 46 46.*MThd", id="a WAV file"),
        pytest.param(b"MThd\0\0", "header.*cut off", id="half a header"),
        pytest.param(header(size=2), "says that it has 2 bytes", id="a short header"),
        pytest.param(header(size=2**31), "says that it has 2147483648", id="a huge header"),
        pytest.param(header(kind=3) + GOOD, "type 3", id="an unknown type"),
        pytest.param(header(tracks=0), "no track", id="no track"),
        pytest.param(header(division=0) + GOOD, "0 ticks per beat", id="zero division"),
        pytest.param(header(division=-(31 << 8)) + GOOD, "31 SMPTE frames", id="31 frames/s"),
        pytest.param(
            header(division=-(25 << 8)) + GOOD, "with 0 ticks", id="no ticks per SMPTE frame"
        ),
        pytest.param(header(tracks=65535) + GOOD, "promises 65535 tracks", id="65535 tracks"),
        pytest.param(
            header(tracks=65535) + 65535 * chunk(b"\0\xff\x2f\0"),
            "65535 tracks; no more than 4096",
            id="65535 tracks that are there",
        ),
        pytest.param(header(tracks=3) + 2 * GOOD, "promises 3 tracks.*after 2", id="a track lost"),
        pytest.param(
            header() + chunk(b"\0\xff\x2f\0", size=2**32 - 1),
            "MTrk at byte 14 says that it has 4294967295 bytes; the file ends after 4",
            id="an absurd length",
        ),
        pytest.param((header() + GOOD)[:-6], "MTrk at byte 14.*ends after", id="a cut off track"),
        pytest.param(
            header() + 100 * chunk(b"", mark=b"XFIH") + GOOD, "more than 64 chunks", id="strangers"
        ),
        pytest.param(
            header() + chunk(b"\0\x3c\x64"),
            "track 0 is damaged at byte 23: the data byte 0x3C comes before any status",
            id="running status from nowhere",
        ),
        pytest.param(
            header() + chunk(b"\0\xff\x01\x01a\0\x3c\x64"),
            "at byte 28: the data byte 0x3C comes before any status",
            id="running status behind nothing but a text",
        ),
        pytest.param(
            header() + chunk(b"\x81" * 2**20 + b"\0\x90\x3c\x64"),
            "at byte 22: a number goes on for more than four bytes",
            id="a number of a megabyte",
        ),
        pytest.param(
            header() + chunk(b"\0\xff\x01" + b"\x80" * 5 + b"\0"),
            "at byte 25: a number goes on",
            id="a length of five bytes",
        ),
        pytest.param(
            header() + chunk(b"\0\xff\x01\xff\xff\xff\x7fabc"),
            "length of an event reaches beyond the end of its track",
            id="a text of 256 MiB",
        ),
        pytest.param(
            header() + chunk(b"\0\xf0\x05\x01\x02"), "reaches beyond", id="an unfinished sysex"
        ),
        pytest.param(
            header() + chunk(b"\0\x90\x3c\x90\x3c\x64"),
            "at byte 25: 0x90 is a status where a data byte",
            id="a status inside of a note",
        ),
        pytest.param(header() + chunk(b"\0\xf4"), "status 0xF4 has no meaning", id="status F4"),
        pytest.param(header() + chunk(b"\0\x90\x3c"), "ends within an event", id="half a note"),
        pytest.param(header() + chunk(b"\0"), "ends within an event", id="a time and nothing"),
        pytest.param(header() + chunk(b"\0\xff"), "ends within an event", id="half a meta event"),
        pytest.param(
            header() + chunk(9 * b"\xff\xff\xff\x7f\xc0\x01"),
            "byte 70: the track lasts longer than 2147483647 ticks",
            id="2^31 ticks",
        ),
        pytest.param(
            header() + chunk(b"\0\xff\x51\x03\0\0\0"), "tick 0: the tempo says 0", id="no tempo"
        ),
        pytest.param(
            header() + chunk(b"\x05\xff\x51\x02\0\1"), "tick 5: the tempo has 2", id="half a tempo"
        ),
    ],
)
def test_damage_is_refused_at_once_and_says_where(data, says):
    begun = time.process_time()
    with pytest.raises(UnreadableInput, match=says):
        read(Midi(data))
    assert time.process_time() - begun < 0.25


def test_the_largest_file_of_the_shortest_events_is_read_in_a_second_and_little_memory():
    # A program change without status takes two bytes; 16 MiB is what files may have.
    body = b"\0\xc0\x01" + b"\0\x01" * (2**23 - 40)
    midi = raw_file(chunk(body))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    file = read(midi)
    assert time.process_time() - begun < 1.5
    assert file.events.size == 2**23 - 40 + 2
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 600 * 1024  # KiB


def test_a_note_may_not_be_torn_by_any_cut():
    whole = music().data
    for size in range(len(whole)):
        with pytest.raises(UnreadableInput):
            read(Midi(whole[:size]))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_the_damage_every_operation_answers_or_refuses_by_name(data):
    raw = bytearray(data.draw(files()).data)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(4, len(raw) - 1))] = data.draw(st.integers(0, 255))
    midi = Midi(bytes(raw))
    for name, params in (
        ("midi_inspect", {}),
        ("midi_quantize", {"grid_beats": 0.3}),
        ("midi_humanize", {"seed": 1}),
        ("midi_transform", {"transpose_semitones": 5, "drop_channels": [9], "tempo_bpm": 100}),
    ):
        op = find(name)
        try:
            result = op.func(midi, op.read_params(params, strict=True))
        except AudiollaError:
            continue
        if name != "midi_inspect":
            read(result.midi)


# -- what is understood ----------------------------------------------------------------------
def by_mido(midi):
    """Tick and bytes of each event of each track, as mido has them."""
    told = []
    for track in mido.MidiFile(file=BytesIO(midi.data)).tracks:
        tick = 0
        events = []
        for message in track:
            tick += message.time
            events.append((tick, bytes(message.bytes())))
        told.append(events)
    return told


def by_us(midi):
    file = read(midi)
    told = [[] for _ in range(file.tracks)]
    for index, event in enumerate(file.events):
        status, first, second = int(event["status"]), int(event["data1"]), int(event["data2"])
        if status == 0xFF:
            payload = file.payload(index)
            raw = bytes((status, first)) + number(len(payload)) + payload
        elif status == 0xF0:
            raw = b"\xf0" + file.payload(index)
        elif status & 0xF0 in (0xC0, 0xD0):
            raw = bytes((status, first))
        else:
            raw = bytes((status, first, second))
        told[event["track"]].append((int(event["tick"]), raw))
    return told


@settings(deadline=None, max_examples=80)
@given(files(escapes=False))
def test_every_event_is_where_and_what_mido_says(midi):
    assert by_us(midi) == by_mido(midi)


@settings(deadline=None, max_examples=70)
@given(files())
def test_a_file_that_is_read_and_written_is_the_same_to_the_byte(midi):
    assert write(read(midi)) == midi


@settings(deadline=None, max_examples=70)
@given(files(tidy=False))
def test_what_is_written_holds_the_same_events_however_it_was_spelled(midi):
    once = read(midi)
    again = read(write(once))
    for name in ("tick", "track", "size", "status", "data1", "data2"):
        assert np.array_equal(once.events[name], again.events[name])
    assert [once.payload(i) for i in range(once.events.size)] == [
        again.payload(i) for i in range(again.events.size)
    ]
    assert write(again) == write(once)


def test_what_others_put_into_a_file_comes_back():
    stranger = chunk(b"from a keyboard", mark=b"XFIH")
    data = header(size=8) + b"??" + stranger + GOOD + stranger + stranger
    assert write(read(Midi(data))).data == data


def test_junk_behind_the_last_track_is_left_out():
    assert write(read(Midi(raw_file(GOOD).data + b"\0" * 5))) == raw_file(GOOD)
    assert write(read(Midi(raw_file(GOOD).data + b"TAG and no chunk"))) == raw_file(GOOD)


def test_a_missing_end_of_track_is_added_and_what_follows_one_is_left_out():
    assert write(read(raw_file(raw_track(*NOTE, end=None)))) == raw_file(GOOD)
    padded = chunk(GOOD[8:] + b"\0" * 20)
    assert write(read(raw_file(padded))) == raw_file(GOOD)


def test_running_status_goes_on_behind_a_text():
    file = read(raw_file(chunk(b"\0\x90\x3c\x64\0\xff\x01\x01a\x05\x3c\x00\0\xff\x2f\0")))
    assert [int(s) for s in file.events["status"]] == [0x90, 0xFF, 0x90, 0xFF]


# -- how long it lasts -----------------------------------------------------------------------
@settings(deadline=None, max_examples=70)
@given(files(kinds=(0, 1), escapes=False))
def test_a_file_lasts_as_long_as_mido_says(midi):
    file = mido.MidiFile(file=BytesIO(midi.data))
    assert seconds_of(read(midi)) == pytest.approx(file.length, rel=1e-9, abs=1e-9)


def test_independent_tracks_have_their_own_tempos():
    slow = raw_track((0, b"\xff\x51\x03\x0f\x42\x40"), (96, b"\x90\x3c\x00"))
    fast = raw_track((192, b"\x90\x3c\x00"))
    assert seconds_of(read(raw_file(slow, fast, kind=2))) == pytest.approx(1.0)
    assert seconds_of(read(raw_file(slow, fast, kind=1))) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("frames", "seconds"), [(24, 1.0), (25, 0.96), (30, 0.8), (29, 24 * 1001 / 30000)]
)
def test_smpte_time_is_that_of_its_frames_whatever_a_tempo_says(frames, seconds):
    division = -(frames << 8) + 10
    tempo = (0, b"\xff\x51\x03\x0f\x42\x40")
    midi = raw_file(raw_track(tempo, (240, b"\x90\x3c\x00")), division=division)
    assert seconds_of(read(midi)) == pytest.approx(seconds)


def test_a_simple_file_is_what_it_says():
    assert read(simple([(0, 96)])).ticks_per_beat == 96
