from tests.faults.stalled import stalled


def test_what_arrives_while_the_daemon_stands_still_is_seen_whole_and_once(tmp_path):
    """P8, the short form of `python -m bench.faults stalled`."""
    story = stalled(tmp_path, files=300, sounds=30, seed=1, writers=3)

    assert story.wrong == []
