import numpy as np
import pytest
from scipy.optimize import nnls

from handlers.hearing import Heard
from handlers.kernels.harmony import explained
from handlers.listening.notes import FRAME_RATE, HARMONY, note_spectra
from tests.sounds import as_blocks, played, silence


def heard(audio, block=7777):
    return Heard(as_blocks(audio, block))[HARMONY]


@pytest.mark.parametrize("cents", [-35, -10, 0, 20, 45])
def test_the_tuning_is_told_in_cents(cents):
    pitches = (48, 52, 55, 60, 65, 69)
    audio = played([(i * 0.5, i * 0.5 + 0.5, p + cents / 100) for i, p in enumerate(pitches)])
    assert heard(audio).tuning == pytest.approx(cents, abs=1.5)


@pytest.mark.parametrize("cents", [0, 30])
def test_the_treble_has_the_tones_of_the_chord_and_the_bass_its_lowest(cents):
    chord = [(0, 2, p + cents / 100) for p in (41, 60, 64, 67, 69)]
    found = heard(played(chord, rate=44100))
    middle = slice(round(0.5 * FRAME_RATE), round(1.5 * FRAME_RATE))
    treble = found.treble[middle].mean(axis=0)
    assert set(np.argsort(treble)[-4:]) == {0, 4, 7, 9}
    assert found.bass[middle].mean(axis=0).argmax() == 5


def test_notes_are_found_as_a_reference_solver_finds_them():
    dictionary = note_spectra(0).astype(np.float64)
    rng = np.random.default_rng(3)
    truth = rng.random((20, len(dictionary))) * (rng.random((20, len(dictionary))) < 0.06)
    seen = truth @ dictionary + 0.02 * rng.random((20, dictionary.shape[1]))
    found = np.empty((20, len(dictionary)), np.float32)
    gram = np.ascontiguousarray(dictionary @ dictionary.T, np.float32)
    explained(gram, np.ascontiguousarray(seen @ dictionary.T, np.float32), 60, found)
    for row, wanted in zip(found, seen, strict=True):
        best = nnls(dictionary.T, wanted)[1]
        ours = np.linalg.norm(row @ dictionary - wanted)
        assert ours <= best * 1.01 + 1e-3


def test_silence_has_no_tones_and_any_blocks_give_the_same():
    assert not heard(silence(seconds=2)).treble.any()
    audio = played([(0, 3, 60), (1, 3, 64)], rate=44100)
    one, other = heard(audio, 100_000), heard(audio, 311)
    assert np.array_equal(one.treble, other.treble)
    assert len(one.treble) == int(3 * FRAME_RATE) + 1 == len(one.level)
