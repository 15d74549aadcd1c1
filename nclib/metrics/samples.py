"""Features (N, d), which may lie on disk, with their labels (N,): checked once, read in blocks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nclib.arrays import as_array, as_tensor, noted_rounding
from nclib.labels import Names, numbered_labels

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_BLOCK = 2**18  # numbers converted to float64 at once: 2 MB, which fit into a processor's cache
_LEAST_ROWS, _MOST_ROWS = 64, 2048  # of a block
LARGEST = 1e60  # the largest feature allowed: sums of its fourth power still fit into a float64


@dataclass(frozen=True)
class Samples:
    """Features (N, d), which may lie on disk, and labels int64 (N,), checked for shape; N is at least 1.

    Functions that take features and labels accept it in their place, so that nothing is checked twice; labels, number
    and names of classes given beside it are ignored. `checked` says whether the feature values were checked, too.
    `stats` are the class statistics, if they were gathered. `rounding` is what `note_rounding` attached, and `classes`
    are the K class names, or ().
    """

    features: Any
    labels: Tensor
    checked: bool = False
    stats: Any = None
    rounding: float = 0.0
    classes: tuple[str, ...] = ()


def samples_of(features: Any, labels: Any, *, num_classes: int | None = None, classes: Names = None) -> Samples:
    """Features and labels as checked `Samples`; `Samples` are returned unchanged."""
    if isinstance(features, Samples):
        return features
    rounding, features = noted_rounding(features), as_array(features)
    numbers, names = numbered_labels(labels, num_classes=num_classes, classes=classes)
    check_shapes(features, numbers)
    _check_some(features)
    return Samples(features, numbers, rounding=rounding, classes=names)


def check_features(
    features: Any, labels: Any, *, num_classes: int | None = None, classes: Names = None
) -> tuple[Tensor, Tensor]:
    """Features (N, d) and labels int64 (N,), N and d at least 1, as checked tensors on one device."""
    if isinstance(features, Samples):
        rows = as_tensor(features.features)
        return rows if features.checked else check_values(rows), features.labels.to(rows.device)
    rows, numbers = check_batch(features, labels, num_classes=num_classes, classes=classes)
    _check_some(rows)
    return rows, numbers


def check_batch(
    features: Any, labels: Any, *, num_classes: int | None = None, classes: Names = None
) -> tuple[Tensor, Tensor]:
    """Features (N, d) and labels int64 (N,), which may be empty, as checked tensors on one device."""
    features, numbers = as_tensor(features), numbered_labels(labels, num_classes=num_classes, classes=classes).labels
    check_shapes(features, numbers)
    return check_values(features), numbers.to(features.device)


def check_rows(features: Any) -> Tensor:
    """Features (N, d) without labels as a checked tensor, N and d at least 1; for `Samples`, their features."""
    if isinstance(features, Samples):
        return check_features(features, None)[0]
    rows = as_tensor(features)
    if rows.ndim != 2 or not rows.numel():
        cure = "; features.reshape(-1, 1) is (N, 1)" if rows.ndim == 1 and rows.numel() else ""
        raise ValueError(f"features are {tuple(rows.shape)}; they must be (N, d), with N and d at least 1{cure}")
    return check_values(rows)


def in_their_span(features: Tensor) -> Tensor:
    """Features (N, d) in float64; if d > N, their N coordinates in an orthonormal basis of their span.

    Whatever is invariant to rotation is the same for both, and needs no d x d matrix.
    """
    rows = features.double()
    return rows if rows.shape[1] <= len(rows) else torch.linalg.qr(rows.T, mode="r").R.T


def check_shapes(features: Any, labels: Any) -> None:
    """Refuse features that are not (N, d), and labels whose number differs."""
    if features.ndim != 2 or len(features) != len(labels):
        cure = "; features.reshape(-1, 1) is (N, 1)" if features.ndim == 1 else ""
        raise ValueError(
            f"features {tuple(features.shape)} and labels {tuple(labels.shape)} must be (N, d) and (N,){cure}"
        )


def _check_some(features: Any) -> None:
    """Refuse features (N, d) without a row or without a column."""
    if not len(features):
        raise ValueError("there are no samples: features has 0 rows")
    if not features.shape[1]:
        raise ValueError(f"features are {tuple(features.shape)}; they must be (N, d), with N and d at least 1")


def row_blocks(features: Any, *, checked: bool = False) -> Iterator[tuple[int, Tensor]]:
    """Blocks of consecutive rows of features (N, d), each with the number of its first row.

    Their values are checked unless `checked`. A block in float64 fits into a processor's cache, and an array on disk is
    read block by block.
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
    """The features, if they are floating point, finite, and small enough that their powers do not overflow."""
    if features.dtype not in _FLOATS:
        whole = not (features.is_complex() or features.is_floating_point() or features.is_quantized)
        small = features.is_floating_point() and features.dtype.itemsize < 2
        cure = "; give features.float()" if small else ""
        cure = "; if they are numbers, give features.float(), or astype(float)" if whole else cure
        raise TypeError(f"features are {features.dtype}; they must be floating point of 16 to 64 bits{cure}")
    if not torch.isfinite(features.sum()):  # a cheap test; a sum can also overflow, so the rows decide
        bad = (~torch.isfinite(features).all(1)).nonzero().flatten()
        if len(bad):
            half = f"; {features.dtype} holds no number above 65504: compute them in float32"
            cure = half if features.dtype == torch.float16 else "; leave out such samples"
            raise ValueError(f"features hold NaN or infinity, the first in row {first_row + int(bad[0])}{cure}")
    if features.dtype == torch.float64 and features.numel() and features.abs().max() > LARGEST:
        raise ValueError(f"features reach {features.abs().max():.1e}, more than {LARGEST:.0e}; scale them down")
    return features
