"""Features (N, d), which may lie on disk, with their labels (N,): checked once, read in blocks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nclib.arrays import as_array, as_tensor, noted_rounding
from nclib.labels import Names, numbered_labels

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_BLOCK = 2**18  # numbers converted to float64 at once: 2 MB stay in a processor's cache
_LEAST_ROWS, _MOST_ROWS = 64, 2048  # of a block
LARGEST = 1e60  # of a feature: sums of its fourth power still fit into a float64


@dataclass(frozen=True)
class Samples:
    """Features (N, d), which may lie on disk, and labels int64 (N,) of the right shapes, N at least 1.

    What takes features and labels takes this in the place of both, so that nothing is checked twice: labels, and the
    number or names of classes, beside it are not looked at. `checked` says whether the values of the features were,
    too, `stats` are their class statistics, where these were gathered, `rounding` is what was noted of them, and
    `classes` are the K names of classes, if they have any.
    """

    features: Any
    labels: Tensor
    checked: bool = False
    stats: Any = None
    rounding: float = 0.0
    classes: tuple[str, ...] = ()


def samples_of(features: Any, labels: Any, *, num_classes: int | None = None, classes: Names = None) -> Samples:
    """Features and labels as samples, or what is wrong with them; samples as they are."""
    if isinstance(features, Samples):
        return features
    rounding, features = noted_rounding(features), as_array(features)
    numbers, names = numbered_labels(labels, num_classes=num_classes, classes=classes)
    check_shapes(features, numbers)
    if not len(features):
        raise ValueError("there are no samples: features has 0 rows")
    return Samples(features, numbers, rounding=rounding, classes=names)


def check_features(
    features: Any, labels: Any, *, num_classes: int | None = None, classes: Names = None
) -> tuple[Tensor, Tensor]:
    """Return features (N, d) and labels (N,) as tensors on one device, or say what is wrong with them."""
    if isinstance(features, Samples):
        rows = as_tensor(features.features)
        return rows if features.checked else check_values(rows), features.labels.to(rows.device)
    features, numbers = as_tensor(features), numbered_labels(labels, num_classes=num_classes, classes=classes).labels
    check_shapes(features, numbers)
    return check_values(features), numbers.to(features.device)


def check_rows(features: Any) -> Tensor:
    """Return features (N, d), N and d at least 1, of no labels as a tensor, or say what is wrong; of samples theirs."""
    if isinstance(features, Samples):
        return check_features(features, None)[0]
    rows = as_tensor(features)
    if rows.ndim != 2 or not rows.numel():
        cure = "; features.reshape(-1, 1) is (N, 1)" if rows.ndim == 1 and rows.numel() else ""
        raise ValueError(f"features are {tuple(rows.shape)}; they must be (N, d), with N and d at least 1{cure}")
    return check_values(rows)


def in_their_span(features: Tensor) -> Tensor:
    """Features (N, d), in float64; where d is above N their N coordinates in an orthonormal basis of what they span.

    What a rotation leaves alone is the same of both, and takes no d x d numbers.
    """
    rows = features.double()
    return rows if rows.shape[1] <= len(rows) else torch.linalg.qr(rows.T, mode="r").R.T


def check_shapes(features: Any, labels: Any) -> None:
    """Refuse what is not (N, d) with d >= 1 and (N,)."""
    if features.ndim != 2 or len(features) != len(labels):
        cure = "; features.reshape(-1, 1) is (N, 1)" if features.ndim == 1 else ""
        raise ValueError(
            f"features {tuple(features.shape)} and labels {tuple(labels.shape)} must be (N, d) and (N,){cure}"
        )


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
    if features.dtype not in _FLOATS:
        whole = not (features.is_complex() or features.is_floating_point() or features.is_quantized)
        small = features.is_floating_point() and features.dtype.itemsize < 2
        cure = "; give features.float()" if small else ""
        cure = "; if they are numbers, give features.float(), or astype(float)" if whole else cure
        raise TypeError(f"features are {features.dtype}; they must be floating point of 16 to 64 bits{cure}")
    if not torch.isfinite(features.sum()):  # cheap; a sum can also overflow, so only the rows decide
        bad = (~torch.isfinite(features).all(1)).nonzero().flatten()
        if len(bad):
            half = f"; {features.dtype} has none above 65504: compute them in float32"
            cure = half if features.dtype == torch.float16 else ""
            raise ValueError(f"features hold NaN or infinity, the first in row {first_row + int(bad[0])}{cure}")
    if features.dtype == torch.float64 and features.numel() and features.abs().max() > LARGEST:
        raise ValueError(f"features reach {features.abs().max():.1e}, more than {LARGEST:.0e}; scale them down")
    return features
