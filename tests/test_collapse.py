"""Collapse metrics: known values, invariances, and agreement with the formulas written out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import nclib

METRICS = (nclib.nc1, nclib.nc1_ratio, nclib.cdnv, nclib.nc2)


def simplex(num_classes: int, dim: int) -> torch.Tensor:
    """The corners of a simplex ETF around 0, at distance 1, in `dim` dimensions, (K, d)."""
    corners = torch.eye(num_classes).double() - 1 / num_classes
    rotation = torch.linalg.qr(torch.randn(dim, dim, generator=torch.Generator().manual_seed(1)).double()).Q
    return corners / torch.linalg.norm(corners[0]) @ rotation[:num_classes]


def isotropic(means: torch.Tensor, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
    """2 d samples a class whose covariance is exactly sigma^2 I: mean +- sigma sqrt(d) e_j."""
    dim = means.shape[1]
    offsets = sigma * math.sqrt(dim) * torch.cat([torch.eye(dim), -torch.eye(dim)]).double()
    features = (means.unsqueeze(1) + offsets).flatten(0, 1)
    return features, torch.arange(len(means)).repeat_interleave(2 * dim)


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_isotropic_classes_on_a_simplex_have_closed_forms(num_classes):
    dim, sigma, radius = 12, 0.3, 2.0
    stats = nclib.class_statistics(*isotropic(radius * simplex(num_classes, dim), sigma))
    k, ratio = num_classes, (sigma / radius) ** 2
    assert nclib.nc1(stats) == pytest.approx(ratio * (k - 1) ** 2 / k)
    assert nclib.nc1_ratio(stats) == pytest.approx(dim * ratio)
    assert nclib.cdnv(stats) == pytest.approx(dim * ratio * (k - 1) / (2 * k))
    assert nclib.nc2(stats) == pytest.approx(0, abs=1e-12)
    assert len(nclib.between_spectrum(stats)[0]) == k - 1


def test_a_collapsed_network_is_recognised_by_all_four():
    means = simplex(5, 8)
    labels = torch.arange(5).repeat_interleave(3)
    stats = nclib.class_statistics(means[labels], labels)
    assert nclib.nc1(stats) == pytest.approx(0, abs=1e-25)
    assert nclib.nc3(stats, 7 * means) == pytest.approx(0, abs=1e-12)
    assert nclib.nc3(stats, -means) == pytest.approx(2)
    assert nclib.nc4(stats, means[labels], means) == 1.0


def test_nc4_uses_the_bias():
    means = torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    stats = nclib.class_statistics(means, [0, 1])
    assert nclib.nc4(stats, means, means, bias=[0.0, 0.0]) == 1.0
    assert nclib.nc4(stats, means, means, bias=[5.0, 0.0]) == 0.5


def written_out(features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The formulas in plain float64 NumPy, with the d x d pseudo-inverse."""
    classes = range(labels.max() + 1)
    means = np.stack([features[labels == k].mean(0) for k in classes])
    centred, within = means - features.mean(0), features - means[labels]
    sigma_w, sigma_b = within.T @ within / len(features), centred.T @ centred / len(means)
    spread = [(within[labels == k] ** 2).sum(1).mean() for k in classes]
    pairs = [
        (spread[i] + spread[j]) / (2 * ((means[i] - means[j]) ** 2).sum()) for i in classes for j in classes if i != j
    ]
    gram, etf = centred @ centred.T, np.eye(len(means)) - 1 / len(means)
    return {
        "nc1": np.trace(sigma_w @ np.linalg.pinv(sigma_b, rcond=1e-10)) / len(means),
        "nc1_ratio": np.trace(sigma_w) / np.trace(sigma_b),
        "cdnv": np.mean(pairs),
        "nc2": np.linalg.norm(gram / np.linalg.norm(gram) - etf / np.linalg.norm(etf)),
    }


