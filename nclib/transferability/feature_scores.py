"""Transferability scores that look at the features themselves, for class statistics do not hold what they need."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nclib.arrays import as_tensor
from nclib.checks import check_positive, check_whole, is_number
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
    """H-score with the covariance of Ledoit and Wolf: (1 - a) tr(Sigma_a^-1 Sigma_B), a being its shrinkage.

    Sigma_a = (1 - a) Sigma_T + a tr(Sigma_T) / d I. Range [0, K - 1]; higher is better. Unlike `h_score` it says
    something with fewer samples than features. Source: Ibrahim et al. 2021 (arXiv 2110.06893).

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
    """Coding rate of all features less that of each class: R(Z) - sum_k (n_k / N) R(Z_k).

    R(Z) = ln det(I + Z^T Z / (n epsilon)) / 2 of the n rows of Z, centred about the mean of all and brought to a mean
    squared length of 1. Range [0, inf); higher is better. Source: Huang et al. 2022 (arXiv 2106.09526); the scale,
    without which the value depends on that of the features, is ours. (Public codes differ in scale and weights, and
    rank models differently.)

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
    """Self-challenging Fisher discriminant analysis: how sure it is of the labels once it has been made harder.

    A linear discriminant of covariance (1 - a) Sigma_W + a tr(Sigma_W) / d I, with a = max(exp(-5 s), 1e-10), s the
    largest eigenvalue of Sigma_W, gives every sample the probability p of its label. Each is then moved towards the
    mean of the other class means, to q x + (1 - q) m, q being the softmax over classes of p; the score is the mean
    probability of the label by the same discriminant of the moved samples. Range [0, 1]; higher is better. It depends
    on the scale of the features, and is 1 where there are few samples for their number.

    Source: Shao et al. 2022 (arXiv 2207.03036), as its code has it: the mean of probabilities, not of their logarithms.

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
    """What ETran adds to `energy`: the mean probability of the label by a linear discriminant.

    Its covariance is (1 - a) Sigma_W + a tr(Sigma_W) / d I, a as of `sfda`, whose first step this is. Range [0, 1];
    higher is better. It depends on the scale of the features, and is 1 where there are few samples for their number.
    Source: Gholami et al. 2023 (arXiv 2308.02027).

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
    """Probabilities (N, K) of a linear discriminant whose covariance is shrunk so far."""
    factor = _factor(_shrunk(stats.scatter / stats.num_samples, shrinkage))
    weight = torch.cholesky_solve(stats.centred_means.T, factor).T
    bias = stats.shares.log() - (weight * stats.centred_means).sum(1) / 2
    return torch.softmax((features - stats.global_mean) @ weight.T + bias, 1)


def _factor(covariance: Tensor) -> Tensor:
    """The Cholesky factor, if there is one."""
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed:
        raise ValueError("the features do not vary, within the classes or at all; this score needs features that do")
    return factor


@with_cure
def energy(features: Any, *, share: float = 1.0) -> float:
    """ETran's energy score: the mean over samples of ln sum_j exp(h_j), the features (N, d) being taken for logits.

    Needs no labels. Over the `share` of the samples that have the least, at least one. Any number; higher is better.
    It depends on the scale, the shift and the rotation of the features, and grows with their number. Source: Gholami et
    al. 2023 (arXiv 2308.02027), whose code takes the least half a percent, 0.005.

    Examples
    --------
    >>> round(energy(torch.zeros(4, 8)), 4)  # ln 8
    2.0794
    """
    if not (is_number(share) and 0 < share <= 1):
        raise ValueError(f"share is {share!r}; it must be above 0 and at most 1")
    each = check_rows(features).double().logsumexp(1)
    return float(each.sort().values[: max(1, round(share * len(each)))].mean())


@with_cure
def pactran(features: Any, labels: Any, *, strength: float = 1.0, variance: float = 100.0) -> float:
    """PACTran with a Gaussian prior: a PAC-Bayesian bound on the loss of a linear classifier after fine-tuning.

    With W (K, d) and biases at the least of L = mean cross-entropy + ||W||^2 / (2 c N), c being the `strength`: that
    least value plus K v / (2 c N) ln(1 + c N T / (K d)), where v is the prior's `variance` times d, and T the trace
    of the Hessian of the cross-entropies, added up over the samples, of biases too: with p the probabilities, the sum
    over samples and classes of p (1 - p) (||h||^2 + 1), h being centred. Range [0, inf); lower is better. Unchanged
    by rotation and shift; it depends on the scale. Source: Ding et al. 2022 (arXiv 2203.05126), as its code has it.

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
    """LogME of several targets, the mean over them: of a regression, or of labels of which a sample may have several.

    `targets` are real numbers (N,) or (N, t), or 0 and 1 (N, K) that say which labels a sample has. For each of them
    the log of the maximum evidence of a linear model on the features (N, d), without intercept, over N, as of `logme`,
    which it is of one-hot targets. Any real number; higher is better. Unchanged by rotation and scale of the features;
    it falls by ln c with targets c times as large, so centre and scale them alike. Source: You et al. 2021.

    Raises ValueError, or TypeError for integers (N,), which are classes: `logme(class_statistics(features, labels))`.

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
    """Targets float64 (N, t), or what is wrong with them."""
    given = as_tensor(targets)
    if given.ndim not in (1, 2) or len(given) != number or not given.numel():
        raise ValueError(
            f"targets are {tuple(given.shape)}; of {number:,} samples they must be ({number},) or ({number}, t)"
        )
    if given.is_complex() or not (
        given.is_floating_point() or (given.ndim == 2 and ((given == 0) | (given == 1)).all())
    ):
        cure = ": logme(class_statistics(features, labels)) takes classes" if given.ndim == 1 else ""
        raise TypeError(
            f"targets are {given.dtype} {tuple(given.shape)}; they must be real numbers, give targets.float(), or 0 "
            f"and 1 (N, K){cure}"
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

    The strongest baseline and the slowest. (Ours: a linear probe is everybody's.)

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
    """What NCTI adds up over models: spread of all features, certainty of the labels, and collapse within classes.

    A linear discriminant of the first principal `components`, its covariance shrunk by exp of minus the variance of the
    first 32 (not at all below 1e-10), gives discriminant coordinates and probabilities. The parts are the sum of the
    singular values of the centred coordinates, in [0, inf), the mean probability of the label, in [0, 1], and minus the
    logarithm of the sum over classes of the singular values of the probabilities of its samples. Higher is better of
    each; `over_models` brings them to one scale, on which they are added. They depend on the scale of the features.

    Source: Wang et al. 2023 (ICCV), as its code has it.

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
