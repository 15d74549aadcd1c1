"""Transferability scores that look at the features themselves, for class statistics do not hold what they need."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nclib.metrics.samples import Samples, check_features, samples_of
from nclib.metrics.statistics import ClassStatistics, gathered
from nclib.metrics.variability import checked_means, total_scatter, warn_of_few
from nclib.probing.linear import LinearProbe
from nclib.probing.probe import held_out, to_numpy


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
    if not epsilon > 0:
        raise ValueError(f"epsilon is {epsilon}; it must be above 0")
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
    within = stats.scatter / stats.num_samples
    shrinkage = max(float(torch.exp(-5 * torch.linalg.eigvalsh(within)[-1])), 1e-10)
    own = _discriminant(features, stats, shrinkage).softmax(1).gather(1, labels.unsqueeze(1))
    others = (stats.means.sum(0) - stats.means) / (stats.num_classes - 1)
    moved = own * features + (1 - own) * others[labels]
    after = gathered(Samples(moved, labels, checked=True))
    return float(_discriminant(moved, after, shrinkage).gather(1, labels.unsqueeze(1)).mean())


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


def probe_accuracy(features: Any, labels: Any, *, share: float = 0.2, seed: int = 0) -> float:
    """Accuracy of a `LinearProbe` on the share of each class that it was not fitted to. Range [0, 1]; higher is better.

    The strongest baseline and the slowest. (Ours: a linear probe is everybody's.)

    Examples
    --------
    >>> features = torch.tensor([[-1.0], [1.0]]).repeat_interleave(5, 0)  # collapsed
    >>> probe_accuracy(features, [0] * 5 + [1] * 5)
    1.0
    """
    features, labels = check_features(features, labels)
    held = held_out(labels, share, seed)
    return LinearProbe(C=1.0).fit(features[~held], labels[~held]).score(features[held], labels[held])


def _given(features: Any, labels: Any) -> tuple[Tensor, Tensor, ClassStatistics]:
    """The features in float64, their labels and their statistics, which are gathered unless the samples have them."""
    samples = samples_of(features, labels)
    features, labels = check_features(samples, None)
    return features.double(), labels, samples.stats or gathered(Samples(features, labels, checked=True))


def _shrunk(covariance: Tensor, shrinkage: float) -> Tensor:
    mean = float(covariance.diagonal().mean())
    return (1 - shrinkage) * covariance + shrinkage * mean * torch.eye(len(covariance)).to(covariance)


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

    features, labels = check_features(features, labels)
    rows, codes = to_numpy(features.double()), to_numpy(labels)
    reduction = PCA(min(components, *rows.shape), svd_solver="full")
    reduced = reduction.fit_transform(rows)
    shrinkage = max(float(np.exp(-reduction.explained_variance_[:32].sum())), 1e-10)
    how = {"solver": "eigen", "shrinkage": shrinkage} if shrinkage > 1e-10 else {"solver": "svd"}
    discriminant = LinearDiscriminantAnalysis(**how).fit(reduced, codes)
    coordinates, probabilities = discriminant.transform(reduced), discriminant.predict_proba(reduced)
    spread = np.linalg.norm(coordinates - coordinates.mean(0), ord="nuc")
    certainty = probabilities[np.arange(len(codes)), np.unique(codes, return_inverse=True)[1]].mean()
    within = sum(np.linalg.norm(probabilities[codes == k], ord="nuc") for k in np.unique(codes))
    return float(spread), float(certainty), 0.0 - float(np.log(within))
