"""Transferability scores: against published formulas in plain NumPy, known values, what leaves them unchanged."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.linalg import eigh
from scipy.optimize import minimize
from scipy.special import digamma, entr, gamma, gammaln, softmax
from scipy.stats import multivariate_normal, spearmanr
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture

import nclib
from nclib import SCORES, class_statistics
from nclib.experiments.scales import demo
from nclib.experiments.studies import STUDIES
from nclib.metrics import samples, statistics
from nclib.probing.probe import held_out
from nclib.transferability import source_scores
from nclib.transferability.class_scores import class_fairness, face, gbc, h_score, logme, over_models, variance_collapse
from nclib.transferability.feature_scores import (
    energy,
    h_score_shrunk,
    lda_certainty,
    logme_targets,
    pactran,
    sfda,
    transrate,
)
from nclib.transferability.pair_scores import parc, tmi
from nclib.transferability.registry import OVER_MODELS, with_sums
from nclib.transferability.source_scores import leep, nce, nleep, pactran_dirichlet
from tests.ranges import ends
from tests.reference import bhattacharyya, written_out

ROTATED = {"parc", "energy"}  # what they take for features are the columns
# Scores that something may change or leave alone; each is tested by its formula all the same.
OF_ORDER = {"nleep", "probe_accuracy"}  # which samples come first draws clusters, or those that are held out
# Fairness may go either way; TMI is the better the more spread, and the others do not say how classes lie apart.
NOT_OF_SPREAD = {"class_fairness", "source_accuracy", "tmi", "energy", "rankme"}
HERE = "tests/transferability/test_scores.py"


def sample(seed=0, classes=5, number=200, width=12, spread=1.0):
    """Unbalanced classes, and none without a sample."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.arange(classes), torch.randint(classes, (number - classes,), generator=generator)])
    means = torch.randn(classes, width, generator=generator)
    return means[labels] + spread * torch.randn(number, width, generator=generator), labels


def source_of(features):
    """Probabilities of seven source classes, by a classifier that was made for others."""
    weight = torch.randn(features.shape[1], 7, generator=torch.Generator().manual_seed(3))
    return (features.double() @ weight.double()).softmax(1)


def value(name, features, labels, probabilities=None):
    """A score by its entry in the registry."""
    probabilities = source_of(features) if probabilities is None else probabilities
    given = {"features": features, "labels": labels, "probabilities": probabilities, "source_accuracy": 0.75}
    inputs = SCORES[name].inputs
    given |= {"stats": class_statistics(features, labels)} if "stats" in inputs else {}
    assert given.keys() >= set(inputs), f"{name} takes {inputs}: make what is missing in value() of {HERE}"
    return SCORES[name].compute(*(given[part] for part in inputs))


def plain_logme(features, labels):
    """Of the indicators of the classes."""
    return plain_evidence(features.double().numpy(), np.eye(int(labels.max()) + 1)[labels.numpy()])


def plain_evidence(features, targets):
    """The evidence at the fixed point, with nothing added, as Bayesian linear regression is written down."""
    number, width = features.shape
    found = []
    for target in targets.T:
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


def plain_discriminant(rows, codes, shrinkage=None):
    """Probabilities of classes, their means, and how far the covariance was shrunk."""
    shares = np.bincount(codes) / len(codes)
    means = np.array([rows[codes == k].mean(0) for k in range(len(shares))])
    within = sum(share * np.cov(rows[codes == k].T, bias=True) for k, share in enumerate(shares))
    shrinkage = max(math.exp(-5 * np.linalg.eigvalsh(within).max()), 1e-10) if shrinkage is None else shrinkage
    shrunk = (1 - shrinkage) * within + shrinkage * np.trace(within) / len(within) * np.eye(len(within))
    weight = np.linalg.solve(shrunk, means.T).T
    return softmax(rows @ weight.T - 0.5 * np.sum(weight * means, 1) + np.log(shares), axis=1), means, shrinkage


def plain_certainty(rows, codes):
    return plain_discriminant(rows, codes)[0][np.arange(len(codes)), codes].mean()


def plain_sfda(rows, codes):
    first, means, shrinkage = plain_discriminant(rows, codes)
    sure = softmax(first, axis=1)[np.arange(len(codes)), codes][:, None]
    others = np.array([np.delete(means, k, 0).mean(0) for k in range(len(means))])
    second = plain_discriminant(sure * rows + (1 - sure) * others[codes], codes, shrinkage)[0]
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


