"""The term that forces collapse or prevents it: its values, its gradient, its bound, and what training makes of it."""

import math
from dataclasses import replace

import pytest
import torch

import nclib
from nclib.models import recipes
from nclib.models.losses import collapse_term, log_trace_ratio

LABELS = torch.arange(5).repeat(4)
TINY = nclib.Recipe(source="digits", per_class=16, width=8, epochs=12, batch_size=80, learning_rate=0.05, balanced=4)


def features_of(seed=0, *, between=1.0):
    g = torch.Generator().manual_seed(seed)
    means = between * torch.randn(5, 7, generator=g, dtype=torch.float64)
    return means[LABELS] + torch.randn(20, 7, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("between", [0.0, 1.0, 100.0])
def test_it_is_the_logarithm_of_the_trace_ratio(between):
    features = features_of(between=between)
    expected = nclib.nc1_ratio(nclib.class_statistics(features, LABELS))
    assert log_trace_ratio(features, LABELS).item() == pytest.approx(math.log(expected))


def test_classes_that_a_batch_lacks_make_no_difference():
    features = features_of()
    assert torch.equal(log_trace_ratio(features, LABELS), log_trace_ratio(features, 10 * LABELS + 3))


def test_the_scale_and_place_of_the_features_make_no_difference():
    features = features_of()
    torch.testing.assert_close(log_trace_ratio(features, LABELS), log_trace_ratio(5 - 3 * features, LABELS))


@pytest.mark.parametrize("strength", [-0.3, 1.0])
def test_its_gradient_is_right(strength):
    features = features_of().requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: collapse_term(rows, LABELS, strength), features)


@pytest.mark.parametrize("features", [torch.ones(20, 3), torch.eye(5)[LABELS], torch.eye(4).repeat_interleave(5, 0)])
def test_without_a_spread_it_is_finite_with_its_gradient(features):
    features = features.clone().requires_grad_()
    for strength in (-1.0, 1.0):
        term = collapse_term(features, LABELS, strength)
        (gradient,) = torch.autograd.grad(term, features)
        assert term.isfinite()
        assert gradient.isfinite().all()


def test_features_that_know_nothing_of_the_classes_have_one_less_than_the_samples_of_each():
    labels, g = torch.arange(50).repeat(4), torch.Generator().manual_seed(0)
    ratio = log_trace_ratio(torch.randn(200, 500, generator=g), labels).exp().item()
    assert ratio == pytest.approx(3, rel=0.05)


def test_preventing_collapse_is_rewarded_up_to_a_ratio_of_ten():
    labels = torch.tensor([0, 0, 1, 1])
    for ratio, prevented in ((9.0, 9.0), (10.5, 10.0), (1e6, 10.0)):
        features = torch.tensor([[1.0, ratio**0.5], [1.0, -(ratio**0.5)], [-1.0, ratio**0.5], [-1.0, -(ratio**0.5)]])
        features.requires_grad_()
        assert collapse_term(features, labels, 2.0).item() == pytest.approx(2 * math.log(ratio))
        term = collapse_term(features, labels, -2.0)
        assert term.item() == pytest.approx(-2 * math.log(prevented))
        assert (torch.autograd.grad(term, features)[0].abs().sum() > 0) == (ratio < 10)


def test_training_with_it_forces_or_prevents_the_collapse_of_what_transfer_keeps():
    digits, ratios = nclib.load("digits", per_class=16), []
    for collapse in (-0.5, 0.0, 0.5):
        network = nclib.train(replace(TINY, collapse=collapse, projection=1), progress=False, device="cpu")
        features = nclib.extract(network.backbone, digits.inputs())
        ratios.append(nclib.nc1_ratio(nclib.class_statistics(features, digits.labels)))
    assert ratios[0] > 1.5 * ratios[1] > 1.5**2 * ratios[2]


def test_with_and_without_it_the_batches_are_the_same(monkeypatch):
    real, seen = recipes.balanced, []
    monkeypatch.setattr(recipes, "balanced", lambda *args: seen.append(torch.cat(found := real(*args))) or found)
    for collapse in (0.0, 0.5):
        nclib.train(replace(TINY, collapse=collapse, epochs=2), progress=False, device="cpu")
    assert len(seen) == 4
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])
