"""Sizes and features that the benchmarks share."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
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


PHOTO = (500, 375)  # width and height


def photographs(root: Path, number: int = 64) -> Path:
    """JPEG files of two classes: smooth colours with some noise, about as long to decode as a photograph."""
    g, (width, height) = np.random.default_rng(0), PHOTO
    for i in range(number):
        coarse = Image.fromarray(g.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
            PHOTO, Image.Resampling.BICUBIC
        )
        pixels = np.clip(np.asarray(coarse) + g.normal(0, 8, (height, width, 3)), 0, 255).astype(np.uint8)
        (root / f"class{i % 2}").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(root / f"class{i % 2}" / f"{i}.jpg", quality=90)
    return root
