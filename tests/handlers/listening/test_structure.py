import itertools

import numpy as np
import pytest

from handlers.kernels.structure import best_borders
from handlers.listening.structure import Part, units


@pytest.mark.parametrize("least", [1, 2])
def test_the_borders_are_the_best_of_all(least):
    rng = np.random.default_rng(2)
    for most in (2, 3, 4):
        gain = rng.standard_normal(9)
        cost = rng.random(10)
        price = np.full(most, np.inf)
        price[-1] = 0.0

        def worth(cuts, gain=gain, cost=cost):
            ends = (*cuts, 9)
            lengths = [b - a for a, b in itertools.pairwise((0, *cuts))]
            if min(b - a for a, b in itertools.pairwise((0, *ends))) < least:
                return -np.inf
            return sum(gain[c] for c in cuts) - sum(cost[n] for n in lengths)

        borders = np.empty(most + 1, np.int32)
        best_borders(gain, cost, least, price, borders)
        best = max(itertools.combinations(range(1, 9), most - 1), key=worth)
        assert tuple(borders.tolist()) == (0, *best, 9)


def test_without_a_number_borders_are_only_where_they_are_worth_it():
    gain = np.zeros(12)
    gain[[4, 8]] = 2.0
    borders = np.empty(7, np.int32)
    best_borders(gain, np.zeros(13), 1, 0.5 * np.arange(1.0, 7.0), borders)
    assert borders.tolist() == [0, 4, 8, 12, -1, -1, -1]


def test_letters_go_on_after_z():
    assert [Part(0, 1, n).letter for n in (0, 1, 25, 26, 27, 52)] == [
        *("A", "B", "Z", "AA", "AB", "BA"),
    ]


def test_units_are_bars_where_there_are_enough_else_beats_else_seconds():
    bars, beats = np.arange(0.5, 40, 2.0), np.arange(0.5, 40, 0.5)
    edges = units(40.0, bars, beats, 12)
    assert edges[0] == 0
    assert edges[-1] == 40
    # What comes before the first bar and after the last one is no unit of its own when short.
    assert edges[1:-1].tolist() == bars[1:].tolist()
    assert np.median(np.diff(units(40.0, bars[:3], beats, 12))) == 0.5
    assert np.median(np.diff(units(40.0, [], [], 12))) == 1.0
    assert units(1.5, [], [], 12).tolist() == [0, 1.5]


def test_the_longest_recording_has_a_bounded_number_of_units():
    assert len(units(3 * 3600.0, np.arange(1, 10800, 2.0), [], 6)) <= 1501
