"""Probes: scikit-learn estimators that agree with scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler

from nclib import LinearProbe, NearestClassMean

PROBES = [LinearProbe(), NearestClassMean()]


@pytest.fixture
def blobs():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 400)
    means = rng.normal(size=(5, 10))
    return (5 + means[labels] + rng.normal(size=(400, 10))).astype(np.float32), labels


def test_the_linear_probe_is_logistic_regression_on_standardised_features(blobs):
    features, labels = blobs
    scaled = StandardScaler().fit_transform(features.astype(np.float64))
    for C in (0.01, 1.0):
        reference = LogisticRegression(C=C, tol=1e-8, max_iter=2000).fit(scaled, labels)
        probe = LinearProbe(C=C).fit(features, labels)
        np.testing.assert_allclose(probe.weight_.numpy(), reference.coef_, atol=3e-3)
        assert (probe.predict(features) == reference.predict(scaled)).mean() > 0.99


def test_the_nearest_class_mean_is_scikit_learns(blobs):
    features, labels = blobs
    reference = NearestCentroid().fit(features, labels)
    assert (NearestClassMean().fit(features, labels).predict(features) == reference.predict(features)).all()


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: type(p).__name__)
def test_probes_work_in_scikit_learns_tools(probe, blobs):
    features, labels = blobs
    names = np.array(["alpha", "beta", "gamma", "delta", "eps"])[labels]
    assert cross_val_score(clone(probe), features, names, cv=3).mean() > 0.7
    assert clone(probe).set_params(**probe.get_params()).get_params() == probe.get_params()


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: type(p).__name__)
def test_tensors_and_arrays_give_the_same(probe, blobs):
    features, labels = blobs
    from_arrays = clone(probe).fit(features, labels)
    from_tensors = clone(probe).fit(torch.from_numpy(features), torch.from_numpy(labels))
    assert (from_arrays.predict(features) == from_tensors.predict(torch.from_numpy(features))).all()
    assert from_tensors.score(torch.from_numpy(features), torch.from_numpy(labels)) > 0.7


def test_a_constant_feature_is_no_trouble(blobs):
    features, labels = blobs
    features = np.hstack([features, np.ones((400, 1), np.float32)])
    assert LinearProbe().fit(features, labels).score(features, labels) > 0.7


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: type(p).__name__)
def test_bad_input_is_an_error(probe):
    features = torch.eye(4)
    with pytest.raises(ValueError, match="is not fitted"):
        clone(probe).predict(features)
    with pytest.raises(ValueError, match="a probe needs at least 2 classes; the labels hold 1 class"):
        clone(probe).fit(features, [1, 1, 1, 1])
    with pytest.raises(TypeError, match=r"features are torch\.int64"):
        clone(probe).fit(features.long(), [0, 1, 0, 1])
    with pytest.raises(ValueError, match="NaN or infinity"):
        clone(probe).fit(features / 0, [0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"features \(4, 4\) and labels \(3,\)"):
        clone(probe).fit(features, [0, 1, 0])
    with pytest.raises(ValueError, match="features have 3 columns; the probe was fitted on 4"):
        clone(probe).fit(features, [0, 1, 0, 1]).predict(features[:, :3])


def test_a_strength_that_is_not_positive_is_an_error():
    with pytest.raises(ValueError, match="C is 0; it must be positive"):
        LinearProbe(C=0).fit(torch.eye(2), [0, 1])
