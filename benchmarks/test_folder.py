"""What bounds the features of a folder of photographs: reading, resizing or the forward pass, each apart."""

import pytest
import torch
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

import nclib
from benchmarks.cases import photographs

GROUP = "64 JPEG files of 500 x 375 px, MobileNetV2 at 224 px"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return photographs(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def backbone():
    return nclib.backbone("torchvision:mobilenet_v2", weights="random", device="cpu")


@pytest.fixture(scope="module")
def photos(folder):
    return nclib.load(f"folder:{folder}")


def timed(benchmark, call):
    benchmark.group = GROUP
    return benchmark.pedantic(call, rounds=5, warmup_rounds=1)


def test_folder_extract(benchmark, backbone, photos):
    timed(benchmark, lambda: nclib.extract(backbone, photos))


def test_folder_from_cache(benchmark, backbone, photos, tmp_path):
    nclib.extract(backbone, photos, cache=tmp_path)
    timed(benchmark, lambda: nclib.extract(backbone, photos, cache=tmp_path))


def test_decode(benchmark, photos):
    timed(benchmark, lambda: [photos.image(i) for i in range(len(photos))])


def test_decode_by_torchvision(benchmark, photos):
    timed(benchmark, lambda: [decode_image(str(path), ImageReadMode.RGB) for path in photos.paths])


def test_resize(benchmark, backbone, photos):
    images = [photos.image(i) for i in range(len(photos))]
    timed(benchmark, lambda: [backbone.transform(image) for image in images])


def test_resize_by_torchvision(benchmark, photos):
    """Of bytes as tensors, which gives other pixels than Pillow's: by 1 of 255 and more."""
    images = [decode_image(str(path), ImageReadMode.RGB) for path in photos.paths]
    transform = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224), v2.ToDtype(torch.float32, scale=True)])
    timed(benchmark, lambda: [transform(image) for image in images])


def test_forward(benchmark, backbone):
    inputs = torch.rand(64, 3, 224, 224)
    timed(benchmark, lambda: nclib.extract(backbone, inputs))
