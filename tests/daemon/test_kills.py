import statistics

from tests.daemon.nemesis import rampage


def test_every_file_is_delivered_once_and_whole_whoever_is_killed(tmp_path):
    """P1, P2: the short form of `python -m bench.faults kills`."""
    story = rampage(tmp_path, worker_kills=20, daemon_kills=4, seed=2)

    assert story.wrong == []
    assert story.jobs > 30
    assert (story.worker_kills, story.daemon_kills) == (20, 4)
    # Kills come faster than workers start, so a spare is not always there. Mostly it is.
    assert statistics.quantiles(story.waits, n=4)[0] < 0.1
