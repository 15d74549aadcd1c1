"""Transferability of a pre-trained model to a task, scored from its features there, without fine-tuning.

Every score is higher for the better model. These follow from the class statistics of the features; none needs a second
pass over them.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from nclib.collapse import between_spectrum, checked_means, nc1, vci
from nclib.pairs import overlap_pairs
from nclib.statistics import ClassStatistics

_ROUNDS = 100  # of a fixed point, at most
_STILL = 1e-10  # relative change of evidence at which it has come to rest


def variance_collapse(stats: ClassStatistics) -> float:
    """The part of FaCe that is collapse: -tr(Sigma_W Sigma_B^+) / K, which is minus `nc1`.

    Range (-inf, 0]. Source: Ding et al. 2023 (arXiv 2310.05754), before normalisation over models.
    """
    return -nc1(stats)


def class_fairness(
    stats: ClassStatistics,
    *,
    covariance: Literal["spherical", "diagonal"] = "spherical",
    temperature: float = 0.05,
    floor: float = 1e-4,
) -> float:
    """The part of FaCe that is fairness: how evenly a class overlaps with each of the others.

    With BC_ij the Bhattacharyya coefficient of two classes as Gaussians (`overlap_pairs`), whose variances are at
    least `floor`, and p_i the softmax of BC_ij / temperature over j != i: the mean over classes of the entropy of p_i
    over ln(K - 1). Range [0, 1]: 1 if every class overlaps equally with each other one.

    Source: Ding et al. 2023 describe it in words; covariance, temperature, floor and normalisation are ours.

    Raises ValueError if there are fewer than 3 classes, for which every overlap is even.
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; it must be above 0")
    number = stats.num_classes
    if number < 3:
        raise ValueError(f"class fairness compares a class with several others: at least 3 are needed, not {number}")
    others = ~torch.eye(number, dtype=torch.bool, device=stats.means.device)
    overlaps = overlap_pairs(stats, covariance=covariance, floor=floor)[others].view(number, number - 1)
    logs = (overlaps / temperature).log_softmax(1)
    return float(-(logs.exp() * logs).sum(1).mean() / math.log(number - 1))


def face(models: Sequence[ClassStatistics], **options) -> Tensor:
    """FaCe of each of several models on one task, float64 (models,): collapse plus fairness, each from 0 to 1.

    `variance_collapse` and `class_fairness` (whose options these are) are brought to [0, 1] over the models, and
    added: so the score of a model depends on the others. Range [0, 2]. A part that is the same for all models counts
    as 0. Source: Ding et al. 2023.
    """
    if len(models) < 2:
        raise ValueError(f"FaCe compares models: at least 2 are needed, {len(models)} was given")
    parts = torch.tensor([[variance_collapse(s), class_fairness(s, **options)] for s in models], dtype=torch.float64)
    low, high = parts.aminmax(dim=0)
    return ((parts - low) / (high - low).where(high > low, 1.0)).sum(1)


def h_score(stats: ClassStatistics) -> float:
    """tr(Sigma_T^+ Sigma_B), the covariance of the class means against that of all samples; classes weigh by size.

    Range [0, K - 1]. It is (1 - `vci`) times the rank of Sigma_B, and as meaningless with at most d + 1 samples.
    Source: Bao et al. 2019.
    """
    return (1 - vci(stats)) * len(between_spectrum(stats)[0])


def gbc(stats: ClassStatistics, *, covariance: Literal["spherical", "diagonal"] = "spherical") -> float:
    """Gaussian Bhattacharyya coefficient: minus the sum over ordered pairs of the overlap of two classes.

    Range [-K(K - 1), 0]. Source: Pandy et al. 2022; no floor under the variances.
    """
    overlaps = overlap_pairs(stats, covariance=covariance)
    return float(overlaps.diagonal().sum() - overlaps.sum())


def logme(stats: ClassStatistics) -> float:
    """Log of the maximum evidence of a linear model for the labels, over N, the mean over classes.

    For each class a Bayesian linear regression of its indicator on the features, without intercept, whose prior and
    noise precision are those of the most evidence. Any real number; below 0 where classes are not fitted.

    Source: You et al. 2021, by the fixed point of their later work. It follows from F^T F and F^T Y, which the class
    statistics hold: no pass over the features.
    """
    checked_means(stats)
    weighted = stats.means * stats.counts.unsqueeze(1)  # F^T Y, (K, d)
    values, vectors = torch.linalg.eigh(torch.addmm(stats.scatter, weighted.T, stats.means))
    kept = values > 10 * max(stats.means.shape) * torch.finfo(torch.float64).eps * values[-1]
    squares, along = values[kept], (weighted @ vectors[:, kept]).square()  # (r,), (K, r)
    fitted = along / squares  # of ||y||^2, what each direction explains
    return float(_evidence(squares, fitted, stats.counts.double(), stats).mean() / stats.num_samples)


def _evidence(squares: Tensor, fitted: Tensor, lengths: Tensor, stats: ClassStatistics) -> Tensor:
    """Log evidence of targets (K,) of squared lengths, at its fixed point in prior and noise precision.

    `squares` (r,) are the squared singular values of F, `fitted` (K, r) the squared projections of the targets on its
    left singular vectors.
    """
    number, width = stats.num_samples, stats.num_features
    prior = torch.ones_like(lengths).unsqueeze(1)
    noise = torch.ones_like(prior)
    rest = (lengths - fitted.sum(1)).clamp(min=0)
    found = torch.full_like(lengths, -math.inf)
    for _ in range(_ROUNDS):
        precision = prior + noise * squares  # (K, r)
        weights = (noise.square() * squares * fitted / precision.square()).sum(1)  # ||m||^2
        errors = (prior.square() * fitted / precision.square()).sum(1) + rest  # ||F m - y||^2
        logs = precision.log().sum(1) + (width - len(squares)) * prior.log().squeeze(1)
        before, found = (
            found,
            0.5
            * (
                width * prior.log().squeeze(1)
                + number * noise.log().squeeze(1)
                - noise.squeeze(1) * errors
                - prior.squeeze(1) * weights
                - logs
                - number * math.log(2 * math.pi)
            ),
        )
        if ((found - before).abs() <= _STILL * found.abs()).all():
            break
        effective = (noise * squares / precision).sum(1)
        prior = (effective / weights).unsqueeze(1)
        noise = ((number - effective) / errors).unsqueeze(1)
    return found
