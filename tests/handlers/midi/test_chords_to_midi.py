import pytest

from handlers.errors import CannotProcess
from handlers.hearing import Heard
from handlers.listening.chords import CHORDS, merged
from handlers.midi.chords_to_midi import ChordsToMidi, chords_to_midi
from tests.handlers.analysis.test_chords import HEARD
from tests.scores import heard
from tests.sounds import as_blocks, silence

TRIADS = {"C": (0, 4, 7), "Am": (9, 12, 16), "F": (5, 9, 12), "G": (7, 11, 14)}


@pytest.mark.parametrize("params", [
    {}, {"tempo_bpm": 47.0}, {"tempo_bpm": 999.0}, {"octave": 0, "velocity": 1}, {"octave": 8},
])  # fmt: skip
def test_root_third_and_fifth_sound_as_long_as_the_chord_at_any_tempo(params):
    made = chords_to_midi(HEARD, ChordsToMidi(**params))
    spans = merged(HEARD[CHORDS], 0.5, sevenths=False)
    notes, song = heard(made.midi)
    assert made.chord_count == len(spans) == 8
    assert made.key == "C major"
    assert made.size == len(made.midi.data)
    lowest = 12 * (params.get("octave", 4) + 1)
    expected = sorted(
        (span.start, span.end, lowest + pitch, params.get("velocity", 80))
        for span in spans
        for pitch in TRIADS[span.label(False)]
    )
    assert [n[2:4] for n in notes] == [e[2:4] for e in expected]
    for note, wanted in zip(notes, expected, strict=True):
        assert note[:2] == pytest.approx(wanted[:2], abs=0.001)
    tempo = 60e6 / next(m.tempo for m in song.tracks[0] if m.type == "set_tempo")
    assert tempo == pytest.approx(params.get("tempo_bpm", made.tempo_bpm), rel=1e-4)


def test_a_sound_without_chords_is_refused():
    with pytest.raises(CannotProcess, match="no chords"):
        chords_to_midi(Heard(as_blocks(silence(), 4000)), ChordsToMidi())
