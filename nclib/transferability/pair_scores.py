"""Transferability scores from distances between samples: of all pairs, or to the neighbours in the same class."""

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nclib.checks import check_whole, checked_seed, counted
from nclib.labels import called
from nclib.metrics.calls import with_cure
from nclib.metrics.linalg import panels
from nclib.metrics.samples import check_features, samples_of
from nclib.probing.probe import to_numpy

_DIGITS = 12  # decimals of a distance; beyond these, differences are rounding


@with_cure
def parc(features: Any, labels: Any, *, most: int = 4000, seed: int = 0) -> float:
    """Pairwise annotation representation comparison: whether samples of different classes lie farther apart.

    Spearman's rank correlation, over pairs of samples, of two distances. The distance of features (N, d) is one minus
    the Pearson correlation of the two samples, with each feature standardised over the samples. The distance of one-hot
    labels is 0 within a class and the same for any two classes. Range [-1, 1]; higher is better. Invariant to shift and
    scale of each feature, but not to rotation. It sorts all N (N - 1) / 2 distances. From more than `most` samples it
    draws `most` by the `seed`, with a warning.

    Source: Bolya et al. 2021 (arXiv 2111.06977), who multiply by 100 and first reduce the features to 32 principal
    components; we do not. Distances that differ only by rounding are equal here, including those of labels, which their
    code ranks.

    Raises ValueError if there are not two classes, one of them with two samples, or if the features of a sample are all
    equal once standardised, as a single feature always is.

    Examples
    --------
    >>> features = [[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 2.0]]
    >>> round(parc(features, [0, 0, 1, 1]), 6), round(parc(features, [0, 1, 0, 1]), 6)  # distances of 0 and 2
    (1.0, -0.5)
    """
    from scipy.stats import rankdata

    check_whole(3, most=most)
    rows, labels = _drawn(*check_features(features, labels), most, checked_seed(seed, bits=64))
    units = _standard_units(rows)
    distances, apart = (torch.cat(parts) for parts in zip(*_pairs(units, labels), strict=True))
    if not apart.any() or apart.all():
        what = "of one class" if not apart.any() else "each of another class"
        raise ValueError(f"the samples are {what}; parc compares pairs within a class with pairs across classes")
    ranks = rankdata(to_numpy(distances.round(decimals=_DIGITS)))
    if ranks[0] == ranks.max() == ranks.min():
        raise ValueError("all pairs of samples are equally far apart, so distances say nothing about the labels")
    return float(np.corrcoef(ranks, to_numpy(apart))[0, 1].clip(-1, 1))


def _drawn(features: Tensor, labels: Tensor, most: int, seed: int) -> tuple[Tensor, Tensor]:
    """All samples, or `most` of them, drawn by the seed."""
    number = len(labels)
    if number <= most:
        return features, labels
    what = f"parc uses {most:,} of {number:,} samples, drawn with seed {seed}; most={number} uses all"
    warnings.warn(what, UserWarning, stacklevel=4)  # the caller of parc
    chosen = torch.randperm(number, generator=torch.Generator().manual_seed(seed))[:most].sort().values
    chosen = chosen.to(labels.device)
    return features[chosen], labels[chosen]


def _standard_units(features: Tensor) -> Tensor:
    """Rows of length 1, float64, whose products are the correlations of samples with standardised features."""
    centred = features.double() - features.double().mean(0)
    size = centred.abs().amax(0)
    flat = size <= 1e-13 * features.double().abs().amax(0)
    standard = centred / torch.where(flat, torch.inf, size)  # scaled first, since squares of tiny numbers would be 0
    standard = standard / standard.square().mean(0).sqrt().where(~flat, 1.0)
    about = standard - standard.mean(1, keepdim=True)
    lengths = about.norm(dim=1, keepdim=True)
    null = lengths <= 1e-12 * standard.norm(dim=1, keepdim=True)
    if null.any():
        raise ValueError(
            f"{int(null.sum())} of {len(lengths)} samples have features that are all the same once standardised, so "
            "their correlation with others is undefined; parc needs two or more features that differ"
        )
    return about / lengths


def _pairs(units: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The distance of every pair of samples once, and whether their labels differ, in parts."""
    for start, products in panels(units, units):
        i, j = torch.triu_indices(len(products), len(units), offset=start + 1, device=units.device)
        yield 1 - products[i, j], labels[start + i] != labels[j]


@with_cure
def tmi(features: Any, labels: Any, *, neighbours: int = 1) -> float:
    """Entropy of features (N, d) within their classes, per feature: how much spread remains given the class.

    The mean over samples of (psi(n_k) - psi(m) + ln V_d + d ln r) / d, where r is the distance of a sample to its m-th
    nearest among the n_k samples of its class, m is `neighbours`, V_d the volume of the unit ball, and psi the digamma
    function. This is the Kozachenko-Leonenko estimate (1987) of the entropy given the class, in nats. Range
    (-inf, inf); higher is better: spread within classes is said to leave room to adapt, contrary to collapse. Invariant
    to rotation and shift; doubling the features adds ln 2.

    Source: ours, after Xu, Kang 2023 (arXiv 2308.05986). Their own estimate could not be read. The division by d, which
    makes features of different widths comparable, is ours.

    Raises ValueError if a class does not have more samples than neighbours, or if a sample has as many equal samples in
    its class.

    Examples
    --------
    >>> round(tmi([[0.0], [2.0], [5.0], [7.0]], [0, 0, 1, 1]), 4)  # psi(2) - psi(1) + ln 2 + ln 2: 1 + ln 4
    2.3863
    """
    from scipy.special import digamma, gammaln

    check_whole(1, neighbours=neighbours)
    samples = samples_of(features, labels)
    rows, labels = check_features(samples, None)
    width, counts = rows.shape[1], labels.bincount().tolist()
    if small := [k for k, count in enumerate(counts) if 0 < count <= neighbours]:
        first, has = called(small, samples.classes)[0], counted(counts[small[0]], "sample")
        raise ValueError(
            f"class {first} has {has}; with neighbours={neighbours} a class needs {neighbours + 1} or more: leave out "
            "smaller classes"
        )
    total = sum(
        count * digamma(count) + width * float(_distances(rows[labels == k], neighbours).log().sum())
        for k, count in enumerate(counts)
        if count
    )
    ball = width / 2 * math.log(math.pi) - gammaln(width / 2 + 1)
    value = (total / len(labels) - digamma(neighbours) + ball) / width
    if not math.isfinite(value):
        raise ValueError(
            f"a sample equals {neighbours} or more others of its class, so the entropy is minus infinity; leave out "
            "copies, or give more neighbours"
        )
    return float(value)


def _distances(rows: Tensor, neighbours: int) -> Tensor:
    """The distance float64 (n,) of each row (n, d) to its nearest other row, or the `neighbours`-th nearest."""
    from sklearn.neighbors import NearestNeighbors

    centred = to_numpy(rows.double() - rows.double().mean(0))
    near = NearestNeighbors(n_neighbors=neighbours).fit(centred).kneighbors(return_distance=False)[:, -1]
    return torch.from_numpy(np.linalg.norm(centred - centred[near], axis=1))
