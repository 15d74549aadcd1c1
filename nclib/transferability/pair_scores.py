"""Transferability scores of distances between samples: of all pairs, or of each to its neighbours in its class."""

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nclib.checks import check_whole, counted
from nclib.labels import called
from nclib.metrics.linalg import panels
from nclib.metrics.samples import check_features, samples_of
from nclib.probing.probe import to_numpy

_DIGITS = 12  # of a distance, beyond which two differ by rounding alone


def parc(features: Any, labels: Any, *, most: int = 4000, seed: int = 0) -> float:
    """Pairwise annotation representation comparison: whether samples of two classes are farther apart than of one.

    Spearman's rank correlation over pairs of samples of their distance, one less Pearson's correlation of their
    features (N, d), each standardised over the samples, with that of their one-hot labels: 0 within a class, and the
    same for any two classes. Range [-1, 1]; higher is better. Unchanged by shift and scale of each feature, not by
    rotation. It sorts all N (N - 1) / 2 distances; of more than `most` samples it takes so many, drawn by the `seed`,
    which a warning says.

    Source: Bolya et al. 2021 (arXiv 2111.06977), who multiply by 100. Left out is their reduction of the features to 32
    principal components. Distances that differ by rounding only are equal here, those of labels, too, which their
    code ranks.

    Raises ValueError unless there are two classes, and two samples of one of them, or if the features of a sample
    are all the same once standardised, as those of one number are.

    Examples
    --------
    >>> features = [[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 2.0]]
    >>> round(parc(features, [0, 0, 1, 1]), 6), round(parc(features, [0, 1, 0, 1]), 6)  # distances of 0 and 2
    (1.0, -0.5)
    """
    from scipy.stats import rankdata

    check_whole(3, most=most)
    check_whole(0, seed=seed)
    rows, labels = _drawn(*check_features(features, labels), most, seed)
    units = _standard_units(rows)
    distances, apart = (torch.cat(parts) for parts in zip(*_pairs(units, labels), strict=True))
    if not apart.any() or apart.all():
        what = "one class" if not apart.any() else "a class of its own each"
        raise ValueError(f"the samples are of {what}; parc compares pairs of one class with pairs of two")
    ranks = rankdata(to_numpy(distances.round(decimals=_DIGITS)))
    if ranks[0] == ranks.max() == ranks.min():
        raise ValueError("all pairs of samples are as far apart, so that no distance goes with the labels")
    return float(np.corrcoef(ranks, to_numpy(apart))[0, 1].clip(-1, 1))


def _drawn(features: Tensor, labels: Tensor, most: int, seed: int) -> tuple[Tensor, Tensor]:
    """All samples, or so many of them."""
    number = len(labels)
    if number <= most:
        return features, labels
    what = f"parc is of {most:,} of {number:,} samples, drawn with seed {seed}; most={number} is of all"
    warnings.warn(what, UserWarning, stacklevel=3)
    chosen = torch.randperm(number, generator=torch.Generator().manual_seed(seed))[:most].sort().values
    chosen = chosen.to(labels.device)
    return features[chosen], labels[chosen]


def _standard_units(features: Tensor) -> Tensor:
    """Rows of length 1, float64, whose products are the correlations of samples whose features are standardised."""
    centred = features.double() - features.double().mean(0)
    size = centred.abs().amax(0)
    flat = size <= 1e-13 * features.double().abs().amax(0)
    standard = centred / torch.where(flat, torch.inf, size)  # in range first: squares of tiny numbers are 0
    standard = standard / standard.square().mean(0).sqrt().where(~flat, 1.0)
    about = standard - standard.mean(1, keepdim=True)
    lengths = about.norm(dim=1, keepdim=True)
    null = lengths <= 1e-12 * standard.norm(dim=1, keepdim=True)
    if null.any():
        raise ValueError(
            f"{int(null.sum())} of {len(lengths)} samples have features that are all the same once standardised, and "
            "so no correlation with others; parc needs two features that differ, or more"
        )
    return about / lengths


def _pairs(units: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The distance of every pair of samples once, and whether their labels differ, some rows at a time."""
    for start, products in panels(units, units):
        i, j = torch.triu_indices(len(products), len(units), offset=start + 1, device=units.device)
        yield 1 - products[i, j], labels[start + i] != labels[j]


def tmi(features: Any, labels: Any, *, neighbours: int = 1) -> float:
    """Entropy of features (N, d) within their classes, per feature: how much of their spread a class leaves.

    The mean over samples of (psi(n_k) - psi(m) + ln V_d + d ln r) / d, r being the distance of a sample to the m-th
    nearest of the n_k of its class, m the `neighbours`, V_d the volume of the unit ball, and psi the digamma function:
    the estimate of Kozachenko and Leonenko (1987) of the entropy given the class, in nats. Any number; higher is
    better, for spread within the classes is said to leave room to adapt, against what collapse says. Unchanged by
    rotation and shift; features twice as large add ln 2.

    Source: ours, after Xu, Kang 2023 (arXiv 2308.05986): their own estimate could not be read, and division by d, so
    that features of two widths compare, is ours.

    Raises ValueError if a class has no more samples than neighbours, or samples of a class are equal.

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
            "smaller ones"
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
            f"a sample equals {neighbours} others of its class or more, so that the entropy has no bound; leave copies "
            "out, or give more neighbours"
        )
    return float(value)


def _distances(rows: Tensor, neighbours: int) -> Tensor:
    """The distance float64 (n,) of each of the rows (n, d) to its so many-th nearest other."""
    from sklearn.neighbors import NearestNeighbors

    centred = to_numpy(rows.double() - rows.double().mean(0))
    near = NearestNeighbors(n_neighbors=neighbours).fit(centred).kneighbors(return_distance=False)[:, -1]
    return torch.from_numpy(np.linalg.norm(centred - centred[near], axis=1))
