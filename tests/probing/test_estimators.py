"""Probes in scikit-learn's tools: its own checks, classifiers of two classes, weights, pipelines, searches, files."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, LeaveOneOut, cross_val_predict, cross_val_score
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from nclib import KNN, LinearProbe, NearestClassMean, RidgeProbe, load
from tests.clusters import clusters

PROBES = [LinearProbe(), LinearProbe(dtype="float64"), RidgeProbe(), NearestClassMean(), KNN(), KNN(metric="euclidean")]
TUNED = [LinearProbe(C=[0.01, 1.0, 100.0]), RidgeProbe(alpha=[100.0, 1.0, 0.01])]
each_probe = pytest.mark.parametrize("probe", PROBES, ids=str)


def expected_failed_checks(probe):
    """That of weights asks for seven digits, and the default probe computes in float32; in float64 it passes."""
    if isinstance(probe, LinearProbe) and probe.dtype == "float32":
        return {"check_sample_weight_equivalence_on_dense_data": "it asks for 1e-7, the rounding of float32"}
    return {}


@parametrize_with_checks(PROBES, expected_failed_checks=expected_failed_checks)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture
def two():
    """Features and labels of two classes that overlap."""
    return clusters(120, 6, 2, length=1.0)


@each_probe
def test_of_two_classes_decisions_are_of_the_second(probe, two):
    features, labels = two
    probe = clone(probe).fit(features, labels)
    decision = probe.decision_function(features)
    assert decision.shape == (120,)
    assert ((decision > 0) == (probe.predict(features) == 1)).all()
    assert 0.5 < cross_val_score(probe, features, labels, scoring="roc_auc", cv=3).mean() <= 1


def test_decisions_of_two_classes_are_those_of_scikit_learn(two):
    features, labels = two[0].astype(np.float64), two[1]
    ridge = RidgeProbe().fit(features, labels).decision_function(features)
    np.testing.assert_allclose(ridge, RidgeClassifier().fit(features, labels).decision_function(features), atol=1e-9)
    probe = LinearProbe(dtype="float64").fit(features, labels)
    odds = np.log(probe.predict_proba(features)[:, 1] / probe.predict_proba(features)[:, 0])
    np.testing.assert_allclose(probe.decision_function(features), odds, atol=1e-9)


@each_probe
@pytest.mark.parametrize("tool", [OneVsRestClassifier, OneVsOneClassifier, CalibratedClassifierCV])
def test_classifiers_of_classifiers(probe, tool):
    features, labels = clusters(200, 6, 3)
    names = np.array(["a", "b", "c"])[labels]
    found = tool(clone(probe)).fit(features, names)
    assert abs(found.score(features, names) - clone(probe).fit(features, names).score(features, names)) < 0.1
    if hasattr(found, "predict_proba"):
        np.testing.assert_allclose(found.predict_proba(features).sum(1), 1, atol=1e-5)


@each_probe
def test_pipelines_searches_and_folds(probe, two):
    chain = make_pipeline(StandardScaler(), clone(probe))
    predicted = cross_val_predict(chain, *two, cv=3, method="decision_function")
    assert predicted.shape == (120,)
    step = type(probe).__name__.lower()
    grid = {f"{step}__{name}": [value] for name, value in probe.get_params().items()}
    search = GridSearchCV(chain, grid, cv=3).fit(*two)
    assert search.best_score_ > 0.5
    assert search.best_estimator_[-1].get_params() == probe.get_params()


@each_probe
def test_a_probe_survives_a_file(probe, two, tmp_path):
    features = torch.from_numpy(two[0])
    probe = clone(probe).fit(features, two[1])
    joblib.dump(probe, tmp_path / "probe")
    for again in (pickle.loads(pickle.dumps(probe)), joblib.load(tmp_path / "probe")):
        assert torch.equal(again.decision_function(features), probe.decision_function(features))
        assert again.get_params() == probe.get_params()


@each_probe
def test_arrays_come_back_for_arrays_and_tensors_for_tensors(probe):
    features, labels = clusters(60, 5, 3)
    probe = clone(probe).fit(features, labels)
    for method in ("decision_function", "predict_proba"):
        if hasattr(probe, method):
            array, tensor = (getattr(probe, method)(given) for given in (features, torch.from_numpy(features)))
            assert isinstance(array, np.ndarray)
            assert isinstance(tensor, torch.Tensor)
            np.testing.assert_array_equal(array, tensor)
    assert isinstance(probe.predict(torch.from_numpy(features)), np.ndarray)


@each_probe
def test_names_of_columns_are_kept_and_held_to(probe):
    features, labels = clusters(60, 3, 3)
    table = pd.DataFrame(features, columns=["x", "y", "z"])
    probe = clone(probe).fit(table, labels)
    assert probe.feature_names_in_.tolist() == ["x", "y", "z"]
    assert (probe.predict(table) == clone(probe).fit(features, labels).predict(features)).all()
    with pytest.raises(ValueError, match="feature names should match"):
        probe.predict(table[["z", "y", "x"]])
    assert not hasattr(probe.fit(torch.from_numpy(features), labels), "feature_names_in_")


@pytest.mark.parametrize("given", [np.asarray, torch.from_numpy], ids=["array", "tensor"])
def test_features_of_another_width_are_an_error(given):
    features, labels = clusters(60, 5, 3)
    probe = NearestClassMean().fit(given(features), labels)
    message = "X has 3 features, but NearestClassMean is expecting 5" if given is np.asarray else "fitted on 5 columns"
    with pytest.raises(ValueError, match=message):
        probe.predict(given(features[:, :3]))


@each_probe
def test_labels_of_another_kind_are_no_score_of_0(probe):
    features, labels = clusters(60, 5, 3)
    probe = clone(probe).fit(features, labels)
    with pytest.raises(TypeError, match=r"labels are texts \(.*\), and the classes numbers \(0, 1, 2\)"):
        probe.score(features, labels.astype(str))
    with pytest.raises(ValueError, match=r"none of the labels \(10, 11, 12\) is a class that was fitted \(0, 1, 2\)"):
        probe.score(features, labels + 10)
    assert probe.score(features, labels.astype(float)) == probe.score(features, labels) > 0.5


def test_a_class_that_was_not_fitted_counts_as_wrong(two):
    features, labels = two
    probe = NearestClassMean().fit(features, labels)
    half = probe.score(features[:60], labels[:60])
    assert probe.score(features, np.append(labels[:60], np.full(60, 7))) == half / 2
    rare = np.append(labels[:-1], 7)  # which no fold has seen that is scored on it
    assert cross_val_score(NearestClassMean(), features, rare, cv=LeaveOneOut())[-1] == 0


# Weights


@pytest.mark.parametrize("probe", [LinearProbe(), *PROBES[1:4]], ids=str)
@pytest.mark.parametrize("size", [(200, 6), (30, 60)], ids=str)
def test_a_weight_of_n_is_a_sample_n_times(probe, size):
    features, labels = clusters(*size, 3)
    weights = np.random.default_rng(0).integers(0, 4, size[0])
    repeated = clone(probe).fit(features.repeat(weights, 0), labels.repeat(weights))
    for kind in (np.asarray, torch.from_numpy, list, pd.Series):
        weighted = clone(probe).fit(features, labels, sample_weight=kind(weights))
        found, expected = (each.decision_function(features) for each in (weighted, repeated))
        np.testing.assert_allclose(found, expected, atol=1e-4 if probe == PROBES[0] else 1e-5)


def test_weighted_probes_are_scikit_learns():
    features, labels = clusters(200, 8, 3)
    features = StandardScaler().fit_transform(features.astype(np.float64))
    weights = np.random.default_rng(0).random(200)
    expected = LogisticRegression(tol=1e-10, max_iter=5000).fit(features, labels, weights)
    probe = LinearProbe(standardise=False, dtype="float64").fit(features, labels, weights)
    np.testing.assert_allclose(probe.weight_, expected.coef_, atol=1e-4)
    for each in ("balanced", {0: 5.0, 2: 0.1}):
        ridge = RidgeProbe(class_weight=each).fit(features, labels, weights)
        other = RidgeClassifier(class_weight=each).fit(features, labels, weights)
        np.testing.assert_allclose(ridge.weight_, other.coef_, atol=0.05 if each == "balanced" else 1e-8)
    plain = RidgeClassifier(class_weight="balanced").fit(features, labels)
    np.testing.assert_allclose(
        RidgeProbe(class_weight="balanced").fit(features, labels).weight_, plain.coef_, atol=1e-8
    )


@pytest.mark.parametrize("probe", TUNED, ids=str)
def test_weights_choose_the_strength_too(probe):
    features, labels = clusters(300, 8, 3)
    ones, plain = clone(probe).fit(features, labels, np.ones(300)), clone(probe).fit(features, labels)
    np.testing.assert_allclose(ones.scores_, plain.scores_, atol=0.02)  # one sample of 60
    assert ones.score(features, labels) == pytest.approx(plain.score(features, labels), abs=0.02)
    only = np.where(labels == 0, 1.0, 1e-6)
    assert np.nanmax(clone(probe).fit(features, labels, only).scores_) > 0.99


def test_a_heavy_class_is_predicted_more_often():
    features, labels = clusters(200, 4, 2, length=0.5)
    names = np.array(["a", "b"])[labels]
    for made in (LinearProbe, RidgeProbe):
        shares = [
            (made(class_weight=weight).fit(features, names).predict(features) == "a").mean()
            for weight in ({"b": 9.0}, None, {"a": 9.0})
        ]
        assert shares == sorted(set(shares))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(3), r"sample_weight is \(3,\); it must be \(120,\), one number for each sample"),
        (np.append(np.ones(119), -1), "sample_weight is -1 in row 119; it must be finite and at least 0"),
        (np.append(np.nan, np.ones(119)), "sample_weight is nan in row 0"),
        (np.zeros(120), "sample_weight is zero in all rows"),
    ],
)
def test_weights_that_are_none_are_an_error(weights, message, two):
    probe = NearestClassMean()
    for act in (probe.fit, probe.fit(*two).score):
        with pytest.raises(ValueError, match=message):
            act(*two, sample_weight=weights)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ("even", "class_weight is 'even'; it must be None, 'balanced', or weights by class"),
        ({7: 1.0}, "class_weight names 7; the classes are 0, 1"),
        ({0: 0.0}, "class_weight of 0 is 0.0; it must be positive and finite: to leave out a class"),
    ],
)
def test_weights_of_classes_that_are_none_are_an_error(weight, message, two):
    for made in (LinearProbe, RidgeProbe):
        with pytest.raises(ValueError, match=message):
            made(class_weight=weight).fit(*two)


def test_a_class_without_weight_is_left_out(two):
    features, labels = clusters(90, 6, 3)
    probe = NearestClassMean().fit(features, labels, sample_weight=labels != 1)
    assert probe.classes_.tolist() == [0, 2]
    with pytest.raises(ValueError, match=r"needs at least 2 classes; the labels hold 1 class \(1\)"):
        NearestClassMean().fit(features, labels, sample_weight=labels == 1)


# Tensors


@each_probe
def test_tensors_go_by_none_of_scikit_learns_checks(probe, two, monkeypatch):
    """They would copy features of a device to the processor, and take longer than a small probe."""
    monkeypatch.setattr("nclib.probing.probe.validate_data", None)
    features, labels = map(torch.from_numpy, two)
    probe = clone(probe).fit(features, labels)
    assert probe.decision_function(features).shape == (120,)
    assert probe.score(features, labels) > 0.5
    with pytest.raises(TypeError, match="not callable"):
        probe.predict(features.numpy())


@each_probe
@pytest.mark.parametrize("rows", [load("digits", per_class=1), [[1.0, 2.0], [3.0]]], ids=["images", "ragged"])
def test_rows_that_are_no_features_say_so(probe, rows):
    with pytest.raises(ValueError, match=r"not a table of numbers \(N, d\): their rows differ.*nclib\.extract"):
        clone(probe).fit(rows, range(len(rows)))
