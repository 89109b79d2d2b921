from tests.faults.poison import DEADLY, poison


def test_whatever_a_job_does_to_its_worker_the_others_are_done_and_it_says_why(tmp_path):
    """P6, the short form of `python -m bench.faults poison`.

    One that listens to nobody is in tests/daemon/test_dispatcher.py.
    """
    story = poison(tmp_path, rounds=1, good=40)

    assert story.wrong == []
    assert story.poisoned == len(DEADLY)
