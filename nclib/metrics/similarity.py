"""How similar two representations of the same samples are, such as two layers or models."""

from typing import Any

import numpy as np
from torch import Tensor

from nclib.labels import class_names
from nclib.metrics.calls import with_cure
from nclib.metrics.linalg import length_of_products
from nclib.metrics.samples import check_rows


@with_cure
def cka(features: Any, others: Any, *, labels: Any = None, other_labels: Any = None) -> float:
    """Linear centred kernel alignment of features (N, d) and others (N, e) of the same samples in the same order.

    ||X^T Y||_F^2 / (||X^T X||_F ||Y^T Y||_F), both centred. Needs no labels. Range [0, 1]; higher is more similar, 1 if
    they differ only by a rotation, a shift and a scale. With few samples for the width it is near 1 for any features.
    It takes N d e operations, or N^2 (d + e) if N is less than both widths, and holds only the smaller products.
    Source: Kornblith et al. 2019 (arXiv 1905.00414).

    The numbers cannot show whether row i of both is the same sample. To check it, give the labels of both, (N,) each,
    which must be equal row by row; rows swapped within a class still go unnoticed.

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
        raise ValueError(f"features have {len(x):,} rows and others {len(y):,}; both must be of the same samples")
    _check_same(labels, other_labels, len(x))
    x, y = _centred(x, "features"), _centred(y.to(x.device), "others")
    x, y = sorted((x, y), key=lambda rows: rows.shape[1])
    product = length_of_products(x.T, y.T)
    return min(1.0, product**2 / (length_of_products(x.T, x.T) * length_of_products(y.T, y.T)))


def _centred(features: Tensor, name: str) -> Tensor:
    """The features about their mean, float64, scaled so that their fourth powers do not overflow."""
    centred = features.double() - features.double().mean(0)
    scale = centred.abs().max()
    if not scale > 1e-13 * features.abs().max():
        raise ValueError(f"{name} are the same for all samples up to rounding, so their similarity is undefined")
    return centred / scale


def _check_same(labels: Any, others: Any, number: int) -> None:
    """Refuse labels (N,) that show that the rows are different samples."""
    if labels is None and others is None:
        return
    if labels is None or others is None:
        raise ValueError("only one of labels and other_labels is given; give both, or neither")
    first, second = class_names(labels), class_names(others, "other_labels")
    if len(first) != number or len(second) != number:
        raise ValueError(
            f"{len(first):,} labels and {len(second):,} other_labels for {number:,} samples; give one for each"
        )
    if len(wrong := np.flatnonzero(first.astype(object) != second.astype(object))):  # a text differs from a number
        row = wrong[0]
        raise ValueError(
            f"labels are {first[row]!s} and {second[row]!s} in row {row}, and differ in {len(wrong):,} rows; both must "
            "be of the same samples in the same order"
        )
