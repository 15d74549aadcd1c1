"""Sample and class weights, as scikit-learn's estimators take them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nclib.arrays import as_tensor
from nclib.checks import few, is_number

ClassWeight = Mapping[Any, float] | str | None


def check_weights(weights: Any, number: int) -> Tensor:
    """Sample weights as float64 (N,) on their device, checked to be finite, at least 0, and not all 0."""
    given = weights if isinstance(weights, Tensor | np.ma.MaskedArray) else np.asarray(weights)
    if isinstance(given, np.ndarray) and given.dtype.kind not in "biufO":
        raise TypeError(f"sample_weight is of type {given.dtype}; it must be a real number for each sample")
    weights = as_tensor(given)
    if weights.is_complex():
        raise TypeError(f"sample_weight is of type {weights.dtype}; it must be a real number for each sample")
    weights = weights.double()
    if tuple(weights.shape) != (number,):
        raise ValueError(f"sample_weight is {tuple(weights.shape)}; it must be ({number},), one number for each sample")
    wrong = ~(torch.isfinite(weights) & (weights >= 0))
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise ValueError(f"sample_weight is {weights[row]:g} in row {row}; it must be finite and at least 0")
    if not weights.any():
        raise ValueError("sample_weight is zero in all rows; at least one weight must be above zero")
    return weights


def with_class_weight(
    class_weight: ClassWeight, labels: Tensor, weights: Tensor | None, classes: np.ndarray
) -> Tensor | None:
    """Sample weights (N,) times the weights of their classes, for labels (N,) in 0..K-1; None if all are 1.

    "balanced" gives every class the same total weight, and keeps the total of all samples.
    """
    if class_weight is None:
        return weights
    weights = torch.ones(len(labels), dtype=torch.float64, device=labels.device) if weights is None else weights
    if isinstance(class_weight, str) and class_weight == "balanced":
        sums = labels.bincount(weights)
        factors = sums.sum() / (len(sums) * sums)
    else:
        factors = torch.tensor(_factors(class_weight, classes), dtype=torch.float64).to(weights)
    return weights * factors[labels]


def _factors(class_weight: Any, classes: np.ndarray) -> list[float]:
    """The weight of every class, 1 for a class not named."""
    if not isinstance(class_weight, Mapping):
        raise ValueError(f"class_weight is {class_weight!r}; it must be None, 'balanced', or weights by class")
    names = classes.tolist()
    if unknown := [name for name in class_weight if name not in names]:
        raise ValueError(f"class_weight names {few(unknown)}; the classes are {few(names)}")
    factors = [class_weight.get(name, 1.0) for name in names]
    for name, factor in zip(names, factors, strict=True):
        if not (is_number(factor) and 0 < factor < np.inf):
            raise ValueError(
                f"class_weight of {name} is {factor!r}; it must be positive and finite: to leave out a class, leave "
                "out its samples"
            )
    return [float(factor) for factor in factors]
