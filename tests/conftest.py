"""What holds for every test."""

import os
import sys

import pytest
from hypothesis import HealthCheck, settings

# Hundreds of processes are started here: as where audiolla is installed, they read bytecode.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# The small models of the tests gain nothing from threads, and the cores are shared.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples on every run, and no measure of time: two cores are shared with other tests.
settings.register_profile(
    "audiolla",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("audiolla")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    """A developer's own AUDIOLLA_* variables change no test."""
    for name in os.environ:
        if name.startswith("AUDIOLLA_") or name == "LOG_LEVEL":
            monkeypatch.delenv(name)
