"""Transferability scores from the source classifier's predictions for target images, or from clusters instead."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nclib.arrays import as_tensor
from nclib.checks import check_positive, check_whole, checked_seed, counted, is_number
from nclib.features.backbones import Backbone
from nclib.labels import check_labels
from nclib.metrics.calls import with_cure
from nclib.metrics.samples import check_features
from nclib.probing.probe import to_numpy


@with_cure
def leep(*, probabilities: Any, labels: Any) -> float:
    """Log expected empirical prediction: the mean log probability of the labels, predicted through source classes.

    The mean over samples i of ln sum_z P(y_i | z) theta_iz, where theta (N, Z) are the source classifier's
    probabilities, and P(y, z) is the sum of theta_iz / N over the samples with label y. Range (-inf, 0]; higher is
    better. Source: Nguyen et al. 2020, equation 2.

    Raises ValueError if the shapes do not fit, if a probability is negative, or if a row does not sum to 1.

    Examples
    --------
    >>> leep(probabilities=[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], labels=[0, 1, 1])
    0.0
    """
    probabilities, labels = _checked(probabilities, labels)
    joint = probabilities.new_zeros(int(labels.max()) + 1, probabilities.shape[1])
    joint.index_add_(0, labels, probabilities)
    given_source = joint / joint.sum(0).clamp(min=torch.finfo(joint.dtype).tiny)  # (K, Z)
    predicted = (probabilities * given_source[labels]).sum(1)
    return float(predicted.log().mean().clamp(max=0))


@with_cure
def nce(*, probabilities: Any, labels: Any) -> float:
    """Negative conditional entropy of the labels, given the likeliest source class of each sample.

    The sum over y, z of P(y, z) ln P(y | z), from probabilities (N, Z) and labels (N,). Range [-ln K, 0]; higher is
    better. Source: Tran et al. 2019. Errors as in `leep`.

    Examples
    --------
    >>> round(nce(probabilities=[[0.9, 0.1], [0.8, 0.2], [0.2, 0.8]], labels=[0, 1, 1]), 4)  # two thirds of ln 1/2
    -0.4621
    """
    probabilities, labels = _checked(probabilities, labels)
    likeliest = probabilities.argmax(1)
    joint = probabilities.new_zeros(int(labels.max()) + 1, probabilities.shape[1])
    joint.index_put_((labels, likeliest), joint.new_ones(()), accumulate=True)
    given_source = joint / joint.sum(0).clamp(min=1)
    return float((joint.xlogy(given_source).sum() / len(labels)).clamp(max=0))


_ROUNDS = 10  # updates of PACTran's posterior, as in its code


@with_cure
def pactran_dirichlet(*, probabilities: Any, labels: Any, alpha: float = 1.0) -> float:
    """PACTran with a Dirichlet prior: a bound on the surprise of the labels, predicted through source classes.

    The model of `leep`, but P(y | z) of each source class z has a Dirichlet prior, with weights `alpha` times the
    shares of the labels. The value is an upper bound on minus the log evidence over N, by ten rounds of variational
    Bayes. Range [0, inf); lower is better. Source: Ding et al. 2022 (arXiv 2203.05126), as in their code, but without
    its 1e-10, and with one more step that makes the value a bound after any number of rounds.

    Examples
    --------
    >>> source = torch.eye(2)[[0] * 8 + [1] * 8]
    >>> same = pactran_dirichlet(probabilities=source, labels=[0] * 8 + [1] * 8)
    >>> round(same, 3), same < pactran_dirichlet(probabilities=source, labels=[0, 1] * 8)  # ln(2^16 / 12870) / 8
    (0.203, True)
    """
    check_positive(alpha=alpha)
    shares, labels = _checked(probabilities, labels)
    _, codes, counts = labels.unique(return_inverse=True, return_counts=True)
    prior, logs, log_shares = alpha * counts.double().unsqueeze(1) / len(labels), shares.log(), shares.log()
    for _ in range(_ROUNDS):
        posterior = _posterior(prior, codes, shares)
        expected = posterior.digamma() - posterior.sum(0).digamma()
        log_shares = (logs + expected[codes]).log_softmax(1)
        shares = log_shares.exp()
    posterior = _posterior(prior, codes, shares)
    evidence = _log_beta(posterior).sum() - _log_beta(prior) * posterior.shape[1]
    evidence = evidence - (shares * (log_shares - logs)).where(shares > 0, 0.0).sum()
    return max(0.0, -float(evidence) / len(labels))


def _posterior(prior: Tensor, codes: Tensor, shares: Tensor) -> Tensor:
    """The weights (K, Z) of the posterior Dirichlet distributions of the labels, given samples' source classes."""
    return prior.repeat(1, shares.shape[1]).index_add_(0, codes, shares)


