"""What extracting features costs beside the bare forward pass: layers, cache, and the preparation of images."""

import tempfile

import pytest
import torch

import nclib
from nclib.features.extraction import _batch_size

GROUP = "512 images of 96 px, MobileNetV2"


@pytest.fixture(scope="module")
def backbone():
    return nclib.backbone("torchvision:mobilenet_v2", weights="random", device="cpu")


@pytest.fixture(scope="module")
def inputs():
    return torch.rand(512, 3, 96, 96)


@torch.no_grad()
def forward(backbone, batches):
    return torch.cat([backbone.model(batch.to(memory_format=torch.channels_last)) for batch in batches])


def timed(benchmark, call):
    benchmark.group = GROUP
    benchmark.pedantic(call, rounds=5, warmup_rounds=1)


def test_bare(benchmark, backbone, inputs):
    timed(benchmark, lambda: forward(backbone, inputs.split(_batch_size(backbone, inputs))))


def test_extract(benchmark, backbone, inputs):
    timed(benchmark, lambda: nclib.extract(backbone, inputs))


def test_all_layers(benchmark, backbone, inputs):
    timed(benchmark, lambda: nclib.extract_layers(backbone, inputs, [*backbone.layers, "last"]))


def test_into_cache(benchmark, backbone, inputs):
    def call():
        with tempfile.TemporaryDirectory() as folder:
            nclib.extract_layers(backbone, inputs, [*backbone.layers, "last"], cache=folder)

    timed(benchmark, call)


def images():
    return nclib.load("digits").take(7).in_memory(96)


def test_bare_from_images(benchmark, backbone):
    drawn = images()  # prepared to 224 px, in batches as extract makes them

    def batches(size=6):
        for start in range(0, len(drawn), size):
            rows = range(start, min(start + size, len(drawn)))
            yield torch.stack([backbone.transform(drawn.image(i).convert("RGB")) for i in rows])

    def call():
        return forward(backbone, batches())

    timed(benchmark, call)


def test_extract_images(benchmark, backbone):
    drawn = images()
    timed(benchmark, lambda: nclib.extract(backbone, drawn))
