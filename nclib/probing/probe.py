"""What the probes of frozen features share. All are scikit-learn estimators."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import validate_data
from torch import Tensor

from nclib.arrays import as_tensor
from nclib.checks import check_whole, counted, few, is_number
from nclib.devices import double_device
from nclib.labels import check_same_kind, class_names
from nclib.metrics.samples import check_features, check_shapes, check_values
from nclib.probing.weights import ClassWeight, check_weights, with_class_weight

_FLOATS = (np.float64, np.float32, np.float16)  # arrays of anything else become the first


class Given(NamedTuple):
    """What a probe is fitted to: features (N, d), positions (N,) in its `classes_`, and weights (N,), None if all 1.

    The weights are positive and float64; all three are on one device.
    """

    features: Tensor
    labels: Tensor
    weights: Tensor | None

    def among(self, chosen: Tensor) -> "Given":
        """The samples that are chosen, as booleans (N,)."""
        weights = None if self.weights is None else self.weights[chosen]
        return Given(self.features[chosen], self.labels[chosen], weights)


class Probe(ClassifierMixin, BaseEstimator):
    """What the probes share: labels of any classes, features as a tensor, which stays on its device, or an array.

    What it is asked about goes to the device that it was fitted on, and what it says of tensors comes back.

    A probe has `fit`, and `_decisions` of checked features, (N, K), the greater the likelier; the rest follows.
    """

    classes_: np.ndarray
    n_features_in_: int

    def _encode(self, X: Any, y: Any, sample_weight: Any = None, class_weight: ClassWeight = None) -> Given:
        """Checked features, labels as positions in `classes_`, and weights; without the samples of weight 0."""
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
        """Features of the right shape as a tensor: tensors as they are, all else by way of scikit-learn's checks."""
        if not isinstance(X, Tensor):
            return as_tensor(validate_data(self, X, reset=reset, dtype=_FLOATS, ensure_all_finite=False))
        features = as_tensor(X)
        if reset and features.ndim == 2:
            self.__dict__.pop("feature_names_in_", None)  # of a table that it was fitted to before
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
        """Where it was fitted, if it has tensors of that."""
        return next((value.device for value in vars(self).values() if isinstance(value, Tensor)), None)

    def _decisions(self, features: Tensor) -> Tensor:
        """How much speaks for every class (N, K)."""
        raise NotImplementedError(f"{type(self).__name__} needs _decisions(features), which gives (N, K)")

    def decision_function(self, X: Any) -> Any:
        """How much speaks for every class, (N, K); of two classes, for the second and against the first, (N,).

        A tensor on the features' device if they are a tensor, else an array.
        """
        decisions = self._decisions(self._check(X))
        return like(X, decisions if len(self.classes_) > 2 else self._contrast(decisions))

    def _contrast(self, decisions: Tensor) -> Tensor:
        """What is above 0 where the second of two classes is likelier, (N,) of decisions (N, 2)."""
        return decisions[:, 1] - decisions[:, 0]

    def predict(self, X: Any) -> np.ndarray:
        """The class of every row of features (N, d), (N,): an array, for classes may be texts."""
        codes = self._decisions(self._check(X)).argmax(1)
        return self.classes_[to_numpy(codes)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy on features (N, d) with labels (N,), in [0, 1]; higher is better.

        A sample of a class that was not fitted counts as wrong, as in scikit-learn: a rare class may be missing where
        a cross-validation fits. Labels of several classes, none of which was fitted, are an error: they are another
        task's. So are texts where the classes are numbers, and numbers where they are texts.
        """
        predicted, names = self.predict(X), class_names(y)
        if names.shape != predicted.shape:
            raise ValueError(f"labels are {names.shape}; the features are of {counted(len(predicted), 'row')}")
        check_same_kind(names, self.classes_)
        right = predicted == names
        if not right.any():
            _check_known_task(np.unique(names), self.classes_)
        weights = None if sample_weight is None else to_numpy(check_weights(sample_weight, len(names)))
        return float(np.average(right, weights=weights))


def _asked(y: Any, probe: Probe) -> Any:
    """The labels, if there are any. (scikit-learn's checks look for these words.)"""
    if y is None:
        raise ValueError(
            f"{type(probe).__name__} requires y to be passed, but the target y is None; give the labels (N,)"
        )
    return y


def _check_known_task(given: np.ndarray, fitted: np.ndarray) -> None:
    """Refuse several classes if none of them was fitted."""
    if len(given) > 1 and not np.isin(given, fitted).any():
        raise ValueError(
            f"none of the labels ({few(given.tolist())}) is a class that was fitted ({few(fitted.tolist())}); give "
            "labels of the same classes"
        )


def like(X: Any, values: Tensor) -> Any:
    """Values as features were given: a tensor for a tensor, on its device if that has their dtype; else an array."""
    if not isinstance(X, Tensor):
        return to_numpy(values)
    return values if values.dtype == torch.float64 and X.device != double_device(X.device) else values.to(X.device)


def to_numpy(values: Any) -> np.ndarray:
    """An array of a tensor on any device, or of anything else."""
    return values.numpy(force=True) if isinstance(values, Tensor) else np.asarray(values)


def given_to(probe: Any, features: Tensor) -> Any:
    """Features as a classifier takes them: ours on their device, those of scikit-learn as an array."""
    return features if isinstance(probe, Probe) else to_numpy(features)


def check_probe(probe: Any) -> None:
    """Refuse what is no estimator, as a name or a class of one."""
    if probe is not None and (isinstance(probe, type) or not hasattr(probe, "get_params")):
        raise TypeError(f"probe is {probe!r}; it must be a scikit-learn classifier, such as nclib.KNN(), or None")


def positive_numbers(name: str, value: Any) -> list[float]:
    """A parameter as a list: one positive number, or several."""
    given = [value] if is_number(value) else list(value) if isinstance(value, Iterable) else []
    if not given or not all(is_number(each) and 0 < each < np.inf for each in given):
        raise ValueError(f"{name} is {value!r}; it must be positive and finite: a number, or a list of them")
    return [float(each) for each in given]


def check_choice(share: Any, seed: Any, *, name: str) -> None:
    """Refuse a share of samples that is none, by the caller's name, and a seed that is none."""
    if not (is_number(share) and 0 < share < 1):
        raise ValueError(f"{name} is {share!r}; it must be above 0 and below 1")
    check_whole(0, seed=seed)


def held_out(labels: Tensor, share: float, seed: int, *, name: str = "share") -> Tensor:
    """Which of the labels (N,), integers from 0, are held out: a share of every class, but never all, bool (N,).

    The share has the caller's name in messages.
    """
    check_choice(share, seed, name=name)
    codes = to_numpy(labels)
    counts = np.bincount(codes)
    numbers = np.minimum(np.floor(share * counts + 0.5), counts - 1)
    if not (numbers > 0).any():
        raise ValueError(f"{name}={share} of a class is no sample of any, the largest having {counts.max()}; raise it")
    order = np.lexsort((np.random.default_rng(seed).random(len(codes)), codes))
    ranks = np.empty(len(codes), dtype=np.int64)
    ranks[order] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return torch.from_numpy(ranks < numbers[codes]).to(labels.device)
