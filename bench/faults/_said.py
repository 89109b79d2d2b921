"""How a run says what it found."""

from collections.abc import Sequence


def verdict(wrong: Sequence[str], good: str) -> int:
    """Print the faults, or that there are none; the exit status."""
    for line in wrong[:40]:
        print("WRONG:", line)
    print(good if not wrong else f"BROKEN: {len(wrong)} faults")
    return int(bool(wrong))