def _log_beta(weights: Tensor) -> Tensor:
    """The logarithm (Z,) of the multivariate beta function of each column of weights (K, Z)."""
    return weights.lgamma().sum(0) - weights.sum(0).lgamma()


_FULL = 1_000_000  # samples times clusters up to which N-LEEP fits full covariances to all samples
_FITTED = 20_000  # the most samples that it is fitted to beyond that


@with_cure
def nleep(features: Any, labels: Any, *, per_class: int = 5, energy: float = 0.8, seed: int = 0) -> float:
    """LEEP with clusters of the features as source classes, so that it needs no classifier.

    The clusters are a mixture of `per_class` K Gaussians (scikit-learn's, with 1e-3 times the mean variance on the
    diagonal of covariances) in the principal components that hold the share `energy` of the variance. Covariances are
    full, scikit-learn's default. If samples times clusters exceed a million, an iteration would take minutes to hours.
    Then covariances are diagonal, and the mixture is fitted to every second sample of a class, or every third and so
    on, at most 20,000 in all. The choice depends only on the labels, so all models of a task are scored in the same
    way. Range (-inf, 0]; higher is better, and 0 if nearly every sample has its own cluster. Source: Li et al. 2021;
    the seed, the 1e-3 and the treatment of many samples are ours.

    Examples
    --------
    >>> features = [[-1.0], [-1.0], [1.0], [1.0]]
    >>> nleep(features, [0, 0, 1, 1], per_class=1)  # each cluster is of one class
    0.0
    >>> round(nleep(features, [0, 1, 0, 1], per_class=1), 4)  # each is of both: ln 1/2
    -0.6931
    """
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    seed = checked_seed(seed, bits=32)
    check_whole(1, per_class=per_class)
    if not (is_number(energy) and 0 < energy < 1):  # scikit-learn takes 1 and more as numbers of components
        raise ValueError(f"energy is {energy!r}; it must be above 0 and below 1")
    features, labels = check_features(features, labels)
    number = per_class * (int(labels.max()) + 1)
    if len(features) < number:
        raise ValueError(
            f"nleep needs {number} clusters, {per_class} per class, but there are only "
            f"{counted(len(features), 'sample')}; give more samples, or a smaller per_class"
        )
    reduced = PCA(float(energy), svd_solver="full").fit_transform(to_numpy(features.double()))
    floor = 1e-3 * float(np.var(reduced, 0).mean())
    fitted, covariance = reduced, "full"
    if len(reduced) * number > _FULL:
        fitted, covariance = reduced[_every_nth(labels, max(_FITTED, number))], "diag"
    mixture = GaussianMixture(number, covariance_type=covariance, reg_covar=floor, random_state=seed)
    return leep(probabilities=mixture.fit(fitted).predict_proba(reduced), labels=labels)


def _every_nth(labels: Tensor, most: int) -> np.ndarray:
    """The numbers of at most `most` samples, the same share of every class."""
    step = -(-len(labels) // most)
    return to_numpy(labels.argsort(stable=True)[::step].sort().values)


def source_probabilities(model: Backbone, features: Tensor) -> Tensor | None:
    """The class probabilities (N, Z) of the model's own classifier; None if it has none."""
    if model.classifier is None:
        return None
    with torch.no_grad():
        return model.classifier(features.to(model.classifier.weight)).softmax(1)


def _checked(probabilities: Any, labels: Any) -> tuple[Tensor, Tensor]:
    given, labels = as_tensor(probabilities), check_labels(labels)
    probabilities = given.double()
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ValueError(
            f"probabilities are {tuple(probabilities.shape)} and labels {tuple(labels.shape)}; they must be (N, Z) and "
            "(N,), N at least 1"
        )
    low, sums = probabilities.min(), probabilities.sum(1)
    if not (low >= 0 and torch.allclose(sums, torch.ones_like(sums), atol=1e-3)):
        half = "; compute the softmax in float32" if given.dtype in (torch.float16, torch.bfloat16) else ""
        raise ValueError(
            f"the smallest of the probabilities is {low:.3g}, and their rows sum to {sums.min():.3g} to "
            f"{sums.max():.3g}; they must be at least 0 and sum to 1, as the softmax of logits does{half}"
        )
    return probabilities, labels.to(probabilities.device)
