"""What a collapse metric can be computed from, and what is said about anything else."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nclib.devices import double_device

_BLOCK = 2**18  # numbers converted to float64 at once: 2 MB stay in a processor's cache
_LEAST_ROWS, _MOST_ROWS = 64, 2048  # of a block
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LARGEST = 1e60  # of a feature: sums of its fourth power still fit into a float64


def as_tensor(values: Any) -> Tensor:
    """A tensor without a gradient, sharing memory where it can; on the CPU if its own device has no float64."""
    if isinstance(values, np.ndarray) and (
        not values.flags.writeable or min(values.strides, default=0) < 0 or not values.dtype.isnative
    ):  # torch has no read-only tensors (a memory map is one), nor reversed or foreign ones
        values = np.array(values, dtype=values.dtype.newbyteorder("="))
    if hasattr(values, "to_numpy"):  # tables and columns of pandas
        values = values.to_numpy()
    try:
        tensor = torch.as_tensor(values).detach()
        return tensor.to(double_device(tensor.device))
    except (RuntimeError, TypeError, ValueError) as error:
        hint = "; np.unique(labels, return_inverse=True)[1] makes numbers of texts" if "str" in str(error) else ""
        raise TypeError(f"{type(values).__name__} is no tensor or array of numbers: {error}{hint}") from error


def note_rounding(features: Tensor, epsilon: float) -> Tensor:
    """The features themselves, with a note: numbers of this machine epsilon went into them, whatever their dtype.

    Class statistics take it for their precision. A part of the features, or a copy, does not have it.
    """
    features.rounding = epsilon  # type: ignore[attr-defined]  # a tensor takes attributes
    return features


def noted_rounding(features: Any) -> float:
    """What `note_rounding` noted of features, or 0."""
    return getattr(features, "rounding", 0.0) if isinstance(features, Tensor) else 0.0


def as_array(values: Any) -> np.ndarray | Tensor:
    """Arrays as they are, for they may lie on disk, and anything else as a tensor."""
    return values if isinstance(values, np.ndarray) else as_tensor(values)


@dataclass(frozen=True)
class Samples:
    """Features (N, d), which may lie on disk, and labels int64 (N,) of the right shapes, N at least 1.

    What takes features and labels takes this in the place of both, so that nothing is checked twice: labels and a
    number of classes beside it are not looked at. `checked` says whether the values of the features were, too,
    `stats` are their class statistics, where these were gathered, and `rounding` is what was noted of them.
    """

    features: Any
    labels: Tensor
    checked: bool = False
    stats: Any = None
    rounding: float = 0.0


def samples_of(features: Any, labels: Any, *, num_classes: int | None = None) -> Samples:
    """Features and labels as samples, or what is wrong with them; samples as they are."""
    if isinstance(features, Samples):
        return features
    rounding, features, labels = noted_rounding(features), as_array(features), as_tensor(labels)
    _check_shapes(features, labels)
    if not len(features):
        raise ValueError("there are no samples: features has 0 rows")
    return Samples(features, check_labels(labels, num_classes=num_classes), rounding=rounding)


def check_features(features: Any, labels: Any, *, num_classes: int | None = None) -> tuple[Tensor, Tensor]:
    """Return features (N, d) and labels (N,) as tensors on one device, or say what is wrong with them."""
    if isinstance(features, Samples):
        rows = as_tensor(features.features)
        return rows if features.checked else check_values(rows), features.labels.to(rows.device)
    features, labels = as_tensor(features), as_tensor(labels)
    _check_shapes(features, labels)
    return check_values(features), check_labels(labels, num_classes=num_classes).to(features.device)


def _check_shapes(features: Any, labels: Any) -> None:
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
    if features.dtype not in _FLOATS or features.layout != torch.strided:
        raise TypeError(
            f"features are {features.dtype}, {features.layout}; they must be floating point of 16 to 64 bits, and dense"
        )
    if not torch.isfinite(features.sum()):  # cheap; a sum can also overflow, so only the rows decide
        bad = (~torch.isfinite(features).all(1)).nonzero().flatten()
        if len(bad):
            half = f"; {features.dtype} has none above 65504: compute them in float32"
            cure = half if features.dtype == torch.float16 else ""
            raise ValueError(f"features hold NaN or infinity, the first in row {first_row + int(bad[0])}{cure}")
    if features.dtype == torch.float64 and features.numel() and features.abs().max() > LARGEST:
        raise ValueError(f"features reach {features.abs().max():.1e}, more than {LARGEST:.0e}; scale them down")
    return features


def check_labels(labels: Tensor, *, num_classes: int | None = None) -> Tensor:
    """Return the labels as int64 if they are integers in 0..num_classes-1 (any number of classes if None)."""
    check_least(1, num_classes=1 if num_classes is None else num_classes)
    if not labels.numel():
        return labels.long()
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels are {labels.dtype}; they must be integers")
    labels = labels.long()
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (num_classes is not None and high >= num_classes):
        allowed = "0 or more" if num_classes is None else f"0..{num_classes - 1}"
        raise ValueError(f"labels run from {low} to {high}; they must be {allowed}")
    if num_classes is None and high > 100 * len(labels) + 10_000:
        raise ValueError(
            f"the largest label is {high} for {len(labels)} samples; renumber the labels, or give num_classes"
        )
    return labels


def check_least(least: float, **numbers: Any) -> None:
    """Refuse numbers, by their names, below the least."""
    for name, number in numbers.items():
        if not number >= least:
            raise ValueError(f"{name} is {number}; it must be at least {least}")


def check_known(known: Iterable[str], **names: str) -> None:
    """Refuse what is not among the known names, and list these."""
    for what, name in names.items():
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; there are {', '.join(known)}")


def few(names: Sequence[object]) -> str:
    """The first five names, for a message, and how many more there are.

    >>> few(range(8))
    '0, 1, 2, 3, 4 and 3 more'
    """
    return ", ".join(map(str, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def check_parameter(value: Any, name: str, like: Tensor) -> Tensor:
    """A classifier's weight or bias as a float64 tensor, once its shape and numbers are right."""
    value = as_tensor(value).to(like)
    if value.shape != like.shape or not torch.isfinite(value).all():
        finite = "finite" if torch.isfinite(value).all() else "not finite"
        raise ValueError(f"{name} is {tuple(value.shape)}, {finite}; these statistics need {tuple(like.shape)}, finite")
    return value