def plain_nleep(rows, codes):
    reduced = PCA(0.8, svd_solver="full").fit_transform(rows)
    regular = 1e-3 * np.var(reduced, 0).mean()
    mixture = GaussianMixture(5 * (codes.max() + 1), reg_covar=regular, random_state=0).fit(reduced)
    return plain_leep_of_clusters(reduced, codes, mixture)


def plain_overlaps(rows, codes):
    """Of each class with the others, (K, K - 1)."""
    parts = [rows[codes == k] for k in range(codes.max() + 1)]
    means, spread = [part.mean(0) for part in parts], [part.var(0).sum() for part in parts]
    found = [
        bhattacharyya(((means[i] - means[j]) ** 2).sum(), spread[i], spread[j], rows.shape[1])
        for i in range(len(parts))
        for j in range(len(parts))
        if i != j
    ]
    return np.reshape(found, (len(parts), -1))


def plain_fairness(rows, codes):
    shares = softmax(plain_overlaps(rows, codes) / 0.05, axis=1)
    return np.mean(-np.sum(shares * np.log(shares), 1)) / np.log(shares.shape[1])


def plain_h_score(rows, codes, shrinkage=0.0, covariance=None):
    means = np.array([rows[codes == k].mean(0) for k in range(codes.max() + 1)])[codes]
    total = np.cov(rows.T, bias=True) if covariance is None else covariance
    return (1 - shrinkage) * np.trace(np.linalg.solve(total, np.cov(means.T, bias=True)))


def plain_h_score_shrunk(rows, codes):
    fitted = LedoitWolf().fit(rows)
    return plain_h_score(rows, codes, fitted.shrinkage_, fitted.covariance_)


def plain_transrate(rows, codes):
    rows = rows - rows.mean(0)
    rows = rows / np.sqrt(np.mean(np.sum(rows**2, 1)))

    def rate(z):
        return np.linalg.slogdet(np.eye(z.shape[1]) + z.T @ z / (len(z) * 1e-4))[1] / 2

    return rate(rows) - sum(np.mean(codes == k) * rate(rows[codes == k]) for k in range(codes.max() + 1))


def plain_leep(theta, codes):
    joint = np.array([theta[codes == k].sum(0) for k in range(codes.max() + 1)])
    return np.mean(np.log(np.sum(theta * (joint / joint.sum(0))[codes], 1)))


def plain_nce(theta, codes):
    """The mean logarithm of how many of the samples of a sample's source class have its label."""
    source = theta.argmax(1)
    return np.mean([np.log(np.mean(codes[source == z] == k)) for z, k in zip(source, codes, strict=True)])


def plain_probe(rows, codes):
    held = held_out(torch.as_tensor(codes), 0.2, 0).numpy()
    kept = rows[~held]
    rows = (rows - kept.mean(0)) / kept.std(0)
    return LogisticRegression(C=1.0, max_iter=1000).fit(rows[~held], codes[~held]).score(rows[held], codes[held])


def plain_parc(rows, codes):
    rows = (rows - rows.mean(0)) / rows.std(0)
    above = np.triu_indices(len(rows), 1)
    apart = (1 - np.corrcoef(np.eye(codes.max() + 1)[codes])).round(12)  # by rounding no two of them would tie
    return spearmanr((1 - np.corrcoef(rows))[above], apart[above])[0]


def plain_pactran(rows, codes, strength=1.0, variance=100.0):
    """The loss at its minimum by another solver, and the curvature entry by entry."""
    rows, (number, width), classes = rows - rows.mean(0), rows.shape, codes.max() + 1
    targets = np.eye(classes)[codes]

    def split(parameters):
        weight, bias = parameters[:-classes].reshape(width, classes), parameters[-classes:]
        return weight, softmax(rows @ weight + bias, axis=1)

    def loss(parameters):
        weight, shares = split(parameters)
        error = (shares - targets) / number
        slope = np.concatenate([(rows.T @ error + weight / (strength * number)).ravel(), error.sum(0)])
        return -np.log(shares[targets == 1]).mean() + (weight**2).sum() / (2 * strength * number), slope

    found = minimize(loss, np.zeros((width + 1) * classes), jac=True, method="BFGS", options={"gtol": 1e-10})
    shares = split(found.x)[1]
    bends = shares - shares**2
    trace = ((rows**2).T @ bends + 1 / (strength * number)).sum() + bends.sum()
    ratio = trace * strength * number / (width * classes)
    return found.fun + 0.5 * width * classes / (strength * number) * variance / width * np.log(ratio)


