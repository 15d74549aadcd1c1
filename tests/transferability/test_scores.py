"""Transferability scores: against published formulas in plain NumPy, known values, what leaves them unchanged."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.linalg import eigh
from scipy.special import softmax
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from nclib import class_statistics
from nclib.transferability.class_scores import class_fairness, face, gbc, h_score, logme, over_models, variance_collapse
from nclib.transferability.feature_scores import h_score_shrunk, ncti_parts, probe_accuracy, sfda, transrate
from nclib.transferability.source_scores import leep, nce, nleep

ON_STATISTICS = (variance_collapse, class_fairness, gbc, h_score, logme)
ON_FEATURES = (h_score_shrunk, transrate, sfda, probe_accuracy, nleep, lambda *given: ncti_parts(*given)[0])


def sample(seed=0, classes=5, number=200, width=12, spread=1.0):
    """Unbalanced classes, and none without a sample."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.arange(classes), torch.randint(classes, (number - classes,), generator=generator)])
    means = torch.randn(classes, width, generator=generator)
    return means[labels] + spread * torch.randn(number, width, generator=generator), labels


def plain_logme(features, labels):
    """The evidence at the fixed point, with nothing added, as Bayesian linear regression is written down."""
    features = features.double().numpy()
    number, width = features.shape
    found = []
    for k in range(int(labels.max()) + 1):
        target = (labels == k).double().numpy()
        prior = noise = 1.0
        for _ in range(2000):
            precision = prior * np.eye(width) + noise * features.T @ features
            mean = noise * np.linalg.solve(precision, features.T @ target)
            effective = width - prior * np.trace(np.linalg.inv(precision))
            prior, noise = effective / (mean @ mean), (number - effective) / np.sum((features @ mean - target) ** 2)
        precision = prior * np.eye(width) + noise * features.T @ features
        mean = noise * np.linalg.solve(precision, features.T @ target)
        error = np.sum((features @ mean - target) ** 2)
        logs = width * np.log(prior) + number * np.log(noise / (2 * np.pi)) - np.linalg.slogdet(precision)[1]
        found.append((logs - noise * error - prior * mean @ mean) / 2)
    return np.mean(found) / number


def plain_sfda(features, labels):
    rows, codes = features.double().numpy(), labels.numpy()
    shares = np.bincount(codes) / len(codes)

    def probabilities(rows, shrinkage=None):
        means = np.array([rows[codes == k].mean(0) for k in range(len(shares))])
        within = sum(share * np.cov(rows[codes == k].T, bias=True) for k, share in enumerate(shares))
        shrinkage = max(math.exp(-5 * np.linalg.eigvalsh(within).max()), 1e-10) if shrinkage is None else shrinkage
        shrunk = (1 - shrinkage) * within + shrinkage * np.trace(within) / len(within) * np.eye(len(within))
        weight = np.linalg.solve(shrunk, means.T).T
        return softmax(rows @ weight.T - 0.5 * np.sum(weight * means, 1) + np.log(shares), axis=1), means, shrinkage

    first, means, shrinkage = probabilities(rows)
    sure = softmax(first, axis=1)[np.arange(len(codes)), codes][:, None]
    others = np.array([np.delete(means, k, 0).mean(0) for k in range(len(means))])
    second = probabilities(sure * rows + (1 - sure) * others[codes], shrinkage)[0]
    return second[np.arange(len(codes)), codes].mean()


