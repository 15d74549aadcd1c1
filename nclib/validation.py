"""The strength of a probe's penalty, chosen by its accuracy on samples held out for that."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def positive_numbers(name: str, value: Any) -> list[float]:
    """A parameter as a list: one positive number, or several."""
    try:
        numbers = np.atleast_1d(np.asarray(value, dtype=float))
    except (TypeError, ValueError):
        numbers = np.array([])
    if numbers.ndim != 1 or not len(numbers) or not (np.isfinite(numbers) & (numbers > 0)).all():
        raise ValueError(f"{name} is {value!r}; it must be positive and finite: a number, or a list of them")
    return numbers.tolist()


def held_out(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which of the labels (N,), integers from 0, are held out: a share of every class, but never all, bool (N,)."""
    if not 0 < share < 1:
        raise ValueError(f"validation is {share}; it must be above 0 and below 1")
    counts = np.bincount(labels)
    numbers = np.minimum(np.floor(share * counts + 0.5), counts - 1)
    if not (numbers > 0).any():
        raise ValueError(
            f"validation={share} of a class is no sample of any, the largest having {counts.max()}; "
            "raise it, or give one strength"
        )
    order = np.lexsort((np.random.default_rng(seed).random(len(labels)), labels))
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[order] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranks < numbers[labels]


def validated(
    fit: Callable[[Tensor, Tensor, list[float]], Callable[[Tensor], Tensor]],
    features: Tensor,
    labels: Tensor,
    strengths: Sequence[float],
    *,
    share: float,
    seed: int,
) -> np.ndarray:
    """Accuracies on the samples held out, float64 (S,). What `fit` returns makes (S, n, K) of features (n, d)."""
    held = torch.from_numpy(held_out(labels.numpy(force=True), share, seed)).to(labels.device)
    decide = fit(features[~held], labels[~held], list(strengths))
    right = decide(features[held]).argmax(2) == labels[held]
    return right.double().mean(1).numpy(force=True)
