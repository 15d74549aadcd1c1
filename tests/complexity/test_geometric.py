"""Geometric complexity: equal to the full Jacobian, unbiased where estimated, honest about its error."""

import pytest
import torch
from hypothesis import given, strategies as st
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from nclib import (
    Backbone,
    backbone,
    cdnv,
    class_statistics,
    geometric_collapse,
    geometric_complexity,
    load,
    poincare_constant,
    small_resnet,
)
from nclib.complexity import bound
from nclib.complexity.jacobians import Jacobians

ESTIMATES = ("rademacher", "gaussian", "outputs", "entries")


def plain(function, inputs):
    """||J||_F^2 of every input, by the plain full Jacobian."""

    def one(x):
        return function(x.unsqueeze(0))[0]

    with torch.enable_grad():
        return torch.stack([torch.autograd.functional.jacobian(one, x).double().square().sum() for x in inputs])


def cnn():
    torch.manual_seed(0)
    network = small_resnet(4)
    network(torch.rand(32, 1, 16, 16))  # batch norm has seen something
    return network.eval(), torch.rand(5, 1, 16, 16)


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 20), nn.GELU(), nn.Linear(20, 16)), torch.rand(70, 3, 4)


def vit():
    torch.manual_seed(0)
    network = VisionTransformer(img_size=16, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=0)
    return network.eval(), torch.rand(3, 3, 16, 16)


@pytest.mark.parametrize("make", [cnn, mlp, vit])
def test_exact_equals_the_plain_full_jacobian(make):
    network, inputs = make()
    found = geometric_complexity(network, inputs)
    torch.testing.assert_close(found.per_sample, plain(network, inputs), rtol=1e-5, atol=0)
    assert found.standard_error == 0


@pytest.mark.parametrize("memory", [1, 1e5, 1e9])
@pytest.mark.parametrize("method", ["exact", "rademacher", "outputs"])
def test_the_value_depends_on_the_batches_by_rounding_only(method, memory):
    network, inputs = mlp()
    found = geometric_complexity(network, inputs, method=method, number=16, memory=memory)
    if method == "rademacher":  # draws depend on the batches, their law does not
        assert abs(found.value - plain(network, inputs).mean()) < 5 * found.standard_error
    else:
        torch.testing.assert_close(found.per_sample, plain(network, inputs), rtol=1e-5, atol=0)


@pytest.mark.parametrize(("memory", "most"), [(1, 1), (1e9, 64)])
@pytest.mark.parametrize("method", ["exact", "rademacher"])
def test_a_pass_is_as_large_as_memory_allows(method, memory, most):
    network, inputs = mlp()
    sizes = []
    network[0].register_forward_hook(lambda module, given, output: sizes.append(len(output)))
    geometric_complexity(network, inputs[:4], method=method, number=64, memory=memory)
    assert max(sizes[5:]) <= most  # after the passes that look at one sample and two
    assert max(sizes[5:]) > most // 2


def test_forward_mode_where_inputs_are_fewer_than_features():
    torch.manual_seed(0)
    network, inputs = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 40)), torch.rand(9, 3)
    torch.testing.assert_close(geometric_complexity(network, inputs).per_sample, plain(network, inputs))


class _OnlyBackwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 3 * x

    @staticmethod
    def backward(ctx, gradient):
        return 3 * gradient


def test_reverse_mode_where_forward_mode_does_not_go_through():
    with pytest.warns(UserWarning, match="forward mode does not go through"):
        found = geometric_complexity(lambda x: _OnlyBackwards.apply(x).repeat(1, 2), torch.rand(4, 2))
    assert found.value == 36


def _deterministic_population():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 8))
    return network.double(), 2 * torch.randn(40, 6, dtype=torch.float64)


@pytest.mark.parametrize("samples", [None, 20])
@pytest.mark.parametrize("method", ESTIMATES)
def test_estimates_are_unbiased_and_their_standard_errors_right(method, samples):
    network, inputs = _deterministic_population()
    exact = geometric_complexity(network, inputs).value
    options = {"method": method, "number": 4, "share": 0.3, "samples": samples}
    found = [geometric_complexity(network, inputs, seed=seed, **options) for seed in range(300)]
    values, errors = (
        torch.tensor(list(column)) for column in zip(*((f.value, f.standard_error) for f in found), strict=True)
    )
    assert abs(values.mean() - exact) < 4 * values.std() / len(values) ** 0.5
    covered = ((values - exact).abs() < 1.96 * errors).double().mean()
    assert 0.90 <= covered <= 0.99
    assert 0.85 < errors.square().mean().sqrt() / values.std() < 1.15  # 300 seeds know the spread to 4%