def plain_ncti(rows, codes, components):
    """Principal components, a linear discriminant of them, and the three sums."""
    shares = np.bincount(codes) / len(codes)
    centred = rows - rows.mean(0)
    _, values, right = np.linalg.svd(centred, full_matrices=False)
    reduced = centred @ right[:components].T
    variances = values[:components] ** 2 / (len(rows) - 1)
    shrinkage = math.exp(-variances[:32].sum())

    def shrunk(part):
        covariance = np.cov(part.T, bias=True)
        return (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / components * np.eye(components)

    means = np.array([reduced[codes == k].mean(0) for k in range(len(shares))])
    within = sum(share * shrunk(reduced[codes == k]) for k, share in enumerate(shares))
    _, directions = eigh(shrunk(reduced) - within, within)
    directions = directions[:, ::-1]
    coordinates = (reduced @ directions)[:, : len(shares) - 1]
    weight = means @ directions @ directions.T
    logits = reduced @ weight.T - np.sum(weight * means, 1) / 2 + np.log(shares)
    probabilities = softmax(logits, axis=1)
    spread = np.linalg.svd(coordinates - coordinates.mean(0), compute_uv=False).sum()
    certainty = probabilities[np.arange(len(codes)), codes].mean()
    within_classes = sum(np.linalg.svd(probabilities[codes == k], compute_uv=False).sum() for k in range(len(shares)))
    return spread, certainty, -np.log(within_classes)


def plain_leep_of_clusters(rows, codes, mixture):
    """Responsibilities of a mixture of Gaussians by the formula, then LEEP."""
    logs = np.stack(
        [
            multivariate_normal(mean, covariance).logpdf(rows)
            for mean, covariance in zip(mixture.means_, mixture.covariances_, strict=True)
        ],
        axis=1,
    )
    theta = softmax(logs + np.log(mixture.weights_), axis=1)
    joint = np.array([theta[codes == k].sum(0) for k in range(codes.max() + 1)]) / len(codes)
    return np.mean(np.log(np.sum(theta * (joint / joint.sum(0))[codes], 1)))


def test_ncti_is_its_formula():
    features, labels = sample()
    rows, codes = 0.3 * features.double().numpy(), labels.numpy()
    components = min(64, *rows.shape)
    assert ncti_parts(rows, codes) == pytest.approx(plain_ncti(rows, codes, components), abs=1e-6)


def test_nleep_is_leep_of_the_clusters():
    features, labels = sample()
    rows, codes = features.double().numpy(), labels.numpy()
    reduced = PCA(0.8, svd_solver="full").fit_transform(rows)
    regular = 1e-3 * np.var(reduced, 0).mean()
    mixture = GaussianMixture(5 * (codes.max() + 1), reg_covar=regular, random_state=0).fit(reduced)
    assert nleep(features, labels) == pytest.approx(plain_leep_of_clusters(reduced, codes, mixture), abs=1e-6)


@pytest.mark.parametrize("spread", [0.05, 1.0, 4.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_logme_is_the_evidence_of_a_bayesian_regression(spread, scale):
    features, labels = sample(spread=spread)
    value = logme(class_statistics(features, labels))
    assert value == pytest.approx(plain_logme(features, labels), abs=1e-6)
    assert logme(class_statistics(scale * features.double(), labels)) == pytest.approx(value, rel=1e-6)


def test_logme_of_features_of_low_rank_is_that_of_their_coordinates():
    features, labels = sample(width=4)
    wide = features.double() @ torch.linalg.qr(torch.randn(30, 4, dtype=torch.float64))[0].T
    assert logme(class_statistics(wide, labels)) == pytest.approx(logme(class_statistics(features.double(), labels)))


def test_logme_of_classes_that_are_fitted_without_error_is_finite():
    labels = torch.arange(4).repeat_interleave(5)
    assert 5 < logme(class_statistics(torch.eye(4, dtype=torch.float64)[labels], labels)) < 50


def test_sfda_is_as_published():
    for spread in (0.3, 1.0):
        features, labels = sample(spread=spread)
        assert sfda(features, labels) == pytest.approx(plain_sfda(features, labels), abs=1e-6)


def test_the_shrunk_h_score_is_that_of_ledoit_and_wolf():
    features, labels = sample(number=40, width=60)
    rows = features.double().numpy()
    fitted = LedoitWolf().fit(rows)
    means = np.array([rows[labels.numpy() == k].mean(0) for k in range(5)])[labels.numpy()]
    expected = (1 - fitted.shrinkage_) * np.trace(np.linalg.solve(fitted.covariance_, np.cov(means.T, bias=True)))
    assert h_score_shrunk(features, labels) == pytest.approx(expected, rel=1e-6)


def test_h_score_is_the_trace_of_the_formula():
    features, labels = sample()
    rows = features.double().numpy()
    means = np.array([rows[labels.numpy() == k].mean(0) for k in range(5)])[labels.numpy()]
    expected = np.trace(np.linalg.solve(np.cov(rows.T, bias=True), np.cov(means.T, bias=True)))
    assert h_score(class_statistics(features, labels)) == pytest.approx(expected, rel=1e-6)


def test_transrate_is_the_difference_of_coding_rates():
    features, labels = sample()
    rows = features.double().numpy() - features.double().numpy().mean(0)
    rows = rows / np.sqrt(np.mean(np.sum(rows**2, 1)))

    def rate(z):
        return np.linalg.slogdet(np.eye(z.shape[1]) + z.T @ z / (len(z) * 1e-4))[1] / 2

    parts = [np.mean(labels.numpy() == k) * rate(rows[labels.numpy() == k]) for k in range(5)]
    assert transrate(features, labels) == pytest.approx(rate(rows) - sum(parts), rel=1e-6)
    assert transrate(1000 * features, labels) == pytest.approx(transrate(features, labels), rel=1e-4)


def test_leep_and_nce_of_a_classifier_that_says_everything_or_nothing():
    labels = torch.tensor([0, 0, 1, 1])
    everything, nothing = torch.eye(3)[[0, 0, 2, 2]], torch.full((4, 3), 1 / 3)
    assert leep(probabilities=everything, labels=labels) == nce(probabilities=everything, labels=labels) == 0
    assert leep(probabilities=nothing, labels=labels) == pytest.approx(-math.log(2))
    assert nce(probabilities=nothing, labels=labels) == pytest.approx(-math.log(2))


def test_leep_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    joint = np.array([[0.9, 0.1], [0.8, 1.2]]) / 3
    given_source = joint / joint.sum(0)
    expected = np.mean(np.log([probabilities[i] @ given_source[y] for i, y in enumerate((0, 1, 1))]))
    assert leep(probabilities=probabilities, labels=[0, 1, 1]) == pytest.approx(expected)


def test_classes_that_are_all_alike_are_treated_fairly():
    labels = torch.arange(4).repeat_interleave(2)
    simplex = torch.eye(4, dtype=torch.float64)[labels] + 0.1 * torch.tensor([[1.0], [-1.0]]).repeat(4, 1)
    assert class_fairness(class_statistics(simplex, labels)) == pytest.approx(1)
    pairs = torch.tensor([[0.0], [0.1], [9.0], [9.1]], dtype=torch.float64)[labels] + 0.1 * torch.tensor(
        [[1.0], [-1.0]]
    ).repeat(4, 1)
    assert class_fairness(class_statistics(pairs, labels)) < 0.01


def test_overlap_of_two_gaussians_by_hand():
    """Of means 0 and 2 and variances 1 and 4: D = 4 / (8 v) + ln(v / 2) / 2 with v = 2.5."""
    features = torch.tensor([[-1.0], [1.0], [0.0], [4.0]], dtype=torch.float64)
    distance = 4 / (8 * 2.5) + math.log(2.5 / 2) / 2
    assert gbc(class_statistics(features, [0, 0, 1, 1])) == pytest.approx(-2 * math.exp(-distance))


def test_face_adds_two_parts_brought_to_one_scale():
    models = [class_statistics(*sample(spread=spread)) for spread in (0.2, 0.5, 1.0)]
    collapse = np.array([variance_collapse(stats) for stats in models])
    fairness = np.array([class_fairness(stats) for stats in models])
    expected = sum((part - part.min()) / np.ptp(part) for part in (collapse, fairness))
    assert face(models).numpy() == pytest.approx(expected)
    assert face([models[0], models[0]]).tolist() == [0, 0]
    assert over_models(torch.tensor([[1.0, 5.0], [3.0, 5.0]])).tolist() == [[0, 0], [1, 0]]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(3, 6), spread=st.floats(0.1, 3))
def test_scores_stay_in_their_ranges_and_are_unchanged_by_rotation_and_order(seed, classes, spread):
    features, labels = (
        part.double() if part.is_floating_point() else part for part in sample(seed, classes, 60, 6, spread)
    )
    ranges = {
        variance_collapse: (-math.inf, 0),
        class_fairness: (0, 1),
        gbc: (-classes * (classes - 1), 0),
        h_score: (0, classes - 1),
        logme: (-math.inf, math.inf),
        h_score_shrunk: (0, classes - 1),
        transrate: (0, math.inf),
        sfda: (0, 1),
    }
    order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
    turned = features @ torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    for score, (low, high) in ranges.items():
        values = [
            score(class_statistics(x, y)) if score in ON_STATISTICS else score(x, y)
            for x, y in ((features, labels), (features[order], labels[order]), (turned, labels))
        ]
        assert low - 1e-9 <= values[0] <= high + 1e-9, score.__name__
        assert values[1] == pytest.approx(values[0], rel=1e-6, abs=1e-9), score.__name__
        assert values[2] == pytest.approx(values[0], rel=1e-6, abs=1e-9), score.__name__


@pytest.mark.parametrize("score", [variance_collapse, gbc, h_score, logme, *ON_FEATURES])  # fairness may go either way
def test_more_spread_is_a_lower_score(score):
    near, far = (sample(spread=spread) for spread in (0.3, 3.0))
    values = [score(class_statistics(*each)) if score in ON_STATISTICS else score(*each) for each in (near, far)]
    assert values[0] > values[1]


@pytest.mark.parametrize("score", [*ON_STATISTICS, *ON_FEATURES])
def test_nothing_is_changed_in_place(score):
    features, labels = sample()
    before = features.clone(), labels.clone()
    score(class_statistics(features, labels)) if score in ON_STATISTICS else score(features, labels)
    assert torch.equal(features, before[0])
    assert torch.equal(labels, before[1])


@pytest.mark.parametrize(("score", "name"), [(h_score, "h_score"), (sfda, "sfda")])
def test_too_few_samples_are_warned_of(score, name):
    features, labels = sample(number=20, width=30)
    with pytest.warns(UserWarning, match=f"{name} says nothing with 20 samples of 30 features"):
        score(class_statistics(features, labels)) if score is h_score else score(features, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        h_score_shrunk(features, labels)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, y: face([class_statistics(f, y)]), "at least 2 are needed, 1 was given"),
        (lambda f, y: class_fairness(class_statistics(f, y), temperature=0), "temperature is 0"),
        (lambda f, y: class_fairness(class_statistics(f, y % 2)), "at least 3 are needed, not 2"),
        (lambda f, y: gbc(class_statistics(f, y), floor=-1), "floor is -1"),
        (lambda f, y: transrate(f, y, epsilon=0), "epsilon is 0"),
        (lambda f, y: transrate(f, y[1:]), r"labels \(199,\) must be"),
        (lambda f, y: sfda(f * math.nan, y), "NaN or infinity"),
        (lambda f, y: sfda(f, 0 * y), "at least 2 are needed, 1 was given"),
        (lambda f, y: nleep(f[:20], y[:20]), "25 clusters, 5 a class, of 20 samples"),
        (lambda f, y: leep(probabilities=f, labels=y), "they must be probabilities: the softmax of logits"),
        (lambda f, y: leep(probabilities=f.softmax(1), labels=y[1:]), r"\(200, 12\) and labels \(199,\)"),
    ],
)
def test_what_cannot_be_scored_says_why(call, message):
    with pytest.raises(ValueError, match=message):
        call(*sample())


