from tests.faults.restart import restart


def test_a_start_takes_up_what_was_queued_and_what_was_interrupted(tmp_path):
    """P3, the short form of `python -m bench.faults restart`."""
    story = restart(tmp_path, queued=300, interrupted=20)

    assert story.wrong == []
    # Queued again by the start itself, before anybody can ask, or at most a second later.
    assert story.again < 1.0
