"""Transferability scores that need the features themselves, because class statistics do not suffice for them."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nclib.arrays import as_tensor
from nclib.checks import check_positive, check_share, check_whole
from nclib.metrics.calls import with_cure
from nclib.metrics.samples import Samples, check_features, check_rows, in_their_span, samples_of
from nclib.metrics.statistics import ClassStatistics, gathered
from nclib.metrics.variability import check_seen, checked_means, total_scatter, warn_of_few
from nclib.probing.linear import LinearProbe
from nclib.probing.logistic import LogisticFits
from nclib.probing.probe import held_out, to_numpy
from nclib.transferability.class_scores import mean_evidence


@with_cure
def h_score_shrunk(features: Any, labels: Any) -> float:
    """H-score with the covariance of Ledoit and Wolf, (1 - a) tr(Sigma_a^-1 Sigma_B), where a is its shrinkage.

    Sigma_a = (1 - a) Sigma_T + a tr(Sigma_T) / d I. Range [0, K - 1]; higher is better. Unlike `h_score`, it is
    meaningful even with fewer samples than features. Source: Ibrahim et al. 2021 (arXiv 2110.06893).

    Examples
    --------
    >>> features = [[0.0], [2.0], [2.0], [4.0]]  # half of the variance lies between the means; nothing is shrunk
    >>> round(h_score_shrunk(features, [0, 0, 1, 1]), 6)
    0.5
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    features, labels, stats = _given(features, labels)
    shrinkage = float(ledoit_wolf_shrinkage(to_numpy(features)))
    total = total_scatter(stats) / stats.num_samples
    weighted = checked_means(stats) * stats.shares.sqrt().unsqueeze(1)
    factor = _factor(_shrunk(total, shrinkage))
    explained = torch.linalg.solve_triangular(factor, weighted.T, upper=False).square().sum()
    return float((1 - shrinkage) * explained)


@with_cure
def transrate(features: Any, labels: Any, *, epsilon: float = 1e-4) -> float:
    """TransRate: the coding rate of all features minus the mean coding rate of the classes.

    It is R(Z) - sum_k (n_k / N) R(Z_k), with R(Z) = ln det(I + Z^T Z / (n epsilon)) / 2 for the n rows of Z. The
    features are first centred about the mean of all samples and scaled to a mean squared length of 1. Range [0, inf);
    higher is better. Source: Huang et al. 2022 (arXiv 2106.09526). The scaling is ours: without it, the value depends
    on the scale of the features. (Public implementations differ in scale and weights, and rank models differently.)

    Examples
    --------
    >>> round(transrate(torch.eye(3), [0, 1, 2], epsilon=1 / 8), 4)  # ln 5 - ln 9 / 2: two directions, one a class
    0.5108
    """
    check_positive(epsilon=epsilon)
    features, labels, stats = _given(features, labels)
    checked_means(stats)
    centred = features - stats.global_mean
    centred = centred / centred.square().sum(1).mean().sqrt()
    classes = sum(
        float(share) * _coding_rate(centred[labels == k], epsilon) for k, share in enumerate(stats.shares.tolist())
    )
    return max(0.0, _coding_rate(centred, epsilon) - classes)


def _coding_rate(rows: Tensor, epsilon: float) -> float:
    gram = rows.T @ rows if len(rows) > rows.shape[1] else rows @ rows.T
    return float(torch.linalg.slogdet(torch.eye(len(gram)).to(gram) + gram / (len(rows) * epsilon))[1] / 2)


