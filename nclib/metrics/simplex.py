"""NC2 to NC5: class means form a simplex (NC2), align with the classifier (NC3, NC4), and shun other data (NC5).

GNC2 generalises NC2 to K > d + 1 classes, for which d dimensions hold no simplex: means spread evenly over a sphere.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from nclib.arrays import as_array, as_tensor, check_parameter
from nclib.checks import is_number
from nclib.metrics.calls import with_cure
from nclib.metrics.linalg import differences_product, length_of_products, panels, row_slices
from nclib.metrics.samples import Samples, row_blocks
from nclib.metrics.statistics import ClassStatistics
from nclib.metrics.variability import check_statistics, checked_means, cut_off


@with_cure
def nc2(vectors: ClassStatistics | Any) -> float:
    """Distance of the centred class means, or of a classifier's weight (K, d), from a simplex ETF.

    || G / ||G||_F - E / ||E||_F ||_F, where G is the K x K Gram matrix of the vectors and E = I - 11^T / K is the
    Gram matrix of the simplex equiangular tight frame. Range [0, sqrt 2]; 0 is a perfect simplex, lower is more
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


@with_cure
def nc2_equinorm(vectors: ClassStatistics | Any) -> float:
    """Coefficient of variation of the lengths of the centred class means, or of the rows of a weight (K, d).

    The standard deviation (with divisor K, not K - 1) divided by the mean. Range [0, sqrt(K - 1)]; 0 if all lengths are
    equal, lower is more collapsed. Source: Papyan et al. 2020, figure 2.

    Examples
    --------
    >>> nc2_equinorm([[1.0, 0.0], [0.0, 3.0]])  # lengths of 2 on average, 1 off
    0.5
    """
    lengths = _vectors(vectors).norm(dim=1)
    return float(lengths.std(correction=0) / lengths.mean())


@with_cure
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
    units, total = _directions(vectors), 0.0
    number = len(units)
    for start, cosines in panels(units, units):
        gaps = cosines.add_(1 / (number - 1)).abs_()
        total += float(gaps.sum() - gaps.diagonal(start).sum())
    return total / (number * (number - 1))


@with_cure
def gnc2(vectors: ClassStatistics | Any, *, power: float = 0.0) -> float:
    """How unevenly the directions of the centred class means, or of the rows of a weight (K, d), are spread.

    The coefficient of variation over pairs (the standard deviation, with the number of pairs as divisor, divided by the
    absolute mean) of the kernel whose mean is `gnc2_energy`. Range [0, inf]; lower is more collapsed. It is 0 if all
    pairs are equally far apart, as in a simplex, which needs K <= d + 1, and infinite if the mean is 0 but the
    deviation is not. Source: Wu, Papyan 2024 (arXiv 2405.17767), for the logarithmic kernel.

    Raises ValueError if a vector has length 0, or if two have the same direction.

    Examples
    --------
    >>> round(gnc2(torch.eye(3) - 1 / 3), 6)  # a simplex
    0.0
    >>> square = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> round(gnc2(square), 4)  # of distances sqrt 2, four times, and 2, twice: 1 / sqrt 8
    0.3536
    """
    mean, deviation = _repulsion(vectors, power)
    return 0.0 if deviation == 0 else deviation / abs(mean) if mean else math.inf


@with_cure
def gnc2_energy(vectors: ClassStatistics | Any, *, power: float = 0.0) -> float:
    """Hyperspherical energy of the directions of the centred class means, or of the rows of a weight (K, d).

    The mean over pairs of a kernel of the distance r between two directions: ln(1 / r), or, with a nonzero `power` s,
    the Riesz kernel r^-s (-r^-s for s < 0). Lower is more collapsed: the energy is lowest if the K directions are
    spread evenly over the sphere, for any d. With the logarithm the range is [-ln(2 K / (K - 1)) / 2, inf), and a
    simplex reaches the minimum. Source: Liu et al. 2023 (arXiv 2303.06484), who sum over pairs; the mean is ours.

    Raises ValueError if a vector has length 0, or if two have the same direction.

    Examples
    --------
    >>> round(gnc2_energy(torch.eye(3) - 1 / 3), 4), round(-math.log(3) / 2, 4)  # a simplex of three, sqrt 3 apart
    (-0.5493, -0.5493)
    >>> round(gnc2_energy(torch.eye(3) - 1 / 3, power=2), 4)
    0.3333
    """
    return _repulsion(vectors, power)[0]


def _repulsion(vectors: ClassStatistics | Any, power: float) -> tuple[float, float]:
    """Mean and standard deviation over pairs of a kernel of their distance, without holding K x K values at once."""
    if not (is_number(power) and math.isfinite(power)):
        raise ValueError(f"power is {power!r}; it must be a number: 0 for the logarithm, else a Riesz kernel's power")
    units = _directions(vectors)
    number, rounding = len(units), (10 * max(units.shape) * torch.finfo(torch.float64).eps) ** 2
    total = squares = origin = 0.0
    for some in row_slices(number, number):
        squared = differences_product(units, units, some)
        squared.diagonal(some.start).fill_(1.0)
        if (alike := squared <= rounding).any():
            i, j = alike.nonzero()[0].tolist()
            raise ValueError(f"vectors {some.start + i} and {j} have the same direction, so their energy is infinite")
        values = -squared.log() / 2 if power == 0 else math.copysign(1, power) * squared.pow(-power / 2)
        if not some.start:
            origin = float(values[0, 1])  # subtracted, so that rounding gives equal values no deviation
        values = values.sub_(origin)
        values.diagonal(some.start).fill_(0.0)
        total, squares = total + float(values.sum()), squares + float(values.square_().sum())
    if not math.isfinite(squares):
        raise ValueError(
            f"power is {power}, with which the energy of these vectors overflows float64; give one nearer to 0"
        )
    mean = total / (pairs := number * (number - 1))
    return origin + mean, max(0.0, squares / pairs - mean**2) ** 0.5


