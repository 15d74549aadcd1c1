"""Schedules of the learning rate: from the part of training that is done, 0 to 1, to the part of the peak."""

import math
from collections.abc import Callable


def _one_cycle(progress: float) -> float:
    """Up in a straight line for a quarter of the time, down to zero as a cosine."""
    rise = 0.25
    if progress < rise:
        return progress / rise
    return 0.5 + 0.5 * math.cos(math.pi * (progress - rise) / (1 - rise))


SCHEDULES: dict[str, Callable[[float], float]] = {
    "one-cycle": _one_cycle,
    "cosine": lambda progress: 0.5 + 0.5 * math.cos(math.pi * progress),
    "constant": lambda progress: 1.0,
    "warm-up": lambda progress: min(1.0, progress / 0.05),
}
