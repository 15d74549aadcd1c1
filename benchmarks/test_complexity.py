"""What geometric complexity costs: a plain loop over samples, exact in batches, and estimated."""

import pytest
import torch

from benchmarks.test_memory import measured
from nclib import geometric_complexity

FEW = "8 images of 32 px, ResNet-18 of 512 features"
MANY = "64 images of 32 px, ResNet-18 of 512 features"
MODEL = """
import timm, torch
torch.manual_seed(0)
model = timm.create_model("resnet18", num_classes=0).eval()
images = torch.rand(64, 3, 32, 32)
"""


@pytest.fixture(scope="module")
def given():
    names = {}
    exec(MODEL, names)  # the same here and in the processes whose memory is measured
    return names["model"], names["images"]


def plain(model, images):
    jacobians = (torch.autograd.functional.jacobian(lambda x: model(x)[0], image.unsqueeze(0)) for image in images)
    return float(torch.stack([jacobian.square().sum() for jacobian in jacobians]).mean())


def timed(benchmark, group, function, *arguments, **options):
    benchmark.group = group
    return benchmark.pedantic(function, arguments, options, rounds=2, warmup_rounds=0)


def test_plain_loop(benchmark, given):
    model, images = given
    value = timed(benchmark, FEW, plain, model, images[:8])
    assert value == pytest.approx(geometric_complexity(model, images[:8]).value, rel=1e-4)


def test_exact_few(benchmark, given):
    model, images = given
    timed(benchmark, FEW, geometric_complexity, model, images[:8])


def test_exact_many(benchmark, given):
    timed(benchmark, MANY, geometric_complexity, *given)


def test_estimate_to_a_twentieth(benchmark, given):
    found = timed(benchmark, MANY, geometric_complexity, *given, method="rademacher", number=2, relative_error=0.05)
    assert 0 < found.standard_error <= 0.05 * found.value


def test_memory_against_the_vectorised_jacobian():
    after = "; print(peak() - before)"
    loaded = MODEL + "model(images[:1]); model.requires_grad_(False); before = peak(); "
    ours = measured(loaded + "nclib.geometric_complexity(model, images[:8])" + after)
    vectorised = measured(
        loaded + "torch.func.vmap(torch.func.jacrev(lambda x: model(x[None])[0]))(images[:8]).square().sum()" + after
    )
    print(f"exact: {ours:.0f} MiB, vectorised full Jacobian: {vectorised:.0f} MiB")
    assert ours <= vectorised / 10
