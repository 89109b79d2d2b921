"""Faults on purpose, at the size of a release: each a command whose last run is in `docs/`."""
