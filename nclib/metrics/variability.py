"""NC1, variability collapse: how tightly the features of a class gather, relative to the spread of the class means.

Every metric is a function of the class statistics. Conventions: the global mean is the mean over all samples; all
classes have the same weight in the between-class covariance (except in `vci`); a class of one sample has variance
zero; an empty class is an error.
"""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from nclib.checks import counted, few, is_number
from nclib.labels import called
from nclib.metrics.calls import with_cure
from nclib.metrics.statistics import ClassStatistics


@with_cure
def nc1(stats: ClassStatistics, *, rtol: float | None = None) -> float:
    """Within-class variability relative to the spread of the class means: tr(Sigma_W Sigma_B^+) / K.

    Sigma_B = (1/K) sum_k (mu_k - mu_G)(mu_k - mu_G)^T. Range [0, inf); lower is more collapsed. Invariant to
    rotation, shift and scale. The pseudo-inverse keeps the directions of `between_spectrum(stats, rtol)`, and only
    the part of Sigma_W in their span counts, so the value is never negative.

    Source: Papyan, Han, Donoho 2020; the division by K as in Zhu et al. 2021 and Li et al. 2022.

    Raises ValueError if fewer than two classes were seen, if a class is empty, if all class means
    coincide, or if the statistics are diagonal.

    Examples
    --------
    >>> from nclib import class_statistics, nc1
    >>> features = torch.tensor([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.1], [-1.0, -0.1]])
    >>> nc1(class_statistics(features, [0, 0, 1, 1]))  # all spread is across the line between the means
    0.0
    """
    eigenvalues, directions = between_spectrum(stats, rtol)
    return float((stats.variances_along(directions) / eigenvalues).sum() / stats.num_classes)


@with_cure
def between_spectrum(stats: ClassStatistics, rtol: float | None = None) -> tuple[Tensor, Tensor]:
    """The nonzero eigenvalues (rank,) of Sigma_B, descending, and their eigenvectors (rank, d).

    From the thin singular value decomposition of the K x d centred means; a singular value counts if it
    exceeds `cut_off(stats, rtol)`.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> stats = class_statistics([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], [0, 0, 1, 1])
    >>> eigenvalues, directions = between_spectrum(stats)  # the means are (1, 0) and (-1, 0)
    >>> eigenvalues.round(decimals=6).tolist(), directions.abs().round(decimals=6).tolist()
    ([1.0], [[1.0, 0.0]])
    """
    checked_means(stats)
    values, directions = stats.between_svd
    kept = values > cut_off(stats, rtol)
    if not kept.any():
        raise ValueError(
            f"the class means differ by no more than rounding: singular values up to {values[0]:.1e}, "
            f"cut-off {cut_off(stats, rtol):.1e}"
        )
    return values[kept].square(), directions[kept]


@with_cure
def cut_off(stats: ClassStatistics, rtol: float | None = None) -> float:
    """The singular value of the centred means / sqrt(K) up to which a direction counts as null.

    The largest of three: `rtol` times the largest singular value (0 unless given); the float64 rounding error of equal
    means; and the error that the rounding of the features themselves leaves in the class means. The last is
    (eps / 2) sqrt(sum_kj e_kj / K), where eps is the precision of the coarsest features seen, and e_kj is the second
    moment of feature j in class k. It is divided by n_k, because errors average out, unless the feature varies by less
    than one rounding step within the class: equal errors do not. (Ours: no source says which directions of a
    pseudo-inverse are null.)

    Examples
    --------
    >>> from nclib import class_statistics
    >>> stats = class_statistics([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], [0, 0, 1, 1])
    >>> cut_off(stats) < 1e-6, round(cut_off(stats, rtol=0.5), 6)  # the singular value is 1
    (True, 0.5)
    """
    check_statistics(stats)
    counts = stats.counts.clamp(min=1).unsqueeze(1)
    second, spread = stats.means.square(), stats.squares / counts
    averaged = (second + spread).div_(counts)
    errors = torch.where(spread < second * stats.precision**2, second, averaged)
    rounding = stats.precision / 2 * float(errors.sum() / stats.num_classes) ** 0.5
    relative = _checked_rtol(rtol, 0.0)
    return max(relative and relative * float(stats.between_svd[0][0]), float64_rounding(stats), rounding)


@with_cure
def nc1_ratio(stats: ClassStatistics) -> float:
    """The cheap form of NC1: tr(Sigma_W) / tr(Sigma_B).

    Range [0, inf); lower is more collapsed. Unlike `nc1` it counts the spread in every direction, also
    outside the span of the class means. Source: Li et al. 2022 (public code of its first author).

    Examples
    --------
    >>> from nclib import class_statistics
    >>> stats = class_statistics([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], [0, 0, 1, 1])
    >>> nc1_ratio(stats)  # a variance of 1 within the classes, and of 1 between the means
    1.0
    """
    between = checked_means(stats).square().sum()
    return float(stats.within_trace / between * stats.num_classes)


