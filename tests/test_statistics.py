"""Class statistics: one pass in any order, batches and parts gives what one array gives."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import nclib
from nclib import ClassStatistics, class_statistics

FIELDS = ("counts", "means", "squares", "scatter")


def sample(seed: int, num_samples: int = 60, shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num_samples, 5)) + shift
    return torch.from_numpy(features), torch.from_numpy(rng.integers(0, 4, num_samples))


def assert_same(a: ClassStatistics, b: ClassStatistics, rtol: float = 1e-9) -> None:
    for field in FIELDS:
        torch.testing.assert_close(getattr(a, field), getattr(b, field), rtol=rtol, atol=1e-9)


def test_statistics_are_those_of_the_definition():
    features, labels = sample(0)
    stats = class_statistics(features, labels)
    for k in range(4):
        own = features[labels == k]
        assert stats.counts[k] == len(own)
        torch.testing.assert_close(stats.means[k], own.mean(0))
        torch.testing.assert_close(stats.class_variances[k], (own - own.mean(0)).square().sum(1).mean())
    centred = features - stats.means[labels]
    torch.testing.assert_close(stats.within_covariance, centred.T @ centred / 60)
    torch.testing.assert_close(stats.global_mean, features.mean(0))


@given(st.integers(0, 1000), st.lists(st.integers(0, 60), max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_cut_into_batches_gives_the_same(seed, cuts):
    features, labels = sample(seed)
    stats = ClassStatistics(5, 4)
    edges = [0, *sorted(cuts), 60]
    for start, stop in pairwise(edges):
        stats.update(features[start:stop], labels[start:stop])
    assert_same(stats, class_statistics(features, labels, num_classes=4))


@given(st.integers(0, 1000), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_merged_parts_in_any_order_give_the_same(seed, cut):
    features, labels = sample(seed)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
    left = ClassStatistics(5, 4).update(features[order[:cut]], labels[order[:cut]])
    right = ClassStatistics(5, 4).update(features[order[cut:]], labels[order[cut:]])
    assert_same(right.merge(left), class_statistics(features, labels, num_classes=4))


def test_features_far_from_zero_lose_nothing():
    near, labels = sample(3)
    far = ClassStatistics(5, 4)
    for rows, classes in zip((near + 1e6).split(7), labels.split(7), strict=True):
        far.update(rows, classes)
    stats = class_statistics(near, labels)
    torch.testing.assert_close(far.scatter, stats.scatter, rtol=1e-7, atol=1e-7)
    assert nclib.nc1(far) == pytest.approx(nclib.nc1(stats), rel=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_short_floats_are_accumulated_in_float64(dtype):
    features, labels = sample(4)
    short = features.to(dtype)
    assert_same(class_statistics(short, labels), class_statistics(short.double(), labels))


def test_large_arrays_are_handled_in_blocks(monkeypatch):
    features, labels = sample(5)
    whole = class_statistics(features, labels)
    monkeypatch.setattr("nclib.statistics._ROWS", 11)
    assert_same(class_statistics(features, labels), whole)


def test_empty_classes_can_be_left_out():
    features, labels = sample(6)
    holey = class_statistics(features, labels * 2)
    assert_same(holey.without_empty_classes(), class_statistics(features, labels))


def test_a_class_of_one_sample_has_no_variance():
    assert class_statistics(torch.eye(2), [0, 1]).class_variances.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("features", "labels", "error", "message"),
    [
        (torch.tensor([[1.0, float("nan")]]), [0], ValueError, "1 of 1 rows of features hold NaN or infinity"),
        (torch.tensor([[1.0, float("inf")]]), [0], ValueError, "NaN or infinity"),
        (torch.tensor([[1, 2]]), [0], TypeError, "features are torch.int64; they must be floating point"),
        (torch.eye(2), [0.0, 1.0], TypeError, "labels are torch.float32; they must be integers"),
        (torch.eye(2), [0], ValueError, r"features \(2, 2\) and labels \(1,\) must be"),
        (torch.ones(2), [0, 1], ValueError, r"must be \(N, d\) and \(N,\)"),
        (torch.eye(2), [-1, 0], ValueError, "labels run from -1 to 0; they must be 0 or more"),
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), ValueError, "there are no samples"),
    ],
)
def test_bad_input_says_what_was_given_and_what_is_allowed(features, labels, error, message):
    with pytest.raises(error, match=message):
        class_statistics(features, labels)


def test_labels_outside_the_range_are_an_error():
    with pytest.raises(ValueError, match=r"labels run from 0 to 3; they must be 0\.\.2"):
        ClassStatistics(2, 3).update(torch.eye(2), [0, 3])


def test_features_of_another_width_are_an_error():
    with pytest.raises(ValueError, match="features have 2 columns; these statistics are of 3"):
        ClassStatistics(3, 2).update(torch.eye(2), [0, 1])


def test_statistics_of_another_shape_do_not_merge():
    with pytest.raises(ValueError, match="2 classes x 3 features do not merge with 2 x 4"):
        ClassStatistics(3, 2).merge(ClassStatistics(4, 2))


def test_every_integer_type_will_do_for_labels():
    for dtype in (torch.uint8, torch.int16, torch.int32, torch.uint16, torch.uint32):
        assert class_statistics(torch.eye(2), torch.tensor([0, 1], dtype=dtype)).counts.tolist() == [1, 1]


def test_features_with_a_gradient_give_statistics_without():
    assert not class_statistics(torch.eye(2, requires_grad=True), [0, 1]).means.requires_grad


def test_too_few_classes_are_an_error():
    with pytest.raises(ValueError, match="num_classes is 0; it must be at least 1"):
        class_statistics(torch.eye(2), [0, 1], num_classes=0)
    with pytest.raises(ValueError, match="no class was seen"):
        ClassStatistics(2, 3).update(torch.zeros(0, 2), []).without_empty_classes()


def test_a_shape_without_features_is_an_error():
    with pytest.raises(ValueError, match="both must be at least 1"):
        ClassStatistics(0, 2)
