"""Probes without a weight: the nearest class mean and the nearest neighbours."""

from typing import Any, Literal

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from nclib.probing.probe import Probe, to_numpy


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
    """The commonest class among the nearest samples (of equally common ones the first): scikit-learn's, on the CPU.

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
        features, labels = self._encode(features, labels)
        if not 1 <= self.neighbours <= len(features):
            raise ValueError(
                f"neighbours is {self.neighbours}; of {len(features)} samples it must be 1..{len(features)}"
            )
        self.neighbours_ = KNeighborsClassifier(self.neighbours, metric=self.metric, algorithm="brute")
        self.neighbours_.fit(to_numpy(features.double()), to_numpy(labels))
        return self

    def predict_proba(self, features: Any) -> np.ndarray:
        """The share of each class among the neighbours, float64 (N, K)."""
        return self.neighbours_.predict_proba(to_numpy(self._check(features).double()))

    def decision_function(self, features: Any) -> Tensor:
        """As `predict_proba`, float64 (N, K), on the features' device."""
        features = self._check(features)
        return torch.from_numpy(self.predict_proba(features)).to(features.device)
