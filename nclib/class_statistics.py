"""Class statistics of a whole table of features, which may be larger than memory."""

from typing import Any

import torch
from torch import Tensor

from nclib.accumulators import Covariance
from nclib.checks import (
    LARGEST,
    as_array,
    as_tensor,
    check_labels,
    check_shapes,
    check_values,
    row_blocks,
    with_bar,
)
from nclib.statistics import ClassStatistics


def class_statistics(
    features: Any,
    labels: Any,
    *,
    num_classes: int | None = None,
    covariance: Covariance = "full",
    progress: bool = False,
) -> ClassStatistics:
    """The statistics of features (N, d) with labels (N,), on the features' device.

    `features` may be a tensor, an array, or a memory map larger than memory (`numpy.load(path,
    mmap_mode="r")`). `num_classes` is the largest label plus one unless given. A label that never occurs
    leaves an empty class, which the metrics refuse: see `ClassStatistics.without_empty_classes`.
    `progress` shows a bar if this takes more than a second.

    `covariance="span"` passes over the features twice and keeps, of the covariance, the variance along the
    span of the class means: all that `nc1` needs, and cheaper than "full" if K is well below d / 2. Such
    statistics cannot be updated or merged.

    Examples
    --------
    >>> stats = class_statistics([[0.0, 0.0], [2.0, 0.0], [5.0, 1.0]], [0, 0, 1])
    >>> stats.counts.tolist(), stats.means.tolist()
    ([2, 1], [[1.0, 0.0], [5.0, 1.0]])
    """
    features, labels = as_array(features), as_tensor(labels)
    check_shapes(features, labels)
    if not len(features):
        raise ValueError("there are no samples: features has 0 rows")
    dtype = check_values(as_tensor(features[:1])).dtype  # before any work
    labels = check_labels(labels, num_classes=num_classes)
    stats = ClassStatistics(
        features.shape[1],
        num_classes or int(labels.max()) + 1,
        covariance="diagonal" if covariance == "span" else covariance,
        device=features.device,
    )
    if covariance == "span":
        _find_span(stats, features, labels)
    blocks = row_blocks(features, checked=covariance == "span" and dtype != torch.float64)
    return stats._add(with_bar(blocks, len(features)) if progress else blocks, labels)


def _find_span(stats: ClassStatistics, features: Any, labels: Tensor) -> None:
    """Take the class means for the origins of empty statistics, and note the directions that they span."""
    first = ClassStatistics(stats.num_features, stats.num_classes, covariance="diagonal", device=stats.counts.device)
    first.counts = labels.bincount(minlength=stats.num_classes).to(stats.counts)
    for start, block in row_blocks(features, checked=True):
        classes = labels[start : start + len(block)].to(stats.counts.device)
        first._sums.index_add_(0, classes, block.to(first._sums))
    if not first._sums.abs().max() < LARGEST:  # NaN, infinity or too large somewhere: the check says in which row
        for _ in row_blocks(features):
            pass
    stats.counts, stats._origin = first.counts, first.means
    stats._span = (*first.between_svd, torch.zeros_like(first.between_svd[0]))