def plain_pactran_dirichlet(theta, codes, rounds=10):
    prior = np.bincount(codes)[:, None] / len(codes) * np.ones(theta.shape[1])
    shares, targets = theta, np.eye(codes.max() + 1)[codes]
    for _ in range(rounds):
        posterior = prior + np.einsum("ny,nz->yz", targets, shares)
        shares = softmax(np.log(theta) + targets @ digamma(posterior) - digamma(posterior.sum(0)), axis=1)
    posterior = prior + np.einsum("ny,nz->yz", targets, shares)

    def log_beta(weights):
        return gammaln(weights).sum(0) - gammaln(weights.sum(0))

    evidence = (log_beta(posterior) - log_beta(prior)).sum() - (shares * np.log(shares / theta)).sum()
    return -evidence / len(codes)


def plain_tmi(rows, codes):
    """By the differences of all pairs of a class."""
    number, width = rows.shape
    total = 0.0
    for k in range(codes.max() + 1):
        part = rows[codes == k]
        apart = np.linalg.norm(part[:, None] - part, axis=2) + np.diag(np.full(len(part), np.inf))
        ball = np.pi ** (width / 2) / gamma(width / 2 + 1)
        total += len(part) * (digamma(len(part)) - digamma(1) + np.log(ball)) + width * np.log(apart.min(1)).sum()
    return total / number / width


def plain_lidar(rows, codes, delta=1e-4):
    means = np.array([rows[codes == k].mean(0) for k in range(codes.max() + 1)])
    within = (rows - means[codes]).T @ (rows - means[codes]) / len(rows) + delta * np.eye(rows.shape[1])
    values, vectors = np.linalg.eigh(within)
    half = vectors / np.sqrt(values) @ vectors.T
    found = np.linalg.eigvalsh(half @ np.cov(means.T, bias=True) @ half).clip(min=0)
    return np.exp(entr(found / found.sum()).sum())


def plain_rankme(rows):
    values = np.linalg.svd(rows, compute_uv=False)
    return np.exp(entr(values / values.sum()).sum())


# Every score in plain NumPy: of features (N, d), labels (N,) and probabilities (N, Z).
PLAIN = {
    "variance_collapse": lambda rows, codes, theta: -written_out(rows, codes)["nc1"],
    "class_fairness": lambda rows, codes, theta: plain_fairness(rows, codes),
    "gbc": lambda rows, codes, theta: -plain_overlaps(rows, codes).sum(),
    "h_score": lambda rows, codes, theta: plain_h_score(rows, codes),
    "logme": lambda rows, codes, theta: plain_logme(torch.as_tensor(rows), torch.as_tensor(codes)),
    "cdnv": lambda rows, codes, theta: written_out(rows, codes)["cdnv"],
    "vci": lambda rows, codes, theta: written_out(rows, codes)["vci"],
    "h_score_shrunk": lambda rows, codes, theta: plain_h_score_shrunk(rows, codes),
    "transrate": lambda rows, codes, theta: plain_transrate(rows, codes),
    "sfda": lambda rows, codes, theta: plain_sfda(rows, codes),
    "ncti_spread": lambda rows, codes, theta: plain_ncti(rows, codes, min(64, *rows.shape))[0],
    "ncti_certainty": lambda rows, codes, theta: plain_ncti(rows, codes, min(64, *rows.shape))[1],
    "ncti_collapse": lambda rows, codes, theta: plain_ncti(rows, codes, min(64, *rows.shape))[2],
    "nleep": lambda rows, codes, theta: plain_nleep(rows, codes),
    "parc": lambda rows, codes, theta: plain_parc(rows, codes),
    "pactran": lambda rows, codes, theta: plain_pactran(rows, codes),
    "pactran_dirichlet": lambda rows, codes, theta: plain_pactran_dirichlet(theta, codes),
    "tmi": lambda rows, codes, theta: plain_tmi(rows, codes),
    "energy": lambda rows, codes, theta: np.log(np.exp(rows).sum(1)).mean(),
    "lda_certainty": lambda rows, codes, theta: plain_certainty(rows, codes),
    "rankme": lambda rows, codes, theta: plain_rankme(rows),
    "lidar": lambda rows, codes, theta: plain_lidar(rows, codes),
    "probe_accuracy": lambda rows, codes, theta: plain_probe(rows, codes),
    "leep": lambda rows, codes, theta: plain_leep(theta, codes),
    "source_accuracy": lambda rows, codes, theta: 0.75,
    "nce": lambda rows, codes, theta: plain_nce(theta, codes),
}


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_its_formula(name):
    assert name in PLAIN, f"write the formula of {name} in plain NumPy, and add it to PLAIN of {HERE}"
    for features, labels in (sample(), sample(seed=1, spread=0.3)):
        features = 0.5 * features.double()  # of ncti's shrinkage digits are left
        expected = PLAIN[name](features.numpy(), labels.numpy(), source_of(features).numpy())
        assert value(name, features, labels) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", SCORES)
