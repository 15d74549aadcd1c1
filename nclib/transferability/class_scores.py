"""Transferability of a pre-trained model to a task, scored from the class statistics of its features there.

Nothing is fine-tuned, and no second pass over the features is needed. `nclib.SCORES` lists these scores and the others.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from nclib.arrays import as_tensor
from nclib.checks import check_positive
from nclib.devices import double_device
from nclib.metrics.calls import with_cure
from nclib.metrics.pairs import overlap_rows, total_overlap
from nclib.metrics.statistics import ClassStatistics
from nclib.metrics.variability import between_in_total, check_statistics, checked_means, nc1, warn_of_few


@with_cure
def variance_collapse(stats: ClassStatistics) -> float:
    """The collapse part of FaCe: -tr(Sigma_W Sigma_B^+) / K, which is minus `nc1`.

    Range (-inf, 0]; higher is better. Source: Ding et al. 2023 (arXiv 2310.05754), before normalisation over models.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> stats = class_statistics([[0.0], [2.0], [2.0], [4.0]], [0, 0, 1, 1])
    >>> round(variance_collapse(stats), 6)  # a variance of 1 within the classes, and of 1 between the means
    -0.5
    """
    return 0.0 - nc1(stats)  # of full collapse 0, not -0


@with_cure
def class_fairness(
    stats: ClassStatistics,
    *,
    covariance: Literal["spherical", "diagonal"] = "spherical",
    temperature: float = 0.05,
    floor: float = 1e-4,
) -> float:
    """The fairness part of FaCe: how evenly each class overlaps with the others.

    It is the mean over classes i of the entropy of p_i, divided by ln(K - 1). Here p_i is the softmax over j != i of
    BC_ij / temperature, and BC_ij is the Bhattacharyya coefficient of two classes as Gaussians (`overlap_pairs`), whose
    variances are at least `floor`. Range [0, 1]; higher is better: 1 if every class overlaps equally with every other
    class. The floor makes it depend on the scale of the features.

    Source: Ding et al. 2023 describe it in words; covariance, temperature, floor and normalisation are ours.

    Raises ValueError if there are fewer than 3 classes, for which every overlap is even.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> labels = torch.arange(3).repeat_interleave(2)
    >>> stats = class_statistics(labels.unsqueeze(1) + torch.tensor([[-0.5], [0.5]]).repeat(3, 1), labels)  # in a row
    >>> round(class_fairness(stats), 2)  # the middle class overlaps evenly with both others, each of them only with it
    0.33
    """
    check_positive(temperature=temperature)
    check_statistics(stats)
    number = stats.num_classes
    if number < 3:
        raise ValueError(f"class fairness needs 3 or more classes, since it compares overlaps; {number} were given")
    entropy = 0.0
    for rows, overlaps in overlap_rows(stats, covariance=covariance, floor=floor):
        overlaps.diagonal(rows.start).fill_(-math.inf)
        logs = (overlaps / temperature).log_softmax(1)
        shares = logs.exp()
        entropy -= float((shares * logs.where(shares > 0, 0)).sum())  # a share of 0 has none
    return entropy / number / math.log(number - 1)


@with_cure
def face(models: Iterable[ClassStatistics] | Mapping[str, ClassStatistics], **options) -> Tensor:
    """FaCe of each of several models on one task, float64 (models,): collapse plus fairness, each scaled to [0, 1].

    `variance_collapse` and `class_fairness` are scaled to [0, 1] over the models, and added. So the score of a model
    depends on the other models. `options` are those of `class_fairness`. Range [0, 2]; higher is better. A part that is
    the same for all models counts as 0. Source: Ding et al. 2023.

    Raises ValueError if there are fewer than two models or three classes, or if the models' statistics differ in the
    samples per class. Raises TypeError for anything but class statistics.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> labels = torch.arange(3).repeat_interleave(2)
    >>> near, far = (torch.eye(3)[labels] * torch.tensor([[1 + s], [1 - s]]).repeat(3, 1) for s in (0.1, 0.9))
    >>> face([class_statistics(near, labels), class_statistics(far, labels)]).argmax().item()
    0
    """
    models = models if isinstance(models, Iterable) else [models]
    models = list(models.values() if isinstance(models, Mapping) else models)
    if not all(isinstance(stats, ClassStatistics) for stats in models):
        kinds = ", ".join(sorted({type(stats).__name__ for stats in models}))
        raise TypeError(f"models are {kinds}; give the class statistics of each")
    if len(models) < 2:
        were = "was" if models else "were"
        raise ValueError(f"FaCe compares models: at least 2 are needed, {len(models)} {were} given")
    if any(stats.counts.tolist() != models[0].counts.tolist() for stats in models):
        raise ValueError("the models' statistics differ in the samples per class; give statistics of the same samples")
    parts = [[variance_collapse(stats), class_fairness(stats, **options)] for stats in models]
    return sum_over_models(torch.tensor(parts, dtype=torch.float64))


def sum_over_models(values: Tensor) -> Tensor:
    """The sum of the parts (models, parts) of a score, each scaled to [0, 1] over the models, (models,)."""
    return over_models(values).sum(1)


def over_models(values: Any) -> Tensor:
    """Values (models, parts, ...) scaled to [0, 1] over the models; 0 where they differ only by rounding.

    Examples
    --------
    >>> over_models(torch.tensor([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])).tolist()
    [[0.0, 0.0], [0.5, 0.0], [1.0, 0.0]]
    """
    values = as_tensor(values)
    if values.ndim < 2 or not len(values):
        raise ValueError(f"values are {tuple(values.shape)}; they must be (models, parts), with at least one model")
    low, high = values.aminmax(dim=0)
    differ = high - low > 1e-9 * values.abs().amax(0)
    return ((values - low) / (high - low)).where(differ, 0.0)


@with_cure
def h_score(stats: ClassStatistics) -> float:
    """H-score tr(Sigma_T^+ Sigma_B): the covariance of the class means relative to the covariance of all samples.

    Classes are weighted by size in Sigma_B. Range [0, K - 1]; higher is better. It equals (1 - `vci`) times the rank of
    Sigma_B. With at most d + 1 samples it is as meaningless as `vci`, and a warning says so. Source: Bao et al. 2019.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> stats = class_statistics([[0.0], [2.0], [2.0], [4.0]], [0, 0, 1, 1])
    >>> round(h_score(stats), 6)  # half of the variance lies between the means
    0.5
    """
    value, _ = between_in_total(stats)
    warn_of_few("h_score", stats)
    return value


@with_cure
def gbc(
    stats: ClassStatistics, *, covariance: Literal["spherical", "diagonal"] = "spherical", floor: float = 0.0
) -> float:
    """Gaussian Bhattacharyya coefficient: minus the sum over ordered pairs of the overlap of two classes.

    Range [-K(K - 1), 0]; higher is better. Source: Pandy et al. 2022, who put a floor of 1e-4 under the variances of
    features reduced to 64 dimensions; here there is no floor unless it is given. `covariance` as in `overlap`; errors
    as in `cdnv`.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> stats = class_statistics([[0.0], [2.0], [4.0], [6.0]], [0, 0, 1, 1])
    >>> round(gbc(stats), 4)  # -2 exp(-2)
    -0.2707
    """
    return 0.0 - total_overlap(stats, covariance=covariance, floor=floor)  # of no overlap 0, not -0


@with_cure
def logme(stats: ClassStatistics) -> float:
    """LogME: the mean over classes of the maximum log evidence of a linear model for the labels, divided by N.

    For each class, its indicator is regressed on the features without intercept, with the prior and noise precisions
    that maximise the evidence. Any real number; higher is better, and zero has no special meaning. It does not change
    with the scale of the features.

    Source: You et al. 2021 (arXiv 2102.11005), by the fixed point of their later work (arXiv 2110.10545) without the
    1e-5 that its code adds. It follows from F^T F and F^T Y, which the class statistics hold: no pass over the
    features.

    Examples
    --------
    >>> from nclib import class_statistics
    >>> features = [[-2.0], [-1.0], [1.0], [2.0]]
    >>> apart, mixed = (class_statistics(features, labels) for labels in ([0, 0, 1, 1], [0, 1, 0, 1]))
    >>> logme(apart) > logme(mixed)
    True
    """
    checked_means(stats)
    weighted = stats.means * stats.counts.unsqueeze(1)  # Y^T F, (K, d)
    gram = torch.addmm(stats.scatter, weighted.T, stats.means)
    return mean_evidence(gram, weighted, stats.counts.double(), stats.num_samples)


def mean_evidence(gram: Tensor, products: Tensor, lengths: Tensor, number: int) -> float:
    """LogME from F^T F (d, d) and Y^T F (t, d) of inputs F (N, d), the squared lengths of the targets (t,), and N."""
    values, vectors = torch.linalg.eigh(gram)
    kept = values > 10 * max(products.shape) * torch.finfo(torch.float64).eps * values[-1]
    squares, along = values[kept], (products @ vectors[:, kept]).square()  # (r,), (t, r)
    return float(largest_evidence(squares, along / squares, lengths, number).mean() / number)


def logme_of_each(features: Tensor, cases: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """`logme` of several cases at once, float64 (cases,), from features (N, d).

    A case is a pair: the samples to use, bool (N,), and the labels, int64 (N,). Every case has the same classes. With
    fewer samples than features no matrix is larger than N x N, because LogME does not change with a rotation.

    Examples
    --------
    >>> features, labels = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]]), torch.tensor([0, 0, 1, 1])
    >>> values = logme_of_each(features, [(torch.ones(4) > 0, labels), (torch.ones(4) > 0, labels[[0, 2, 1, 3]])])
    >>> bool(values[0] > values[1])
    True
    """
    rows = features.to(double_device(features.device)).double()
    if len(rows) < rows.shape[1]:
        rows = torch.linalg.qr(rows.T, mode="r").R.T
    last, found = None, []
    for kept, labels in cases:
        if kept is not last:
            some = rows[kept.to(rows.device)]
            values, vectors = torch.linalg.eigh(some.T @ some)
            squares = values.where(values > 10 * max(some.shape) * torch.finfo(torch.float64).eps * values[-1], 0.0)
            along, last = some @ vectors, kept
        targets = one_hot(labels[kept].unique(return_inverse=True)[1]).T.to(rows)
        fitted = ((targets @ along).square() / squares).where(squares > 0, 0.0)
        found.append((squares.expand_as(fitted), fitted, targets.sum(1), torch.full_like(fitted[:, :1], len(along))))
    squares, fitted, lengths, number = (torch.cat(parts) for parts in zip(*found, strict=True))
    evidence = largest_evidence(squares, fitted, lengths, number, still=1e-6) / number.flatten()  # flat there
    return evidence.reshape(len(found), -1).mean(1)


_ROUNDS = 1000  # of the fixed point, at most
_LEAST = 1e-12  # of a squared length, the error of a fit without any: its evidence would have no bound


def largest_evidence(
    squares: Tensor, fitted: Tensor, lengths: Tensor, number: int | Tensor, *, still: float = 1e-12
) -> Tensor:
    """Log evidence of each of K targets, float64 (K,), for a linear model w with prior N(0, I / a) and noise 1 / b.

    Parameters
    ----------
    squares
        Squared singular values of the inputs (N, d), float64 (r,); zeros change nothing. Or (K, r) if the inputs differ
        between targets.
    fitted
        Squared projections of the targets on the left singular vectors, (K, r).
    lengths
        Squared lengths of the targets, (K,).
    number
        N, or (K, 1).
    still
        The iteration stops when the relative change of both precisions is at most this.

    Directions whose singular value is zero do not change the evidence, whatever d is. Source: MacKay 1992, by the fixed
    point of You et al. 2021 (arXiv 2110.10545): a = g / ||m||^2 and b = (N - g) / ||Fm - y||^2, where g is the
    effective number of parameters.
    """
    lengths = lengths.unsqueeze(1)
    rest = (lengths - fitted.sum(1, keepdim=True)).clamp(min=0)
    prior, noise = torch.ones_like(lengths), torch.ones_like(lengths)
    for _ in range(_ROUNDS):
        length, error = _moments(squares, fitted, rest, prior / noise)
        effective = (squares / (squares + prior / noise)).sum(1, keepdim=True)
        before = torch.cat([prior, noise], 1)
        prior = effective / length.clamp(min=torch.finfo(length.dtype).tiny)
        noise = (number - effective) / error.maximum(_LEAST * lengths)
        if ((torch.cat([prior, noise], 1) - before).abs() <= still * before).all():
            break
    length, error = _moments(squares, fitted, rest, prior / noise)
    evidence = number * (noise.log() - math.log(2 * math.pi)) - noise * error - prior * length
    return (evidence - (noise / prior * squares).log1p().sum(1, keepdim=True)).squeeze(1) / 2


def _moments(squares: Tensor, fitted: Tensor, rest: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
    """||m||^2 and ||Fm - y||^2 of the posterior means (K, 1), for the ratio of prior to noise (K, 1)."""
    length = (squares * fitted / (squares + ratio).square()).sum(1, keepdim=True)
    error = (fitted * (ratio / (squares + ratio)).square()).sum(1, keepdim=True) + rest
    return length, error
