"""Neural collapse: how tightly the features of a class gather, and how evenly the class means spread.

Every metric is a function of the class statistics. Conventions, the same throughout: the global mean
is the mean over all samples; classes weigh equally in the between-class covariance; a class of one
sample has variance zero; an empty class is an error.
"""

from typing import Any

import torch
from torch import Tensor

from nclib.statistics import ClassStatistics, check_features


def nc1(stats: ClassStatistics, *, rtol: float | None = None) -> float:
    """Within-class variability against the spread of the class means: tr(Sigma_W Sigma_B^+) / K.

    Sigma_B = (1/K) sum_k (h_k - h_G)(h_k - h_G)^T. Range [0, inf); lower is more collapsed. Invariant to
    rotation, shift and scale. The pseudo-inverse keeps the directions of `between_spectrum(stats, rtol)`;
    only Sigma_W within their span is looked at, so the value is never negative.

    Source: Papyan, Han, Donoho 2020; the division by K as in Zhu et al. 2021 and Li et al. 2022.

    Raises ValueError if fewer than two classes were seen, if a class is empty, or if all class means
    coincide.

    Examples
    --------
    >>> from nclib import class_statistics, nc1
    >>> features = torch.tensor([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.1], [-1.0, -0.1]])
    >>> nc1(class_statistics(features, [0, 0, 1, 1]))  # all of the spread is across the means' axis
    0.0
    """
    eigenvalues, directions = between_spectrum(stats, rtol)
    within = ((directions @ stats.within_covariance) * directions).sum(1).clamp(min=0)  # (rank,)
    return float((within / eigenvalues).sum() / stats.num_classes)


def between_spectrum(stats: ClassStatistics, rtol: float | None = None) -> tuple[Tensor, Tensor]:
    """Eigenvalues (rank,), descending, and eigenvectors (rank, d) of Sigma_B, of what is not zero.

    From the thin singular value decomposition of the K x d centred means; a singular value counts if it
    exceeds `rtol` times the largest, and is more than rounding. Rounding is 10 max(K, d) times the
    float64 machine epsilon, relative to the means before they were centred; it is all by default.
    Features of lower precision leave noise in directions that are exactly null without it: if class
    means depend on each other by design, give an `rtol` such as 1e-5.
    """
    means = _centred_means(stats) / stats.num_classes**0.5
    _, values, directions = torch.linalg.svd(means, full_matrices=False)
    kept = values > max((rtol or 0.0) * float(values[0]), _rounding(stats))
    return values[kept].square(), directions[kept]


def nc1_ratio(stats: ClassStatistics) -> float:
    """The cheap form of NC1: tr(Sigma_W) / tr(Sigma_B).

    Range [0, inf); lower is more collapsed. Unlike `nc1` it counts the spread in every direction, also
    across the span of the class means. Source: Li et al. 2022 (public code of its first author).
    """
    return float(stats.within_covariance.trace() / _centred_means(stats).square().sum() * stats.num_classes)


def cdnv(stats: ClassStatistics) -> float:
    """Class-distance normalised variance, the mean over ordered pairs of (V_i + V_j) / (2 ||mu_i - mu_j||^2).

    Range [0, inf]; lower is more collapsed; infinite if two classes share their mean.
    Source: Galanti, Gyorgy, Hutter 2022, equation 1.
    """
    pairs = cdnv_pairs(stats)
    i, j = torch.triu_indices(len(pairs), len(pairs), offset=1)
    return float(pairs[i, j].mean())


def cdnv_pairs(stats: ClassStatistics) -> Tensor:
    """The class-distance normalised variance of every pair, float64 (K, K), symmetric, 0 on the diagonal."""
    means, variances = _centred_means(stats), stats.class_variances
    distances = torch.cdist(means, means, compute_mode="donot_use_mm_for_euclid_dist").square()
    spread = (variances.unsqueeze(1) + variances) / 2
    return (spread / distances).where(distances > 0, torch.inf).fill_diagonal_(0.0)