def test_the_entry_of_a_score_is_complete(name):
    entry = SCORES[name]
    assert entry.name == name
    assert entry.formula, f"the entry of {name} in transferability/registry.py has no formula"
    assert entry.source, f"the entry of {name} in transferability/registry.py has no source"


def test_what_has_a_formula_is_a_score():
    assert PLAIN.keys() <= SCORES.keys(), (
        f"PLAIN of {HERE} has what is not a score: {sorted(PLAIN.keys() - SCORES.keys())}"
    )


@pytest.mark.parametrize("name", OVER_MODELS)
def test_a_sum_over_models_is_of_scores_each_brought_to_one_scale(name):
    parts = list(OVER_MODELS[name])
    assert set(parts) <= SCORES.keys(), f"{name} in OVER_MODELS has parts that are not in SCORES"
    models = [sample(spread=spread) for spread in (0.2, 0.5, 1.0)]
    table = pd.DataFrame({part: value(part, *model) for part in parts} for model in models)
    expected = ((table - table.min()) / (table.max() - table.min())).sum(axis=1)
    assert with_sums(table)[name].to_numpy() == pytest.approx(expected.to_numpy())


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


def test_the_shrunk_h_score_says_something_of_fewer_samples_than_features():
    features, labels = sample(number=40, width=60)
    expected = plain_h_score_shrunk(features.double().numpy(), labels.numpy())
    assert h_score_shrunk(features, labels) == pytest.approx(expected, rel=1e-6)


def test_transrate_does_not_depend_on_the_scale():
    features, labels = sample()
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


@pytest.mark.parametrize("name", SCORES)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(3, 6), spread=st.floats(0.1, 3))
def test_scores_stay_in_their_ranges_and_are_unchanged_by_rotation_and_order(name, seed, classes, spread):
    features, labels = sample(seed, classes, 60, 6, spread)
    features, theta = features.double(), source_of(features)
    found = value(name, features, labels, theta)
    low, high = ends(SCORES[name].range, classes, 6)
    assert low - 1e-9 <= found <= high + 1e-9, f"{name} is {found}; SCORES says that its range is {SCORES[name].range}"
    generator = torch.Generator().manual_seed(seed)
    turned = features @ torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=generator))[0]
    order = torch.randperm(60, generator=generator)
    cure = f"; if it may be changed, add it to OF_ORDER of {HERE}"
    same = pytest.approx(found, rel=1e-6, abs=1e-9)
    if name not in OF_ORDER | ROTATED:
        turns = f"; if it may be changed, add it to ROTATED of {HERE}"
        assert value(name, turned, labels, theta) == same, f"{name} is changed by a rotation{turns}"
    if name not in OF_ORDER:
        assert value(name, features[order], labels[order], theta[order]) == same, f"{name} is changed by order{cure}"


@pytest.mark.parametrize("name", [name for name in SCORES if name not in NOT_OF_SPREAD])
def test_more_spread_is_a_worse_score(name):
    near, far = (value(name, *sample(spread=spread)) for spread in (0.3, 3.0))
    better = near > far if SCORES[name].better == "higher" else near < far
    cure = f"correct `better` of its entry, or add it to NOT_OF_SPREAD of {HERE}"
    assert better, f"{name} is {near} of classes with little spread and {far} with more: {cure}"