@st.composite
def labelled_features(draw):
    """Random classes, unbalanced, K above or below d, around a mean that may be far from 0."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_classes, dim = draw(st.integers(2, 9)), draw(st.integers(2, 7))
    counts = rng.integers(1, 12, num_classes)
    labels = rng.permutation(np.repeat(np.arange(num_classes), counts))
    means = rng.normal(size=(num_classes, dim)) + draw(st.sampled_from([0.0, 100.0]))
    return means[labels] + 0.5 * rng.normal(size=(len(labels), dim)), labels


@given(labelled_features())
@settings(max_examples=60, deadline=None)
def test_metrics_agree_with_the_formulas_written_out(data):
    features, labels = data
    stats = nclib.class_statistics(features, labels)
    for name, expected in written_out(features, labels).items():
        assert getattr(nclib, name)(stats) == pytest.approx(expected, rel=1e-7), name


@given(labelled_features(), st.floats(0.01, 100))
@settings(max_examples=40, deadline=None)
def test_rotation_shift_and_scale_change_nothing(data, scale):
    features, labels = data
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(features.shape[1],) * 2)).Q
    moved = nclib.class_statistics(scale * features @ rotation + 3.0, labels)
    for metric in METRICS:
        assert metric(moved) == pytest.approx(metric(nclib.class_statistics(features, labels)), rel=1e-6)


@given(labelled_features())
@settings(max_examples=20, deadline=None)
def test_the_names_of_the_classes_do_not_matter(data):
    features, labels = data
    renamed = np.random.default_rng(0).permutation(labels.max() + 1)[labels]
    for metric in METRICS:
        expected = metric(nclib.class_statistics(features, labels))
        assert metric(nclib.class_statistics(features, renamed)) == pytest.approx(expected)


def test_a_cut_off_leaves_out_a_direction_that_is_null_but_for_noise():
    """Twenty means in five dimensions: the sixth direction is noise, and NC1 explodes if it counts."""
    g = torch.Generator().manual_seed(0)
    means = torch.randn(20, 5, generator=g) @ torch.randn(5, 64, generator=g)
    labels = torch.arange(20).repeat_interleave(30)
    stats = nclib.class_statistics(means[labels] + 1e-5 * torch.randn(600, 64, generator=g), labels)
    assert len(nclib.between_spectrum(stats)[0]) == 19
    assert len(nclib.between_spectrum(stats, rtol=1e-4)[0]) == 5
    assert nclib.nc1(stats, rtol=1e-4) < 1e-9 < 1 < nclib.nc1(stats)


def test_cdnv_pairs_are_symmetric_and_average_to_cdnv():
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat_interleave(5)
    stats = nclib.class_statistics(torch.randn(20, 3, generator=g), labels)
    pairs = nclib.cdnv_pairs(stats)
    assert torch.equal(pairs, pairs.T)
    assert pairs.sum() / 12 == pytest.approx(nclib.cdnv(stats))


def test_two_classes_that_share_their_mean_make_cdnv_infinite():
    features = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [5.0, 5.0]])
    assert nclib.cdnv(nclib.class_statistics(features, [0, 0, 1, 1, 2])) == math.inf
    assert nclib.cdnv(nclib.class_statistics(features[[0, 0, 4]], [0, 1, 2])) == math.inf


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        ([[1.0, 2.0], [2.0, 1.0]], [0, 0], "at least 2 are needed"),
        ([[1.0, 2.0], [2.0, 1.0]], [0, 2], r"1 of 3 classes have no samples \(1\)"),
        ([[1.0, 2.0], [1.0, 2.0]], [0, 1], "all class means coincide"),
    ],
)
def test_what_has_no_collapse_is_an_error(metric, features, labels, message):
    with pytest.raises(ValueError, match=message):
        metric(nclib.class_statistics(torch.tensor(features), labels))


CORNERS = torch.eye(3)
NAN = float("nan")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: nclib.nc3(s, torch.zeros(2, 3)), r"weight is \(2, 3\), finite; these statistics need \(3, 3\)"),
        (lambda s: nclib.nc3(s, CORNERS * NAN), r"weight is \(3, 3\), not finite"),
        (lambda s: nclib.nc3(s, torch.zeros(3, 3)), "all weights are 0"),
        (lambda s: nclib.nc4(s, CORNERS, CORNERS, bias=[0.0]), r"bias is \(1,\), finite; these statistics need \(3,\)"),
        (lambda s: nclib.nc4(s, CORNERS, CORNERS, bias=[0.0, NAN, 0.0]), r"bias is \(3,\), not finite"),
        (lambda s: nclib.nc4(s, torch.eye(4), CORNERS), r"features are \(4, 4\); they must be \(N, 3\)"),
        (
            lambda s: nclib.nc4(s, torch.zeros(0, 3), CORNERS),
            r"features are \(0, 3\); they must be \(N, 3\) with N > 0",
        ),
    ],
)
def test_bad_features_weights_and_biases_are_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(nclib.class_statistics(CORNERS, [0, 1, 2]))
