import threading

import numpy as np
import pytest

from handlers.ahead import ahead
from handlers.errors import Cancelled


def blocks(count):
    for number in range(count):
        yield np.full((1, 4), number, np.float32)


def test_the_same_blocks_come_in_the_same_order():
    assert [int(block[0, 0]) for block in ahead(blocks(50))] == list(range(50))


def test_they_are_computed_before_they_are_asked_for():
    computed = threading.Semaphore(0)

    def counting():
        for block in blocks(3):
            computed.release()
            yield block

    reading = ahead(counting())
    next(reading)
    for _ in range(3):
        assert computed.acquire(timeout=10)


def test_a_refusal_reaches_whoever_reads():
    def refusing():
        yield from blocks(2)
        raise Cancelled("stop")

    seen = []
    with pytest.raises(Cancelled):
        seen.extend(ahead(refusing()))


def test_an_endless_sound_ends_when_nobody_reads_any_more():
    def endless():
        while True:
            yield from blocks(1)

    reading = ahead(endless())
    next(reading)
    before = threading.active_count()
    reading.close()
    assert threading.active_count() == before - 1