def nc2(stats: ClassStatistics) -> float:
    """Distance of the class means from a simplex equiangular tight frame (ETF).

    || G / ||G||_F - E / ||E||_F ||_F, where G is the K x K Gram matrix of the centred class means and
    E = I - 11^T / K that of the simplex ETF. Range [0, sqrt 2]; 0 is a perfect simplex, lower is more
    collapsed. Needs d >= K - 1 to reach 0. Source: Papyan et al. 2020; the norm as in Zhu et al. 2021.
    """
    means = _centred_means(stats)
    return _distance_to_simplex(means @ means.T)


def nc3(stats: ClassStatistics, weight: Any) -> float:
    """Self-duality: distance between the classifier's weights and the class means, up to one scale.

    || W H^T / ||W H^T||_F - E / ||E||_F ||_F with weight W (K, d), centred class means H (K, d) and the
    simplex ETF E. Range [0, 2]; lower is more collapsed. Source: Zhu et al. 2021.
    """
    means, weight = _centred_means(stats), _check_parameter(weight, "weight", stats.means)
    if not weight.any():
        raise ValueError("all weights are 0, so they have no direction to align with the class means")
    return _distance_to_simplex(weight @ means.T)


def nc4(stats: ClassStatistics, features: Any, weight: Any, bias: Any = None) -> float:
    """Share of the samples on which the classifier agrees with the nearest class mean.

    `features` (N, d), `weight` (K, d), `bias` (K,) or None. Range [0, 1]; higher is more collapsed.
    Source: Papyan et al. 2020, which reports one minus this.
    """
    features = torch.as_tensor(features).to(stats.means.device)
    features, _ = check_features(features, torch.zeros(len(features), dtype=torch.long))
    if not len(features) or features.shape[1] != stats.num_features:
        raise ValueError(f"features are {tuple(features.shape)}; they must be (N, {stats.num_features}) with N > 0")
    means, weight = _centred_means(stats), _check_parameter(weight, "weight", stats.means)
    bias = 0.0 if bias is None else _check_parameter(bias, "bias", stats.means[:, 0])
    logits = features.double() @ weight.T + bias
    nearest = ((features.double() - stats.global_mean) @ means.T - means.square().sum(1) / 2).argmax(1)
    return float((logits.argmax(1) == nearest).double().mean())


def _centred_means(stats: ClassStatistics) -> Tensor:
    """The centred class means (K, d), once it is sure that a collapse metric is defined."""
    if not_seen := (stats.counts == 0).nonzero().flatten().tolist():
        some = ", ".join(map(str, not_seen[:5])) + (", ..." if len(not_seen) > 5 else "")
        raise ValueError(
            f"{len(not_seen)} of {stats.num_classes} classes have no samples ({some}); "
            "renumber the labels or use stats.without_empty_classes()"
        )
    if stats.num_classes < 2:
        raise ValueError("collapse is between classes: at least 2 are needed, 1 was given")
    means = stats.centred_means
    if torch.linalg.norm(means) <= _rounding(stats):
        raise ValueError("all class means coincide, so there is no spread to measure collapse against")
    return means


def _rounding(stats: ClassStatistics) -> float:
    """What centring can leave of means that are equal."""
    return 10 * max(stats.means.shape) * torch.finfo(torch.float64).eps * float(stats.means.abs().max())


def _distance_to_simplex(gram: Tensor) -> float:
    simplex = torch.eye(len(gram)).to(gram) - 1 / len(gram)
    return float(torch.linalg.norm(gram / torch.linalg.norm(gram) - simplex / torch.linalg.norm(simplex)))


def _check_parameter(value: Any, name: str, like: Tensor) -> Tensor:
    """A classifier's weight or bias as a float64 tensor, once its shape and numbers are right."""
    value = torch.as_tensor(value).detach().to(like)
    if value.shape != like.shape or not torch.isfinite(value).all():
        finite = "finite" if torch.isfinite(value).all() else "not finite"
        raise ValueError(f"{name} is {tuple(value.shape)}, {finite}; these statistics need {tuple(like.shape)}, finite")
    return value
