"""Few-shot accuracy: episodes drawn without overlap, known values, errors."""

import math

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from nclib import KNN, LinearProbe, NearestClassMean, RidgeProbe, few_shot


class Witness(ClassifierMixin, BaseEstimator):
    """Writes down what every episode fits to and is scored on. All clones share the list."""

    seen: list = []  # noqa: RUF012  # all clones are to share it

    def fit(self, features, labels):
        self.seen.append([(features, labels)])
        return self

    def score(self, features, labels):
        self.seen[-1].append((features, labels))
        return 1.0


@pytest.fixture
def episodes():
    """Runs few_shot, and returns for each episode the row numbers and labels of shots and of queries."""

    def run(*arguments, **options):
        Witness.seen.clear()
        few_shot(*arguments, probe=Witness(), **options)
        return [[(rows[:, 0].astype(int), labels) for rows, labels in parts] for parts in Witness.seen]

    return run


def numbered(classes=8, samples=30):
    """Features that are the number of their row, and labels in mixed order."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(classes), samples))
    return np.arange(len(labels), dtype=float).reshape(-1, 1), labels


def test_classes_far_apart_are_told_apart():
    labels = torch.arange(10).repeat_interleave(20)
    found = few_shot(100 * torch.eye(10)[labels], labels, episodes=20)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("ways", [2, 5, None])
def test_features_that_know_nothing_are_at_chance(ways):
    labels = torch.arange(8).repeat_interleave(100)
    features = torch.randn(800, 16, generator=torch.Generator().manual_seed(1))
    result = few_shot(features, labels, ways=ways)
    assert abs(result.value - 1 / (ways or 8)) < 1.5 * (result.high - result.low)
    assert 0 < result.high - result.low < 0.03


def test_all_classes_are_drawn_in_the_long_run(episodes):
    features, labels = numbered()
    drawn = {frozenset(labels[fitted[0]]) for fitted, _ in episodes(features, labels, ways=3, episodes=40)}
    assert set().union(*drawn) == set(range(8))
    assert len(drawn) > 20


def test_an_episode_is_what_was_asked_for(episodes):
    features, labels = numbered()
    for (shots, fitted), (queries, scored) in episodes(features, labels, shots=3, ways=4, queries=7, episodes=50):
        assert not set(shots) & set(queries)
        assert len(set(shots)) == 12
        assert len(set(queries)) == 28
        assert (np.bincount(fitted) == 3).all()
        assert (np.bincount(scored) == 7).all()
        classes = [np.unique(labels[shots[fitted == k]]) for k in range(4)]
        assert all((labels[queries[scored == k]] == classes[k]).all() for k in range(4))
        assert len(np.unique(classes)) == 4


def test_all_that_is_left_is_queried(episodes):
    for (shots, _), (queries, _) in episodes(*numbered(), ways=3, queries=None, episodes=5):
        assert len({*shots, *queries}) == 3 * 30


def test_queries_come_from_the_test_samples(episodes):
    features, labels = numbered()
    test = (features + 1000, labels)
    for (shots, _), (queries, scored) in episodes(features, labels, queries=None, test=test, episodes=5):
        assert shots.max() < 1000 <= queries.min()
        assert (np.bincount(scored) == 30).all()
    assert len(episodes(features, labels, shots=30, queries=4, test=test, episodes=5)[0][1][0]) == 5 * 4


def test_the_seed_decides(episodes):
    first, again, other = (
        [shots.tolist() for (shots, _), _ in episodes(*numbered(), episodes=5, seed=seed)] for seed in (0, 0, 1)
    )
    assert first == again != other


@pytest.mark.parametrize(
    "probe", [None, KNN(2), RidgeProbe(), LinearProbe(), LogisticRegression()], ids=lambda p: type(p).__name__
)
def test_any_classifier_is_a_probe(probe):
    labels = np.array(["a", "b", "c"]).repeat(20)
    features = torch.randn(60, 30, generator=torch.Generator().manual_seed(0)) + 3 * torch.eye(30)[
        :3
    ].repeat_interleave(20, 0)
    result = few_shot(features, labels, shots=2, ways=3, queries=5, episodes=10, probe=probe)
    assert 0.5 < result.value <= 1
    assert result == few_shot(features.numpy(), labels, shots=2, ways=3, queries=5, episodes=10, probe=probe)


class Slow(NearestClassMean):
    """The same, but fitted and scored one episode after another, as any classifier is."""


@pytest.mark.parametrize("options", [{"queries": 3}, {"queries": None}, {"queries": 2, "shots": 1, "ways": None}])
@pytest.mark.parametrize("apart", [False, True])
def test_many_episodes_at_once_are_as_one_after_another(options, apart, monkeypatch):
    monkeypatch.setattr("nclib.probing.episodes._AT_ONCE", 1000)  # several parts
    labels = np.random.default_rng(0).permutation(np.repeat(list("abcdef"), 9))
    features = torch.randn(54, 3, generator=torch.Generator().manual_seed(0))
    options = options | {"episodes": 130} | ({"test": (features + 0.1, labels)} if apart else {})
    assert few_shot(features, labels, **options) == few_shot(features, labels, probe=Slow(), **options)


def test_classes_of_different_sizes_are_all_queried():
    labels = np.repeat([0, 1, 2], [6, 7, 9])
    features = torch.randn(22, 3, generator=torch.Generator().manual_seed(0))
    options = {"shots": 2, "ways": 2, "queries": None, "episodes": 20}
    assert few_shot(features, labels, **options) == few_shot(features, labels, probe=Slow(), **options)


def test_one_episode_has_no_interval():
    assert math.isnan(few_shot(*numbered(), episodes=1).low)


def test_what_is_given_is_left_alone():
    probe = NearestClassMean()
    few_shot(*numbered(), episodes=2, probe=probe)
    assert not hasattr(probe, "means_")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": 0}, "shots is 0; it must be at least 1"),
        ({"queries": 0}, "queries is 0; it must be at least 1"),
        ({"episodes": 0}, "episodes is 0; it must be at least 1"),
        ({"ways": 9}, "ways is 9; it must be from 2 to the number of classes, which is 8"),
        ({"ways": 1}, "ways is 1; it must be at least 2"),
        ({"ways": "3"}, "ways is '3'; it must be a whole number, at least 2"),
        ({"ways": 3.0}, r"ways is 3\.0; it must be a whole number, at least 2"),
        ({"shots": "5"}, "shots is '5'; it must be a whole number, at least 1"),
        ({"shots": None}, "shots is None; it must be a whole number"),
        ({"queries": 1.5}, r"queries is 1\.5; it must be a whole number"),
        ({"episodes": True}, "episodes is True; it must be a whole number"),
        ({"seed": None}, "seed is None; it must be a whole number, at least 0"),
        ({"shots": 20}, "class 0 has 30 samples; shots=20 and queries=15 need 35"),
        ({"shots": 30, "queries": None}, "class 0 has 30 samples; shots=30 and queries=None need 31"),
        ({"test": (np.zeros((8, 1)), np.arange(8))}, "class 0 has 1 test sample; .* need 15"),
        ({"test": (np.zeros((9, 1)), np.arange(9))}, "the test labels hold 8, which is not among the 8 classes"),
        ({"test": (np.zeros((8, 2)), np.arange(8))}, "the test features have 2 columns; the others have 1"),
        ({"test": (np.zeros((9, 2)), np.arange(8))}, r"features \(9, 2\) and labels \(8,\)"),
    ],
    ids=str,
)
def test_what_cannot_be_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        few_shot(*numbered(), **options)


@pytest.mark.parametrize("probe", ["linear", NearestClassMean])
def test_a_probe_that_is_no_estimator_is_an_error(probe):
    with pytest.raises(TypeError, match="it must be a scikit-learn classifier, such as nclib"):
        few_shot(*numbered(), probe=probe)


def test_test_labels_of_another_kind_are_an_error():
    features, labels = numbered()
    with pytest.raises(TypeError, match=r"the test labels are texts \(.*\), and the classes numbers"):
        few_shot(features, labels, test=(features, labels.astype(str)))


def test_a_rare_class_and_bad_features_are_an_error():
    features, labels = numbered()
    rare = np.append(np.flatnonzero(labels != 3), np.flatnonzero(labels == 3)[:7])
    with pytest.raises(ValueError, match="class 3 has 7 samples; shots=5 and queries=15 need 20"):
        few_shot(features[rare], labels[rare])
    with pytest.raises(ValueError, match="NaN or infinity, the first in row 0"):
        few_shot(np.full_like(features, np.nan), labels)
