"""What it costs to know how sure a ranking is, beside a ranking of few pictures by timm's smallest models."""

import numpy as np
import pytest
import torch

import nclib

SMALLEST = ["test_vit", "test_resnet", "test_convnext"]


@pytest.fixture(scope="module")
def images():
    """Pictures of noise of the models' size, of ten classes, each with a patch of its own."""
    labels = torch.arange(500) % 10
    pictures = np.random.default_rng(0).integers(0, 256, (500, 160, 160, 3), dtype=np.uint8)
    for picture, label in zip(pictures, labels.tolist(), strict=True):
        picture[16 * label : 16 * label + 16] = 255
    return torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255, labels


@pytest.mark.parametrize("number", [3, 2], ids=["face", "logme"])
def test_bare_ranking(benchmark, images, number):
    timed(benchmark, images, number, sure=False)


@pytest.mark.parametrize("number", [3, 2], ids=["face", "logme"])
def test_sure_ranking(benchmark, images, number):
    timed(benchmark, images, number, sure=True)


def timed(benchmark, images, number, **options):
    benchmark.group = f"500 images, {number} of timm's smallest models, ranking"
    models = [nclib.backbone(name, weights="random", device="cpu") for name in SMALLEST[:number]]
    benchmark.pedantic(nclib.rank_models, (models, images), options, rounds=5, warmup_rounds=1)
