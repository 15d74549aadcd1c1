"""What the probes of frozen features share. All are scikit-learn estimators."""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from torch import Tensor

from nclib.checks import as_tensor, check_features, check_values


class Probe(ClassifierMixin, BaseEstimator):
    """What the probes share: labels of any kind that can be sorted, features as tensor or array, on their device.

    A probe has `fit` and `decision_function`, (N, K), the greater the likelier; the rest follows.
    """

    classes_: np.ndarray

    def _encode(self, features: Any, labels: Any) -> tuple[Tensor, Tensor]:
        """Checked features, and the labels as positions in `classes_`."""
        self.classes_, codes = np.unique(to_numpy(labels), return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"a probe needs at least 2 classes; the labels hold {len(self.classes_)} class")
        features, labels = check_features(features, torch.as_tensor(codes))
        self.n_features_in_ = features.shape[1]
        return features, labels

    def _check(self, features: Any) -> Tensor:
        if not hasattr(self, "classes_"):
            raise NotFittedError(f"{type(self).__name__} is not fitted; call fit(features, labels) first")
        features = as_tensor(features)
        if features.ndim != 2 or features.shape[1] != self.n_features_in_:
            raise ValueError(
                f"features are {tuple(features.shape)}; the probe was fitted on {self.n_features_in_} columns"
            )
        return check_values(features)

    def predict(self, features: Any) -> np.ndarray:
        """The class of every row of features (N, d), (N,)."""
        codes = self.decision_function(features).argmax(1)
        return self.classes_[to_numpy(codes)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy, in [0, 1]; higher is better. (scikit-learn's checks of labels take longer than a small probe.)"""
        predicted, y = self.predict(X), to_numpy(y)
        if y.shape != predicted.shape:
            raise ValueError(f"labels are {y.shape}; there are {len(predicted)} rows of features")
        return float(np.average(predicted == y, weights=sample_weight))


def to_numpy(values: Any) -> np.ndarray:
    """An array of a tensor on any device, or of anything else."""
    return values.numpy(force=True) if isinstance(values, Tensor) else np.asarray(values)


def given_to(probe: Any, features: Tensor) -> Any:
    """Features as a classifier takes them: ours on their device, those of scikit-learn as an array."""
    return features if isinstance(probe, Probe) else to_numpy(features)


def positive_numbers(name: str, value: Any) -> list[float]:
    """A parameter as a list: one positive number, or several."""
    try:
        numbers = np.atleast_1d(np.asarray(value, dtype=float))
    except (TypeError, ValueError):
        numbers = np.array([])
    if numbers.ndim != 1 or not len(numbers) or not (np.isfinite(numbers) & (numbers > 0)).all():
        raise ValueError(f"{name} is {value!r}; it must be positive and finite: a number, or a list of them")
    return numbers.tolist()


def held_out(labels: Tensor, share: float, seed: int, *, name: str = "share") -> Tensor:
    """Which of the labels (N,), integers from 0, are held out: a share of every class, but never all, bool (N,).

    The share has the caller's name in messages.
    """
    if not 0 < share < 1:
        raise ValueError(f"{name} is {share}; it must be above 0 and below 1")
    codes = to_numpy(labels)
    counts = np.bincount(codes)
    numbers = np.minimum(np.floor(share * counts + 0.5), counts - 1)
    if not (numbers > 0).any():
        raise ValueError(f"{name}={share} of a class is no sample of any, the largest having {counts.max()}; raise it")
    order = np.lexsort((np.random.default_rng(seed).random(len(codes)), codes))
    ranks = np.empty(len(codes), dtype=np.int64)
    ranks[order] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return torch.from_numpy(ranks < numbers[codes]).to(labels.device)
