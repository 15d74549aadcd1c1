"""Few-shot accuracy of features: a probe fitted to a few samples of a few classes, over and over."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import ClassifierMixin, clone
from torch import Tensor

from nclib.checks import check_whole, checked_seed, counted
from nclib.estimates import Estimate, mean
from nclib.labels import check_same_kind, class_names
from nclib.metrics.samples import check_features
from nclib.probing.nearest import NearestClassMean
from nclib.probing.probe import check_probe, given_to, to_numpy

_AT_ONCE = 2**23  # feature values of queries that the nearest class mean holds at once: 100 MB in all


class _Samples(NamedTuple):
    """Features (N, d), and the rows of each of K classes."""

    features: Tensor
    rows: list[np.ndarray]

    @classmethod
    def of(cls, features: Any, names: np.ndarray, classes: np.ndarray) -> "_Samples":
        check_same_kind(names, classes, "the test labels")
        unknown = np.setdiff1d(names, classes)
        if len(unknown):
            raise ValueError(
                f"the test labels hold {unknown[0]}, which is not among the "
                f"{counted(len(classes), 'class', 'classes')} to learn"
            )
        codes = np.searchsorted(classes, names)
        features, _ = check_features(features, torch.as_tensor(codes))
        ends = np.cumsum(np.bincount(codes, minlength=len(classes)))
        return cls(features, np.split(np.argsort(codes, kind="stable"), ends[:-1]))


def few_shot(
    features: Any,
    labels: Any,
    *,
    shots: int = 5,
    ways: int | None = 5,
    queries: int | None = 15,
    episodes: int = 600,
    test: tuple[Any, Any] | None = None,
    probe: ClassifierMixin | None = None,
    seed: int = 0,
) -> Estimate:
    """Mean accuracy of a probe over few-shot episodes, in [0, 1], with the 95% interval of the mean.

    Each episode draws a few classes, fits the probe to a few samples of each, and scores it on others. This is the
    protocol of Vinyals et al. (2016), with the interval over episodes that has become usual.

    Parameters
    ----------
    features, labels
        Float (N, d), as a tensor or array; integers or texts (N,).
    shots
        Number of samples per class to fit to.
    ways
        Number of classes; None is all.
    queries
        Number of other samples per class to score on; None is all that are left.
    episodes
        Number of episodes; a single one has no interval.
    test
        A pair of features and labels to draw the queries from; None draws them from `features`, too.
    probe
        Any scikit-learn classifier, cloned for each episode; None is `NearestClassMean()`.
    seed
        Seed of the episodes, which are the same for every probe.

    Raises
    ------
    ValueError
        If there are too few classes, or too few samples of a class, or a number is too small; if a label is missing or
        continuous, or a test label is not among the classes to learn.
    TypeError
        If labels mix texts and numbers, or one of labels and test labels are texts and the other numbers.

    Examples
    --------
    >>> labels = torch.arange(4).repeat_interleave(10)
    >>> features = torch.eye(4)[labels] + torch.randn(40, 4, generator=torch.Generator().manual_seed(0)) / 2
    >>> print(few_shot(features, labels, shots=1, ways=2, queries=5, episodes=100))
    0.872 [0.846, 0.898]
    """
    names = class_names(labels)
    classes = np.unique(names)
    check_probe(probe)
    check_whole(1, shots=shots, episodes=episodes, queries=1 if queries is None else queries)
    ways = len(classes) if ways is None else ways
    check_whole(2, ways=ways)
    if ways > len(classes):
        raise ValueError(
            f"ways is {ways}; it must be from 2 to the number of classes, which is {len(classes)}: ways=None takes all"
        )
    train = _Samples.of(features, names, classes)
    others = None if test is None else _of_test(test, classes, train.features.shape[1])
    _check_enough(classes, train, others, shots, queries)
    probe, rng = NearestClassMean() if probe is None else probe, np.random.default_rng(checked_seed(seed))
    drawn = [_draw(rng, train.rows, others and others.rows, shots, ways, queries) for _ in range(episodes)]
    scored = others or train
    if type(probe) is NearestClassMean and (queries or len({*map(len, scored.rows)}) == 1):
        numbers = sum(map(len, drawn[0][1])) * scored.features.shape[1]
        together = max(1, _AT_ONCE // numbers)
        parts = (drawn[i : i + together] for i in range(0, episodes, together))
        return mean(np.concatenate([_nearest(train, scored, part) for part in parts]))
    return mean(np.array([_score(clone(probe), train, scored, *rows) for rows in drawn]))


def _of_test(test: Any, classes: np.ndarray, width: int) -> _Samples:
    """The test samples, checked to have the classes and the number of features of the others."""
    if not (isinstance(test, tuple | list) and len(test) == 2):
        raise TypeError(f"test is {type(test).__name__}; it must be a pair of features and labels")
    samples = _Samples.of(test[0], class_names(test[1], "the test labels"), classes)
    if samples.features.shape[1] != width:
        columns = counted(samples.features.shape[1], "column")
        raise ValueError(f"the test features have {columns}; the others have {width}")
    return samples


def _check_enough(
    classes: np.ndarray, train: _Samples, others: _Samples | None, shots: int, queries: int | None
) -> None:
    """Refuse classes with too few samples: an episode may draw any of them."""
    asked = 1 if queries is None else queries
    parts = [("", train, shots + asked)] if others is None else [("", train, shots), ("test ", others, asked)]
    for kind, samples, needed in parts:
        for name, rows in zip(classes, samples.rows, strict=True):
            if len(rows) < needed:
                raise ValueError(
                    f"class {name} has {counted(len(rows), f'{kind}sample')}; shots={shots} and queries={queries} need "
                    f"{needed}: give smaller numbers, or leave the class out"
                )


def _draw(
    rng: np.random.Generator,
    train: list[np.ndarray],
    others: list[np.ndarray] | None,
    shots: int,
    ways: int,
    queries: int | None,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """An episode: for each class drawn, the rows to fit to and the rows to score on."""
    fitted, scored = [], []
    for k in rng.permutation(len(train))[:ways]:
        if others is None:
            rows = _choose(rng, train[k], queries and shots + queries)
            fitted.append(rows[:shots])
            scored.append(rows[shots:])
        else:
            fitted.append(_choose(rng, train[k], shots))
            scored.append(_choose(rng, others[k], queries))
    return fitted, scored


def _choose(rng: np.random.Generator, rows: np.ndarray, number: int | None) -> np.ndarray:
    """Some of the rows, or all, in random order."""
    return rng.choice(rows, len(rows) if number is None else number, replace=False)


def _nearest(
    train: _Samples, others: _Samples, drawn: Sequence[tuple[list[np.ndarray], list[np.ndarray]]]
) -> np.ndarray:
    """`_score` of the nearest class mean for several episodes at once; all classes have the same number of queries."""
    device = train.features.device
    fitted, scored = (torch.from_numpy(np.array(side)).to(device) for side in zip(*drawn, strict=True))
    means = train.features[fitted].double().mean(2)  # (episodes, ways, d)
    distances = torch.cdist(others.features[scored].double().flatten(1, 2), means)
    codes = torch.arange(means.shape[1], device=device).repeat_interleave(scored.shape[2])
    return to_numpy((distances.argmin(2) == codes).double().mean(1))


def _score(probe: Any, train: _Samples, others: _Samples, fitted: list[np.ndarray], scored: list[np.ndarray]) -> float:
    """Accuracy in one episode. Rows are given per class, and classes are numbered in the order drawn."""
    probe.fit(*_gathered(probe, train.features, fitted))
    return probe.score(*_gathered(probe, others.features, scored))


def _gathered(probe: Any, features: Tensor, rows: list[np.ndarray]) -> tuple[Any, np.ndarray]:
    chosen = features[torch.from_numpy(np.concatenate(rows)).to(features.device)]
    labels = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
    return given_to(probe, chosen), labels
