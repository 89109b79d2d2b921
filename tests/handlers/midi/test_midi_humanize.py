from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.errors import BadParameter
from handlers.midi.midi_humanize import MidiHumanize, midi_humanize
from handlers.registry import find
from handlers.smf.notes import notes_of
from handlers.smf.reading import read
from tests.midi_strategies import files
from tests.scores import music, notes, others, raw_file, raw_track, simple


def humanized(midi, seed=1, **params):
    return midi_humanize(midi, MidiHumanize(seed=seed, **params)).midi


def run(count, *, gap=480, division=480, tempo=None):
    """Notes one after the other on keys of their own, at a tempo in µs per beat."""
    events = [(0, b"\xff\x51\x03" + tempo.to_bytes(3, "big"))] if tempo else []
    for i in range(count):
        key = 20 + i % 100
        events += [((i + 1) * gap, bytes((0x90, key, 64)))]
        events += [((i + 1) * gap + gap // 2, bytes((0x80, key, 30)))]
    events.sort(key=lambda event: event[0])
    return raw_file(raw_track(*events), kind=0, division=division)


# -- timing --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("bpm", "ticks"),
    [
        pytest.param(120, 10, id="10 ms are 9.6 ticks at 120 BPM"),
        pytest.param(60, 5, id="and 4.8 at 60"),
        pytest.param(240, 20, id="and 19.2 at 240"),
    ],
)
def test_the_largest_shift_is_that_of_the_files_own_tempo_and_all_are_as_likely(bpm, ticks):
    before = run(4000, tempo=round(60e6 / bpm))
    after = humanized(before, timing_ms=10, velocity_pct=0)
    by_pitch = zip(notes(after), notes(before), strict=True)
    shifts = np.array([a.start - b.start for a, b in by_pitch])
    most = int(480 * bpm / 60 * 0.01)
    assert most + 1 == ticks
    counts = Counter(shifts.tolist())
    assert set(counts) == set(range(-most, most + 1))
    # Each is as likely: within five standard deviations of a fair draw.
    expected = shifts.size / (2 * most + 1)
    assert max(abs(n - expected) for n in counts.values()) < 5 * expected**0.5


def test_the_tempo_is_that_of_the_moment():
    # 120 BPM for ten beats, then 30 BPM: 100 ms are 96 ticks, then 24.
    events = [(4800, b"\xff\x51\x03" + (2_000_000).to_bytes(3, "big"))]
    for i in range(1, 400):
        start = 480 + 10 * i if i < 200 else 5000 + 200 * i
        key = i % 128
        events += [(start, bytes((0x90, key, 64))), (start + 40, bytes((0x80, key, 0)))]
    events.sort(key=lambda event: event[0])
    before = raw_file(raw_track(*events), kind=0, division=480)
    after = humanized(before, timing_ms=100, velocity_pct=0)
    was, now = read(before), read(after)
    fast, slow = [], []
    moved = zip(notes_of(was).start, notes_of(now).start, strict=True)
    for a, b in moved:
        (fast if a < 4000 else slow).append(abs(int(b - a)))
    assert 80 < max(fast) <= 96
    assert 20 < max(slow) <= 24


def test_an_end_moves_with_its_beginning_and_keeps_its_velocity():
    before, after = run(200), humanized(run(200), timing_ms=200)
    assert [n.length for n in notes(after)] == [240] * 200
    releases = read(after).events
    assert set(releases["data2"][releases["status"] == 0x80].tolist()) == {30}
    assert others(after) == others(before)


def test_nothing_begins_before_the_beginning():
    assert notes(humanized(simple([(0, 10)]), timing_ms=500, velocity_pct=0))[0].start >= 0


def test_repeated_notes_do_not_run_into_each_other():
    before = simple([(k * 24, k * 24 + 24) for k in range(400)])
    for seed in range(5):
        found = notes(humanized(before, seed, timing_ms=500, velocity_pct=0))
        assert len(found) == 400
        assert all(a.start < a.end <= b.start for a, b in pairwise(found))


@pytest.mark.parametrize("before_note", [0, 48])
def test_no_note_overtakes_a_change_of_its_instrument(before_note):
    events = []
    for i in range(100):
        at = 96 * (i + 1)
        events.append((at - before_note, bytes((0xC0, i))))
        events += [(at, b"\x90\x3c\x64"), (at + 40, b"\x80\x3c\x40")]
    before = raw_file(raw_track(*events), kind=0)
    file = read(humanized(before, timing_ms=400, velocity_pct=0))
    kinds = [int(k) for k in file.kinds if k in (0x90, 0xC0)]
    assert kinds == [0xC0, 0x90] * 100
    changes = file.events["tick"][file.kinds == 0xC0]
    assert changes.tolist() == [96 * i - before_note for i in range(1, 101)]


def test_a_coarse_file_moves_by_whole_ticks_or_not_at_all():
    before = run(50, gap=24, division=24)  # 20.8 ms a tick
    same = humanized(before, timing_ms=20, velocity_pct=0)
    assert [n.start for n in notes(same)] == [n.start for n in notes(before)]
    apart = humanized(before, timing_ms=21, velocity_pct=0)
    shifts = {a.start - b.start for a, b in zip(notes(apart), notes(before), strict=True)}
    assert shifts == {-1, 0, 1}


def test_smpte_files_are_shifted_by_their_frames():
    before = run(300, gap=100, division=-(25 << 8) + 40)  # 1000 ticks per second
    moved = notes(humanized(before, timing_ms=15, velocity_pct=0))
    shifts = {a.start - b.start for a, b in zip(moved, notes(before), strict=True)}
    assert shifts == set(range(-15, 16))


# -- touch ---------------------------------------------------------------------------------
def test_velocities_change_by_at_most_their_share_of_127():
    before = run(3000)
    changes = [n.velocity - 64 for n in notes(humanized(before, timing_ms=0, velocity_pct=10))]
    assert set(changes) == set(range(-12, 13))  # 12.7
    assert [n.start for n in notes(humanized(before, timing_ms=0))] == [
        n.start for n in notes(before)
    ]


@pytest.mark.parametrize(("velocity", "least", "most"), [(1, 1, 64), (127, 64, 127)])
def test_a_velocity_stays_one(velocity, least, most):
    events = [(0, bytes((0x90, key, velocity))) for key in range(128)]
    events += [(9, bytes((0x80, key, 0))) for key in range(128)]
    before = raw_file(raw_track(*events), kind=0)
    found = {n.velocity for n in notes(humanized(before, timing_ms=0, velocity_pct=50))}
    assert min(found) >= least
    assert max(found) <= most
    assert len(found) > 20


# -- chance --------------------------------------------------------------------------------
def test_both_amounts_zero_is_the_file_itself():
    midi = music()
    assert humanized(midi, timing_ms=0, velocity_pct=0) is midi


def test_a_take_without_a_seed_says_which_seed_gives_it_again():
    first = midi_humanize(music(), MidiHumanize())
    other = midi_humanize(music(), MidiHumanize())
    assert first.seed != other.seed
    assert humanized(music(), first.seed) == first.midi


@pytest.mark.parametrize("seed", [0, -1, 1, 2**64, -(2**70)])
def test_any_whole_number_is_a_seed(seed):
    assert humanized(music(), seed) == humanized(music(), seed)
    assert humanized(music(), seed) != humanized(music(), seed + 1)


def test_the_shifts_do_not_depend_on_the_touch():
    still = notes(humanized(music(), timing_ms=20, velocity_pct=0))
    moved = notes(humanized(music(), timing_ms=20, velocity_pct=30))
    assert [n.start for n in still] == [n.start for n in moved]


@pytest.mark.parametrize(
    ("name", "value"),
    [("timing_ms", -1), ("timing_ms", 501), ("velocity_pct", -1), ("velocity_pct", 51)],
)
def test_amounts_have_their_limits(name, value):
    with pytest.raises(BadParameter, match=name):
        find("midi_humanize").read_params({name: value}, strict=True)


@settings(deadline=None, max_examples=80)
@given(
    files(smpte=True),
    st.integers(0, 99),
    st.sampled_from((0.0, 3.0, 60.0, 500.0)),
    st.sampled_from((0.0, 50.0)),
)
def test_every_note_is_still_there_ends_after_it_began_and_the_same_seed_says_the_same(
    midi, seed, timing, velocity
):
    after = humanized(midi, seed, timing_ms=timing, velocity_pct=velocity)
    assert humanized(midi, seed, timing_ms=timing, velocity_pct=velocity) == after
    was, now = notes_of(read(midi)), notes_of(read(after))
    assert now.count == was.count
    assert (now.off < 0).sum() == (was.off < 0).sum()
    assert (now.end >= now.start).all()
    keys = np.bincount(was.key % 2048, minlength=2048)
    assert np.array_equal(np.bincount(now.key % 2048, minlength=2048), keys)


@settings(deadline=None, max_examples=60)
@given(files(escapes=False), st.integers(0, 9))
def test_all_but_notes_stays_where_it_was(midi, seed):
    assert others(humanized(midi, seed, timing_ms=80)) == others(midi)