@with_cure
def sfda(features: Any, labels: Any) -> float:
    """SFDA: how certain a linear discriminant is of the labels after the samples have been moved towards other classes.

    A linear discriminant with covariance (1 - a) Sigma_W + a tr(Sigma_W) / d I, where a = max(exp(-5 s), 1e-10) and s
    is the largest eigenvalue of Sigma_W, gives every sample x a probability of each class. The softmax of these
    probabilities over the classes is q for the sample's label. The sample moves to q x + (1 - q) m, where m is the mean
    of the other class means. The score is the mean probability of the label by a discriminant with the same a, computed
    from the moved samples. Range [0, 1]; higher is better. It depends on the scale of the features. If there are few
    samples for the number of features, it is 1.

    Source: Shao et al. 2022 (arXiv 2207.03036), as in their code: the mean of probabilities, not of their logarithms.

    Examples
    --------
    >>> features = [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]
    >>> round(sfda(features, [0, 0, 1, 1]), 6)  # the first feature tells the classes apart
    1.0
    """
    features, labels, stats = _given(features, labels)
    checked_means(stats)
    warn_of_few("sfda", stats)
    shrinkage = _shrinkage(stats)
    own = _discriminant(features, stats, shrinkage).softmax(1).gather(1, labels.unsqueeze(1))
    others = (stats.means.sum(0) - stats.means) / (stats.num_classes - 1)
    moved = own * features + (1 - own) * others[labels]
    after = gathered(Samples(moved, labels, checked=True))
    return float(_discriminant(moved, after, shrinkage).gather(1, labels.unsqueeze(1)).mean())


@with_cure
def lda_certainty(features: Any, labels: Any) -> float:
    """The part of ETran beside `energy`: the mean probability of the label by a linear discriminant.

    The covariance is (1 - a) Sigma_W + a tr(Sigma_W) / d I, with a as in `sfda`, whose first step this is. Range
    [0, 1]; higher is better. It depends on the scale of the features. With few samples for the number of features it
    is 1, and a warning says so. Source: Gholami et al. 2023 (arXiv 2308.02027).

    Raises ValueError if the features do not vary, all class means coincide, or there are fewer than two classes.

    Examples
    --------
    >>> features = [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]
    >>> round(lda_certainty(features, [0, 0, 1, 1]), 6)  # the first feature tells the classes apart
    1.0
    """
    features, labels, stats = _given(features, labels)
    checked_means(stats)
    warn_of_few("lda_certainty", stats)
    shares = _discriminant(features, stats, _shrinkage(stats))
    return float(shares.gather(1, labels.unsqueeze(1)).mean())


def _shrinkage(stats: ClassStatistics) -> float:
    """max(exp(-5 s), 1e-10), s the largest eigenvalue of Sigma_W."""
    within = stats.scatter / stats.num_samples
    return max(float(torch.exp(-5 * torch.linalg.eigvalsh(within)[-1])), 1e-10)


def _discriminant(features: Tensor, stats: ClassStatistics, shrinkage: float) -> Tensor:
    """Probabilities (N, K) of a linear discriminant whose covariance is shrunk by this amount."""
    factor = _factor(_shrunk(stats.scatter / stats.num_samples, shrinkage))
    weight = torch.cholesky_solve(stats.centred_means.T, factor).T
    bias = stats.shares.log() - (weight * stats.centred_means).sum(1) / 2
    return torch.softmax((features - stats.global_mean) @ weight.T + bias, 1)


def _factor(covariance: Tensor) -> Tensor:
    """The lower Cholesky factor; ValueError if the matrix is singular."""
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed:
        raise ValueError(
            "the features do not vary, within the classes or at all, so this score is undefined; give other "
            "features, or leave the score out"
        )
    return factor


@with_cure
def energy(features: Any, *, share: float = 1.0) -> float:
    """ETran's energy score: the mean over samples of ln sum_j exp(h_j), with the features (N, d) as logits.

    Needs no labels. The mean is over the `share` of the samples with the lowest energies, at least one sample. Any real
    number; higher is better. It depends on the scale, shift and rotation of the features, and grows with the number of
    features. Source: Gholami et al. 2023 (arXiv 2308.02027), whose code takes the lowest half percent (0.005).

    Examples
    --------
    >>> round(energy(torch.zeros(4, 8)), 4)  # ln 8
    2.0794
    """
    check_share(share=share)
    each = check_rows(features).double().logsumexp(1)
    return float(each.sort().values[: max(1, round(share * len(each)))].mean())


