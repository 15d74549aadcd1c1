"""Metrics of class pairs: how far two classes spread towards each other, relative to their distance."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import linear

from nclib.checks import check_least, counted
from nclib.metrics.calls import with_cure
from nclib.metrics.linalg import ALL, differences_product, row_slices
from nclib.metrics.samples import row_blocks, samples_of
from nclib.metrics.statistics import ClassStatistics
from nclib.metrics.variability import checked_means


@with_cure
def cdnv(stats: ClassStatistics) -> float:
    """Class-distance normalised variance, the mean over ordered pairs of (V_i + V_j) / (2 ||mu_i - mu_j||^2).

    Range [0, inf]; lower is more collapsed; infinite if two classes share their mean.
    Source: Galanti, Gyorgy, Hutter 2022, equation 1.

    Raises ValueError if there are fewer than two classes, if a class is empty, or if all class means coincide.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> stats = class_statistics([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], [0, 0, 1, 1])
    >>> cdnv(stats)  # variances of 1, means 2 apart
    0.25
    """
    checked_means(stats)
    return mean_over_pairs(stats, partial(cdnv_tile, stats.class_variances))


def cdnv_tile(variances: Tensor, rows: slice, columns: slice, distances: Tensor) -> Tensor:
    """(V_i + V_j) / (2 ||mu_i - mu_j||^2) for the pairs of a tile, from V (K,) and the squared distances."""
    spread = (variances[rows].unsqueeze(1) + variances[columns]) / 2
    return (spread / distances).where(distances > 0, torch.inf)


@with_cure
def cdnv_pairs(stats: ClassStatistics) -> Tensor:
    """The class-distance normalised variance of every pair, float64 (K, K), symmetric, 0 on the diagonal.

    Range [0, inf]; lower is more collapsed; infinite if the two classes share their mean. Source and errors as `cdnv`.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> stats = class_statistics([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], [0, 0, 1, 1])
    >>> cdnv_pairs(stats).tolist()
    [[0.0, 0.25], [0.25, 0.0]]
    """
    checked_means(stats)
    return cdnv_tile(stats.class_variances, ALL, ALL, stats.squared_distances).fill_diagonal_(0.0)


@with_cure
def directional_cdnv(stats: ClassStatistics, features: Any, labels: Any) -> float:
    """Directional CDNV, the mean over ordered pairs of the variance of class i along the axis to class j.

    Like `cdnv`, but it counts only the spread along the line from one class mean to the other. Range [0, cdnv];
    lower is more collapsed. Source: Luthra, Salunkhe, Galanti 2026 (arXiv 2603.03530); the mean over ordered
    pairs is ours, as in `cdnv`.

    `features` (N, d) and `labels` (N,) are those of the statistics. Raises ValueError if they are not, or as `cdnv`.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> features, labels = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [2.0, -1.0], [2.0, 1.0]]), [0, 0, 1, 1]
    >>> stats = class_statistics(features, labels)
    >>> directional_cdnv(stats, features, labels)  # half the CDNV: the second class spreads across the axis
    0.125
    """
    pairs = directional_cdnv_pairs(stats, features, labels)
    return float(pairs.sum() / (len(pairs) * (len(pairs) - 1)))


@with_cure
def directional_cdnv_pairs(stats: ClassStatistics, features: Any, labels: Any) -> Tensor:
    """u^T Sigma_i u / ||mu_i - mu_j||^2 with u the unit vector from mu_i to mu_j, float64 (K, K), 0 on the diagonal.

    `features` (N, d) and `labels` (N,) must be the ones that the statistics were made from: the statistics do not
    contain the covariance Sigma_i of each class. Infinite where two classes share their mean.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> features, labels = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [2.0, -1.0], [2.0, 1.0]]), [0, 0, 1, 1]
    >>> directional_cdnv_pairs(class_statistics(features, labels), features, labels).tolist()
    [[0.0, 0.25], [0.0, 0.0]]
    """
    means, distances = checked_means(stats), stats.squared_distances
    samples = samples_of(features, labels, num_classes=stats.num_classes, classes=stats.classes or None)
    labels = samples.labels.to(means.device)
    if not torch.equal(labels.bincount(minlength=stats.num_classes), stats.counts):
        raise ValueError(
            "these features are not those of the statistics: their classes have other counts; give the features and "
            "labels that the statistics were made from"
        )
    if samples.features.shape[1] != stats.num_features:
        raise ValueError(
            f"features have {counted(samples.features.shape[1], 'column')}; these statistics have {stats.num_features}"
        )
    firsts, sums = torch.zeros_like(distances), torch.zeros_like(distances)
    for start, block in row_blocks(samples.features, checked=samples.checked):
        classes = labels[start : start + len(block)]
        centred = block.to(means.device) - stats.means[classes]
        along = linear(centred, means)  # (B, K): the deviation times each class mean
        own = along.gather(1, classes.unsqueeze(1))
        firsts.index_add_(0, classes, along - own)
        sums.index_add_(0, classes, (along - own).square())
    # The sum of deviations from a class's own mean is zero, but for rounding.
    counts = stats.counts.unsqueeze(1)
    allowed = 1e-3 * ((sums * counts).sqrt() + counts * distances)
    if ((firsts.abs() > allowed) & (distances > 0)).any():
        raise ValueError(
            "these features are not those of the statistics: their classes have other means; give the features that "
            "the statistics were made from"
        )
    variances = sums / counts  # times ||mu_i - mu_j||^2, since the axis does not have length 1 yet
    return (variances / distances.square()).where(distances > 0, torch.inf).fill_diagonal_(0.0)


@with_cure
def directional_cdnv_pooled(stats: ClassStatistics) -> float:
    """Directional CDNV with the pooled Sigma_W in place of each class's own covariance.

    The mean over pairs of u^T Sigma_W u / ||mu_i - mu_j||^2. Class statistics suffice for it. It equals
    `directional_cdnv` if all classes have the same covariance. Range [0, inf]; lower is more collapsed.
    Ours.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> features, labels = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [2.0, -1.0], [2.0, 1.0]]), [0, 0, 1, 1]
    >>> round(directional_cdnv_pooled(class_statistics(features, labels)), 6)  # a variance of 1/2, means 2 apart
    0.125
    """
    means = checked_means(stats)
    spread = means @ stats.scatter / stats.num_samples

    def tile(rows: slice, columns: slice, distances: Tensor) -> Tensor:
        along = differences_product(means, spread, rows, columns)
        return (along / distances.square()).where(distances > 0, torch.inf)

    return mean_over_pairs(stats, tile)


@with_cure
def overlap(stats: ClassStatistics, *, covariance: Literal["spherical", "diagonal"] = "spherical") -> float:
    """Bhattacharyya coefficient of the classes as Gaussians, the mean over pairs.

    Range [0, 1]; lower is better separated, and two equal Gaussians give 1. "spherical" gives each class the variance
    V_k / d in every direction, "diagonal" a variance for each feature.

    Source: the Gaussian Bhattacharyya score of Pandy et al. 2022 is minus the sum of this coefficient over ordered
    pairs. Variances have no floor here: a class without spread overlaps with no other.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> stats = class_statistics([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], [0, 0, 1, 1])
    >>> round(overlap(stats), 4)  # exp(-1)
    0.3679
    >>> overlap(stats, covariance="diagonal")  # along the first feature no class has any spread
    0.0
    """
    return total_overlap(stats, covariance=covariance) / (stats.num_classes * (stats.num_classes - 1))


def total_overlap(
    stats: ClassStatistics, *, covariance: Literal["spherical", "diagonal"] = "spherical", floor: float = 0.0
) -> float:
    """The sum of `overlap_pairs` over all ordered pairs of different classes."""
    total = 0.0
    for rows, values in overlap_rows(stats, covariance=covariance, floor=floor):
        values.diagonal(rows.start).fill_(0.0)
        total += float(values.sum())
    return total


@with_cure
def overlap_pairs(
    stats: ClassStatistics, *, covariance: Literal["spherical", "diagonal"] = "spherical", floor: float = 0.0
) -> Tensor:
    """exp(-D_B) for every pair, float64 (K, K), symmetric, 1 on the diagonal.

    D_B = (1/8) sum_j delta_j^2 / v_j + (1/2) sum_j ln(v_j / sqrt(a_j b_j)), with delta the difference of the
    two means, a and b the variances of the two classes in each direction j, at least `floor`, and v = (a + b) / 2.
    Range [0, 1]; lower is better separated. `covariance` and source as in `overlap`.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> stats = class_statistics([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], [0, 0, 1, 1])
    >>> overlap_pairs(stats).log().round(decimals=6).tolist()
    [[0.0, -1.0], [-1.0, 0.0]]
    """
    return torch.cat([values for _, values in overlap_rows(stats, covariance=covariance, floor=floor)])


def overlap_rows(
    stats: ClassStatistics, *, covariance: Literal["spherical", "diagonal"] = "spherical", floor: float = 0.0
) -> Iterator[tuple[slice, Tensor]]:
    """`overlap_pairs`, a few rows at a time, for when all pairs do not fit into memory."""
    if covariance not in ("spherical", "diagonal"):
        raise ValueError(f"covariance is {covariance!r}; it must be 'spherical' or 'diagonal'")
    check_least(0, floor=floor)
    if floor == math.inf:
        raise ValueError("floor is inf; it must be finite")
    checked_means(stats)
    exponents = _spherical_exponents if covariance == "spherical" else _diagonal_exponents
    for rows in row_slices(stats.num_classes, stats.num_classes):
        values = (-exponents(stats, floor, rows)).exp()
        values.diagonal(rows.start).fill_(1.0)
        yield rows, values


def _spherical_exponents(stats: ClassStatistics, floor: float, rows: slice) -> Tensor:
    spread = (stats.class_variances / stats.num_features).clamp(min=floor)
    squared = stats.distances(rows) / stats.num_features  # in each direction, on average
    return stats.num_features * _exponent(squared, spread[rows].unsqueeze(1), spread)


def _diagonal_exponents(stats: ClassStatistics, floor: float, rows: slice) -> Tensor:
    means, spread = stats.centred_means, (stats.squares / stats.counts.unsqueeze(1)).clamp(min=floor)
    pairs = zip(means[rows], spread[rows], strict=True)
    return torch.stack([_exponent((means - mean).square(), spread, own).sum(1) for mean, own in pairs])


def mean_over_pairs(stats: ClassStatistics, value: Callable[[slice, slice, Tensor], Tensor]) -> float:
    """The mean of a symmetric function over pairs of classes, without holding its K x K values at once.

    `value(rows, columns, distances)` returns it for a tile of pairs, given the squared distances between their means.
    """
    total = 0.0
    for rows, columns, distances in stats.distance_tiles():
        values = value(rows, columns, distances)
        total += float(values.fill_diagonal_(0.0).sum() if rows == columns else 2 * values.sum())
    return total / (stats.num_classes * (stats.num_classes - 1))


def _exponent(squared: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """D_B of two normal variables with variances a and b and `squared` distance; 0 or infinity if both are 0."""
    middle, still = (a + b) / 2, a + b == 0
    spread = (middle.log() - (a.log() + b.log()) / 2) / 2
    distance = torch.where(still, torch.where(squared > 0, math.inf, 0.0), squared / middle / 8)
    return distance + torch.where(still, 0.0, spread)
