"""Class statistics: the counts, means and spreads that every collapse metric is a function of.

They are gathered in one pass, batch by batch, and merge exactly (Chan, Golub, LeVeque 1983), so a
large data set, several workers or a stream give the numbers that one array would.
"""

from typing import Any

import torch
from torch import Tensor

_ROWS = 8192  # samples handled at once: bounds the memory of the float64 copies


class ClassStatistics:
    """Counts, means and within-class scatter of labelled features, accumulated in float64.

    Every update is centred on the class means of its own batch before it is squared, so features far
    from the origin lose nothing to cancellation.

    Attributes
    ----------
    counts
        int64 (K,), samples seen of each class.
    means
        float64 (K, d), class means; zero for a class not seen yet.
    squares
        float64 (K, d), sums of squared deviations from the class mean, per feature.
    scatter
        float64 (d, d), outer products of those deviations, summed over all classes.

    Examples
    --------
    >>> stats = ClassStatistics(num_features=2, num_classes=2)
    >>> stats = stats.update(torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 0]))
    >>> stats = stats.update(torch.tensor([[5.0, 1.0]]), torch.tensor([1]))
    >>> stats.means.tolist(), stats.within_covariance.tolist()
    ([[1.0, 0.0], [5.0, 1.0]], [[0.6666666666666666, 0.0], [0.0, 0.0]])
    """

    def __init__(self, num_features: int, num_classes: int, *, device: torch.device | str = "cpu"):
        if num_features < 1 or num_classes < 1:
            raise ValueError(f"num_features is {num_features} and num_classes {num_classes}; both must be at least 1")
        self.counts = torch.zeros(num_classes, dtype=torch.int64, device=device)
        self.means = torch.zeros(num_classes, num_features, dtype=torch.float64, device=device)
        self.squares = torch.zeros_like(self.means)
        self.scatter = self.means.new_zeros(num_features, num_features)

    @property
    def num_classes(self) -> int:
        return self.means.shape[0]

    @property
    def num_features(self) -> int:
        return self.means.shape[1]

    @property
    def num_samples(self) -> int:
        return int(self.counts.sum())

    @property
    def global_mean(self) -> Tensor:
        """The mean over all samples, (d,). With unequal classes it is not the mean of the class means."""
        return self.counts.double() @ self.means / self.num_samples

    @property
    def centred_means(self) -> Tensor:
        """The class means less the global mean, (K, d)."""
        return self.means - self.global_mean

    @property
    def within_covariance(self) -> Tensor:
        """Sigma_W = (1/N) sum over samples of (h - mean of its class)(...)^T, (d, d)."""
        return self.scatter / self.num_samples

    @property
    def class_variances(self) -> Tensor:
        """V_k = mean over class k of ||h - mean_k||^2, (K,); 0 for a class of one sample."""
        return self.squares.sum(1) / self.counts

    def update(self, features: Any, labels: Any) -> "ClassStatistics":
        """Add a batch: features float (B, d) on any device, labels integer (B,) in 0..K-1."""
        features, labels = check_features(features, labels, num_classes=self.num_classes)
        if features.shape[1] != self.num_features:
            raise ValueError(f"features have {features.shape[1]} columns; these statistics are of {self.num_features}")
        device = self.means.device
        for rows, classes in zip(features.split(_ROWS), labels.split(_ROWS), strict=True):
            self._absorb(*_summarise(rows.to(device).double(), classes.to(device), self.num_classes))
        return self

    def merge(self, other: "ClassStatistics") -> "ClassStatistics":
        """Add what another object has seen; the result is as if this one had seen it all."""
        if self.means.shape != other.means.shape:
            raise ValueError(
                f"statistics of {self.num_classes} classes x {self.num_features} features do not merge with "
                f"{other.num_classes} x {other.num_features}"
            )
        parts = (other.counts, other.means, other.squares, other.scatter)
        self._absorb(*(part.to(self.means.device) for part in parts))
        return self

    def without_empty_classes(self) -> "ClassStatistics":
        """The statistics of the classes that were seen, renumbered in order."""
        seen = self.counts > 0
        if not seen.any():
            raise ValueError("no class was seen, so there is nothing to keep")
        result = ClassStatistics(self.num_features, int(seen.sum()), device=self.means.device)
        result._absorb(self.counts[seen], self.means[seen], self.squares[seen], self.scatter)
        return result

    def _absorb(self, counts: Tensor, means: Tensor, squares: Tensor, scatter: Tensor) -> None:
        total = self.counts + counts
        delta = means - self.means
        share = counts.double() / total.clamp(min=1)  # (K,), of the new part in the union
        shift = (self.counts * share).unsqueeze(1) * delta  # n m / (n + m) * delta
        self.squares += squares + shift * delta
        self.scatter += scatter + shift.T @ delta
        self.means += share.unsqueeze(1) * delta
        self.counts = total


def class_statistics(features: Any, labels: Any, *, num_classes: int | None = None) -> ClassStatistics:
    """The statistics of features (N, d) with labels (N,), on the features' device.

    `num_classes` is the largest label plus one unless given. A label that never occurs leaves an empty
    class, which the metrics refuse: see `ClassStatistics.without_empty_classes`.
    """
    features, labels = check_features(features, labels, num_classes=num_classes)
    if not len(features):
        raise ValueError("there are no samples: features has 0 rows")
    num_classes = num_classes or int(labels.max()) + 1
    return ClassStatistics(features.shape[1], num_classes, device=features.device).update(features, labels)


def check_features(features: Any, labels: Any, *, num_classes: int | None = None) -> tuple[Tensor, Tensor]:
    """Return features and labels as tensors on one device, or say what is wrong with them."""
    features, labels = torch.as_tensor(features), torch.as_tensor(labels)
    if features.ndim != 2 or labels.ndim != 1 or len(features) != len(labels):
        raise ValueError(f"features {tuple(features.shape)} and labels {tuple(labels.shape)} must be (N, d) and (N,)")
    if not features.is_floating_point():
        raise TypeError(f"features are {features.dtype}; they must be floating point")
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
    if not labels.numel():
        labels = labels.long()
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels are {labels.dtype}; they must be integers")
    labels = labels.to(features.device).long()
    bad = (~torch.isfinite(features).all(1)).nonzero().flatten()
    if len(bad):
        raise ValueError(
            f"{len(bad)} of {len(features)} rows of features hold NaN or infinity, the first is row {bad[0]}"
        )
    if len(labels) and (labels.min() < 0 or (num_classes is not None and labels.max() >= num_classes)):
        allowed = "0 or more" if num_classes is None else f"0..{num_classes - 1}"
        raise ValueError(f"labels run from {int(labels.min())} to {int(labels.max())}; they must be {allowed}")
    return features.detach(), labels


def _summarise(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Counts, means, squares and scatter of one float64 batch, centred on its own class means."""
    counts = labels.bincount(minlength=num_classes)
    sums = features.new_zeros(num_classes, features.shape[1])
    means = sums.index_add(0, labels, features) / counts.clamp(min=1).unsqueeze(1)
    centred = features - means[labels]
    return counts, means, sums.index_add(0, labels, centred.square()), centred.T @ centred
