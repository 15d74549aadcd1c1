"""What a collapse metric can be computed from, and what is said about anything else."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

_BLOCK = 2**18  # numbers converted to float64 at once: 2 MB stay in a processor's cache
_LEAST_ROWS, _MOST_ROWS = 64, 2048  # of a block
LARGEST = 1e150  # of a feature: its square still fits into a float64, with room for a sum


def as_tensor(values: Any) -> Tensor:
    """A tensor without a gradient, sharing memory where it can."""
    if isinstance(values, np.ndarray) and not values.flags.writeable:
        values = values.copy()  # torch has no read-only tensors, so a memory map needs a copy
    return torch.as_tensor(values).detach()


def as_array(values: Any) -> np.ndarray | Tensor:
    """Arrays as they are, for they may lie on disk, and anything else as a tensor."""
    return values if isinstance(values, np.ndarray) else as_tensor(values)


def check_features(features: Any, labels: Any, *, num_classes: int | None = None) -> tuple[Tensor, Tensor]:
    """Return features (N, d) and labels (N,) as tensors on one device, or say what is wrong with them."""
    features, labels = as_tensor(features), as_tensor(labels)
    check_shapes(features, labels)
    return check_values(features), check_labels(labels, num_classes=num_classes).to(features.device)


def check_shapes(features: Any, labels: Any) -> None:
    """Refuse what is not (N, d) with d >= 1 and (N,)."""
    if features.ndim != 2 or labels.ndim != 1 or len(features) != len(labels):
        raise ValueError(f"features {tuple(features.shape)} and labels {tuple(labels.shape)} must be (N, d) and (N,)")


def row_blocks(features: Any, *, checked: bool = False) -> Iterator[tuple[int, Tensor]]:
    """Consecutive rows of features (N, d), checked unless they are, each block with the number of its first row.

    A block fits into a processor's cache once it is float64, and an array on disk is read block by block.
    """
    rows = min(_MOST_ROWS, max(_LEAST_ROWS, _BLOCK // max(1, features.shape[1])))
    for start in range(0, len(features), rows):
        block = as_tensor(features[start : start + rows])
        yield start, block if checked else check_values(block, first_row=start)


def with_bar(blocks: Iterable[tuple[int, Tensor]], total: int) -> Iterator[tuple[int, Tensor]]:
    """The same blocks, with a progress bar in samples if they take more than a second."""
    from tqdm.auto import tqdm

    with tqdm(total=total, unit="samples", unit_scale=True, delay=1, leave=False) as bar:
        for start, block in blocks:
            yield start, block
            bar.update(len(block))


def check_values(features: Tensor, *, first_row: int = 0) -> Tensor:
    """Return the features if they are floating point, finite and of a size that can be squared."""
    if not features.is_floating_point():
        raise TypeError(f"features are {features.dtype}; they must be floating point")
    if not torch.isfinite(features.sum()):  # cheap; a sum can also overflow, so only the rows decide
        bad = (~torch.isfinite(features).all(1)).nonzero().flatten()
        if len(bad):
            raise ValueError(
                f"{len(bad)} of {len(features)} rows of features hold NaN or infinity, "
                f"the first is row {first_row + int(bad[0])}"
            )
    if features.dtype == torch.float64 and features.numel() and features.abs().max() > LARGEST:
        raise ValueError(f"features reach {features.abs().max():.1e}, too large to be squared; scale them down")
    return features


def check_labels(labels: Tensor, *, num_classes: int | None = None) -> Tensor:
    """Return the labels as int64 if they are integers in 0..num_classes-1 (any number of classes if None)."""
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
    if not labels.numel():
        return labels.long()
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels are {labels.dtype}; they must be integers")
    labels = labels.long()
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (num_classes is not None and high >= num_classes):
        allowed = "0 or more" if num_classes is None else f"0..{num_classes - 1}"
        raise ValueError(f"labels run from {low} to {high}; they must be {allowed}")
    return labels


def check_parameter(value: Any, name: str, like: Tensor) -> Tensor:
    """A classifier's weight or bias as a float64 tensor, once its shape and numbers are right."""
    value = as_tensor(value).to(like)
    if value.shape != like.shape or not torch.isfinite(value).all():
        finite = "finite" if torch.isfinite(value).all() else "not finite"
        raise ValueError(f"{name} is {tuple(value.shape)}, {finite}; these statistics need {tuple(like.shape)}, finite")
    return value
