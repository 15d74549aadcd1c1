"""Probes without a weight: the nearest class mean and the nearest neighbours."""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nclib.probing.probe import Probe, to_numpy

_AT_ONCE = 2**22  # products of queries and samples held at once: 16 MB in float32


class NearestClassMean(Probe):
    """The class whose mean is nearest, in Euclidean distance: no parameter, defined for one shot.

    Examples
    --------
    >>> features = torch.tensor([[0.0], [1.0], [4.0], [5.0]])
    >>> NearestClassMean().fit(features, ["a", "a", "b", "b"]).predict(torch.tensor([[2.0], [9.0]])).tolist()
    ['a', 'b']
    """

    def fit(self, features: Any, labels: Any) -> "NearestClassMean":
        """Fit to features float (N, d) and labels (N,)."""
        features, labels = self._encode(features, labels)
        labels, features = labels.to(features.device), features.double()
        sums = features.new_zeros(len(self.classes_), features.shape[1]).index_add_(0, labels, features)
        self.means_ = sums / labels.bincount().unsqueeze(1)
        return self

    def decision_function(self, features: Any) -> Tensor:
        """Minus the squared distance to every class mean, float64 (N, K)."""
        return -torch.cdist(self._check(features).double(), self.means_).square()


class KNN(Probe):
    """The commonest class among the nearest samples (of equally common ones the first), on the features' device.

    Distances are those of one matrix product in the features' precision, at least float32: of samples that are equally
    far, but for rounding, any may be taken.

    Parameters
    ----------
    neighbours
        How many samples vote, 1 to the number of samples.
    metric
        "cosine" or "euclidean" distance.

    Examples
    --------
    >>> features = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 2.0]])
    >>> probe = KNN(neighbours=2).fit(features, ["a", "a", "b", "b"])
    >>> probe.predict(torch.tensor([[9.0, 1.0], [0.3, 0.4]])).tolist()
    ['a', 'b']
    """

    def __init__(self, neighbours: int = 5, metric: Literal["cosine", "euclidean"] = "cosine"):
        self.neighbours = neighbours
        self.metric = metric

    def fit(self, features: Any, labels: Any) -> "KNN":
        """Keep features float (N, d) and labels (N,)."""
        if self.metric not in ("cosine", "euclidean"):
            raise ValueError(f"metric is {self.metric!r}; it must be 'cosine' or 'euclidean'")
        features, self._labels = self._encode(features, labels)
        if not 1 <= self.neighbours <= len(features):
            raise ValueError(
                f"neighbours is {self.neighbours}; of {len(features)} samples it must be 1..{len(features)}"
            )
        if self.metric == "euclidean":
            self.mean_ = features.mean(0, dtype=torch.float64)  # far from zero differences would lose their digits
        self._rows = self._prepared(features)
        self._half = self._rows.square().sum(1) / 2 if self.metric == "euclidean" else None
        return self

    def predict_proba(self, features: Any) -> np.ndarray:
        """The share of each class among the neighbours, float64 (N, K)."""
        return to_numpy(self.decision_function(features))

    def decision_function(self, features: Any) -> Tensor:
        """As `predict_proba`, float64 (N, K), on the device of the samples."""
        queries = self._prepared(self._check(features)).to(self._rows)
        size = max(1, _AT_ONCE // len(self._rows))
        return torch.cat([self._votes(rows) for rows in queries.split(size)]) / self.neighbours

    def _prepared(self, features: Tensor) -> Tensor:
        """What products of two rows are distances of: on the unit sphere, or about the mean of the samples."""
        dtype = torch.promote_types(features.dtype, torch.float32)
        if self.metric == "cosine":
            return normalize(features.to(dtype))
        return (features.double() - self.mean_.to(features.device)).to(dtype)

    def _votes(self, queries: Tensor) -> Tensor:
        """How many of the neighbours of each of some queries are of each class, float64 (n, K)."""
        near = _products(queries, self._rows)
        if self._half is not None:
            near -= self._half
        codes = self._labels[near.topk(self.neighbours, sorted=False).indices]
        votes = torch.zeros(len(queries), len(self.classes_), dtype=torch.float64, device=near.device)
        return votes.scatter_add_(1, codes, torch.ones_like(codes, dtype=torch.float64))


def _products(queries: Tensor, rows: Tensor) -> Tensor:
    """Products (n, m) of each query with each row; on a CPU by numpy, whose BLAS beats torch's on AMD by a fifth."""
    if queries.device.type != "cpu":
        return queries @ rows.T
    return torch.from_numpy(queries.detach().numpy() @ rows.detach().numpy().T)
