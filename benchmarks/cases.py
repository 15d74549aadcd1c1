"""Sizes and features that the benchmarks share."""

from typing import NamedTuple

import torch
from torch import Tensor


class Size(NamedTuple):
    """N samples, d features, K classes."""

    num_samples: int
    num_features: int
    num_classes: int

    def __str__(self) -> str:
        return f"N={self.num_samples:,} d={self.num_features:,} K={self.num_classes:,}"


TINY, SMALL, LARGE = Size(100, 32, 5), Size(10_000, 512, 100), Size(50_000, 2_048, 1_000)
THREE = ("nc1", "nc1_ratio", "cdnv")


def sample(size: Size, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Float32 features around class means of unequal length, and their labels; little memory beside them."""
    g = torch.Generator().manual_seed(seed)
    means = torch.randn(size.num_classes, size.num_features, generator=g)
    means *= 0.5 + torch.rand(size.num_classes, 1, generator=g)
    labels = torch.randint(size.num_classes, (size.num_samples,), generator=g)
    features = torch.randn(size.num_samples, size.num_features, generator=g)
    for rows, classes in zip(features.split(1024), labels.split(1024), strict=True):
        rows += means[classes]
    return features, labels
