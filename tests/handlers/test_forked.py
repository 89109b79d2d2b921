"""Several sounds of one pass: read one after another, side by side, or by several at once."""

import threading

import numpy as np
import pytest

from handlers.errors import Cancelled, StorageFull
from handlers.forked import forked, side_by_side
from tests.sounds import as_blocks, noise


class Source:
    """Counts how often it is passed over."""

    def __init__(self, blocks=20):
        self.audio = noise(seconds=blocks * 0.01, rate=10_000, channels=2)
        self.passes = self.ended = 0

    def make(self):
        self.passes += 1
        try:
            for block in as_blocks(self.audio, 100):
                yield block, -block, 2 * block
        finally:
            self.ended += 1

    def branches(self, **about):
        return forked(self.audio.blocks(), self.make, 3, **about)

    def check(self, found):
        for samples, factor in zip(found, (1, -1, 2), strict=True):
            np.testing.assert_array_equal(samples, factor * self.audio.samples)


def test_side_by_side_they_cost_one_pass_and_no_memory():
    source = Source()
    rows = list(zip(*source.branches(keep_bytes=3 * 800), strict=True))
    assert source.passes == source.ended == 1
    source.check(np.concatenate(column, axis=1) for column in zip(*rows, strict=True))


def test_one_after_another_the_first_keeps_for_the_others():
    source = Source()
    branches = source.branches()
    source.check([branch.whole().samples for branch in branches])
    assert source.passes == source.ended == 1
    source.check([branch.whole().samples for branch in branches])
    assert source.passes == 2


def test_what_is_too_much_to_keep_is_computed_again():
    source = Source()
    source.check([branch.whole().samples for branch in source.branches(keep_bytes=5000)])
    assert source.passes == 3


def test_a_reader_that_stops_early_takes_nothing_from_the_others():
    source = Source()
    first, second, third = source.branches()
    running = iter(first)
    next(running)
    running.close()
    source.check([second.whole().samples / -1, -first.whole().samples, third.whole().samples])
    assert source.passes == 2


def test_a_pass_that_nobody_reads_any_more_ends():
    source = Source()
    running = [iter(branch) for branch in source.branches()]
    for one in running:
        next(one)
        one.close()
    del running, one
    assert source.ended == 1


def test_takers_read_at_the_same_time():
    source = Source()
    all_here = threading.Barrier(3)

    def take(at, sound):
        blocks = iter(sound)
        first = next(blocks)
        all_here.wait(timeout=30)
        return np.concatenate([first, *blocks], axis=1)

    source.check(side_by_side(source.branches(keep_bytes=0), take))
    assert source.passes == 1


def test_what_a_taker_fails_with_is_raised_and_ends_the_others():
    source, ended = Source(blocks=500), []

    def take(at, sound):
        try:
            for number, _ in enumerate(sound):
                if at == 1 and number == 3:
                    raise StorageFull("no space left")
        finally:
            ended.append(at)

    with pytest.raises(StorageFull):
        side_by_side(source.branches(), take)
    assert sorted(ended) == [0, 1, 2]


def test_what_reading_fails_with_is_raised_and_ends_the_takers():
    ended = []

    def make():
        yield (np.zeros((2, 5), np.float32),) * 3
        raise Cancelled("no more")

    def take(at, sound):
        try:
            list(sound)
        finally:
            ended.append(at)

    with pytest.raises(Cancelled):
        side_by_side(forked(Source().audio.blocks(), make, 3), take)
    assert sorted(ended) == [0, 1, 2]


def test_a_taker_may_be_content_with_less():
    source = Source(blocks=100)

    def take(at, sound):
        return sum(1 for _ in sound) if at else next(iter(sound)).shape[1]

    assert side_by_side(source.branches(), take) == [100, 100, 100]
