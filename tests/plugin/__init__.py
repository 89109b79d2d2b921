"""Distributions that declare operations, as a third party would; put one on PYTHONPATH to use it.

`good` has operations that behave badly on purpose, and one on the GPU lane. The others are broken
in one way each.
"""

from pathlib import Path

GOOD = Path(__file__).parent / "good"
BROKEN = Path(__file__).parent / "broken"
EMPTY = Path(__file__).parent / "empty"
CONTRADICTING = Path(__file__).parent / "contradicting"