def test_all_outputs_are_exact():
    network, inputs = _deterministic_population()
    found = geometric_complexity(network, inputs, method="outputs", number=99)
    torch.testing.assert_close(found.per_sample, plain(network, inputs))
    assert found.standard_error == pytest.approx(0, abs=1e-12)


def test_samples_without_projections_have_an_error_too():
    network, inputs = _deterministic_population()
    exact, found = (geometric_complexity(network, inputs, samples=samples) for samples in (None, 30))
    assert set(found.indices.tolist()) < set(range(40))
    torch.testing.assert_close(found.per_sample, exact.per_sample[found.indices])
    assert 0 < abs(found.value - exact.value) < 4 * found.standard_error


def test_as_many_projections_as_a_relative_error_needs():
    network, inputs = _deterministic_population()
    rough = geometric_complexity(network, inputs, method="rademacher", number=2)
    fine = geometric_complexity(network, inputs, method="rademacher", number=2, relative_error=0.05)
    assert rough.standard_error > 0.05 * rough.value
    assert 0 < fine.standard_error <= 0.05 * fine.value
    assert geometric_complexity(network, inputs, method="gaussian", relative_error=1e-4).standard_error == 0


def test_what_stops_at_an_error_still_states_it():
    network, inputs = _deterministic_population()
    exact = geometric_complexity(network, inputs[:20]).value
    options = {"method": "rademacher", "number": 2, "relative_error": 0.1}
    found = [geometric_complexity(network, inputs[:20], seed=seed, **options) for seed in range(200)]
    covered = [abs(f.value - exact) <= 1.96 * f.standard_error for f in found if f.standard_error]
    assert len(covered) > 50
    assert sum(covered) / len(covered) > 0.85  # stopping early makes it a little too small
    assert all(f.value == pytest.approx(exact) for f in found if not f.standard_error)


def test_seeds_of_further_projections_are_not_other_seeds():
    network, inputs = _deterministic_population()
    rough = [geometric_complexity(network, inputs, method="gaussian", number=2, seed=seed) for seed in (0, 2)]
    fine = geometric_complexity(network, inputs, method="gaussian", number=2, relative_error=0.09)
    assert fine.value != pytest.approx(sum(f.value for f in rough) / 2, rel=1e-6)


def test_too_few_samples_for_an_error_are_told():
    network, inputs = _deterministic_population()
    with pytest.warns(UserWarning, match="not 0.001, because of the sampling"):
        geometric_complexity(network, inputs, method="gaussian", relative_error=0.001, samples=4)


def test_functions_that_mix_their_inputs_are_refused():
    with pytest.raises(ValueError, match="depend on the others in its batch"):
        geometric_complexity(lambda x: x - x.mean(0), torch.rand(4, 3))
    norm = nn.BatchNorm1d(3).train()
    assert geometric_complexity(norm.forward, torch.rand(4, 3)).value == pytest.approx(3, rel=1e-4)  # of its module
    assert norm.num_batches_tracked == 0


def test_inputs_may_be_changed_in_place():
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(5, 3))
    inputs = torch.rand(4, 5)
    assert geometric_complexity(network, inputs).value == pytest.approx(float(network[1].weight.square().sum()))


@pytest.mark.parametrize("width", [2, 8])
def test_under_inference_mode(width):
    weight = torch.rand(3, width)
    with torch.inference_mode():
        found = geometric_complexity(lambda x: x @ weight, torch.rand(4, 3))
    assert found.value == pytest.approx(float(weight.square().sum()))


def test_a_linear_map_has_the_squared_norm_of_its_weight():
    weight = torch.randn(5, 7, dtype=torch.float64)
    found = geometric_complexity(lambda x: x @ weight.T, torch.rand(3, 7, dtype=torch.float64))
    assert found.value == pytest.approx(float(weight.square().sum()), rel=1e-12)


@pytest.mark.parametrize("method", ["exact", *ESTIMATES])
@pytest.mark.parametrize("constant", [lambda x: torch.ones(len(x), 3), lambda x: 0 * x])
def test_an_embedding_that_ignores_its_input_has_complexity_0(constant, method):
    found = geometric_complexity(constant, torch.rand(4, 3), method=method, number=2)
    assert (found.value, found.standard_error) == (0, 0)
    assert geometric_complexity(constant, torch.rand(4, 3), method="gaussian", relative_error=0.1).value == 0


