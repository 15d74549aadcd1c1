"""NC2 to NC4: class means and classifier on the corners of a simplex, aligned with each other."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from nclib.arrays import as_array, as_tensor, check_parameter
from nclib.metrics.linalg import length_of_products, panels
from nclib.metrics.samples import Samples, row_blocks
from nclib.metrics.statistics import ClassStatistics
from nclib.metrics.variability import check_statistics, checked_means, cut_off


def nc2(vectors: ClassStatistics | Any) -> float:
    """Distance of the centred class means, or of a classifier's weight (K, d), from a simplex ETF.

    || G / ||G||_F - E / ||E||_F ||_F, where G is the K x K Gram matrix of the vectors and E = I - 11^T / K that
    of the simplex equiangular tight frame. Range [0, sqrt 2]; 0 is a perfect simplex, lower is more
    collapsed. Needs d >= K - 1 to reach 0. Source: Papyan et al. 2020; the norm as in Zhu et al. 2021.

    Examples
    --------
    >>> from nclib import nc2
    >>> weight = torch.eye(3) - 1 / 3  # a simplex
    >>> round(nc2(weight), 6), round(nc2(torch.eye(3)), 3)
    (0.0, 0.606)
    """
    vectors = _vectors(vectors)
    return _distance_to_simplex(vectors, vectors)


def nc2_equinorm(vectors: ClassStatistics | Any) -> float:
    """Coefficient of variation of the lengths of the centred class means, or of the rows of a weight (K, d).

    Standard deviation (of the K, not of a sample: divided by K) over mean. Range [0, sqrt(K - 1)]; 0 if all are
    of one length, lower is more collapsed. Source: Papyan et al. 2020, figure 2.

    Examples
    --------
    >>> nc2_equinorm([[1.0, 0.0], [0.0, 3.0]])  # lengths of 2 on average, 1 off
    0.5
    """
    lengths = _vectors(vectors).norm(dim=1)
    return float(lengths.std(correction=0) / lengths.mean())


def nc2_equiangularity(vectors: ClassStatistics | Any) -> float:
    """Mean over pairs of abs(cos + 1 / (K - 1)), for the centred class means or the rows of a weight (K, d).

    -1 / (K - 1) is the cosine between corners of a simplex, the widest that K vectors can have. Range
    [0, K / (K - 1)]; lower is more collapsed. A vector of length 0 has no angle: ValueError.
    Source: Papyan et al. 2020, figure 4.

    Examples
    --------
    >>> round(nc2_equiangularity(torch.eye(3) - 1 / 3), 6), nc2_equiangularity(torch.eye(3))  # a simplex, right angles
    (0.0, 0.5)
    """
    floor = cut_off(vectors) if isinstance(vectors, ClassStatistics) else 0.0
    vectors = _vectors(vectors)
    lengths = vectors.norm(dim=1, keepdim=True)
    null = lengths <= floor
    if null.any():
        raise ValueError(f"{int(null.sum())} of {len(lengths)} vectors have length 0, or of rounding, and so no angle")
    number, units, total = len(vectors), vectors / lengths, 0.0
    for start, cosines in panels(units, units):
        gaps = cosines.add_(1 / (number - 1)).abs_()
        total += float(gaps.sum() - gaps.diagonal(start).sum())
    return total / (number * (number - 1))


def nc3(stats: ClassStatistics, weight: Any) -> float:
    """Self-duality: distance between the classifier's weights and the class means, up to one scale.

    || W M^T / ||W M^T||_F - E / ||E||_F ||_F with weight W (K, d), centred class means M (K, d) and the
    simplex ETF E. Range [0, 2]; lower is more collapsed. Source: Zhu et al. 2021.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> stats, weight = class_statistics(torch.eye(3), [0, 1, 2]), torch.eye(3) - 1 / 3
    >>> round(nc3(stats, weight), 6), round(nc3(stats, -weight), 6)  # along the class means, and against them
    (0.0, 2.0)
    """
    means, weight = checked_means(stats), check_parameter(weight, "weight", stats.means)
    if not weight.any():
        raise ValueError("all weights are 0, so they have no direction to align with the class means")
    return _distance_to_simplex(weight, means)


def nc4(stats: ClassStatistics, features: Any, weight: Any, bias: Any = None) -> float:
    """Share of the samples on which the classifier agrees with the nearest class mean.

    `features` (N, d), `weight` (K, d), `bias` (K,) or None. Range [0, 1]; higher is more collapsed.
    Source: Papyan et al. 2020, which reports one minus this.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> features = weight = torch.eye(2)
    >>> stats = class_statistics(features, [0, 1])
    >>> nc4(stats, features, weight), nc4(stats, features, weight, bias=[2.0, 0.0])  # always class 0
    (1.0, 0.5)
    """
    check_statistics(stats)
    checked = isinstance(features, Samples) and features.checked
    features = features.features if isinstance(features, Samples) else as_array(features)
    if features.ndim != 2 or not len(features) or features.shape[1] != stats.num_features:
        raise ValueError(f"features are {tuple(features.shape)}; they must be (N, {stats.num_features}) with N > 0")
    means, weight = checked_means(stats), check_parameter(weight, "weight", stats.means)
    bias = None if bias is None else check_parameter(bias, "bias", stats.means[:, 0])
    agreed = 0
    for _, block in row_blocks(features, checked=checked):
        rows = block.to(means)
        nearest = linear(rows - stats.global_mean, means, means.square().sum(1) / -2).argmax(1)
        agreed += int((linear(rows, weight, bias).argmax(1) == nearest).sum())
    return agreed / len(features)


def _vectors(source: ClassStatistics | Any) -> Tensor:
    """The centred class means of statistics, or a weight matrix, float64 (K, d)."""
    if isinstance(source, ClassStatistics):
        return checked_means(source)
    weight = as_tensor(source).double()
    if weight.ndim != 2 or len(weight) < 2 or not torch.isfinite(weight).all() or not weight.any():
        raise ValueError(f"weight is {tuple(weight.shape)}; it must be (K, d) with K >= 2, finite and not all 0")
    return weight


def _distance_to_simplex(rows: Tensor, columns: Tensor) -> float:
    """The distance of the products rows columns^T (K, K) from those of a simplex, both of length 1."""
    number, length = len(rows), length_of_products(rows, columns)
    if not length > 0:
        raise ValueError("all products are 0: the vectors have no direction in common")
    side = (number - 1) ** 0.5  # the length of I - 11^T / K
    squared = 0.0
    for start, products in panels(rows, columns):
        gaps = products.div_(length).add_(1 / (number * side))
        gaps.diagonal(start).sub_(1 / side)
        squared += float(gaps.square_().sum())
    return squared**0.5
