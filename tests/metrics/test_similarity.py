"""Linear CKA: against its formula on N x N kernels, known values, what leaves it unchanged, and what it refuses."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from nclib import cka


def pair(seed=0, number=30, width=5, other=8):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(number, width)) + 3
    return x, np.tanh(x @ rng.normal(size=(width, other))) + 0.3 * rng.normal(size=(number, other))


def plain(x, y):
    """The alignment of centred kernels, as it is defined."""
    centre = np.eye(len(x)) - 1 / len(x)
    a, b = (centre @ rows @ rows.T @ centre for rows in (x, y))
    return np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("sizes", [(30, 5, 8), (30, 8, 5), (12, 40, 50), (20, 4, 60), (20, 60, 4), (2, 1, 1)])
def test_it_is_the_alignment_of_centred_kernels_whichever_side_is_smaller(sizes):
    x, y = pair(1, *sizes)
    assert cka(x, y) == pytest.approx(plain(x, y), rel=1e-10)


@given(st.integers(0, 10**6), st.integers(3, 25), st.integers(1, 12), st.integers(1, 12), st.floats(1e-3, 1e3))
@settings(max_examples=40, deadline=None)
def test_rotation_shift_scale_and_the_order_of_samples_change_nothing(seed, number, width, other, scale):
    x, y = pair(seed, number, width, other)
    found, rng = cka(x, y), np.random.default_rng(seed)
    turned = scale * x @ np.linalg.qr(rng.normal(size=(width, width))).Q - 7
    order = rng.permutation(number)
    assert 0 <= found <= 1
    assert cka(turned, y) == pytest.approx(found, rel=1e-8, abs=1e-12)
    assert cka(x[order], y[order]) == pytest.approx(found, rel=1e-8, abs=1e-12)
    assert cka(y, x) == pytest.approx(found, rel=1e-10, abs=1e-12)
    assert cka(x, turned) == pytest.approx(1, rel=1e-10)


def test_features_without_a_common_direction_are_not_alike():
    grid = np.array([[a, b] for a in (-1.0, 0.0, 1.0) for b in (-1.0, 1.0)])
    assert cka(grid[:, :1], grid[:, 1:]) == pytest.approx(0, abs=1e-15)


def test_neither_the_products_of_many_samples_nor_of_wide_features_are_held():
    """Of 60,000 samples those of samples would take 27 GB, and of 60,000 columns those of columns."""
    tall = torch.randn(60_000, 3, generator=torch.Generator().manual_seed(0))
    assert cka(tall, tall[:, :2]) == pytest.approx(0.816, abs=0.01)  # 2 / sqrt(2 * 3)
    assert cka(tall.T, tall.T[:, :30_000]) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("size", [1e-60, 1e59])
def test_any_size_gives_the_same(size):
    x, y = pair()
    assert cka(size * x, y) == pytest.approx(cka(x, y), rel=1e-9)


def test_lists_tensors_and_short_floats_give_the_same():
    x, y = (rows.astype(np.float16) for rows in pair())
    found = cka(x, y)
    assert cka(torch.from_numpy(x), y.tolist()) == found == cka(x.astype(float), torch.from_numpy(y).double())


def test_labels_of_any_kind_are_held_against_each_other():
    x, y = pair(number=4)
    names = ["cat", "dog", "cat", "eel"]
    assert cka(x, y, labels=names, other_labels=np.array(names)) == cka(x, y)
    assert cka(x, y, labels=[0, 1, 0, 2], other_labels=torch.tensor([0, 1, 0, 2])) == cka(x, y)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: cka(x, y[1:]), "features have 4 rows and others 3; both must be of the same samples"),
        (lambda x, y: cka(x, y[0]), r"features are \(8,\); they must be \(N, d\)"),
        (lambda x, y: cka(x[:0], y[:0]), r"features are \(0, 5\); they must be \(N, d\), with N and d at least 1"),
        (lambda x, y: cka(x * np.nan, y), "features hold NaN or infinity, the first in row 0"),
        (lambda x, y: cka(x, np.full((4, 2), 0.1)), "others are the same for all samples"),
        (lambda x, y: cka(x[:1], y[:1]), "features are the same for all samples"),
        (lambda x, y: cka(x, y, labels=[0] * 4), "only one of labels and other_labels is given; give both, or neither"),
        (lambda x, y: cka(x, y, labels=[0] * 4, other_labels=[0] * 3), "4 labels and 3 other_labels for 4 samples"),
        (
            lambda x, y: cka(x, y, labels=[0, 1, 2, 3], other_labels=[0, 2, 1, 3]),
            "labels are 1 and 2 in row 1, and differ in 2 rows; both must be of the same samples in the same order",
        ),
        (lambda x, y: cka(x, y, labels=["a"] * 4, other_labels=[0] * 4), "labels are a and 0 in row 0"),
    ],
)
def test_what_cannot_be_compared_says_why(call, message):
    with pytest.raises(ValueError, match=message):
        call(*pair(number=4))
