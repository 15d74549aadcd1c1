"""Probes without a weight: the nearest class mean and the nearest neighbours."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nclib.checks import check_whole, counted
from nclib.probing.probe import Probe, like

_AT_ONCE = 2**22  # products of queries and samples held at once: 16 MB in float32


class NearestClassMean(Probe):
    """Predicts the class whose mean is nearest in Euclidean distance. It has no parameters and works with one shot.

    Decisions are minus the squared distances to the class means, float64. (There is no `class_weight`, because class
    weights would not change the means.)

    Attributes
    ----------
    classes_
        The K classes in order, an array of the labels' dtype.
    means_
        The class means, float64 (K, d).
    n_features_in_, feature_names_in_
        d, and the names of the columns, if it was fitted to a table with named columns.

    Examples
    --------
    >>> features = torch.tensor([[0.0], [1.0], [4.0], [5.0]])
    >>> probe = NearestClassMean().fit(features, ["a", "a", "b", "b"])
    >>> probe.predict(torch.tensor([[2.0], [9.0]])).tolist()
    ['a', 'b']
    >>> probe.decision_function([[2.0], [9.0]])  # of two classes, for the second: 1.5^2 - 2.5^2, 8.5^2 - 4.5^2
    array([-4., 52.])
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "NearestClassMean":
        """Fit to features X (N, d) with labels y (N,); returns the probe itself.

        Parameters
        ----------
        X, y
            As in `LinearProbe.fit`, which lists the errors.
        sample_weight
            Weights (N,), at least 0, of the means; a sample of weight 0 is left out. None is 1 for each.
        """
        features, labels, weights = self._encode(X, y, sample_weight)
        features = features.double()
        if weights is not None:
            features = features * weights.unsqueeze(1)
        sums = features.new_zeros(len(self.classes_), features.shape[1]).index_add_(0, labels, features)
        self.means_ = sums / labels.bincount(weights).unsqueeze(1)
        return self

    def _decisions(self, features: Tensor) -> Tensor:
        return -torch.cdist(features.double(), self.means_).square()


class KNN(Probe):
    """Predicts the commonest class among the nearest samples (the first of equally common ones), on their device.

    Distances come from a matrix product in the features' precision, at least float32, so rounding decides between
    samples that are equally far. Decisions are the shares of the classes among the neighbours, float64.

    Parameters
    ----------
    neighbours
        Number of samples that vote, from 1 to the number of samples.
    metric
        "cosine" or "euclidean" distance.

    Attributes
    ----------
    classes_
        The K classes in order, an array of the labels' dtype.
    n_features_in_, feature_names_in_
        d, and the names of the columns, if it was fitted to a table with named columns.

    Examples
    --------
    >>> features = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 2.0]])
    >>> probe = KNN(neighbours=2).fit(features, ["a", "a", "b", "b"])
    >>> probe.predict(torch.tensor([[9.0, 1.0], [0.3, 0.4]])).tolist()
    ['a', 'b']
    >>> probe.predict_proba([[9.0, 1.0], [0.3, 0.4]])
    array([[1., 0.],
           [0., 1.]])
    """

    def __init__(self, neighbours: int = 5, metric: Literal["cosine", "euclidean"] = "cosine"):
        self.neighbours = neighbours
        self.metric = metric

    def fit(self, X: Any, y: Any) -> "KNN":
        """Store features X (N, d) with labels y (N,), both as in `LinearProbe.fit`; returns the probe itself.

        Raises
        ------
        ValueError, TypeError
            As in `LinearProbe.fit`; also if there are fewer samples than neighbours, or the metric is unknown.
        """
        if self.metric not in ("cosine", "euclidean"):
            raise ValueError(f"metric is {self.metric!r}; it must be 'cosine' or 'euclidean'")
        check_whole(1, neighbours=self.neighbours)
        features, self._labels, _ = self._encode(X, y)
        if self.neighbours > len(features):
            raise ValueError(
                f"neighbours is {self.neighbours}; with {counted(len(features), 'sample')} "
                f"it must be 1..{len(features)}"
            )
        if self.metric == "euclidean":
            self.mean_ = features.mean(0, dtype=torch.float64)  # far from zero, differences would lose digits
        self._rows = self._prepared(features)
        self._half = self._rows.square().sum(1) / 2 if self.metric == "euclidean" else None
        return self

    def predict_proba(self, X: Any) -> Any:
        """The share of each class among the neighbours, float64 (N, K), for features (N, d); a tensor for a tensor."""
        return like(X, self._decisions(self._check(X)))

    def _decisions(self, features: Tensor) -> Tensor:
        """The share of each class among the neighbours, float64 (N, K), on the device of the samples."""
        queries = self._prepared(features).to(self._rows)
        size = max(1, _AT_ONCE // len(self._rows))
        return torch.cat([self._votes(rows) for rows in queries.split(size)]) / self.neighbours

    def _prepared(self, features: Tensor) -> Tensor:
        """The features on the unit sphere, or about the mean of the samples, so that products give distances."""
        dtype = torch.promote_types(features.dtype, torch.float32)
        if self.metric == "cosine":
            return normalize(features.to(dtype))
        return (features.double() - self.mean_.to(features.device)).to(dtype)

    def _votes(self, queries: Tensor) -> Tensor:
        """The number of neighbours in each class, for each query, float64 (n, K)."""
        near = _products(queries, self._rows)
        if self._half is not None:
            near -= self._half
        codes = self._labels[near.topk(self.neighbours, sorted=False).indices]
        votes = torch.zeros(len(queries), len(self.classes_), dtype=torch.float64, device=near.device)
        return votes.scatter_add_(1, codes, torch.ones_like(codes, dtype=torch.float64))


def _products(queries: Tensor, rows: Tensor) -> Tensor:
    """The products (n, m) of queries and rows; on a CPU by numpy, whose BLAS is a fifth faster than torch's on AMD."""
    if queries.device.type != "cpu":
        return queries @ rows.T
    return torch.from_numpy(queries.detach().numpy() @ rows.detach().numpy().T)