@pytest.mark.parametrize("name", SCORES)
def test_nothing_is_changed_in_place(name):
    features, labels = sample()
    theta = source_of(features)
    before = [part.clone() for part in (features, labels, theta)]
    value(name, features, labels, theta)
    assert all(map(torch.equal, (features, labels, theta), before)), f"{name} changes what it is given"


@pytest.mark.parametrize(("score", "name"), [(h_score, "h_score"), (sfda, "sfda")])
def test_too_few_samples_are_warned_of(score, name):
    features, labels = sample(number=20, width=30)
    with pytest.warns(UserWarning, match=f"{name} says nothing with 20 samples of 30 features"):
        score(class_statistics(features, labels)) if score is h_score else score(features, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        h_score_shrunk(features, labels)


def test_all_scores_at_once_check_and_gather_once(monkeypatch):
    """And find what each does by itself; only SFDA gathers again, of the features that it has moved."""
    features, labels = sample()
    seen, gathers = [], []
    check, add = samples.check_values, statistics.ClassStatistics._add
    for module in (samples, statistics):
        monkeypatch.setattr(module, "check_values", lambda x, **more: seen.append(len(x)) or check(x, **more))
    monkeypatch.setattr(statistics.ClassStatistics, "_add", lambda *given: gathers.append(1) or add(*given))
    found = nclib.score(features, labels)
    assert sum(seen) <= len(features) + 1  # and the first row, before any work
    assert len(gathers) == 2
    for alone in (h_score_shrunk, transrate, sfda):
        assert found[alone.__name__] == alone(features, labels)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, y: face([class_statistics(f, y)]), "at least 2 are needed, 1 was given"),
        (lambda f, y: class_fairness(class_statistics(f, y), temperature=0), "temperature is 0"),
        (lambda f, y: class_fairness(class_statistics(f, y % 2)), "2 were given"),
        (lambda f, y: gbc(class_statistics(f, y), floor=-1), "floor is -1"),
        (lambda f, y: transrate(f, y, epsilon=0), "epsilon is 0"),
        (lambda f, y: nclib.probe_accuracy(f, y, share=2), "share is 2; it must be above 0 and below 1"),
        (lambda f, y: nclib.probe_accuracy(f, y, share=1e-6), "share=1e-06 holds out no sample of any"),
        (lambda f, y: transrate(f, y[1:]), r"labels \(199,\) must be"),
        (lambda f, y: sfda(f[:0], y[:0]), "there are no samples"),
        (lambda f, y: sfda(f * math.nan, y), "NaN or infinity"),
        (lambda f, y: sfda(f, 0 * y), "at least 2 are needed, 1 was given"),
        (lambda f, y: nleep(f[:20], y[:20]), "25 clusters, 5 per class, but there are only 20 samples"),
        (
            lambda f, y: parc(f, 0 * y),
            "the samples are of one class; parc compares pairs within a class",
        ),
        (lambda f, y: parc(f[:5], range(5)), "the samples are each of another class"),
        (lambda f, y: parc(f[:, :1], y), "200 of 200 samples have features that are all the same once standardised"),
        (lambda f, y: parc(f, y, most=2), "most is 2; it must be at least 3"),
        (lambda f, y: parc(f, y, seed=-1), "seed is -1; it must be at least 0"),
        (
            lambda f, y: tmi(f[:7], [0, 0, 0, 1, 1, 1, 2]),
            "class 2 has 1 sample; with neighbours=1 a class needs 2 or more",
        ),
        (lambda f, y: tmi(f[:3], ["b", "b", "a"]), "class a has 1 sample; with neighbours=1 a class needs 2 or more"),
        (
            lambda f, y: tmi(f[:4], [0, 0, 1, 1], neighbours=2),
            "class 0 has 2 samples; with neighbours=2 a class needs 3",
        ),
        (lambda f, y: tmi(f[[0, 0, 1, 2]], [0, 0, 1, 1]), "a sample equals 1 or more others of its class"),
        (lambda f, y: tmi(f, y, neighbours=0), "neighbours is 0; it must be at least 1"),
        (lambda f, y: energy(f, share=0), "share is 0; it must be above 0 and at most 1"),
        (lambda f, y: energy(f * math.inf), "NaN or infinity"),
        (lambda f, y: pactran(f, y, strength=0), "strength is 0; it must be above 0"),
        (lambda f, y: pactran(f, y, variance=math.inf), "variance is inf; it must be above 0, and finite"),
        (lambda f, y: pactran(f, y, variance=-1), "variance is -1; it must be above 0"),
        (lambda f, y: pactran(f, 2 * y), "4 of 9 classes have no samples"),
        (lambda f, y: pactran(f, 0 * y), "at least 2 are needed, 1 was given"),
        (lambda f, y: lda_certainty(f, 0 * y), "at least 2 are needed, 1 was given"),
        (
            lambda f, y: pactran_dirichlet(probabilities=source_of(f), labels=y, alpha=0),
            "alpha is 0; it must be above 0",
        ),
        (lambda f, y: logme_targets(f, y[1:].double()), r"targets are \(199,\); for 200 samples they must be \(200,\)"),
        (lambda f, y: logme_targets(f, f * math.nan), "targets hold NaN or infinity, the first in row 0"),
        (lambda f, y: logme_targets(f, 0.0 * y), "target 0 is 0 for every sample"),
        (
            lambda f, y: leep(probabilities=f, labels=y),
            "they must be at least 0 and sum to 1, as the softmax of logits does",
        ),
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
    with pytest.raises(ValueError, match="differ in the samples per class; give statistics of the same"):
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


