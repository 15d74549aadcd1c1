"""How alike two representations of the same samples are, such as those of two layers or models."""

from typing import Any

import numpy as np
from torch import Tensor

from nclib.labels import class_names
from nclib.metrics.linalg import length_of_products
from nclib.metrics.samples import check_rows


def cka(features: Any, others: Any, *, labels: Any = None, other_labels: Any = None) -> float:
    """Linear centred kernel alignment of features (N, d) and others (N, e) of the same samples in the same order.

    ||X^T Y||_F^2 / (||X^T X||_F ||Y^T Y||_F), both centred. Needs no labels. Range [0, 1]; higher is more alike, 1 if
    they differ by a rotation, a shift and a scale alone. With few samples for their width it is near 1 for any
    features. Takes N d e operations, or N^2 (d + e) where N is less than both widths, and never holds more than the
    smaller products. Source: Kornblith et al. 2019 (arXiv 1905.00414).

    That row i of both is of one sample cannot be seen of numbers: give the labels of both, (N,) each, and those must be
    equal row by row. Rows that change places within a class go unnoticed even so.

    Raises ValueError if the numbers of rows or the labels differ, or if one of the two is the same for all samples.

    Examples
    --------
    >>> import torch
    >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> round(cka(features, 3 * features.flip(1) + 1), 6)  # turned, scaled and shifted
    1.0
    >>> round(cka(features, features[:, :1]), 4)  # one of two directions: 1 / sqrt 2
    0.7071
    """
    x, y = check_rows(features), check_rows(others)
    if len(x) != len(y):
        raise ValueError(f"features are of {len(x):,} samples and others of {len(y):,}; they must be of the same ones")
    _check_same(labels, other_labels, len(x))
    x, y = sorted((_centred(x), _centred(y.to(x.device))), key=lambda rows: rows.shape[1])
    product = length_of_products(x.T, y.T)
    return min(1.0, product**2 / (length_of_products(x.T, x.T) * length_of_products(y.T, y.T)))


def _centred(features: Tensor) -> Tensor:
    """The features about their mean, float64, at a scale whose fourth powers fit."""
    centred = features.double() - features.double().mean(0)
    scale = centred.abs().max()
    if not scale > 1e-13 * features.abs().max():
        raise ValueError("features are the same for all samples, but for rounding, and so like no others")
    return centred / scale


def _check_same(labels: Any, others: Any, number: int) -> None:
    """Refuse labels (N,) that say that the rows are of other samples."""
    if labels is None and others is None:
        return
    if labels is None or others is None:
        raise ValueError("labels are given of one of the two; give those of both, or none")
    first, second = class_names(labels), class_names(others, "other_labels")
    if len(first) != number or len(second) != number:
        raise ValueError(f"labels are {len(first):,} and {len(second):,} of {number:,} samples; give one for each")
    if len(wrong := np.flatnonzero(first.astype(object) != second.astype(object))):  # a text differs from a number
        row = wrong[0]
        raise ValueError(
            f"labels are {first[row]!s} and {second[row]!s} in row {row}, and differ in {len(wrong):,} rows; both must "
            "be of the same samples in the same order"
        )
