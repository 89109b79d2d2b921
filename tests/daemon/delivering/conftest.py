"""Hot folders whose jobs are really run, and a sound to drop."""

import pytest

from tests.daemon.delivering.doing import Workshop
from tests.sounds import noise, write_wav


@pytest.fixture
def take(tmp_path):
    """The bytes of a WAV file: two seconds of noise."""
    return write_wav(noise(seconds=2, channels=2, peak_db=-12), tmp_path / "t.wav").read_bytes()


@pytest.fixture
def shop(tmp_path):
    """Makes workshops; they end with the test."""
    made = []

    def make(rules="rules: [{name: back, steps: [reverse]}]", **more):
        made.append(Workshop(tmp_path, rules, **more))
        return made[-1]

    yield make
    for one in made:
        one.manager.stop()
