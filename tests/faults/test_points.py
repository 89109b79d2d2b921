"""P5, the short form of `python -m bench.faults points`."""

import random

import pytest

from tests.faults.everywhere import FAULTS, calls_of, fail_each


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_fails_at_whichever_call_leaves_a_clean_state(tmp_path, fault):
    calls = calls_of(tmp_path)
    assert {"open", "pwrite", "fsync", "renameat2", "commit", "unlink"} <= set(calls)
    # Around the promise of the names nothing may be left out.
    promise = max(n for n, name in enumerate(calls, 1) if name == "renameat2")
    chosen = random.Random(fault).sample(range(1, len(calls)), 4)
    story = fail_each(tmp_path, fault, sorted({*chosen, promise - 6, promise - 1, promise + 1}))

    assert story.wrong == []
    assert story.runs >= 5
