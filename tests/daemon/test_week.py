from tests.faults.week import week


def test_after_a_week_of_troubles_every_file_is_accounted_for(tmp_path):
    """The short form of `python -m bench.faults week`."""
    story = week(tmp_path, files=14, restarts=6, seed=1)

    assert story.wrong == []
    assert story.delivered + story.refused == story.files
    assert (story.restarts, story.overflows, story.absences) == (6, 3, 2)
    print(f"the share was {story.share}")
