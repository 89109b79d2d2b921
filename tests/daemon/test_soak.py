"""The short form of bench/soak.py."""

from daemon.settings import Settings
from daemon.shelves import enabled
from tests.daemon.soak import WORK, soak


def test_every_engine_serves_while_others_make_room(tmp_path):
    story = soak(tmp_path, len(WORK), seed=1)
    assert story.wrong == []
    assert story.seen == {engine.slug for engine in enabled(Settings()) if engine.weights}
    assert story.most < len(story.seen)