def clusters(per_class, classes=4, width=6):
    """Samples about two means a class, in the order of time and not of labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(per_class * classes) % classes
    means = 3 * torch.randn(2 * classes, width, generator=generator)
    which = labels + classes * torch.randint(2, labels.shape, generator=generator)
    return means[which] + torch.randn(len(labels), width, generator=generator), labels


def test_nleep_of_many_samples_is_of_diagonal_covariances_and_a_share_of_every_class(monkeypatch):
    made = []

    class Mixture(GaussianMixture):
        def fit(self, rows):
            made.append((self.covariance_type, len(rows)))
            return super().fit(rows)

    monkeypatch.setattr("sklearn.mixture.GaussianMixture", Mixture)
    features, labels = clusters(60)
    worse = features + 3 * torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
    assert nleep(features, labels, per_class=2) > nleep(worse, labels, per_class=2)
    monkeypatch.setattr(source_scores, "_FULL", 0)
    monkeypatch.setattr(source_scores, "_FITTED", 100)
    assert nleep(features, labels, per_class=2) > nleep(worse, labels, per_class=2)
    assert made == 2 * [("full", 240)] + 2 * [("diag", 80)]
    assert labels[source_scores._every_nth(labels, 100)].bincount().tolist() == [20] * 4
    assert source_scores._every_nth(labels, 240).tolist() == list(range(240))


def test_no_recorded_nleep_is_of_so_many_samples():
    """Else today's formula would not be that of the committed records: here are those of most samples and classes."""
    recorded = [(77 * 20, 77), (102 * 4, 102), (11 * 400, 11), (40 * 10, 40)]  # intents, flowers, pixels, characters
    recorded += [(cell["samples"], cell["classes"]) for cell in STUDIES["score_cost"](demo.SCALE, [0])]
    assert max(samples * 5 * classes for samples, classes in recorded) <= source_scores._FULL


def test_no_score_is_a_negative_zero():
    apart = torch.eye(3).repeat_interleave(4, 0)
    labels = torch.arange(3).repeat_interleave(4)
    stats = nclib.class_statistics(apart, labels)
    probabilities = torch.eye(3)[labels]
    zeros = [nclib.gbc(stats), nclib.variance_collapse(stats), nclib.leep(probabilities=probabilities, labels=labels)]
    zeros += [nclib.nce(probabilities=probabilities, labels=labels)]
    assert [str(value) for value in zeros] == ["0.0"] * 4
    found = nclib.score(apart, labels, probabilities=probabilities, source_accuracy=0.0, scores="all")
    assert not [name for name, value in found.items() if str(value) == "-0.0"]


def test_a_score_that_full_collapse_leaves_undefined_is_left_out_with_a_note():
    features, labels = torch.eye(3).repeat_interleave(4, 0), torch.arange(3).repeat_interleave(4)
    found = nclib.score(features, labels)
    assert "sfda" not in found
    assert any(note.startswith("sfda is left out: the features do not vary") for note in found.notes)
    with pytest.raises(ValueError, match="the features do not vary"):
        nclib.sfda(features, labels)


