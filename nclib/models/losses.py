"""Training losses, each a function of the network, what the loss sees (B, d) and the labels (B,)."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, one_hot

from nclib.models.networks import Network


def supervised_contrastive(embedding: Tensor, labels: Tensor, *, temperature: float = 0.1) -> Tensor:
    """The supervised contrastive loss of Khosla et al. 2020, equation 2 (L_out).

    `embedding` float (B, d), normalised here; samples alone in their class are left out, and a batch
    with no pair at all gives 0.
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


def _cross_entropy(network: Network, embedding: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(network.classifier(embedding), labels)


def _smoothing(network: Network, embedding: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(network.classifier(embedding), labels, label_smoothing=0.1)


def _squared_error(network: Network, embedding: Tensor, labels: Tensor) -> Tensor:
    """Mean squared error to one-hot targets of height 10.

    Rescaled as in Hui and Belkin 2021: with targets of 1 and many classes the gradient is so small that
    a short training does not leave the start.
    """
    logits = network.classifier(embedding)
    return (logits - 10 * one_hot(labels, logits.shape[1])).square().mean()


def _contrastive(network: Network, embedding: Tensor, labels: Tensor) -> Tensor:
    """The classifier is trained beside the contrastive loss, on features that do not feel it."""
    return supervised_contrastive(embedding, labels) + _cross_entropy(network, embedding.detach(), labels)


LOSSES = {
    "cross-entropy": _cross_entropy,
    "label smoothing": _smoothing,
    "squared error": _squared_error,
    "contrastive": _contrastive,
}