@with_cure
def pactran(features: Any, labels: Any, *, strength: float = 1.0, variance: float = 100.0) -> float:
    """PACTran with a Gaussian prior: a PAC-Bayesian bound on the loss of a linear classifier after fine-tuning.

    A classifier with weight W (K, d) and biases minimises L = mean cross-entropy + ||W||^2 / (2 c N), where c is the
    `strength`. The score is the minimum of L plus K v / (2 c N) ln(1 + c N T / (K d)). Here v is `variance`, which is d
    times the variance of the prior, and T is the trace of the Hessian of the summed cross-entropies with respect to W
    and the biases: the sum over samples and classes of p (1 - p) (||h||^2 + 1), with the probabilities p and the
    centred features h. Range [0, inf); lower is better. Invariant to rotation and shift, but not to scale. Source: Ding
    et al. 2022 (arXiv 2203.05126), as in their code.

    Examples
    --------
    >>> round(pactran([[0.0], [0.0]], [0, 1]), 4)  # W = 0: ln 2 and 2 * 100 / 4 ln(1 + 2 * (4 / 4) / 2)
    35.3505
    """
    check_positive(strength=strength, variance=variance)
    rows, labels = check_features(features, labels)
    check_seen(gathered(Samples(rows, labels, checked=True), covariance="diagonal"))
    width, classes, weight_of_prior = rows.shape[1], int(labels.max()) + 1, strength * len(rows)
    centred = rows.double() - rows.double().mean(0)
    fit = LogisticFits(centred, labels, classes, max_iter=1000).fit(strength)
    logs = torch.addmm(fit.bias, centred, fit.weight.T).log_softmax(1)
    bends = logs.exp() * (1 - logs.exp())
    trace = float((bends.sum(1) * (centred.square().sum(1) + 1)).sum())
    loss = float(-logs.gather(1, labels.unsqueeze(1)).mean() + fit.weight.square().sum() / (2 * weight_of_prior))
    complexity = classes * variance / (2 * weight_of_prior)
    return loss + complexity * math.log1p(weight_of_prior * trace / (classes * width))


@with_cure
def logme_targets(features: Any, targets: Any) -> float:
    """LogME for regression, or for samples with several labels: the mean over the targets.

    `targets` are real numbers (N,) or (N, t), or 0 and 1 (N, K) that say which labels a sample has. For each target it
    is the maximum log evidence of a linear model on the features (N, d) without intercept, divided by N, as in `logme`;
    for one-hot targets the two are equal. Any real number; higher is better. Invariant to rotation and scale of the
    features. Targets c times as large lower it by ln c, so centre and scale all targets in the same way. Source: You et
    al. 2021.

    Raises ValueError for targets of another shape, NaN or infinity, or a target that is always 0. Raises TypeError for
    integers (N,), which are classes: use `logme(class_statistics(features, labels))`.

    Examples
    --------
    >>> features = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])
    >>> logme_targets(features, [-1.9, -1.1, 0.9, 2.1]) > logme_targets(features, [1.9, -1.1, 0.9, -2.1])
    True
    >>> labels = torch.tensor([[1, 0], [1, 1], [0, 1], [0, 1]])  # which of two labels each has
    >>> logme_targets(features, labels) == logme_targets(features, labels.double())
    True
    """
    rows = check_rows(features)
    wanted = _checked_targets(targets, len(rows)).to(rows.device)
    rows, sizes = in_their_span(rows), wanted.abs().amax(0)
    wanted = wanted / sizes  # whose squares are in range
    evidence = mean_evidence(rows.T @ rows, wanted.T @ rows, wanted.square().sum(0), len(rows))
    return evidence - float(sizes.log().mean())


def _checked_targets(targets: Any, number: int) -> Tensor:
    """Targets as float64 (N, t); an error says what is wrong with them."""
    given = as_tensor(targets)
    if given.ndim not in (1, 2) or len(given) != number or not given.numel():
        raise ValueError(
            f"targets are {tuple(given.shape)}; for {number:,} samples they must be ({number},) or ({number}, t)"
        )
    if given.is_complex() or not (
        given.is_floating_point() or (given.ndim == 2 and ((given == 0) | (given == 1)).all())
    ):
        cure = ": logme(class_statistics(features, labels)) takes classes" if given.ndim == 1 else ""
        raise TypeError(
            f"targets are {given.dtype} {tuple(given.shape)}; they must be real numbers (give targets.float()), "
            f"or 0 and 1 (N, K){cure}"
        )
    wanted = given.double().reshape(number, -1)
    if not torch.isfinite(wanted).all():
        row = int((~torch.isfinite(wanted).all(1)).nonzero()[0])
        raise ValueError(f"targets hold NaN or infinity, the first in row {row}; leave such samples out")
    if not (some := wanted.any(0)).all():
        column = int((~some).nonzero()[0])
        raise ValueError(f"target {column} is 0 for every sample, which anything fits; leave it out")
    return wanted


