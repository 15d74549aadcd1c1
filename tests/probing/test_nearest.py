"""Probes: scikit-learn estimators that agree with scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from nclib import KNN, LinearProbe, NearestClassMean, RidgeProbe
from tests.clusters import clusters

PROBES = [LinearProbe(), RidgeProbe(), NearestClassMean(), KNN()]
TUNED = [LinearProbe(C=[0.01, 1, 100]), RidgeProbe(alpha=[100, 1, 0.01])]
each_probe = pytest.mark.parametrize("probe", [*PROBES, *TUNED], ids=str)
seeds = st.integers(0, 2**16)


@pytest.fixture
def blobs():
    return clusters()


def test_the_nearest_class_mean_is_scikit_learns(blobs):
    features, labels = blobs
    expected = NearestCentroid().fit(features, labels)
    assert (NearestClassMean().fit(features, labels).predict(features) == expected.predict(features)).all()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_nearest_neighbours_are_scikit_learns(blobs, metric):
    features, labels = blobs[0] - 5, blobs[1]
    expected = KNeighborsClassifier(7, metric=metric).fit(features[:300].astype(float), labels[:300])
    probe = KNN(7, metric).fit(features[:300], labels[:300])
    assert (probe.predict(features[300:]) == expected.predict(features[300:].astype(float))).all()
    np.testing.assert_array_equal(
        probe.predict_proba(features[300:]), expected.predict_proba(features[300:].astype(float))
    )


@each_probe
def test_probes_work_in_scikit_learns_tools(probe, blobs):
    features, labels = blobs
    names = np.array(["alpha", "beta", "gamma", "delta", "eps"])[labels]
    assert cross_val_score(clone(probe), features, names, cv=3).mean() > 0.7
    assert clone(probe).set_params(**probe.get_params()).get_params() == probe.get_params()


def test_a_grid_search_finds_what_validation_finds(blobs):
    search = GridSearchCV(LinearProbe(), {"C": [1e-6, 1.0]}, cv=3).fit(*blobs)
    assert search.best_params_ == {"C": 1.0}
    assert cross_val_score(LinearProbe(), *blobs, cv=3, scoring="neg_log_loss").mean() > -1


@each_probe
def test_tensors_and_arrays_give_the_same(probe, blobs):
    features, labels = blobs
    from_arrays = clone(probe).fit(features, labels)
    from_tensors = clone(probe).fit(torch.from_numpy(features), torch.from_numpy(labels))
    assert (from_arrays.predict(features) == from_tensors.predict(torch.from_numpy(features))).all()
    assert from_tensors.score(torch.from_numpy(features), torch.from_numpy(labels)) > 0.7


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from(PROBES))
def test_renaming_the_classes_renames_the_predictions(seed, probe):
    features, labels = clusters(80, 6, 4, seed)
    names = np.random.default_rng(seed).permutation(["a", "b", "c", "d"])
    kept = ~np.isclose(_margins(probe, features, labels), 0, atol=0.02)  # ties go to the first class, whichever it is
    predicted = clone(probe).fit(features, labels).predict(features)
    assert (clone(probe).fit(features, names[labels]).predict(features) == names[predicted])[kept].all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_features_of_any_scale(blobs, scale, dtype):
    features, labels = blobs[0].astype(np.float64) * scale, blobs[1]
    expected = LinearProbe(dtype=dtype).fit(*blobs).score(*blobs)
    assert LinearProbe(dtype=dtype).fit(features, labels).score(features, labels) == pytest.approx(expected, abs=0.01)
    assert torch.isfinite(LinearProbe(standardise=False, dtype=dtype).fit(features, labels).weight_).all()
    for probe in (KNN(), KNN(metric="euclidean"), NearestClassMean(), RidgeProbe()):
        assert clone(probe).fit(features, labels).score(features, labels) >= (0.7 if scale > 1 else 0.2)


@each_probe
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


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (LinearProbe(C=0), "C is 0; it must be positive and finite"),
        (LinearProbe(C=[1, -1]), r"C is \[1, -1\]; it must be positive"),
        (LinearProbe(C=[]), r"C is \[\]; it must be positive"),
        (LinearProbe(C="much"), "C is 'much'; it must be positive"),
        (LinearProbe(dtype="float16"), "dtype is 'float16'; it must be 'float32' or 'float64'"),
        (LinearProbe(max_iter=0), "max_iter is 0; it must be at least 1"),
        (LinearProbe(C=[1, 2], validation=1.5), "validation is 1.5; it must be above 0 and below 1"),
        (
            LinearProbe(C=[1, 2], validation=0.001),
            r"validation=0.001 holds out no sample of any class, since the largest has",
        ),
        (RidgeProbe(alpha=0), "alpha is 0; it must be positive"),
        (RidgeProbe(alpha=float("inf")), "alpha is inf; it must be positive and finite"),
        (KNN(neighbours=0), "neighbours is 0; it must be at least 1"),
        (KNN(neighbours=401), r"neighbours is 401; with 400 samples it must be 1\.\.400"),
        (KNN(metric="manhattan"), "metric is 'manhattan'; it must be 'cosine' or 'euclidean'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_parameters_are_an_error(probe, message, blobs):
    with pytest.raises(ValueError, match=message):
        probe.fit(*blobs)


NO_STRENGTHS = ("1", None, True, float("nan"), [1, "2"], "1,2", [], 1j, {"a": 1})
NO_SEEDS = (None, "0", 1.5, float("nan"), True)
NO_SHARES = (None, "0.2", [0.2], True, float("nan"))
NO_COUNTS = (None, "5", 2.5, float("nan"), float("inf"), True, [5])
NO_WEIGHTS = ("2", None, True, float("nan"), -1)
OF_NO_TYPE = [
    *((LinearProbe(C=each), "C is .*; it must be positive and finite") for each in NO_STRENGTHS),
    *((RidgeProbe(alpha=each), "alpha is .*; it must be positive and finite") for each in NO_STRENGTHS),
    *((kind(seed=each), "seed is .* whole number") for kind in (LinearProbe, RidgeProbe) for each in NO_SEEDS),
    *((kind(seed=-1), "seed is -1; it must be at least 0") for kind in (LinearProbe, RidgeProbe)),
    *((kind(validation=each), "validation is .* above 0") for kind in (LinearProbe, RidgeProbe) for each in NO_SHARES),
    *((LinearProbe(standardise=each), "standardise is .* True or False") for each in ("no", "False", None, 2)),
    *((LinearProbe(max_iter=each), "max_iter is .* whole number, at least 1") for each in NO_COUNTS),
    *((KNN(neighbours=each), "neighbours is .* whole number, at least 1") for each in NO_COUNTS),
    *((RidgeProbe(class_weight={0: each}), "class_weight of 0 is") for each in NO_WEIGHTS),
]


@pytest.mark.parametrize(("probe", "message"), OF_NO_TYPE, ids=lambda value: str(value)[:60])
def test_parameters_of_another_type_are_an_error(probe, message, blobs):
    with pytest.raises(ValueError, match=message):
        probe.fit(*blobs)


@pytest.mark.parametrize("probe", [LinearProbe(), RidgeProbe(), NearestClassMean()])
@pytest.mark.parametrize("kind", [str, complex])
def test_weights_that_are_no_real_numbers_are_an_error(probe, kind, blobs):
    features, labels = blobs
    with pytest.raises(TypeError, match=r"sample_weight is of type .*; it must be a real number"):
        probe.fit(features, labels, sample_weight=np.ones(len(labels)).astype(kind))


def _margins(probe, features, labels):
    best = np.sort(clone(probe).fit(features, labels).decision_function(features))
    return best[:, -1] - best[:, -2]