def test_a_penalty_has_the_gradient_of_the_complexity():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5)).double()
    inputs = torch.rand(3, 4, dtype=torch.float64)
    weight = network[0].weight
    geometric_complexity(network, inputs, differentiable=True).per_sample.mean().backward()
    step = 1e-6
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[0, 1] += sign * step
            values.append(float(plain(network, inputs).mean()))
            weight[0, 1] -= sign * step
    assert float(weight.grad[0, 1]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


def test_a_projected_penalty_reaches_batch_norm_networks_too():
    network, inputs = cnn()
    network.train()
    found = geometric_complexity(network, inputs, method="rademacher", number=1, differentiable=True)
    found.per_sample.mean().backward()
    assert network.conv1.weight.grad.abs().sum() > 0


def test_gradients_may_be_switched_off_around_it():
    network, inputs = mlp()
    with torch.no_grad():
        assert geometric_complexity(network, inputs).value == pytest.approx(float(plain(network, inputs).mean()))


def test_the_model_is_left_as_it_was():
    network, inputs = cnn()
    network.train()
    network.conv1.weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    geometric_complexity(network, inputs, method="gaussian")
    assert network.training
    assert network.bn1.training
    assert [p.requires_grad for p in network.parameters()] == [False] + [True] * (len(list(network.parameters())) - 1)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_backbone_prepares_its_images():
    model = backbone("test_resnet", weights="random", device="cpu")
    images = load("digits", "test", per_class=1)
    found = geometric_complexity(model, images, method="rademacher", number=2)
    assert found.per_sample.shape == (10,)
    assert found.value > 0
    classes = found.by_class(images.labels)
    torch.testing.assert_close(classes, found.per_sample[images.labels.argsort()])
    with pytest.raises(ValueError, match="3 labels for 10 samples"):
        found.by_class([0, 1, 2])


def test_a_class_that_was_not_measured_is_named():
    found = geometric_complexity(lambda x: x, torch.rand(4, 3), samples=2)
    assert str(found) == "geometric complexity 3, standard error 0"
    labels = torch.full((4,), 1)
    with pytest.raises(ValueError, match="no sample of class 0"):
        found.by_class(labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "finite"}, "it must be one of exact, rademacher"),
        ({"number": 0}, "number is 0"),
        ({"number": 2.5}, "number is 2.5"),
        ({"samples": 2.5}, "samples is 2.5"),
        ({"share": 0.0}, "share is 0.0"),
        ({"relative_error": 0.1}, "needs method 'rademacher' or 'gaussian'"),
        ({"relative_error": 0.0, "method": "gaussian"}, "must be a number above 0"),
        ({"relative_error": 0.1, "method": "gaussian", "number": 1}, "at least 2"),
        ({"relative_error": "0.1", "method": "gaussian"}, "relative_error is '0.1'; it must be a number above 0"),
        ({"share": "half"}, "share is 'half'; it must be above 0"),
        ({"memory": "1 GB"}, "memory is '1 GB'; it must be above 0"),
        ({"samples": 9}, "from 2 to 4"),
        ({"memory": 0}, "memory is 0"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        geometric_complexity(lambda x: x, torch.rand(4, 3), **options)


WEIGHTED, NORM = nn.Linear(3, 2), nn.BatchNorm1d(3).train()  # whose parameters have gradients


@pytest.mark.parametrize(
    ("function", "inputs", "error", "message"),
    [
        (lambda x: x.argmax(1, keepdim=True), torch.rand(4, 3), TypeError, "features are torch.int64"),
        (lambda x: x.detach(), torch.rand(4, 3), ValueError, "cuts it off"),
        (lambda x: x.detach().repeat(1, 2), torch.rand(4, 3), ValueError, "cuts it off"),
        (lambda x: WEIGHTED(x.detach()), torch.rand(4, 3), ValueError, "cuts it off"),
        (lambda x: nn.functional.one_hot(x.argmax(1), 3).float(), torch.eye(4, 3), ValueError, "cuts it off"),
        (lambda x: x / 0, torch.rand(4, 3), ValueError, "features hold NaN or infinity"),
        (lambda x: x[:, :0], torch.rand(4, 3), ValueError, r"features are \(2, 0\)"),
        (lambda x: NORM(x), torch.rand(4, 3), ValueError, "depend on the others in its batch"),
        (lambda x: x, torch.rand(4), ValueError, r"no inputs in \(4,\)"),
        (lambda x: x.sum(1), torch.rand(4, 3), ValueError, r"gives \(2,\) for 2 inputs"),
        (lambda x: x, torch.zeros(4, 3, dtype=torch.uint8), TypeError, "inputs are torch.uint8"),
        (lambda x: x, torch.rand(0, 3), ValueError, "there are no inputs"),
        (lambda x: x, torch.full((4, 3), float("nan")), ValueError, "inputs hold NaN"),
        ("resnet18", torch.rand(4, 3), TypeError, "model is 'resnet18'"),
        (nn.Identity(), [[1.0, 2.0]], TypeError, "item 0: float is not an image"),
    ],
)
def test_what_has_no_complexity_is_refused(function, inputs, error, message):
    with pytest.raises(error, match=message):
        geometric_complexity(function, inputs)


def test_a_penalty_on_what_cuts_the_gradient_off_is_refused():
    class Cut(nn.Linear):
        def forward(self, x):
            return super().forward(x.detach())

    with pytest.raises(ValueError, match="cuts it off"):
        geometric_complexity(Cut(3, 2), torch.rand(4, 3), method="rademacher", differentiable=True)


def test_a_graph_is_kept_only_where_it_is_asked_for():
    narrow = nn.Linear(2, 5)  # fewer inputs than features: by columns
    for function in (narrow, narrow.forward, lambda x: narrow(x)):
        assert not geometric_complexity(function, torch.rand(4, 2)).per_sample.requires_grad
    with torch.no_grad():
        assert geometric_complexity(narrow, torch.rand(4, 2), differentiable=True).per_sample.requires_grad


def test_more_projections_are_not_taken_where_it_is_samples_that_lack(monkeypatch):
    passes = []
    monkeypatch.setattr(Jacobians, "rows", lambda self, v, rows=Jacobians.rows: passes.append(len(v)) or rows(self, v))
    with pytest.warns(UserWarning, match="because of the sampling"):
        geometric_complexity(torch.sin, 9 * torch.rand(40, 512), method="gaussian", relative_error=1e-3, samples=5)
    assert sum(passes) < 100  # of 512 rows


@given(st.integers(0, 2**32), st.integers(2, 4), st.floats(0.1, 10))
def test_collapse_of_a_linear_embedding_is_bounded_by_its_complexity(seed, classes, scale):
    generator = torch.Generator().manual_seed(seed)
    inputs = scale * torch.randn(20 * classes, 4, generator=generator, dtype=torch.float64)
    labels = torch.arange(20 * classes) % classes
    weight = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    complexities = geometric_complexity(lambda x: x @ weight.T, inputs).by_class(labels)
    stats = class_statistics(inputs @ weight.T, labels)
    bound = poincare_constant(inputs, labels) * geometric_collapse(stats, complexities)
    assert cdnv(stats) <= bound * (1 + 1e-9)


def test_the_bound_is_sharp_along_one_direction():
    inputs = torch.tensor([[-1.0], [1.0], [9.0], [11.0]])
    labels = [0, 0, 1, 1]
    stats = class_statistics(3 * inputs, labels)
    assert geometric_collapse(stats, [9.0, 9.0]) == pytest.approx(9 / 900)
    assert poincare_constant(inputs, labels) == pytest.approx(1)
    assert cdnv(stats) == pytest.approx(9 / 900)
    with pytest.raises(ValueError, match="they must be 2 numbers, one per class"):
        geometric_collapse(stats, [1.0])
    with pytest.raises(ValueError, match="they must be 2 numbers, one per class"):
        geometric_collapse(stats, [1.0, -1.0])


def test_a_backbone_is_measured_where_the_classifier_sees_it():
    doubled = Backbone("doubled", nn.Identity(), last=lambda x: 2 * x)
    assert geometric_complexity(doubled, torch.rand(4, 3)).value == 12


@pytest.mark.parametrize("shape", [(90, 20), (20, 90), (30, 30), (1, 5)])
def test_a_poincare_constant_is_that_of_a_whole_singular_value_decomposition(shape):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2 * shape[0], shape[1], generator=generator) * torch.arange(1, shape[1] + 1)
    labels = torch.arange(len(inputs)) % 2
    classes = [inputs[labels == k].double() for k in range(2)]
    expected = max(float(torch.linalg.svdvals(x - x.mean(0))[0]) ** 2 / len(x) for x in classes)
    assert poincare_constant(inputs, labels) == pytest.approx(expected, rel=1e-12, abs=0)


def test_a_poincare_constant_is_computed_once_for_the_same_inputs(tmp_path, monkeypatch):
    inputs, labels = torch.rand(12, 3, 2, 2), torch.arange(12) % 3
    first = poincare_constant(inputs, labels, cache=tmp_path)
    assert first == poincare_constant(inputs, labels)
    other = poincare_constant(2 * inputs, labels, cache=tmp_path)
    assert other == pytest.approx(4 * first)
    monkeypatch.setattr(bound, "_constant", lambda rows, labels: pytest.fail("computed again"))
    assert poincare_constant(inputs, labels, cache=tmp_path) == first
    assert poincare_constant(2 * inputs, labels, cache=tmp_path) == other
