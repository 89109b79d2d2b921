"""Where a time axis has its ticks, and how moments are written."""

from __future__ import annotations

_STEPS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400),
)


def time_ticks(duration: float, most: int = 12) -> tuple[list[float], list[str]]:
    """Ticks of an axis from 0 to `duration` seconds, no more than `most` steps, and their texts."""
    step = next((s for s in _STEPS if duration / s <= most), duration / most)
    ticks = [number * step for number in range(int(duration / step + 1e-9) + 1)]
    return ticks, [clock(tick, step) for tick in ticks]


def clock(seconds: float, step: float = 1) -> str:
    """`1:02:03`, `2:03` or, where `step` is finer than a second, `2:03.50`."""
    digits = next((d for d in range(4) if abs(round(step, d) - step) < 1e-9), 3)
    whole = round(seconds, digits)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(int(minutes), 60)
    shown = f"{rest:0{3 + digits if digits else 2}.{digits}f}"
    if hours:
        return f"{hours}:{minutes:02d}:{shown}"
    return f"{minutes}:{shown}"
