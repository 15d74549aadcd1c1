"""The base class of the probes of frozen features, which are all scikit-learn estimators."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import validate_data
from torch import Tensor

from nclib.arrays import as_tensor
from nclib.checks import checked_seed, counted, few, is_number
from nclib.devices import double_device
from nclib.labels import check_same_kind, class_names
from nclib.metrics.samples import check_features, check_shapes, check_values
from nclib.probing.weights import ClassWeight, check_weights, with_class_weight

_FLOATS = (np.float64, np.float32, np.float16)  # other arrays become the first of these


class Given(NamedTuple):
    """The data a probe is fitted to: features (N, d), labels as positions (N,) in `classes_`, and weights (N,).

    The weights are positive float64, or None if all are 1. All three are on one device.
    """

    features: Tensor
    labels: Tensor
    weights: Tensor | None

    def among(self, chosen: Tensor) -> "Given":
        """The samples chosen by booleans (N,)."""
        weights = None if self.weights is None else self.weights[chosen]
        return Given(self.features[chosen], self.labels[chosen], weights)


class Probe(ClassifierMixin, BaseEstimator):
    """Base class of the probes. Features may be a tensor, which stays on its device, or an array; labels, any classes.

    Features to predict move to the device that the probe was fitted on; results for tensors move back.

    A probe needs `fit`, and `_decisions`, which turns checked features into (N, K), greater where a class is likelier.
    """

    classes_: np.ndarray
    n_features_in_: int

    def _encode(self, X: Any, y: Any, sample_weight: Any = None, class_weight: ClassWeight = None) -> Given:
        """Checked features, labels as positions in `classes_`, and weights; samples of weight 0 are dropped."""
        features, names = self._features(X, reset=True), class_names(_asked(y, self))
        check_shapes(features, names)
        weights = None if sample_weight is None else check_weights(sample_weight, len(names))
        if weights is not None and not (kept := weights > 0).all():
            features, weights, names = features[kept.to(features.device)], weights[kept], names[kept.numpy(force=True)]
        classes, codes = np.unique(names, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"a probe needs at least 2 classes; the labels hold {counted(len(classes), 'class', 'classes')} "
                f"({few(classes.tolist())})"
            )
        features, labels = check_features(features, torch.as_tensor(codes))
        weights = None if weights is None else weights.to(features.device)
        weights = with_class_weight(class_weight, labels, weights, classes)
        self.classes_ = classes
        return Given(features, labels, weights)

    def _features(self, X: Any, *, reset: bool) -> Tensor:
        """Features of the right shape as a tensor; anything but a tensor passes scikit-learn's checks first."""
        if not isinstance(X, Tensor):
            with _ragged(X):
                return as_tensor(validate_data(self, X, reset=reset, dtype=_FLOATS, ensure_all_finite=False))
        features = as_tensor(X)
        if reset and features.ndim == 2:
            self.__dict__.pop("feature_names_in_", None)  # from a table fitted before
            self.n_features_in_ = features.shape[1]
        elif not reset and (features.ndim != 2 or features.shape[1] != self.n_features_in_):
            raise ValueError(
                f"features are {tuple(features.shape)}; the probe was fitted on "
                f"{counted(self.n_features_in_, 'column')}"
            )
        return features

    def _check(self, X: Any) -> Tensor:
        if not hasattr(self, "classes_"):
            raise NotFittedError(f"{type(self).__name__} is not fitted; call fit(features, labels) first")
        features = check_values(self._features(X, reset=False))
        return features.to(self._device or features.device)

    @property
    def _device(self) -> torch.device | None:
        """The device that it was fitted on; None if it holds no tensors."""
        return next((value.device for value in vars(self).values() if isinstance(value, Tensor)), None)

    def _decisions(self, features: Tensor) -> Tensor:
        """The evidence for every class, (N, K)."""
        raise NotImplementedError(f"{type(self).__name__} needs _decisions(features), which returns (N, K)")

    def decision_function(self, X: Any) -> Any:
        """The evidence for every class, (N, K); with two classes, for the second over the first, (N,).

        A tensor on the features' device if they are a tensor, else an array.
        """
        decisions = self._decisions(self._check(X))
        return like(X, decisions if len(self.classes_) > 2 else self._contrast(decisions))

    def _contrast(self, decisions: Tensor) -> Tensor:
        """Decisions (N, 2) of two classes as (N,), above 0 where the second is likelier."""
        return decisions[:, 1] - decisions[:, 0]

    def predict(self, X: Any) -> np.ndarray:
        """The predicted class of each row of features (N, d): an array (N,), since classes may be texts."""
        codes = self._decisions(self._check(X)).argmax(1)
        return self.classes_[to_numpy(codes)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy on features (N, d) with labels (N,), in [0, 1]; higher is better.

        A sample of a class that was not fitted counts as wrong, as in scikit-learn: a cross-validation fold may lack a
        rare class. ValueError if the labels hold several classes and none of them was fitted, since they belong to
        another task. TypeError if labels are texts and the classes numbers, or labels numbers and the classes texts.
        """
        predicted, names = self.predict(X), class_names(y)
        if names.shape != predicted.shape:
            raise ValueError(f"labels are {names.shape}; the features have {counted(len(predicted), 'row')}")
        if not len(names):
            raise ValueError("there are no samples: features has 0 rows")
        check_same_kind(names, self.classes_)
        right = predicted == names
        if not right.any():
            _check_known_task(np.unique(names), self.classes_)
        weights = None if sample_weight is None else to_numpy(check_weights(sample_weight, len(names)))
        return float(np.average(right, weights=weights))


@contextmanager
def _ragged(X: Any) -> Iterator[None]:
    """Say what numpy's error about a sequence means: images were given, or rows of several lengths."""
    try:
        yield
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ValueError(
            f"features are of type {type(X).__name__} and not a table of numbers (N, d): their rows differ in shape; "
            "for images, give the features that nclib.extract returns"
        ) from error


def _asked(y: Any, probe: Probe) -> Any:
    """The labels; an error if they are None. (scikit-learn's checks look for its words.)"""
    if y is None:
        raise ValueError(
            f"{type(probe).__name__} requires y to be passed, but the target y is None; give the labels (N,)"
        )
    return y


def _check_known_task(given: np.ndarray, fitted: np.ndarray) -> None:
    """Refuse labels of several classes if none of them was fitted."""
    if len(given) > 1 and not np.isin(given, fitted).any():
        raise ValueError(
            f"none of the labels ({few(given.tolist())}) is a class that was fitted ({few(fitted.tolist())}); give "
            "labels of the same classes"
        )


def like(X: Any, values: Tensor) -> Any:
    """The values in the form of X: for a tensor a tensor, on its device if that supports the dtype; else an array."""
    if not isinstance(X, Tensor):
        return to_numpy(values)
    return values if values.dtype == torch.float64 and X.device != double_device(X.device) else values.to(X.device)


def to_numpy(values: Any) -> np.ndarray:
    """A tensor on any device, or anything else, as a numpy array."""
    return values.numpy(force=True) if isinstance(values, Tensor) else np.asarray(values)


def given_to(probe: Any, features: Tensor) -> Any:
    """Features as a classifier takes them: a tensor for a `Probe`, an array for other estimators."""
    return features if isinstance(probe, Probe) else to_numpy(features)


def check_probe(probe: Any) -> None:
    """Refuse anything but an estimator or None, such as a name or an estimator's class."""
    if probe is not None and (isinstance(probe, type) or not hasattr(probe, "get_params")):
        raise TypeError(f"probe is {probe!r}; it must be a scikit-learn classifier, such as nclib.KNN(), or None")


def positive_numbers(name: str, value: Any) -> list[float]:
    """A parameter, one positive number or several, as a list."""
    given = [value] if is_number(value) else list(value) if isinstance(value, Iterable) else []
    if not given or not all(is_number(each) and 0 < each < np.inf for each in given):
        raise ValueError(f"{name} is {value!r}; it must be positive and finite: a number, or a list of them")
    return [float(each) for each in given]


def check_choice(share: Any, seed: Any, *, name: str) -> None:
    """Refuse a share that is not in (0, 1), called by the caller's name, and an invalid seed."""
    if not (is_number(share) and 0 < share < 1):
        raise ValueError(f"{name} is {share!r}; it must be above 0 and below 1")
    checked_seed(seed)


def held_out(labels: Tensor, share: float, seed: int, *, name: str = "share") -> Tensor:
    """Which samples of labels (N,), integers from 0, are held out: a share of every class, never all; bool (N,).

    Messages call the share by `name`.
    """
    check_choice(share, seed, name=name)
    codes = to_numpy(labels)
    counts = np.bincount(codes)
    numbers = np.minimum(np.floor(share * counts + 0.5), counts - 1)
    if not (numbers > 0).any():
        raise ValueError(
            f"{name}={share} holds out no sample of any class, since the largest has {counts.max()}; raise {name}"
        )
    order = np.lexsort((np.random.default_rng(checked_seed(seed)).random(len(codes)), codes))
    ranks = np.empty(len(codes), dtype=np.int64)
    ranks[order] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return torch.from_numpy(ranks < numbers[codes]).to(labels.device)