@with_cure
def probe_accuracy(features: Any, labels: Any, *, share: float = 0.2, seed: int = 0) -> float:
    """Accuracy of a `LinearProbe` on the share of each class that it was not fitted to. Range [0, 1]; higher is better.

    It is the strongest baseline, and the slowest. The choice of split and penalty is ours.

    Examples
    --------
    >>> features = torch.tensor([[-1.0], [1.0]]).repeat_interleave(5, 0)  # collapsed
    >>> probe_accuracy(features, [0] * 5 + [1] * 5)
    1.0
    """
    return float(probe_hits(features, labels, share=share, seed=seed).double().mean())


def probe_hits(features: Any, labels: Any, *, share: float = 0.2, seed: int = 0) -> Tensor:
    """Whether the probe of `probe_accuracy` is right on each of the held-out samples, bool (n,), in their order.

    >>> probe_hits(torch.tensor([[-1.0], [1.0]]).repeat_interleave(5, 0), [0] * 5 + [1] * 5).tolist()
    [True, True]
    """
    features, labels = check_features(features, labels)
    held = held_out(labels, share, seed)
    predicted = LinearProbe(C=1.0).fit(features[~held], labels[~held]).predict(features[held])
    return torch.from_numpy(predicted == to_numpy(labels[held]))


def _given(features: Any, labels: Any) -> tuple[Tensor, Tensor, ClassStatistics]:
    """The features in float64, their labels and their statistics, which are gathered unless the samples have them."""
    samples = samples_of(features, labels)
    features, labels = check_features(samples, None)
    return features.double(), labels, samples.stats or gathered(Samples(features, labels, checked=True))


def _shrunk(covariance: Tensor, shrinkage: float) -> Tensor:
    mean = float(covariance.diagonal().mean())
    return (1 - shrinkage) * covariance + shrinkage * mean * torch.eye(len(covariance)).to(covariance)


@with_cure
def ncti_parts(features: Any, labels: Any, *, components: int = 64) -> tuple[float, float, float]:
    """The three parts of NCTI: spread of all features, certainty of the labels, and collapse within classes.

    A linear discriminant is fitted to the first principal `components`. Its covariance is shrunk by exp(-v), where v is
    the variance of the first 32 components (no shrinkage if that is 1e-10 or less). It gives discriminant coordinates
    and probabilities. The parts are

    - the sum of the singular values of the centred coordinates, in [0, inf);
    - the mean probability of the label, in [0, 1];
    - minus the logarithm of the sum, over classes, of the singular values of the probabilities of the class's samples.

    Higher is better for each part. `over_models` scales the parts to [0, 1], and NCTI is their sum. They depend on the
    scale of the features.

    Source: Wang et al. 2023 (ICCV), as in their code.

    Examples
    --------
    >>> features = [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]
    >>> spread, certainty, collapse = ncti_parts(features, [0, 0, 1, 1])
    >>> round(certainty, 4), round(collapse, 4)  # all sure: sqrt(2) of each class of two, so -ln(2 sqrt(2))
    (1.0, -1.0397)
    """
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    check_whole(1, components=components)  # scikit-learn takes a float as a share of the variance
    features, labels = check_features(features, labels)
    rows, codes = to_numpy(features.double()), to_numpy(labels)
    reduction = PCA(min(int(components), *rows.shape), svd_solver="full")
    reduced = reduction.fit_transform(rows)
    shrinkage = max(float(np.exp(-reduction.explained_variance_[:32].sum())), 1e-10)
    how = {"solver": "eigen", "shrinkage": shrinkage} if shrinkage > 1e-10 else {"solver": "svd"}
    discriminant = LinearDiscriminantAnalysis(**how).fit(reduced, codes)
    coordinates, probabilities = discriminant.transform(reduced), discriminant.predict_proba(reduced)
    spread = np.linalg.norm(coordinates - coordinates.mean(0), ord="nuc")
    certainty = probabilities[np.arange(len(codes)), np.unique(codes, return_inverse=True)[1]].mean()
    within = sum(np.linalg.norm(probabilities[codes == k], ord="nuc") for k in np.unique(codes))
    return float(spread), float(certainty), 0.0 - float(np.log(within))
