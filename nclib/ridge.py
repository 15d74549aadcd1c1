"""Ridge regression on class labels in closed form, for several penalties at once, all in float64."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nclib.class_statistics import class_statistics
from nclib.collapse import total_scatter
from nclib.statistics import ClassStatistics

_WELL_POSED = 1e-10  # the least ratio of squared pivots at which Cholesky factors are trusted


class Ridge(NamedTuple):
    """What minimises ||Y - (X - mean) W^T - bias||^2 + alpha ||W||^2, Y being 1 for the class and -1 elsewhere.

    float64 `mean` (d,), `weight` (S, K, d) for S penalties alpha, and `bias` (K,).
    """

    mean: Tensor
    weight: Tensor
    bias: Tensor


def fit_ridge(features: Tensor, labels: Tensor, num_classes: int, alphas: Sequence[float]) -> Ridge:
    """Of features (N, d) and labels int64 (N,): by a d x d system, or by the N x N one where that is smaller."""
    if len(features) >= features.shape[1]:
        return fit_ridge_statistics(class_statistics(features, labels, num_classes=num_classes), alphas)
    mean = features.double().mean(0)
    centred = features.double() - mean
    shares = labels.bincount(minlength=num_classes).double() / len(labels)
    targets = 2 * (torch.nn.functional.one_hot(labels, num_classes) - shares)
    return Ridge(mean, _solve(centred @ centred.T, targets.T, alphas) @ centred, 2 * shares - 1)


def fit_ridge_statistics(stats: ClassStatistics, alphas: Sequence[float]) -> Ridge:
    """Of class statistics with covariance="full": they hold X^T X and X^T Y, about the global mean."""
    targets = 2 * stats.counts.unsqueeze(1) * stats.centred_means
    return Ridge(stats.global_mean, _solve(total_scatter(stats), targets, alphas), 2 * stats.shares - 1)


def _solve(gram: Tensor, targets: Tensor, alphas: Sequence[float]) -> Tensor:
    """targets (gram + alpha I)^-1 for gram (r, r), targets (K, r) in its range, and each alpha, (S, K, r)."""
    if len(alphas) == 1:
        factor, failed = torch.linalg.cholesky_ex(gram + alphas[0] * torch.eye(len(gram)).to(gram))
        pivots = factor.diagonal().square()
        if not failed and pivots.min() > _WELL_POSED * pivots.max():
            return torch.cholesky_solve(targets.T, factor).T.unsqueeze(0)
    values, vectors = torch.linalg.eigh(gram)
    shrunk = 1 / (values.clamp(min=0) + torch.tensor(alphas).to(values).unsqueeze(1))
    rounding = len(gram) * torch.finfo(gram.dtype).eps * values[-1]  # below it are directions without a sample
    shrunk = shrunk.where(values > rounding, 0)
    return ((targets @ vectors) * shrunk.unsqueeze(1)) @ vectors.T
