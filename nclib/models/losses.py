"""Training losses, each a function of the network, its embedding (B, d) of a batch, and the labels (B,).

The losses of the output layer are the nine of Kornblith, Chen, Lee, Norouzi 2021 (arXiv 2010.16402). Their strengths
are this book's choice: round numbers with which a small network learns its source about as well as by cross-entropy.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, dropout, linear, normalize, one_hot

from nclib.models.networks import Network


def supervised_contrastive(embedding: Tensor, labels: Tensor, *, temperature: float = 0.1) -> Tensor:
    """The supervised contrastive loss of Khosla et al. 2020, equation 2 (L_out).

    `embedding` float (B, d) is normalised here; `labels` are int64 (B,). Samples that are alone in their class are left
    out, and a batch without any pair gives 0. Range [0, inf); lower gathers each class more tightly. ValueError if
    `temperature` is not positive.

    Examples
    --------
    >>> embedding = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    >>> near = supervised_contrastive(embedding, torch.tensor([0, 0, 1, 1]), temperature=1.0)
    >>> far = supervised_contrastive(embedding, torch.tensor([0, 1, 0, 1]), temperature=1.0)
    >>> round(near.item(), 4), round(far.item(), 4)  # ln(1 + 2 exp(-2)), and 2 more
    (0.2395, 2.2395)
    """
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; it must be positive")
    z = normalize(embedding)
    alone = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logits = (z @ z.T / temperature).masked_fill(alone, -torch.inf)
    positive = (labels.unsqueeze(1) == labels) & ~alone
    log_share = logits.log_softmax(1).where(positive, 0.0).sum(1)  # (B,)
    pairs = positive.sum(1)
    return -(log_share / pairs.clamp(min=1)).sum() / (pairs > 0).sum().clamp(min=1)


def log_trace_ratio(features: Tensor, labels: Tensor) -> Tensor:
    """The logarithm of `nclib.nc1_ratio`, tr(Sigma_W) / tr(Sigma_B), of a batch (B, d); differentiable.

    Lower is more collapsed; the scale of the features makes no difference. With n samples of each class it is biased:
    for features that do not depend on the class it is about log(n - 1), whatever the number of classes. A trace of 0
    counts as the smallest positive number, and has no gradient.

    Examples
    --------
    >>> features = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> log_trace_ratio(features, torch.tensor([0, 0, 1, 1])).item()
    0.0
    """
    _, own, counts = labels.unique(return_inverse=True, return_counts=True)
    members = one_hot(own, len(counts)).to(features)  # (B, K); a product is the same in every run, on a GPU too
    means = members.T @ features / counts.unsqueeze(1)
    within = (features - members @ means).square().sum(1).mean()
    between = (means - features.mean(0)).square().sum(1).mean()
    least = torch.finfo(features.dtype).tiny
    return within.clamp(min=least).log() - between.clamp(min=least).log()


# A ratio of 10 leaves an eleventh of the variance between the classes, about as in the letters' pixels (9). Without a
# bound the network would give up the classes entirely; with fewer than 12 images of each, chance stays below it anyway.
_LOOSEST = math.log(10)


def collapse_term(features: Tensor, labels: Tensor, strength: float) -> Tensor:
    """A term to add to a loss that forces collapse (`strength` above 0) or prevents it (below 0).

    It is ``strength * log(tr(Sigma_W) / tr(Sigma_B))`` of the batch; for a strength below 0 a ratio above 10 counts as
    10. Unlike weight decay it acts on the features, whose scale makes no difference to it. Ours: the nearest is Harun
    et al. 2025 (arXiv 2502.10691), who prevent collapse by an entropy regulariser, and force it by a fixed projector.

    Examples
    --------
    >>> features, labels = torch.tensor([[0.0], [2.0], [2.0], [4.0]]), torch.tensor([0, 0, 1, 1])
    >>> collapse_term(4 * features, labels, 0.5).item()  # the traces are 16 and 16
    0.0
    """
    ratio = log_trace_ratio(features, labels)
    return strength * (ratio if strength > 0 else ratio.clamp(max=_LOOSEST))


def _cross_entropy(network: Network, embedding: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(network.classifier(embedding), labels)


def _smoothing(network: Network, embedding: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(network.classifier(embedding), labels, label_smoothing=0.1)


def _squared_error(network: Network, embedding: Tensor, labels: Tensor) -> Tensor:
    """Mean squared error to one-hot targets of height 10.

    Rescaled as in Hui and Belkin 2021: with targets of 1 and many classes the gradient is so small that
    a short training hardly moves.
    """
    logits = network.classifier(embedding)
    return (logits - 10 * one_hot(labels, logits.shape[1])).square().mean()


def _dropout(network: Network, embedding: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with dropout on the classifier's input; in eval mode without it."""
    return _cross_entropy(network, dropout(embedding, 0.3, training=network.training), labels)


def _final_l2(network: Network, embedding: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy plus lambda / 2 times the squared weights of the classifier, besides the decay of all weights."""
    return _cross_entropy(network, embedding, labels) + 5e-3 / 2 * network.classifier.weight.square().sum()


def _logit_penalty(network: Network, embedding: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy plus beta times the mean squared norm of the logits."""
    logits = network.classifier(embedding)
    return cross_entropy(logits, labels) + 1e-3 * logits.square().sum(1).mean()


def _logit_normalisation(network: Network, embedding: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits divided by their norm and a temperature, so that only their direction counts."""
    return cross_entropy(normalize(network.classifier(embedding)) / 0.05, labels)


def _cosine_softmax(network: Network, embedding: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the cosines of embedding and class weights over a temperature, without the bias."""
    cosines = linear(normalize(embedding), normalize(network.classifier.weight))
    return cross_entropy(cosines / 0.05, labels)


def _sigmoid(network: Network, embedding: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy, summed over the classes.

    Logits are reduced by log K, so that each of K classes starts with a probability of about 1 / K, not one half.
    """
    logits = network.classifier(embedding)
    targets = one_hot(labels, logits.shape[1]).to(logits)
    shifted = logits - math.log(logits.shape[1])
    return binary_cross_entropy_with_logits(shifted, targets, reduction="sum") / len(labels)


def _contrastive(network: Network, embedding: Tensor, labels: Tensor) -> Tensor:
    """The contrastive loss, plus cross-entropy of the classifier, whose gradient does not reach the embedding."""
    return supervised_contrastive(embedding, labels) + _cross_entropy(network, embedding.detach(), labels)


LOSSES = {
    "cross-entropy": _cross_entropy,
    "label smoothing": _smoothing,
    "squared error": _squared_error,
    "contrastive": _contrastive,
    "dropout": _dropout,
    "final L2": _final_l2,
    "logit penalty": _logit_penalty,
    "logit normalisation": _logit_normalisation,
    "cosine softmax": _cosine_softmax,
    "sigmoid": _sigmoid,
    "two views": _contrastive,
}

# How many times a loss sees every image of a batch, each time with a new distortion. With two, the contrastive loss is
# that of Khosla et al. 2020, with the recipe's `projection` as the head.
VIEWS = {"two views": 2}
