"""Divide the images of an epoch into batches: in a given order, or with equally many images of each class."""

import math

import torch
from torch import Tensor

from nclib.checks import is_number


def in_order(order: Tensor, batch_size: int) -> list[Tensor]:
    """The order cut into batches; a last batch of one image is left out, since batch norm needs two."""
    return [batch for batch in order.split(batch_size) if len(batch) > 1]


def check_balance(batch_size: int, least: int, collapse: float) -> None:
    """Refuse batches too small for two classes of `least` images, and a collapse that is dialled without such batches.

    >>> check_balance(64, 4, 0.3)
    """
    if 2 * least > batch_size:
        raise ValueError(f"balanced is {least}; a batch of {batch_size} must hold that many images of two classes")
    if not (is_number(collapse) and math.isfinite(collapse)):
        raise ValueError(f"collapse is {collapse!r}; it must be a finite number")
    if collapse and least < 2:
        raise ValueError(f"collapse is {collapse} and balanced {least}; balanced must be at least 2")


def balanced(labels: Tensor, batch_size: int, least: int, generator: torch.Generator) -> list[Tensor]:
    """Batches of `least` images of each of ``batch_size // least`` classes, enough for about one pass over all images.

    If there are fewer classes, each batch holds all of them, with more images of each. The least drawn classes come
    next, and within a class the least drawn images; `generator` breaks ties. An image is in a batch only once, unless
    its class has fewer images than the batch needs.

    Examples
    --------
    >>> labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
    >>> batches = balanced(labels, 4, 2, torch.Generator().manual_seed(0))
    >>> [sorted(labels[batch].tolist()) for batch in batches]
    [[1, 1, 2, 2], [0, 0, 1, 1], [0, 0, 2, 2]]
    """
    shuffled = torch.randperm(len(labels), generator=generator)
    images = [shuffled[labels[shuffled] == label] for label in labels.unique()]
    classes = min(batch_size // least, len(images))
    each = max(least, batch_size // len(images))
    drawn = torch.zeros(len(images), dtype=torch.int64)  # how often each class was drawn
    batches = []
    for _ in range(max(1, round(len(labels) / (classes * each)))):
        anyhow = torch.randperm(len(images), generator=generator)
        turn = anyhow[drawn[anyhow].argsort(stable=True)][:classes]
        rows = [(drawn[label] * each + torch.arange(each)) % len(images[label]) for label in turn]
        batch = torch.cat([images[label][row] for label, row in zip(turn, rows, strict=True)])
        batches.append(batch[torch.randperm(len(batch), generator=generator)])  # mixes the classes
        drawn[turn] += 1
    return batches
