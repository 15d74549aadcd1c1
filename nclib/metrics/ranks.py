"""How many directions features span: ranks that weigh directions by their size, overall and class by class.

The effective, stable and numerical ranks are functions of the singular values s of centred features. They lie between 1
and the rank and do not depend on scale; features without spread have rank 0. Always stable <= numerical <= effective.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nclib.arrays import as_tensor
from nclib.checks import check_positive, check_whole
from nclib.metrics.calls import with_cure
from nclib.metrics.samples import Samples, check_features, check_rows, check_values, in_their_span, samples_of
from nclib.metrics.statistics import ClassStatistics, gathered
from nclib.metrics.variability import check_seen, total_scatter


@with_cure
def effective_rank(stats: ClassStatistics) -> float:
    """Effective rank of all features about the global mean: exp of the entropy of s / sum(s).

    Range [1, min(N - 1, d)], and 0 if the features do not vary; neither higher nor lower is better. Features that have
    collapsed to their class means reach at most K - 1, as a simplex does. Source: Roy, Vetterli 2007.

    Raises ValueError if the statistics have no samples, or a covariance other than "full".

    Examples
    --------
    >>> from nclib import class_statistics
    >>> round(effective_rank(class_statistics(torch.eye(3), [0, 1, 2])), 6)  # a simplex
    2.0
    """
    return float(_effective(_total_singular_values(stats)))


@with_cure
def stable_rank(stats: ClassStatistics) -> float:
    """Stable rank of all features about the global mean: sum(s^2) / max(s)^2.

    Range [1, min(N - 1, d)], at most the effective rank, and 0 if the features do not vary; neither higher nor lower is
    better. Source: Rudelson, Vershynin 2007. Raises ValueError as `effective_rank` does.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> features = [[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
    >>> round(stable_rank(class_statistics(features, [0, 1, 0, 1])), 6)  # (8 + 2) / 8
    1.25
    """
    return float(_stable(_total_singular_values(stats)))


@with_cure
def class_ranks(features: Any, labels: Any) -> dict[str, Tensor]:
    """Ranks of each class's features about the class mean: "effective", "stable" and "numerical", float64 (K,).

    "numerical" is (sum s)^2 / sum(s^2), which stands in for the numerical rank of Li et al. 2022 (ours: we
    could not read their definition). Ranges [1, min(n_k - 1, d)]; 0 for a class of one sample, or of none; neither
    higher nor lower is better. Features are (N, d), labels (N,).

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


@with_cure
def rankme(features: Any) -> float:
    """RankMe, the effective rank of features (N, d) without centring: exp of the entropy of s / sum(s).

    Needs no labels. Range [1, min(N, d)], and 0 if all features are 0; higher is said to transfer better. Invariant to
    rotation and scale but not to shift: a mean far from 0 is one large direction, which `effective_rank` ignores.
    Source: Garrido et al. 2023 (arXiv 2210.02885), without the 1e-7 that keeps their logarithm finite.

    Examples
    --------
    >>> round(rankme(torch.eye(3)), 6), round(rankme([[1.0, 0.0], [2.0, 0.0]]), 6)
    (3.0, 1.0)
    """
    return float(_effective(_plain_singular_values(check_rows(features).double())))


@with_cure
def alpha_req(features: Any, *, first: int = 1, last: int | None = None) -> float:
    """alpha-ReQ, the rate at which the covariance eigenvalues of features (N, d) decay: lambda_j is about j^-alpha.

    Needs no labels. It is minus the least-squares slope of ln(lambda_j) over ln(j), where j counts the eigenvalues from
    the largest on, from `first` to `last`; by default it uses all eigenvalues above rounding (this range is ours).
    Range [0, inf). About 1 is said to transfer best, so neither higher nor lower is better, and no ranking uses it.
    Invariant to rotation, shift and scale. Source: Agrawal et al. 2022.

    Raises ValueError if there are fewer than two such eigenvalues.

    Examples
    --------
    >>> sizes = torch.tensor([1.0, 1 / 2, 1 / 3])  # standard deviations, so that the eigenvalues are 1, 1/4 and 1/9
    >>> round(alpha_req(torch.cat([torch.diag(sizes), -torch.diag(sizes)])), 6)
    2.0
    """
    check_whole(1, first=first, **({} if last is None else {"last": last}))
    values = _class_singular_values(check_rows(features)).flip(0)
    kept = values[values > 0][first - 1 : last]
    if len(kept) < 2:
        raise ValueError(
            f"{len(kept)} of the eigenvalues from {first} to {last or 'the last'} are above rounding; a slope needs 2 "
            "or more: change first and last, or give more samples"
        )
    places = torch.arange(first, first + len(kept), dtype=torch.float64).log().to(kept.device)
    places -= places.mean()
    return float(-2 * (places * kept.log()).sum() / places.square().sum())  # s^2 is the eigenvalue


@with_cure
def lidar(features: Any, labels: Any, *, delta: float = 1e-4) -> float:
    """LiDAR, the effective rank of linear discriminants: exp of the entropy of lambda / sum(lambda).

    The lambda are the eigenvalues of (Sigma_W + delta I)^-1 Sigma_B, with class means centred about their own mean.
    A class here is what the paper calls an object, and its samples are the object's views. For the paper's own score,
    which needs no task labels, label each augmentation with the number of its image. Range [1, min(K - 1, d)]; higher
    is said to transfer better. Invariant to rotation and shift, but not to scale, because of `delta`. Source: Thilak et
    al. 2024 (arXiv 2312.04000), who take the same number of views of each object.

    Raises ValueError if no class has two samples.

    Examples
    --------
    >>> views = torch.tensor([[0.1, 0.0], [-0.1, 0.0], [0.0, 0.1], [0.0, -0.1]])
    >>> means = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> objects = torch.arange(4).repeat_interleave(4)
    >>> round(lidar(means[objects] + views.repeat(4, 1), objects), 6)  # two directions, as far apart in either
    2.0
    """
    check_positive(delta=delta)
    rows, numbers = check_features(features, labels)
    stats = gathered(Samples(in_their_span(rows), numbers, checked=True))
    check_seen(stats)
    if stats.num_samples == stats.num_classes:
        raise ValueError("every class has one sample; LiDAR needs classes with several, such as views of one object")
    within = stats.within_covariance
    within.diagonal().add_(delta)
    means = stats.means - stats.means.mean(0)
    factor, failed = torch.linalg.cholesky_ex(within)
    if failed:
        raise ValueError(f"delta is {delta}, too small for features of this size; raise it, or scale them down")
    return float(_effective(torch.linalg.svdvals(torch.linalg.solve_triangular(factor, means.T, upper=False)).square()))


def _total_singular_values(stats: ClassStatistics) -> Tensor:
    """Singular values (d,), up to a common factor, of all features about the global mean."""
    scatter = total_scatter(stats)
    if not stats.num_samples:
        raise ValueError("these statistics have no samples; a rank needs at least one: stats.update(features, labels)")
    return _singular_values(scatter)


def _class_singular_values(features: Tensor) -> Tensor:
    """Singular values (min(n, d),) of the features (n, d) of one class about their mean."""
    return _plain_singular_values(features.double() - features.double().mean(0))


def _plain_singular_values(features: Tensor) -> Tensor:
    """Singular values (min(n, d),), ascending, of features float64 (n, d), not centred."""
    tall = len(features) > features.shape[1]
    return _singular_values(features.T @ features if tall else features @ features.T)


def _singular_values(products: Tensor) -> Tensor:
    """Square roots of the eigenvalues of a Gram matrix (n, n), those within rounding set to 0."""
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
