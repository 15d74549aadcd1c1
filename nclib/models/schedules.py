"""The training loop, and schedules of the learning rate: from the share of training done to a share of the peak."""

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")


def _one_cycle(progress: float) -> float:
    """A linear rise for a quarter of the time, then a cosine down to zero."""
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
    """One pass over the batches, `steps` in all, at the learning rates of the schedule; `epoch` are done before it.

    The peak rate is the optimiser's initial rate, its ``defaults["lr"]``.
    """
    for step, batch in enumerate(batches):
        progress = (epoch + (step + 0.5) / steps) / epochs
        optimizer.param_groups[0]["lr"] = optimizer.defaults["lr"] * SCHEDULES[schedule](progress)
        optimizer.zero_grad()
        loss(batch).backward()
        optimizer.step()
