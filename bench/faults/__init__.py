"""Faults in release size: each of the promises that takes longer than a test may.

    python -m bench.faults NAME [...]
    python -m bench.faults            names what there is

Each module here is one of them, with a `main(arguments)` that prints what happened and returns 1
when a promise was broken. The short forms are in `tests/faults` and `tests/daemon`; what the last
runs found is in docs/endurance.md.
"""
