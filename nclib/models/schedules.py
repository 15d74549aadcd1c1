"""The training loop, and schedules of its rate: from the part of training that is done to the part of the peak."""

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")


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


def run_epoch(
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Batch],
    loss: Callable[[Batch], Tensor],
    *,
    steps: int,
    epoch: int,
    epochs: int,
    schedule: str,
) -> None:
    """One pass over the batches, `steps` in all, each at the rate that the schedule gives it.

    The peak of the rate is that of the optimiser as it was made, its ``defaults["lr"]``.
    """
    for step, batch in enumerate(batches):
        progress = (epoch + (step + 0.5) / steps) / epochs
        optimizer.param_groups[0]["lr"] = optimizer.defaults["lr"] * SCHEDULES[schedule](progress)
        optimizer.zero_grad()
        loss(batch).backward()
        optimizer.step()
