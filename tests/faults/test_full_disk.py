import warnings

from tests.faults.full_disk import CannotMount, full_disks


def test_a_disk_that_fills_under_the_outputs_delays_and_loses_nothing(tmp_path):
    """P4, the short form of `python -m bench.faults disk`.

    Where nothing may be mounted, tests/daemon/delivering/test_troubles.py puts the same faults in.
    """
    try:
        story = full_disks(tmp_path, "output", rounds=1, seed=1)
    except CannotMount as refused:
        warnings.warn(f"nothing may be mounted here: {refused}", stacklevel=1)
        return
    assert story.wrong == []
    assert story.rounds == 1
