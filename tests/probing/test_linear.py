"""Linear probes: the minima that scikit-learn finds, for one strength or several, from features of any kind."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import StandardScaler

from nclib import ClassStatistics, LinearProbe, RidgeProbe, class_statistics
from nclib.probing.linear import fit_ridge
from nclib.probing.logistic import LogisticFits
from nclib.probing.probe import held_out
from tests.clusters import clusters

STRENGTHS = [1e-4, 1e-2, 1.0, 1e2, 1e4]
seeds = st.integers(0, 2**16)


@pytest.fixture
def blobs():
    return clusters()


def reference(features, labels, C):
    scaled = StandardScaler().fit_transform(features.astype(np.float64))
    return LogisticRegression(C=C, tol=1e-10, max_iter=5000).fit(scaled, labels), scaled


@pytest.mark.parametrize("C", [1e-4, 1e-2, 1.0, 1e2])
@pytest.mark.parametrize("size", [(400, 10, 5), (60, 200, 4), (300, 30, 12)], ids=str)
def test_the_linear_probe_is_logistic_regression_on_standardised_features(size, C):
    features, labels = clusters(*size)
    expected, scaled = reference(features, labels, C)
    exact = LinearProbe(C, dtype="float64").fit(features, labels)
    np.testing.assert_allclose(exact.weight_, expected.coef_, atol=1e-4)
    np.testing.assert_allclose(exact.bias_, expected.intercept_, atol=1e-4)
    np.testing.assert_allclose(exact.predict_proba(features), expected.predict_proba(scaled), atol=1e-5)
    single = LinearProbe(C).fit(features, labels)
    assert single.weight_.dtype == torch.float32
    np.testing.assert_allclose(single.weight_, expected.coef_, atol=0.03 * np.abs(expected.coef_).max())
    assert (single.predict(features) == expected.predict(scaled)).mean() > 0.99


def test_rare_classes_and_two_classes_agree_with_scikit_learn():
    features, labels = clusters(800, 20, 8, length=0.5)
    kept = np.random.default_rng(1).random(800) < 0.5**labels
    expected, _ = reference(features[kept], labels[kept], 10.0)
    probe = LinearProbe(10.0, dtype="float64").fit(features[kept], labels[kept])
    np.testing.assert_allclose(probe.weight_, expected.coef_, atol=1e-4)
    expected, _ = reference(features[labels < 2], labels[labels < 2], 1.0)
    probe = LinearProbe(0.5, dtype="float64").fit(features[labels < 2], labels[labels < 2])
    np.testing.assert_allclose(probe.weight_[1] - probe.weight_[0], expected.coef_[0], atol=1e-5)


def test_without_standardising_it_is_logistic_regression_on_the_features(blobs):
    features, labels = blobs[0] * np.geomspace(0.1, 10, 10, dtype=np.float32), blobs[1]
    expected = LogisticRegression(tol=1e-10, max_iter=20_000).fit(features.astype(np.float64), labels)
    probe = LinearProbe(standardise=False, dtype="float64").fit(features, labels)
    np.testing.assert_allclose(probe.weight_, expected.coef_, atol=1e-3)
    np.testing.assert_allclose(
        probe.decision_function(features), expected.decision_function(features.astype(np.float64)), atol=1e-2
    )


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-4), (torch.float32, 0.05)])
def test_rough_fits_along_a_path_are_near_those_alone(dtype, rtol):
    features, labels = (torch.from_numpy(part) for part in clusters(500, 30, 6))
    features = (features - features.mean(0)).to(dtype)
    fits = LogisticFits(features, labels, 6, max_iter=1000)
    along, alone = [fits.rough(C) for C in STRENGTHS], [fits.fit(C) for C in STRENGTHS]
    for one, other in zip(along, alone, strict=True):
        torch.testing.assert_close(one.weight, other.weight, rtol=0, atol=rtol * other.weight.abs().max())
    assert sum(one.iterations for one in along) < 0.8 * sum(other.iterations for other in alone)
    fresh = LogisticFits(features, labels, 6, max_iter=1000).fit(STRENGTHS[1])
    assert torch.equal(fresh.weight, alone[1].weight)  # what was fitted before leaves no trace


def test_all_ridge_penalties_at_once_are_as_each_alone(blobs):
    features, labels = map(torch.from_numpy, blobs)
    alphas = [0.1, 1.0, 100.0]
    together = fit_ridge(features, labels, 6, alphas)
    for i, alpha in enumerate(alphas):
        torch.testing.assert_close(together.weight[i], fit_ridge(features, labels, 6, [alpha]).weight[0])


@pytest.mark.parametrize("size", [(400, 10, 5), (30, 200, 4), (300, 30, 2)], ids=str)
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
def test_the_ridge_probe_is_scikit_learns(size, alpha):
    features, labels = clusters(*size)
    features = features.astype(np.float64)
    expected = RidgeClassifier(alpha).fit(features, labels)
    probe = RidgeProbe(alpha).fit(features, labels)
    weight = probe.weight_[1:] if size[2] == 2 else probe.weight_
    np.testing.assert_allclose(weight, np.atleast_2d(expected.coef_), atol=1e-8)
    np.testing.assert_allclose(probe.decision_function(features), expected.decision_function(features), atol=1e-7)
    assert (probe.predict(features) == expected.predict(features)).all()


def test_class_statistics_are_enough_for_the_ridge_probe(blobs):
    features, labels = blobs
    probe = RidgeProbe(3.0).fit_statistics(class_statistics(features, labels))
    torch.testing.assert_close(probe.weight_, RidgeProbe(3.0).fit(features, labels).weight_)
    assert probe.score(features, labels) > 0.7


def test_duplicate_features_and_a_tiny_alpha_share_the_weight(blobs):
    features, labels = blobs
    once, twice = (RidgeProbe(1e-9).fit(part, labels) for part in (features, np.hstack([features, features])))
    torch.testing.assert_close(twice.weight_[:, :10] + twice.weight_[:, 10:], once.weight_, rtol=0, atol=1e-6)


def test_the_strength_is_chosen_on_samples_held_out(blobs):
    features, labels = blobs
    held = held_out(torch.from_numpy(labels), 0.25, seed=3).numpy()
    probe = LinearProbe(C=[100.0, 1e-7, 1.0], validation=0.25, seed=3).fit(features, labels)
    for C, score in zip(probe.C, probe.scores_, strict=True):
        alone = LinearProbe(C).fit(features[~held], labels[~held])
        assert alone.score(features[held], labels[held]) == score
    best = [C for C, score in zip(probe.C, probe.scores_, strict=True) if score == max(probe.scores_)]
    assert min(best) == probe.C_
    torch.testing.assert_close(probe.weight_, LinearProbe(probe.C_).fit(features, labels).weight_)
    assert LinearProbe(C=[0.1]).fit(features, labels).scores_ is None


def test_a_path_ends_where_it_does_no_good_and_an_order_or_a_repetition_changes_nothing():
    features, labels = clusters(2000, 60, 5, length=0.3)
    rising = [10.0**power for power in range(-6, 7)]
    probe = LinearProbe(C=rising).fit(features, labels)
    tried = ~np.isnan(probe.scores_)
    assert tried.tolist() == sorted(tried, reverse=True)
    assert not tried.all()
    assert probe.C_ == rising[np.nanargmax(probe.scores_)] < rising[tried.sum() - 1]
    shuffled = [rising[place] for place in (3, 12, 0, 5, 5, 4, 1, 2, 11, 6, 7, 8, 9, 10)]
    again = LinearProbe(C=shuffled).fit(features, labels)
    assert again.C_ == probe.C_
    np.testing.assert_array_equal(again.scores_, [probe.scores_[rising.index(C)] for C in shuffled])


def test_of_equal_scores_the_stronger_penalty_is_chosen():
    features, labels = clusters(100, 10, 3, length=20.0)
    assert LinearProbe(C=[1.0, 0.1, 10.0]).fit(features, labels).C_ == 0.1
    assert RidgeProbe(alpha=[1.0, 0.1, 10.0]).fit(features, labels).alpha_ == 10.0


@given(st.lists(st.integers(0, 6), min_size=1, max_size=80), st.sampled_from([0.1, 0.2, 0.5, 0.9]), seeds)
def test_every_class_is_split_by_the_same_share(labels, share, seed):
    labels = torch.tensor(labels).unique(return_inverse=True)[1]
    counts = np.bincount(labels)
    expected = np.minimum(np.floor(share * counts + 0.5), counts - 1)
    if not expected.any():
        with pytest.raises(ValueError, match="holds out no sample of any"):
            held_out(labels, share, seed)
        return
    held = held_out(labels, share, seed)
    assert (np.bincount(labels[held], minlength=len(counts)) == expected).all()
    np.testing.assert_array_equal(held, held_out(labels, share, seed))


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([(80, 6), (20, 40)]), st.sampled_from([0.01, 1.0, 100.0]))
def test_rotating_or_shifting_features_leaves_ridge_decisions(seed, size, alpha):
    features, labels = clusters(*size, 4, seed)
    rng = np.random.default_rng(seed)
    features = features.astype(np.float64)
    rotation, shift = np.linalg.qr(rng.normal(size=(size[1], size[1])))[0], 10 * rng.normal(size=size[1])
    expected = RidgeProbe(alpha).fit(features, labels).decision_function(features)
    moved = features @ rotation + shift
    found = RidgeProbe(alpha).fit(moved, labels).decision_function(moved)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


@settings(max_examples=15, deadline=None)
@given(seeds, st.sampled_from([0.01, 1.0]))
def test_shift_and_scale_of_features_do_not_matter_to_the_linear_probe(seed, C):
    features, labels = clusters(80, 6, 4, seed)
    rng = np.random.default_rng(seed)
    moved = features.astype(np.float64) * 10 ** rng.uniform(-8, 8, 6) + rng.normal(size=6)
    expected = LinearProbe(C, dtype="float64").fit(features, labels).predict_proba(features)
    # of features of 1e-8 about 1, seven digits are left
    np.testing.assert_allclose(
        LinearProbe(C, dtype="float64").fit(moved, labels).predict_proba(moved), expected, atol=1e-4
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_separable_constant_and_collinear_features_are_no_trouble(dtype):
    features, labels = clusters(200, 10, 3, length=20.0)
    noise = np.random.default_rng(0).normal(size=features.shape)
    features = np.hstack([features, features + 1e-6 * noise, np.full((200, 1), 0.1)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for C in STRENGTHS:
            assert LinearProbe(C, dtype=dtype).fit(features, labels).score(features, labels) == 1.0 or C < 0.01
        probe = LinearProbe(STRENGTHS, dtype=dtype).fit(features, labels)
    assert probe.scale_[-1] == 1
    assert RidgeProbe().fit(features, labels).score(features, labels) == 1.0


def test_nothing_but_constant_features_give_the_largest_class():
    features, labels = np.ones((10, 3)), np.array([0] * 6 + [1] * 4)
    for probe in (LinearProbe(), RidgeProbe()):
        assert probe.fit(features, labels).score(features, labels) == 0.6


def test_too_few_iterations_are_said(blobs):
    with pytest.warns(ConvergenceWarning, match=r"stopped after 2 iterations.*raise max_iter"):
        probe = LinearProbe(C=100.0, max_iter=2).fit(*blobs)
    assert probe.n_iter_ == 2


def test_statistics_that_a_ridge_probe_cannot_use_are_an_error(blobs):
    with pytest.raises(ValueError, match="covariance='full'; these have 'diagonal'"):
        RidgeProbe().fit_statistics(class_statistics(*blobs, covariance="diagonal"))
    with pytest.raises(ValueError, match="class statistics take a single one"):
        RidgeProbe(alpha=[1, 2]).fit_statistics(class_statistics(*blobs))
    with pytest.raises(ValueError, match="of 6 here, 1 without samples"):
        RidgeProbe().fit_statistics(class_statistics(*blobs, num_classes=6))
    with pytest.raises(ValueError, match="a probe needs at least 2 classes"):
        RidgeProbe().fit_statistics(ClassStatistics(3, 1))
    with pytest.raises(ValueError, match="class_weight is balanced; class statistics take none"):
        RidgeProbe(class_weight="balanced").fit_statistics(class_statistics(*blobs))
