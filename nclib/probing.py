"""Probes of frozen features: what a simple classifier makes of them. All are scikit-learn estimators."""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from torch import Tensor
from torch.nn.functional import cross_entropy

from nclib.statistics import ClassStatistics, check_features


class _Probe(ClassifierMixin, BaseEstimator):
    """What the probes share: labels of any kind, features as tensor or array, on the features' device."""

    classes_: np.ndarray

    def _encode(self, features: Any, labels: Any) -> tuple[Tensor, Tensor]:
        self.classes_, codes = np.unique(_numpy(labels), return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"a probe needs at least 2 classes; the labels hold {len(self.classes_)} class")
        features, labels = check_features(features, torch.as_tensor(codes))
        self.n_features_in_ = features.shape[1]
        return features, labels

    def _check(self, features: Any) -> Tensor:
        if not hasattr(self, "classes_"):
            raise NotFittedError(f"{type(self).__name__} is not fitted; call fit(features, labels) first")
        features = torch.as_tensor(features)
        features, _ = check_features(features, torch.zeros(len(features), dtype=torch.long))
        if features.shape[1] != self.n_features_in_:
            raise ValueError(
                f"features have {features.shape[1]} columns; the probe was fitted on {self.n_features_in_}"
            )
        return features

    def predict(self, features: Any) -> np.ndarray:
        """The class of every row of features (N, d), (N,)."""
        codes = self.decision_function(features).argmax(1)
        return self.classes_[_numpy(codes)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy, in [0, 1]; higher is better."""
        return super().score(X, _numpy(y), sample_weight)


class LinearProbe(_Probe):
    """Multinomial logistic regression on standardised features, by L-BFGS on the features' device.

    Minimises sum of cross-entropies + ||W||^2 / (2 C) with a row of W for each class, as scikit-learn's
    LogisticRegression does for three classes and more on features of mean 0 and variance 1. (For two
    classes that one keeps a single row, which is this with half of C.) Labels may be anything that can
    be sorted.

    Parameters
    ----------
    C
        Inverse strength of the penalty, positive.
    max_iter
        Most L-BFGS iterations.

    Examples
    --------
    >>> features = torch.tensor([[0.0], [1.0], [4.0], [5.0]])
    >>> LinearProbe().fit(features, ["a", "a", "b", "b"]).predict(torch.tensor([[0.5], [9.0]])).tolist()
    ['a', 'b']
    """

    def __init__(self, C: float = 1.0, max_iter: int = 100):
        self.C = C
        self.max_iter = max_iter

    def fit(self, features: Any, labels: Any) -> "LinearProbe":
        """Fit to features float (N, d) and labels (N,)."""
        if not self.C > 0:
            raise ValueError(f"C is {self.C}; it must be positive")
        features, labels = self._encode(features, labels)
        self.mean_ = features.double().mean(0)
        spread = features.double().std(0, correction=0)
        self.scale_ = torch.where(spread > 0, spread, 1.0)
        self.weight_, self.bias_ = self._minimise(self._standardise(features), labels)
        return self

    def decision_function(self, features: Any) -> Tensor:
        """Logits float32 (N, K) on the features' device."""
        features = self._check(features)
        return self._standardise(features) @ self.weight_.T + self.bias_

    def _standardise(self, features: Tensor) -> Tensor:
        return ((features.double() - self.mean_) / self.scale_).float()

    def _minimise(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        classes = len(self.classes_)
        weight = features.new_zeros(classes, features.shape[1], requires_grad=True)
        bias = features.new_zeros(classes, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weight, bias],
            max_iter=self.max_iter,
            tolerance_grad=1e-5,
            tolerance_change=1e-8,
            line_search_fn="strong_wolfe",
        )

        def objective() -> Tensor:
            optimizer.zero_grad()
            penalty = weight.square().sum() / (2 * self.C * len(labels))
            loss = cross_entropy(features @ weight.T + bias, labels) + penalty
            loss.backward()
            return loss

        with torch.enable_grad():
            optimizer.step(objective)  # type: ignore[arg-type]  # LBFGS is annotated for a float
        return weight.detach(), bias.detach()


class NearestClassMean(_Probe):
    """The class whose mean is nearest, in Euclidean distance: no parameter, defined for one shot."""

    def fit(self, features: Any, labels: Any) -> "NearestClassMean":
        """Fit to features float (N, d) and labels (N,)."""
        features, labels = self._encode(features, labels)
        stats = ClassStatistics(features.shape[1], len(self.classes_), device=features.device)
        self.means_ = stats.update(features, labels).means
        return self

    def decision_function(self, features: Any) -> Tensor:
        """Minus the squared distance to every class mean, float64 (N, K)."""
        return -torch.cdist(self._check(features).double(), self.means_).square()


def _numpy(values: Any) -> np.ndarray:
    return values.numpy(force=True) if isinstance(values, Tensor) else np.asarray(values)