@with_cure
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


@with_cure
def unc3(stats: ClassStatistics, weight: Any) -> float:
    """Uniform duality: how unevenly the rows of a weight (K, d) point along their centred class means.

    The coefficient of variation over classes (the standard deviation, with divisor K, divided by the absolute mean) of
    cos(w_k, mu_k - mu_G). Range [0, inf]; lower is more collapsed. It is 0 if all angles are equal, of whatever size
    (`nc3` measures the size), and infinite if the mean cosine is 0 but the deviation is not. Source: Wu, Papyan 2024.

    Raises ValueError if a weight or a centred mean has length 0.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> means = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    >>> round(unc3(class_statistics(means, [0, 1]), [[1.0, 0.0], [-3.0, 4.0]]), 6)  # cosines of 1 and 0.6
    0.25
    """
    checked_means(stats)
    weight = check_parameter(weight, "weight", stats.means)
    cosines = (_directions(stats) * _directions(weight)).sum(1)
    deviation, mean = float(cosines.std(correction=0)), abs(float(cosines.mean()))
    return 0.0 if deviation == 0 else deviation / mean if mean else math.inf


@with_cure
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
    _check_width(features, stats)
    means, weight = checked_means(stats), check_parameter(weight, "weight", stats.means)
    bias = None if bias is None else check_parameter(bias, "bias", stats.means[:, 0])
    agreed = 0
    for _, block in row_blocks(features, checked=checked):
        rows = block.to(means)
        nearest = linear(rows - stats.global_mean, means, means.square().sum(1) / -2).argmax(1)
        agreed += int((linear(rows, weight, bias).argmax(1) == nearest).sum())
    return agreed / len(features)


@with_cure
def nc5(stats: ClassStatistics, features: Any) -> float:
    """How far the features of out-of-distribution data (N, d) are from orthogonal to the class means.

    The mean over classes of abs(cos(mu_k, mu)), where mu is the mean of these features. Neither is centred, so a shift
    of all features changes it. Range [0, 1]; lower is more collapsed: 0 if mu is orthogonal to all class means.
    Source: Ben Ammar et al. 2024 (arXiv 2310.06823), equation 5.

    Raises ValueError if a class mean or the mean of the features has length 0.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> stats = class_statistics(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), [0, 1])
    >>> round(nc5(stats, [[0.0, 0.0, 2.0]]), 6), round(nc5(stats, [[3.0, 0.0, 4.0]]), 6)  # cosines of 0.6 and 0
    (0.0, 0.3)
    """
    checked_means(stats)
    features = as_array(features)
    _check_width(features, stats)
    total = sum(block.to(stats.means).sum(0) for _, block in row_blocks(features))
    mean = torch.as_tensor(total) / len(features)
    lengths = stats.means.norm(dim=1) * mean.norm()
    if not lengths.all():
        what = "the mean of the features" if not mean.any() else "a class mean"
        raise ValueError(f"{what} has length 0, so its angle is undefined")
    return float(((stats.means @ mean) / lengths).abs().clamp(max=1).mean())


def _check_width(features: Any, stats: ClassStatistics) -> None:
    if features.ndim != 2 or not len(features) or features.shape[1] != stats.num_features:
        raise ValueError(f"features are {tuple(features.shape)}; they must be (N, {stats.num_features}) with N > 0")


def _directions(vectors: ClassStatistics | Any) -> Tensor:
    """The centred class means, or the rows of a weight, scaled to length 1, float64 (K, d)."""
    floor = cut_off(vectors) if isinstance(vectors, ClassStatistics) else 0.0
    vectors = _vectors(vectors)
    lengths = vectors.norm(dim=1, keepdim=True)
    null = lengths <= floor
    if null.any():
        raise ValueError(
            f"{int(null.sum())} of {len(lengths)} vectors have length 0 up to rounding, so their angles are undefined"
        )
    return vectors / lengths


def _vectors(source: ClassStatistics | Any) -> Tensor:
    """The centred class means of statistics, or a weight matrix, float64 (K, d)."""
    if isinstance(source, ClassStatistics):
        return checked_means(source)
    weight = as_tensor(source).double()
    if weight.ndim != 2 or len(weight) < 2 or not torch.isfinite(weight).all() or not weight.any():
        raise ValueError(f"weight is {tuple(weight.shape)}; it must be (K, d) with K >= 2, finite and not all 0")
    return weight


def _distance_to_simplex(rows: Tensor, columns: Tensor) -> float:
    """The distance of the matrix rows columns^T (K, K) from a simplex's, both scaled to Frobenius norm 1."""
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
