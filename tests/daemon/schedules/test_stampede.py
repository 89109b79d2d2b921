"""The short form of `python -m bench.faults ticks`."""

from tests.daemon.schedules.stampede import stampede


def test_clocks_and_a_dispatcher_that_die_fire_each_tick_once(tmp_path):
    outcome = stampede(tmp_path, ticks=60, tickers=2, kills=3, seed=2, patience=120.0)
    assert (outcome.wrong, outcome.kills) == ([], 3)
