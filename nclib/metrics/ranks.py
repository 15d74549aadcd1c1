"""How many directions features take: ranks that count directions by their size, overall and class by class.

All are functions of singular values s of centred features, so they lie between 1 and the rank, and
scale leaves them alone; features without spread have rank 0. Always stable <= numerical <= effective.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nclib.arrays import as_tensor
from nclib.metrics.samples import check_values, samples_of
from nclib.metrics.statistics import ClassStatistics
from nclib.metrics.variability import total_scatter


def effective_rank(stats: ClassStatistics) -> float:
    """Effective rank of all features about the global mean: exp of the entropy of s / sum(s).

    Range [1, min(N - 1, d)]. Features that have collapsed to their class means have at most K - 1, which a
    simplex attains.
    Source: Roy, Vetterli 2007.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> round(effective_rank(class_statistics(torch.eye(3), [0, 1, 2])), 6)  # a simplex
    2.0
    """
    return float(_effective(_total_singular_values(stats)))


def stable_rank(stats: ClassStatistics) -> float:
    """Stable rank of all features about the global mean: sum(s^2) / max(s)^2.

    Range [1, min(N - 1, d)], and at most the effective rank. Source: Rudelson, Vershynin 2007.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> features = [[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
    >>> round(stable_rank(class_statistics(features, [0, 1, 0, 1])), 6)  # (8 + 2) / 8
    1.25
    """
    return float(_stable(_total_singular_values(stats)))


def class_ranks(features: Any, labels: Any) -> dict[str, Tensor]:
    """Ranks of each class's features about the class mean: "effective", "stable" and "numerical", float64 (K,).

    "numerical" is (sum s)^2 / sum(s^2), which stands in for the numerical rank of Li et al. 2022 (ours: their
    definition could not be read). Ranges [1, min(n_k - 1, d)]; 0 for a class of one sample, or of none.

    Examples
    --------
    >>> from nclib import class_ranks
    >>> square = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> line = torch.tensor([[5.0, 5.0], [6.0, 6.0]])
    >>> {name: rank.tolist() for name, rank in class_ranks(torch.cat([square, line]), [0] * 4 + [1] * 2).items()}
    {'effective': [2.0, 1.0], 'stable': [2.0, 1.0], 'numerical': [2.0, 1.0]}
    """
    samples = samples_of(features, labels)
    order = samples.labels.argsort().cpu().split(samples.labels.bincount().tolist())
    parts = (as_tensor(samples.features[rows.numpy()]) for rows in order)
    spectra = [_class_singular_values(part if samples.checked else check_values(part)) for part in parts]
    return {name: torch.stack([rank(values) for values in spectra]) for name, rank in _RANKS.items()}


def _total_singular_values(stats: ClassStatistics) -> Tensor:
    """Singular values (d,), up to one factor, of all features about the global mean."""
    return _singular_values(total_scatter(stats))


def _class_singular_values(features: Tensor) -> Tensor:
    """Singular values (min(n, d),) of the features (n, d) of one class about their mean."""
    centred = features.double() - features.double().mean(0)
    tall = len(centred) > centred.shape[1]
    return _singular_values(centred.T @ centred if tall else centred @ centred.T)


def _singular_values(products: Tensor) -> Tensor:
    """Square roots of the eigenvalues of a matrix of products (n, n), of those that are not rounding."""
    if not len(products):
        return products.new_zeros(1)
    eigenvalues = torch.linalg.eigvalsh(products)
    noise = 10 * len(products) * torch.finfo(torch.float64).eps * eigenvalues[-1]
    return eigenvalues.where(eigenvalues > noise, 0.0).sqrt()


def _effective(values: Tensor) -> Tensor:
    shares = values / values.sum().clamp(min=torch.finfo(torch.float64).tiny)
    return torch.special.entr(shares).sum().exp() * (values.sum() > 0)


def _stable(values: Tensor) -> Tensor:
    return (values.square().sum() / values.max().square()).nan_to_num(nan=0.0)


def _numerical(values: Tensor) -> Tensor:
    return (values.sum().square() / values.square().sum()).nan_to_num(nan=0.0)


_RANKS: dict[str, Callable[[Tensor], Tensor]] = {"effective": _effective, "stable": _stable, "numerical": _numerical}