def test_logme_of_one_hot_targets_is_that_of_the_classes():
    features, labels = sample()
    expected = logme(class_statistics(features, labels))
    one_hot = torch.eye(5, dtype=torch.int64)[labels]
    for targets in (one_hot, one_hot.bool(), one_hot.double(), one_hot.tolist(), one_hot.numpy()):
        assert logme_targets(features, targets) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("sizes", [(60, 6), (20, 50)])
def test_logme_of_numbers_and_of_several_labels_is_the_evidence_of_a_bayesian_regression(sizes):
    rng = np.random.default_rng(0)
    narrow = rng.normal(size=(sizes[0], 6))
    features = narrow @ np.linalg.qr(rng.normal(size=(sizes[1], 6)))[0].T
    numbers = narrow @ rng.normal(size=(6, 3)) + 0.5 * rng.normal(size=(sizes[0], 3))
    several = (numbers > 0).astype(int)
    assert logme_targets(features, numbers) == pytest.approx(plain_evidence(narrow, numbers), abs=1e-6)
    assert logme_targets(features, several) == pytest.approx(plain_evidence(narrow, several), abs=1e-6)
    alone = [logme_targets(features, numbers[:, j]) for j in range(3)]
    assert logme_targets(features, numbers) == pytest.approx(np.mean(alone))
    assert logme_targets(features, torch.from_numpy(numbers[:, 0])) == alone[0]
    assert logme_targets(features, numbers[:, 0].tolist()) == pytest.approx(alone[0], rel=1e-6)  # float32, as any list


@pytest.mark.parametrize("size", [1e-200, 1e-3, 1e200])
def test_logme_of_larger_targets_falls_by_the_logarithm(size):
    features, _ = sample()
    targets = features[:, :2].double().square()
    found = logme_targets(features, targets) - math.log(size)
    assert logme_targets(features, size * targets) == pytest.approx(found, abs=1e-9)
    assert logme_targets(1e-3 * features, targets) == pytest.approx(logme_targets(features, targets), abs=1e-6)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([0, 1, 1], r"int64 \(3,\); they must be real numbers \(give targets.float\(\)\), .*: logme\(class_statistics"),
        ([[0, 1], [2, 1], [1, 0]], r"int64 \(3, 2\); they must be real numbers \(give targets.float\(\)\), or 0 and 1"),
        (["a", "b", "a"], "is not a tensor or array of numbers"),
    ],
)
def test_targets_that_are_classes_say_where_they_go(targets, message):
    with pytest.raises(TypeError, match=message):
        logme_targets(torch.eye(3), targets)


def test_parc_of_many_samples_is_of_some_of_them_which_a_note_says():
    features, labels = sample(number=300)
    whole = parc(features, labels)
    with pytest.warns(UserWarning, match="parc uses 100 of 300 samples, drawn with seed 3; most=300 uses all"):
        some = parc(features, labels, most=100, seed=3)
    assert some == pytest.approx(whole, abs=0.1)
    assert some != whole
    with pytest.warns(UserWarning, match="seed 3"):
        assert parc(features.numpy(), labels.tolist(), most=100, seed=3) == some
    many, classes = sample(number=4100, width=3)
    found = nclib.score(many, classes, scores=["parc"])
    assert found.notes == ("parc uses 4,000 of 4,100 samples, drawn with seed 0; most=4100 uses all",)


def test_parc_ties_what_differs_by_rounding():
    """Else distances of 0 within classes that have collapsed would have an order, and parc would not be 1."""
    labels = torch.arange(40) % 2
    collapsed = torch.tensor([[0.1, 0.2, 0.7], [0.6, 0.3, 0.2]], dtype=torch.float64)[labels]
    assert parc(collapsed, labels) == pytest.approx(1, abs=1e-12)
    assert parc(collapsed * torch.tensor([1e-200, 1.0, 1e50], dtype=torch.float64), labels) == pytest.approx(
        1, abs=1e-12
    )
    flat = torch.cat([collapsed, torch.full((40, 1), 0.1, dtype=torch.float64)], 1)  # whose mean is not 0.1 exactly
    assert parc(flat, labels) > 0.99