@with_cure
def vci(stats: ClassStatistics, *, rtol: float | None = None) -> float:
    """Variability collapse index, 1 - tr(Sigma_T^+ Sigma_B) / rank(Sigma_B).

    Range [0, 1]; lower is more collapsed: 0 if a linear probe can fit the labels without error, 1 if it
    explains nothing. Invariant to any invertible linear map of the features. Sigma_T = Sigma_W + Sigma_B is the
    covariance of all samples. Only here are classes weighted by size in Sigma_B, which the range requires
    (so vci = 1 - H-score / rank). Features are scaled to variance 1, and eigenvalues of Sigma_T of at most `rtol` times
    the largest count as zero; by default `rtol` is 10 max(d, K) eps of float64. With at most d + 1 samples almost any
    features give 0; a warning says so.

    Source: Xu, Liu 2023 (arXiv 2306.03440), for balanced classes.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> stats = class_statistics([[0.0], [2.0], [2.0], [4.0]], [0, 0, 1, 1])
    >>> round(vci(stats), 6)  # half of the variance lies between the means
    0.5
    """
    value, rank = between_in_total(stats, rtol)
    warn_of_few("vci", stats)
    return 1 - value / rank


def between_in_total(stats: ClassStatistics, rtol: float | None = None) -> tuple[float, int]:
    """tr(Sigma_T^+ Sigma_B), from 0 to the rank of Sigma_B, and that rank; see `vci`."""
    rank = len(between_spectrum(stats)[0])
    rtol = _checked_rtol(rtol, 10 * max(stats.means.shape) * torch.finfo(torch.float64).eps)
    return min(float(rank), max(0.0, stats.explained(rtol))), rank


class SaysNothing(UserWarning):
    """A value depends on the sizes of the features alone."""


def about_few(names: Sequence[str], given: str) -> str:
    """The note that some scores say nothing, with what was given."""
    say = "says" if len(names) == 1 else "say"
    return f"{', '.join(names)} {say} nothing with {given}: two more samples than features are needed"


def warn_of_few(name: str, stats: ClassStatistics) -> None:
    """Warn (`SaysNothing`) if there are too few samples for the inverse of a covariance to mean anything."""
    if stats.num_samples <= stats.num_features + 1:
        given = f"{counted(stats.num_samples, 'sample')} of {counted(stats.num_features, 'feature')}"
        warnings.warn(about_few([name], given), SaysNothing, stacklevel=4)  # the caller of a metric `with_cure`


@with_cure
def total_scatter(stats: ClassStatistics) -> Tensor:
    """N Sigma_T: the sum of outer products of all samples about the global mean, float64 (d, d).

    Examples
    --------
    >>> from nclib import class_statistics
    >>> stats = class_statistics([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], [0, 0, 1, 1])
    >>> total_scatter(stats).round(decimals=6).tolist()
    [[4.0, 0.0], [0.0, 4.0]]
    """
    check_statistics(stats)
    return stats.total_scatter


def check_statistics(stats: ClassStatistics) -> None:
    """Refuse anything but class statistics, such as the features themselves."""
    if not isinstance(stats, ClassStatistics):
        raise TypeError(
            f"stats are {type(stats).__name__}; they must be class statistics: nclib.class_statistics(features, labels)"
        )


def checked_means(stats: ClassStatistics) -> Tensor:
    """The centred class means (K, d); ValueError if no collapse metric is defined."""
    check_seen(stats)
    means = stats.centred_means
    if torch.linalg.norm(means) <= float64_rounding(stats):
        raise ValueError(
            "all class means coincide (within rounding, or 1e-60): there is no spread to measure collapse against"
        )
    return means


def check_seen(stats: ClassStatistics) -> None:
    """Refuse statistics with an empty class, or of a single class."""
    check_statistics(stats)
    if stats.unseen:
        have, lacking = "has" if len(stats.unseen) == 1 else "have", few(called(stats.unseen, stats.classes))
        raise ValueError(
            f"{len(stats.unseen)} of {stats.num_classes} classes {have} no samples ({lacking}); renumber the labels or "
            "use stats.without_empty_classes()"
        )
    if stats.num_classes < 2:
        raise ValueError("collapse compares classes: at least 2 are needed, 1 was given")


def _checked_rtol(rtol: float | None, default: float) -> float:
    if rtol is not None and not (is_number(rtol) and 0 <= rtol < 1):
        raise ValueError(f"rtol is {rtol!r}; it must be at least 0 and below 1")
    return default if rtol is None else rtol


def float64_rounding(stats: ClassStatistics) -> float:
    """The distance that rounding can put between equal means, at least 1e-60, where squares underflow."""
    low, high = stats.means.aminmax()
    spread = (stats.squares.amax(1) / stats.counts.clamp(min=1)).max()
    largest = float(torch.maximum(-low, high).square() + spread) ** 0.5
    return max(10 * max(stats.means.shape) * torch.finfo(torch.float64).eps * largest, 1e-60)
