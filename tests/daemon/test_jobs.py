import pytest

from daemon.jobs import ENDED, MOVES, STATES, ForbiddenMove, NewJob, check_move

ALL = [(old, new) for old in STATES for new in STATES]


@pytest.mark.parametrize(("old", "new"), [m for m in ALL if m not in MOVES])
def test_a_move_that_is_not_in_the_table_is_refused(old, new):
    with pytest.raises(ForbiddenMove, match=f"job j is {old}; it cannot become {new}"):
        check_move("j", old, new)


@pytest.mark.parametrize(("old", "new"), MOVES)
def test_a_move_in_the_table_is_allowed_and_says_why(old, new):
    check_move("j", old, new)
    assert MOVES[old, new].endswith(".")


def test_every_state_can_be_reached_and_left():
    reached, before = {"pending"}, set()
    while reached != before:
        before = set(reached)
        reached |= {new for old, new in MOVES if old in before}

    assert reached == set(STATES)
    assert {old for old, _ in MOVES} == set(STATES) - {"completed"}
    assert {"completed", "failed", "cancelled"} == ENDED


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"lane": "tpu"}, "lane = 'tpu': it is one of cpu, gpu"),
        ({"source": "mail"}, "source = 'mail': it is one of folder, rest, mcp, schedule, cli"),
        ({"weight": 0}, "weight = 0: it must be above 0"),
        ({"max_attempts": 0}, "max_attempts = 0: it must be at least 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_job_that_makes_no_sense_is_refused_where_it_is_made(wrong, words):
    with pytest.raises(ValueError, match=words):
        NewJob(**{"order": "{}", "source": "cli", "endpoint": "/", **wrong})


def test_ids_sort_by_the_time_they_were_made():
    ids = [NewJob(order="{}", source="cli", endpoint="/").id for _ in range(100)]

    assert ids == sorted(ids)
    assert len(set(ids)) == 100