def test_face_is_of_statistics_of_one_task():
    features, labels = sample()
    stats = class_statistics(features, labels)
    by_name = {"a": stats, "b": class_statistics(2 * features + 1, labels)}
    assert face(by_name).tolist() == face(list(by_name.values())).tolist()
    with pytest.raises(ValueError, match="different tasks"):
        face([stats, class_statistics(features[1:], labels[1:])])
    with pytest.raises(TypeError, match="models are ClassStatistics, Tensor; give the class statistics of each"):
        face([stats, features])


@pytest.mark.parametrize("covariance", ["spherical", "diagonal"])
@pytest.mark.parametrize("score", [class_fairness, gbc])
def test_many_classes_are_gone_through_in_parts(score, covariance, monkeypatch):
    """As where K x K numbers would not fit into memory: two rows of them at a time."""
    labels = torch.arange(15).repeat_interleave(4)
    g = torch.Generator().manual_seed(0)
    stats = class_statistics(torch.randn(15, 6, generator=g)[labels] + torch.randn(60, 6, generator=g), labels)
    whole = score(stats, covariance=covariance)
    monkeypatch.setattr("nclib.metrics.linalg._HELD", 2 * 15)
    assert score(stats, covariance=covariance) == pytest.approx(whole, rel=1e-12)


def test_small_overlaps_keep_their_digits():
    stats = class_statistics([[0.0], [2.0], [12.0], [14.0]], [0, 0, 1, 1])
    assert gbc(stats) == pytest.approx(-2 * math.exp(-18), rel=1e-12)
