"""P3 and P8 with one daemon: `python -m bench.faults restart` and `stalled` in short."""

import pytest

from tests.faults.restart import restart
from tests.faults.stalled import prepare, stand_still


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    folder = tmp_path_factory.mktemp("standing")
    box, stood = folder / "data/folders/box", []
    prepare(box)

    def then(daemon):
        stood.append(stand_still(daemon, box, files=300, sounds=30, seed=1, writers=3))

    return restart(folder, queued=300, interrupted=20, then=then), *stood


def test_a_start_takes_up_what_was_queued_and_what_was_interrupted(stories):
    started, _ = stories

    assert started.wrong == []
    # Queued again by the start itself, before anybody can ask, or at most a second later.
    assert started.again < 1.0


def test_what_arrives_while_the_daemon_stands_still_is_seen_whole_and_once(stories):
    _, stood = stories

    assert stood.wrong == []