@given(seed=st.integers(0, 10**6), classes=st.integers(2, 5))
@settings(max_examples=15, deadline=None)
def test_scores_of_pairs_keep_to_what_they_say_of_shift_scale_and_names(seed, classes):
    features, labels = sample(seed, classes, 60, 6)
    features = features.double()
    moved = features * torch.tensor([1e-3, 1.0, 5.0, 2.0, 1e3, 1.0]) - 4
    names = [f"class {5 - k}" for k in labels.tolist()]
    assert parc(moved, names) == pytest.approx(parc(features, labels), abs=1e-9)
    for score in (nclib.lidar, lda_certainty):
        assert score(features + 5, names) == pytest.approx(score(features, labels), rel=1e-6)
    theta = source_of(features)
    expected = pactran_dirichlet(probabilities=theta, labels=labels)
    assert pactran_dirichlet(probabilities=theta.flip(1), labels=names) == pytest.approx(expected)
    assert tmi(2 * features + 9, names) == pytest.approx(tmi(features, labels) + math.log(2), rel=1e-9)
    assert energy(features + 3) == pytest.approx(energy(features) + 3)
    assert pactran(features - 8, names) == pytest.approx(pactran(features, labels), rel=1e-6)


def test_tmi_of_normal_features_is_their_entropy():
    rng = np.random.default_rng(0)
    labels = np.arange(4000) % 2
    features = rng.normal(size=(4000, 2)) * 3 + 50 * labels[:, None]
    exact = math.log(2 * math.pi * math.e * 9) / 2  # of each feature
    for neighbours in (1, 4):
        assert tmi(features, labels, neighbours=neighbours) == pytest.approx(exact, abs=0.03)


def test_energy_of_a_share_is_of_the_samples_that_have_the_least():
    features = torch.tensor([[0.0], [4.0], [1.0], [7.0]])
    assert [energy(features, share=share) for share in (0.005, 0.5, 1)] == [0.0, 0.5, 3.0]


def test_pactran_is_the_bound_by_hand_where_the_features_say_nothing():
    """W = 0, p = 1/K, and the trace is N (K - 1) / K of the biases and 0 of the features."""
    for classes, number, strength, variance in ((2, 6, 1.0, 100.0), (3, 9, 0.1, 10.0)):
        features, labels = torch.ones(number, 4), torch.arange(number) % classes
        prior = strength * number
        ratio = 1 + prior * number * (classes - 1) / classes / (classes * 4)
        expected = math.log(classes) + classes * variance / (2 * prior) * math.log(ratio)
        found = pactran(features, labels, strength=strength, variance=variance)
        assert found == pytest.approx(expected, rel=1e-9)


def test_pactran_of_sure_source_classes_is_the_evidence_of_their_counts():
    """By Polya's urn: of 8 labels alike with weights of 1/2 the evidence is (1/2) (3/4) ... (15/16)."""
    source = torch.eye(3)[[0] * 8 + [2] * 8]
    urn = math.prod((0.5 + i) / (1 + i) for i in range(8))
    found = pactran_dirichlet(probabilities=source, labels=["b"] * 8 + ["a"] * 8)
    assert found == pytest.approx(-2 * math.log(urn) / 16)
    assert found == pytest.approx(pactran_dirichlet(probabilities=source, labels=[3] * 8 + [1] * 8))


def test_too_few_samples_for_a_discriminant_are_warned_of():
    features, labels = sample(number=20, width=30)
    with pytest.warns(UserWarning, match="lda_certainty says nothing with 20 samples of 30 features"):
        assert lda_certainty(features, labels) == pytest.approx(1)


@pytest.mark.parametrize("name", SCORES)
def test_a_score_that_is_asked_for_alone_is_what_it_is_by_itself(name):
    """Its entry says how much of the covariance it takes."""
    features, labels = sample()
    given = {"probabilities": source_of(features), "source_accuracy": 0.75}
    found = nclib.score(features, labels, scores=[name], **given)[name]
    assert found == pytest.approx(value(name, features, labels), rel=1e-9)


def test_what_is_new_is_on_request():
    features, labels = sample()
    new = {"parc", "pactran", "pactran_dirichlet", "tmi", "energy", "lda_certainty", "rankme", "lidar"}
    assert not new & nclib.score(features, labels, probabilities=source_of(features)).keys()
    every = nclib.score(features, labels, probabilities=source_of(features), scores="all")
    assert new <= every.keys()
    with pytest.raises(ValueError, match="rankme needs features; give features and labels in place"):
        nclib.score(class_statistics(features, labels), scores=["rankme"])
